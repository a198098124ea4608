"""The layer between the edge and the routes that makes LM Studio's routes strict."""

from functools import partial
from typing import Final

from litestar.types import ASGIApp, HTTPResponseStartEvent, HTTPScope, Message, Receive, Scope, Send

from orchestrator.api.errors import OK, remember_retelling
from orchestrator.api.strict_lmstudio.errors import is_theirs, retold
from orchestrator.api.strict_lmstudio.shaping import shape_of, strict_body

_LENGTH: Final = b"content-length"


class StrictLayer:
    """An ASGI app around the routes: their errors and replies without extensions."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what is no route of LM Studio's passes as it is, but for unknown ones."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        remember_retelling(scope, partial(retold, scope))
        if is_theirs(scope["path"]):
            send = _Sender(scope, send)
        await self._app(scope, receive, send)


class _Sender:
    """Shapes the bodies of replies that have extensions."""

    def __init__(self, scope: HTTPScope, send: Send) -> None:
        self._shape = shape_of(scope["method"], scope["path"])
        self._send = send
        self._held: HTTPResponseStartEvent | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == OK and self._shape is not None:
                self._held = message
                return
        elif message["type"] == "http.response.body" and self._held is not None and self._shape is not None:
            self._body += message["body"]
            if message["more_body"]:
                return
            start, self._held = self._held, None
            body = strict_body(self._shape, self._body)
            others = [pair for pair in start["headers"] if pair[0].lower() != _LENGTH]
            start["headers"] = [*others, (_LENGTH, b"%d" % len(body))]
            await self._send(start)
            message["body"] = body
        await self._send(message)
