"""The command line as a client: it asks a running service over HTTP, like everybody else."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeAlias, TypeVar

import httpx
import msgspec
from rich.console import Console
from rich.text import Text

from orchestrator.api.wire import ChatReply, ErrorEnvelope
from orchestrator.api.wire_events import ChatEnd, ChatStart, ElicitationRequested, WireEvent
from orchestrator.api.wire_models import ModelInfo, ModelList
from orchestrator.api.wire_requests import ChatBody
from orchestrator.cli.command_error import CommandError
from orchestrator.cli.command_settings import stays_here
from orchestrator.cli.event_stream import EventStreamDecoder
from orchestrator.cli.terminal_stream import Piece, TerminalStream, UnknownEvent

TOKEN_VARIABLE = "LM_API_TOKEN"
CONNECT_SECONDS = 5.0
EXTENSIONS_HEADER = "X-Stream-Extensions"
T = TypeVar("T")
Answer: TypeAlias = Callable[[str, ElicitationRequested], Awaitable[None]]
"""Answers what a server asks during the response of that id."""


class ServiceClient:
    """Talks to the service at `url`; a context manager, which closes its connections.

    The API token comes from the environment variable `LM_API_TOKEN`, where there is one.
    """

    def __init__(self, url: str) -> None:
        token = os.environ.get(TOKEN_VARIABLE)
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            # A model may think for as long as it likes: only connecting has a limit.
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            trust_env=not stays_here(self.url),
        )

    async def __aenter__(self) -> "ServiceClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def models(self) -> Sequence[ModelInfo]:
        """Every model of the service.

        Raises:
            CommandError: no service answers, or it refuses.
        """
        return (await self.ask("GET", "/api/v1/models", ModelList)).models

    async def ask(self, method: str, path: str, kind: type[T], body: msgspec.Struct | None = None) -> T:
        """One request and its JSON reply, as a `kind`.

        Raises:
            CommandError: no service answers, or it refuses.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer = await self._http.request(method, path, content=content, headers=headers)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        self._check(answer.status_code, answer.content)
        return self._decoded(answer.content, kind)

    async def default_model(self) -> str:
        """The key of the model to chat with when none is named: one that is loaded, else the first.

        Raises:
            CommandError: there is none.
        """
        models = [model for model in await self.models() if model.type == "llm"]
        if not models:
            raise CommandError(f"the service at {self.url} has no model to chat with")
        return next((model for model in models if model.loaded_instances), models[0]).key

    def chat(self, body: ChatBody, *, extensions: bool = False) -> AsyncGenerator[WireEvent | UnknownEvent, None]:
        """The events of a streamed chat; see `stream`."""
        return self.stream("/api/v1/chat", body, extensions=extensions)

    async def stream(
        self, path: str, body: msgspec.Struct, *, extensions: bool = False
    ) -> AsyncGenerator[WireEvent | UnknownEvent, None]:
        """The events of what `path` streams, `chat.end` last. Closing the generator ends the generation.

        With `extensions` servers are told that somebody answers what they ask.

        Raises:
            CommandError: no service answers, it refuses, or the stream breaks off.
        """
        content, headers = msgspec.json.encode(body), {"Content-Type": "application/json"}
        if extensions:
            headers[EXTENSIONS_HEADER] = "true"
        try:
            async with self._http.stream("POST", path, content=content, headers=headers) as answer:
                if answer.status_code != 200:
                    self._check(answer.status_code, await answer.aread())
                decoder = EventStreamDecoder()
                async for chunk in answer.aiter_bytes():
                    for data in decoder.feed(chunk):
                        event = _event(data)
                        yield event
                        if isinstance(event, ChatEnd):
                            return
        except httpx.ConnectError as error:
            raise self._unreachable(error) from None
        except httpx.TransportError as error:
            raise CommandError(f"the connection to {self.url} broke off: {_reason(error)}") from None
        raise CommandError(f"{self.url} closed the stream before its end")

    def _unreachable(self, error: httpx.TransportError) -> CommandError:
        return CommandError(f"no service answers at {self.url} ({_reason(error)}); start one with: orchestrator serve")

    def _check(self, status: int, content: bytes) -> None:
        if status in (200, 202):
            return
        try:
            said = msgspec.json.decode(content, type=ErrorEnvelope).error.message
        except msgspec.MsgspecError:
            said = f"it does not look like this service (status {status})"
        hint = f" Set {TOKEN_VARIABLE} to an API token." if status == 401 else ""
        raise CommandError(f"{self.url} refused: {said}{hint}")

    def _decoded(self, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.MsgspecError as error:
            raise CommandError(f"{self.url} does not answer as this service does: {error}") from None


async def render_chat(
    client: ServiceClient, body: ChatBody, console: Console, answer: Answer | None = None
) -> ChatReply:
    """Stream a chat to `console` as it comes; returns the reply that closed it. See `render_events`.

    Raises:
        CommandError: no service answers, it refuses, or the stream breaks off.
    """
    return await render_events(client.chat(body, extensions=answer is not None), console, answer)


async def render_events(
    events: AsyncGenerator[WireEvent | UnknownEvent, None], console: Console, answer: Answer | None = None
) -> ChatReply:
    """Print a stream as it comes; returns the reply that closed it. `answer` is given what servers ask.

    Raises:
        CommandError: as the stream does.
    """
    stream, response_id = TerminalStream(), ""
    async with aclosing(events):
        async for event in events:
            print_pieces(console, stream.pieces(event))
            if isinstance(event, ChatStart):
                response_id = event.response_id or ""
            if isinstance(event, ElicitationRequested) and answer is not None:
                await answer(str(response_id), event)
            if isinstance(event, ChatEnd):
                return event.result
    raise AssertionError("a chat ends with chat.end or raises")


def print_pieces(console: Console, pieces: Sequence[Piece]) -> None:
    """Print without wrapping, so that what is copied from the terminal is what was written."""
    for piece in pieces:
        console.print(Text(piece.text, piece.style), end="", soft_wrap=True)


def _event(data: bytes) -> WireEvent | UnknownEvent:
    try:
        return msgspec.json.decode(data, type=WireEvent)
    except msgspec.MsgspecError:
        return UnknownEvent(data.decode("utf-8", "replace"))


def _reason(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
