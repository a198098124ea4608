"""The person who logs in: shown an address, and heard when their browser comes back to this machine."""

import html
import sys
import webbrowser
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.abc
import click
from mcp.shared.auth import AuthorizationCodeResult

from orchestrator.cli.command_error import CommandError
from orchestrator.core.errors import OrchestratorError
from orchestrator.integrations.oauth.bearer import AuthorizationError

WAIT_SECONDS: Final = 600.0
PASTED_REDIRECT: Final = "http://127.0.0.1:33418/callback"
"""Where nobody needs to listen: the address is copied from the browser."""
_LONGEST_REQUEST: Final = 16 * 1024
_HEADERS: Final = (
    "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'\r\nConnection: close\r\n"
)


class LoginBrowser:
    """An `Interaction` at the terminal. Everything is said on standard error."""

    def __init__(self, redirect_uri: str, *, open_browser: bool) -> None:
        self.redirect_uri = redirect_uri
        self._open_browser = open_browser
        self._state: str | None = None
        self._answered = anyio.Event()
        self._answer: AuthorizationCodeResult | AuthorizationError | None = None

    async def show(self, url: str) -> None:
        """Print the address, and open it in a browser where one can be opened."""
        self._state = _query(url).get("state")
        self._answered, self._answer = anyio.Event(), None
        click.echo(f"To log in, open this address in a browser:\n\n{url}\n", err=True)
        if self._open_browser:
            await anyio.to_thread.run_sync(webbrowser.open, url, abandon_on_cancel=True)

    async def answer(self) -> AuthorizationCodeResult:
        """What the browser brought back.

        Raises:
            AuthorizationError: a refusal, or nothing in time.
        """
        with anyio.move_on_after(WAIT_SECONDS):
            await self._answered.wait()
        if self._answer is None:
            raise AuthorizationError(f"nobody came back from the browser within {WAIT_SECONDS:g} s")
        if isinstance(self._answer, AuthorizationError):
            raise self._answer
        return self._answer

    def take(self, query: str) -> str | None:
        """Take what the browser brought; None, and go on waiting, where it belongs to no login of ours."""
        found = _query(f"?{query}")
        if self._state is None or found.get("state") != self._state:
            return None
        if "code" in found:
            self._answer = AuthorizationCodeResult(code=found["code"], state=found["state"], iss=found.get("iss"))
            said = "You are logged in. This window can be closed."
        else:
            words = ": ".join(found[name] for name in ("error", "error_description") if name in found)
            shown = "".join(letter if letter.isprintable() else "?" for letter in words)[:300] or "no reason given"
            self._answer = AuthorizationError(f"its authorization server refused the login ({shown})")
            said = f"The login was refused ({shown})."
        self._answered.set()
        return said


class PastingBrowser(LoginBrowser):
    """For a machine that the browser cannot reach: the address that it ends at is pasted here."""

    async def answer(self) -> AuthorizationCodeResult:
        """What was pasted.

        Raises:
            AuthorizationError: a refusal.
        """
        click.echo("Then paste the address that the browser ends at, which may be a page that does not load:", err=True)
        while not self._answered.is_set():
            pasted = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
            if not pasted:
                raise AuthorizationError("no address was pasted")
            if self.take(urlsplit(pasted.strip()).query) is None:
                click.echo("That is not the address of this login; try again:", err=True)
        return await super().answer()


@asynccontextmanager
async def listening_browser(
    redirect_uri: str, *, fallback: bool, open_browser: bool
) -> AsyncGenerator[LoginBrowser, None]:
    """A browser that comes back to `redirect_uri`; its port 0 means any. With `fallback` any other one will do.

    Raises:
        CommandError: the port is in use.
    """
    parts = urlsplit(redirect_uri)
    host, port = parts.hostname or "127.0.0.1", parts.port or 0
    local = "127.0.0.1" if host == "localhost" else host
    try:
        listener = await anyio.create_tcp_listener(local_host=local, local_port=port)
    except OSError as error:
        if not fallback:
            raise CommandError(
                f"port {port}, where the login comes back to, cannot be used: {error.strerror}"
            ) from None
        listener = await anyio.create_tcp_listener(local_host=local, local_port=0)
    bound: int = listener.extra(anyio.abc.SocketAttribute.local_port)
    shown = f"[{host}]" if ":" in host else host
    browser = LoginBrowser(f"http://{shown}:{bound}{parts.path or '/'}", open_browser=open_browser)

    async def serve(stream: anyio.abc.SocketStream) -> None:
        await _serve(stream, parts.path or "/", browser)

    problem: OrchestratorError | None = None
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        try:
            yield browser
        except OrchestratorError as error:
            problem = error  # not as a part of a group
        tasks.cancel_scope.cancel()
    if problem is not None:
        raise problem


async def _serve(stream: anyio.abc.SocketStream, path: str, browser: LoginBrowser) -> None:
    """Answer one request of the browser."""
    async with stream:
        with anyio.move_on_after(10):
            head = b""
            try:
                while b"\r\n\r\n" not in head and len(head) < _LONGEST_REQUEST:
                    head += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return
            words = head.partition(b"\r\n")[0].decode("ascii", "replace").split(" ")
            target = urlsplit(words[1]) if len(words) == 3 and words[0] == "GET" else None
            said = browser.take(target.query) if target is not None and target.path == path else None
            status = "404 Not Found" if said is None else "200 OK"
            page = f"<!doctype html><meta charset=utf-8><title>orchestrator</title><p>{html.escape(said or status)}"
            body = page.encode()
            try:
                await stream.send(f"HTTP/1.1 {status}\r\n{_HEADERS}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            except anyio.BrokenResourceError:
                return


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
