"""`orchestrator plugins login` and `logout`: the real program, a browser that agrees to everything."""

import json
import sys
import webbrowser
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from click.testing import Result

from tests.cli.program import ROOT, one_line, run
from tests.integrations.harness import serving
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.programs.oauth_app import OAuthApp

pytestmark = pytest.mark.anyio

BROWSER = """
import sys, urllib.request
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1]) as page:
    sys.exit(0 if b"This window can be closed" in page.read() else 1)
"""


class Desk:
    """An `mcp.json` with one plugin, a data directory, and a browser."""

    def __init__(self, folder: Path, app: OAuthApp, origin: str) -> None:
        self.folder = folder
        self.app = app
        self.entry: dict[str, Any] = {"url": f"{origin}/mcp"}
        self.origin = origin
        (folder / "browser.py").write_text(BROWSER)

    async def run(self, *arguments: str, stdin: str | None = None) -> Result:
        """`orchestrator plugins …`, beside the servers of the test."""
        (self.folder / "mcp.json").write_text(json.dumps({"mcpServers": {"x": self.entry}}))

        def command() -> Result:
            return run(
                "plugins",
                *arguments,
                stdin=stdin,
                DATA_DIR=str(self.folder / "data"),
                MCP_CONFIG=str(self.folder / "mcp.json"),
            )

        return await anyio.to_thread.run_sync(command)


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Desk]:
    app = OAuthApp()
    async with serving(app) as origin:
        app.configure(origin)
        desk = Desk(tmp_path, app, origin)
        # The module looks at the variable once in a process.
        monkeypatch.setattr(webbrowser, "_tryorder", None)
        monkeypatch.setattr(webbrowser, "_browsers", {})
        monkeypatch.setenv("BROWSER", f"{sys.executable} {tmp_path / 'browser.py'} %s")
        yield desk


async def test_a_login_goes_through_the_browser_and_is_kept(desk: Desk) -> None:
    done = await desk.run("login", "mcp/x")
    assert done.exit_code == 0, done.output
    assert one_line(done.stdout) == f"logged in to mcp/x at {desk.origin}; it offers 2 tools"
    assert "To log in, open this address in a browser:" in done.stderr
    (token,) = desk.app.authority.access
    again = await desk.run("login", "X", "--json")
    assert json.loads(again.stdout) == {
        "plugin": "mcp/x",
        "login_needed": True,
        "authorization_server": desk.origin,
        "scope": "read",
        "expires_at": json.loads(again.stdout)["expires_at"],
        "renewed_by_itself": True,
        "tools": 2,
    }
    assert desk.app.registrations == 1  # the browser came back to the same place, so the client is the same
    kept = b"".join(path.read_bytes() for path in (desk.folder / "data").iterdir())
    assert token.encode() not in kept
    assert token not in done.output + again.output


async def test_a_logout_revokes_and_forgets(desk: Desk) -> None:
    await desk.run("login", "mcp/x")
    done = await desk.run("logout", "mcp/x")
    assert (done.exit_code, one_line(done.stdout)) == (0, "logged out of mcp/x")
    assert desk.app.authority.access == {}
    again = await desk.run("logout", "mcp/x")
    assert (again.exit_code, one_line(again.stderr)) == (1, "orchestrator: there is no login to mcp/x")


async def test_a_plugin_that_is_gone_can_be_logged_out_of(desk: Desk) -> None:
    await desk.run("login", "mcp/x")
    desk.entry = {"command": "true"}
    done = await desk.run("logout", "MCP/X")
    assert done.exit_code == 0
    assert one_line(done.stdout).startswith("logged out of mcp/x; its tokens are forgotten here and may still be valid")


async def test_where_the_browser_is_elsewhere_the_address_is_pasted(desk: Desk, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "orchestrator", "plugins", "login", "mcp/x", "--paste", "--no-browser"]
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"x": desk.entry}}))
    environ = {
        "ORCHESTRATOR_DATA_DIR": str(tmp_path / "data"),
        "ORCHESTRATOR_MCP_CONFIG": str(tmp_path / "mcp.json"),
        "ORCHESTRATOR_MCP_USER_CONFIG": "/nonexistent/mcp.json",
    }
    async with await anyio.open_process(program, cwd=ROOT, env=environ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        said = b""
        with anyio.fail_after(60):
            while b"paste the address" not in said:
                said += await process.stderr.receive()
            url = next(line for line in said.decode().splitlines() if line.startswith("http"))
            async with httpx2.AsyncClient(trust_env=False) as client:
                location = (await client.get(url)).headers["location"]
            await process.stdin.send(b"http://127.0.0.1:1/?code=x&state=made-up\n" + location.encode() + b"\n")
            out = b"".join([part async for part in process.stdout])
    assert out.decode() == f"logged in to mcp/x at {desk.origin}; it offers 2 tools\n"
    assert process.returncode == 0


async def test_a_refusal_in_the_browser_is_said_once(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "browser.py").write_text(
        "import sys, urllib.parse, urllib.request\n"
        "query = urllib.parse.parse_qs(urllib.parse.urlsplit(sys.argv[1]).query)\n"
        "back = {'error': 'access_denied', 'error_description': 'not <b>today</b>', 'state': query['state'][0]}\n"
        "opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
        "page = opener.open(query['redirect_uri'][0] + '?' + urllib.parse.urlencode(back)).read()\n"
        "assert b'not &lt;b&gt;today' in page\n"
    )
    done = await desk.run("login", "mcp/x")
    assert done.exit_code == 1
    assert done.stderr.count("To log in") == 1
    assert done.stderr.endswith(
        "orchestrator: The plugin 'mcp/x' could not be started (stage: authorise): "
        "its authorization server refused the login (access_denied: not <b>today</b>).\n"
    )


async def test_a_port_that_is_in_use_is_said_where_the_file_names_it(desk: Desk) -> None:
    taken = int(desk.origin.rpartition(":")[2])
    desk.entry["oauth"] = {"redirect_port": taken}
    done = await desk.run("login", "mcp/x")
    assert done.exit_code == 1
    assert f"port {taken}, where the login comes back to, cannot be used" in done.stderr


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"command": "true"}, "is a program on this machine, which has no login"),
    ({"url": "http://127.0.0.1:1/", "oauth": False}, "has no login, as mcp.json has it"),
    ({"url": "http://127.0.0.1:1/", "headers": {"Authorization": "x"}}, "has no login, as mcp.json has it"),
    ({"url": "http://127.0.0.1:1/", "disabled": True}, "is disabled in mcp.json"),
    ({"url": "http://127.0.0.1:1/"}, "(stage: connect): connection refused"),
]


@pytest.mark.parametrize(("entry", "reason"), REFUSED)
async def test_what_cannot_be_logged_in_to_is_said(desk: Desk, entry: dict[str, Any], reason: str) -> None:
    desk.entry = entry
    done = await desk.run("login", "mcp/x")
    assert done.exit_code == 1
    assert reason in one_line(done.stderr)


async def test_a_server_that_asks_nobody_is_told_apart(desk: Desk) -> None:
    async with serving(FaultyApp()) as origin:
        desk.entry = {"url": f"{origin}/fine"}
        done = await desk.run("login", "mcp/x")
    assert (done.exit_code, one_line(done.stdout)) == (0, "mcp/x asks for no login; it offers 2 tools")


async def test_a_server_that_asks_only_for_some_tools_is_logged_in_to_beforehand(desk: Desk) -> None:
    desk.entry = {"url": f"{desk.origin}/open"}
    done = await desk.run("login", "mcp/x")
    assert one_line(done.stdout) == f"logged in to mcp/x at {desk.origin}; it offers 2 tools"


async def test_a_plugin_that_there_is_not_is_said_with_those_there_are(desk: Desk) -> None:
    done = await desk.run("login", "mcp/y")
    assert "Cannot find plugin 'mcp/y'. Installed plugins: mcp/x." in one_line(done.stderr)


async def test_only_the_state_that_was_sent_is_heard(desk: Desk, tmp_path: Path) -> None:
    """Another page of the same browser may knock at the port; it does not end the login."""
    (tmp_path / "browser.py").write_text(
        "import sys, urllib.error, urllib.parse, urllib.request\n"
        "query = urllib.parse.parse_qs(urllib.parse.urlsplit(sys.argv[1]).query)\n"
        "opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
        "for path in ('?code=x&state=y', '?error=x', '/other?code=x'):\n"
        "    try:\n"
        "        opener.open(query['redirect_uri'][0] + path)\n"
        "    except urllib.error.HTTPError as error:\n"
        "        assert error.code == 404\n"
        "opener.open(sys.argv[1]).read()\n"
    )
    done = await desk.run("login", "mcp/x")
    assert done.exit_code == 0, done.output
