"""A streamable-HTTP server that misbehaves as its path says; the handshake's family is the older one."""

import gzip
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import anyio

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TOOLS: list[dict[str, Any]] = [{"name": name, "inputSchema": {"type": "object"}} for name in ("first", "second")]


@dataclass
class Request:
    """What arrived: the method of HTTP, the path, the headers in lower case, the message."""

    method: str
    path: str
    headers: dict[str, str]
    message: dict[str, Any]

    @property
    def rpc(self) -> str:
        return self.message.get("method", "")


@dataclass
class FaultyApp:
    """An ASGI application; `seen` is what it was asked, `elsewhere` where its redirects lead,
    `forgotten` the sessions that it knows no more.

    `hanging` is set once it leaves somebody without an answer.
    """

    elsewhere: str = "http://192.0.2.1/"
    seen: list[Request] = field(default_factory=list[Request])
    forgotten: set[str] = field(default_factory=set[str])
    sessions: int = 0
    calls: int = 0
    tools: list[dict[str, Any]] = field(default_factory=lambda: list(TOOLS))
    hanging: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        request = Request(scope["method"], scope["path"], headers, json.loads(body) if body else {})
        self.seen.append(request)
        await self.answer(request, Reply(send, receive, self.hanging))

    async def answer(self, request: Request, reply: "Reply") -> None:
        mode = request.path.strip("/")
        if mode.isdigit():
            return await reply.status(int(mode))
        match mode:
            case "405-and-500" if request.method == "POST":
                return await reply.status(405)
            case "405-and-500":
                return await reply.status(500)
            case "400-and-hangs" if request.method == "POST":
                return await reply.status(400)
            case "400-and-hangs":
                return await reply.hang()
            case "400-in-MCP":
                refused = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "not in this way"}}
                return await reply.send(400, json.dumps(refused).encode(), "application/json")
            case "redirect-away":
                return await reply.status(307, location=self.elsewhere)
            case "redirect-within":
                return await reply.status(308, location="/fine?again=1")
            case "redirect-for-ever":
                return await reply.status(307, location="/redirect-for-ever")
            case "redirect-upgrade":
                return await reply.status(307, location=f"https://{request.headers['host']}/fine")
            case "says-hello":
                return await reply.send(200, b"<html>Hello</html>", "text/html")
            case "compresses":
                return await reply.send(
                    200, gzip.compress(b"0" * 10_000_000), "application/json", **{"content-encoding": "gzip"}
                )
            case "hangs":
                return await reply.hang()
            case _:
                return await self.speak(mode, request, reply)

    async def speak(self, mode: str, request: Request, reply: "Reply") -> None:
        id_ = request.message.get("id")
        if request.method != "POST":
            if mode == "hangs-at-the-end" and request.method == "DELETE":
                return await reply.hang()
            return await reply.status(200 if request.method == "DELETE" else 405)
        if id_ is None:
            return await reply.status(202)
        if request.headers.get("mcp-session-id") in self.forgotten:
            return await reply.status(404)
        match request.rpc:
            case "initialize":
                self.sessions += 1
                result: dict[str, Any] = {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "faulty", "version": "0"},
                }
                await reply.result(id_, result, **{"mcp-session-id": f"s{self.sessions}"})
            case "tools/list":
                if mode == "hangs-at-list":
                    await reply.hang()
                if mode in ("fails-at-list", "404-at-list"):
                    return await reply.status(500 if mode == "fails-at-list" else 404)
                await reply.result(id_, {"tools": self.tools})
            case "tools/call":
                await self.call(mode, request, reply)
            case _:
                await reply.send(400, b"", "text/plain")

    async def call(self, mode: str, request: Request, reply: "Reply") -> None:
        id_ = request.message["id"]
        if request.message["params"]["name"] not in [tool["name"] for tool in self.tools]:
            error: dict[str, Any] = {"code": -32602, "message": f"Unknown tool: {request.message['params']['name']}"}
            return await reply.json({"jsonrpc": "2.0", "id": id_, "error": error})
        if request.message["params"]["name"] == "second":
            return await reply.result(id_, {"content": [{"type": "text", "text": request.headers["mcp-session-id"]}]})
        match mode:
            case "forgets-the-session":
                if request.headers["mcp-session-id"] == "s1":
                    return await reply.status(404)
                await reply.result(id_, {"content": []})
            case "fails-in-the-call":
                await reply.status(503)
            case "refuses-in-the-call":
                error = {"code": -32001, "message": "no credit left"}
                body = json.dumps({"jsonrpc": "2.0", "id": id_, "error": error}).encode()
                await reply.send(402, body, "application/json")
            case "breaks-off" | "breaks-off-both":
                self.calls += 1
                while mode == "breaks-off-both" and self.calls < 2:
                    await anyio.lowlevel.checkpoint()
                await reply.begin(200, "application/json", **{"content-length": "1000"})
                await reply.end(b'{"jsonrpc"')
            case "ends-the-stream":
                await reply.begin(200, "text/event-stream")
                await reply.end(b": nothing\n\n")
            case "sends-too-much":
                await reply.begin(200, "application/json")
                for _ in range(100):  # further than anybody listens
                    await reply.more(b"x" * 1_000_000)
                await reply.end(b"")
            case "answers-another-call":
                await reply.json({"jsonrpc": "2.0", "id": 4711, "result": {"content": []}})
            case "answers-with-garbage":
                await reply.send(200, b"{not json", "application/json")
            case "floods":
                await reply.begin(200, "text/event-stream")
                params: dict[str, Any] = {"level": "info", "data": "a line"}
                note = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": params}).encode()
                for _ in range(10):
                    await reply.more((b"event: message\ndata: " + note + b"\n\n") * 100)
                last = {"jsonrpc": "2.0", "id": id_, "result": {"content": [{"type": "text", "text": "fine"}]}}
                await reply.end(b"event: message\ndata: " + json.dumps(last).encode() + b"\n\n")
            case "grows":
                self.tools = [*TOOLS, {"name": "third", "inputSchema": {"type": "object"}}]
                await reply.result(id_, {"content": [{"type": "text", "text": "fine"}]})
            case "withdraws-its-tools":
                self.tools = TOOLS[:1]
                await reply.result(id_, {"content": [{"type": "text", "text": "fine"}]})
            case "streams":
                await reply.begin(200, "text/event-stream")
                message = {
                    "jsonrpc": "2.0",
                    "id": id_,
                    "result": {"content": [{"type": "text", "text": "y" * 5_000_000}]},
                }
                await reply.end(b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n")
            case "echoes-the-key":
                key = request.headers.get("authorization", "")
                error = {"code": -32001, "message": f"not allowed with {key}"}
                await reply.json({"jsonrpc": "2.0", "id": id_, "error": error})
            case "hangs-in-the-call":
                await reply.hang()
            case _:
                await reply.result(id_, {"content": [{"type": "text", "text": "fine"}]})


@dataclass
class Reply:
    _send: Send
    _receive: Receive
    _hanging: anyio.Event

    async def hang(self) -> None:
        """Say nothing until the client is gone."""
        self._hanging.set()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, status: int, content_type: str, **headers: str) -> None:
        fields = {"content-type": content_type, **headers}
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
            }
        )

    async def more(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body})

    async def send(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        await self.begin(status, content_type, **headers)
        await self.end(body)

    async def status(self, status: int, **headers: str) -> None:
        await self.send(status, b"", "text/plain", **headers)

    async def json(self, message: dict[str, Any], **headers: str) -> None:
        await self.send(200, json.dumps(message).encode(), "application/json", **headers)

    async def result(self, id_: object, result: dict[str, Any], **headers: str) -> None:
        await self.json({"jsonrpc": "2.0", "id": id_, "result": result}, **headers)
