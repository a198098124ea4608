"""A small HTTP server that speaks as the service does, from a script."""

import json
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from orchestrator.api.wire import ChatReply, ChatStats
from orchestrator.api.wire_events import ChatEnd, ChatStart, MessageDelta, MessageEnd, MessageStart, WireEvent

STATS = ChatStats(10, 2, 0, 20.0, 0.5)
REPLY = ChatReply(
    model_instance_id="demo/tiny-tools", output=[], stats=STATS, response_id="resp_" + "1" * 48, status="completed"
)
HELLO: tuple[WireEvent, ...] = (
    ChatStart("demo/tiny-tools"),
    MessageStart(),
    MessageDelta("Hel"),
    MessageDelta("lo."),
    MessageEnd(),
    ChatEnd(REPLY),
)
MODEL: dict[str, Any] = {
    "type": "llm",
    "publisher": "demo",
    "key": "demo/tiny-tools",
    "display_name": "Tiny",
    "quantization": None,
    "size_bytes": 2_247_200,
    "params_string": "2M",
    "loaded_instances": [],
    "max_context_length": 2048,
    "format": "gguf",
    "engine": "embedded",
}
LOADED: dict[str, Any] = MODEL | {
    "key": "a/b",
    "size_bytes": 5 * 2**30,
    "loaded_instances": [{"id": "a/b", "config": {}}],
}
EMBEDDING: dict[str, Any] = MODEL | {
    "key": "a/embed",
    "type": "embedding",
    "size_bytes": None,
    "max_context_length": None,
}


@dataclass
class Script:
    """What the server answers, and what it was asked. `later` are the streams after the first.

    With `holds` it keeps the stream open after its events.
    """

    events: Sequence[WireEvent] = HELLO
    models: Sequence[dict[str, Any]] = (EMBEDDING, MODEL)
    status: int = 200
    error: str = "no"
    raw: bytes | None = None
    replies: Mapping[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    later: list[Sequence[WireEvent]] = field(default_factory=list[Sequence[WireEvent]])
    gets: Mapping[str, Any] = field(default_factory=dict[str, Any])
    holds: bool = False
    requests: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    authorization: list[str | None] = field(default_factory=list["str | None"])
    streaming: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)


@contextmanager
def served(script: Script) -> Generator[str]:
    """The script at an address of this machine; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._note(None)
            if self.path in script.gets:
                self._answer(200, msgspec.json.encode(script.gets[self.path]))
                return
            self._answer(script.status, json.dumps({"models": list(script.models)}).encode())

        def do_POST(self) -> None:
            self._note(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if script.status != 200:
                self._answer(script.status, b"")
                return
            if self.path in script.replies:
                self._answer(200, json.dumps(script.replies[self.path]).encode())
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            events = script.later.pop(0) if script.later and len(script.requests) > 1 else script.events
            for number, event in enumerate(events, 1):
                data = msgspec.json.encode(event)
                self.wfile.write(b": still here\n\nid: %d\ndata: %s\n\n" % (number, data))
            if script.holds:
                self.wfile.flush()
                script.streaming.set()
                if self.rfile.read(1) == b"":  # the client has closed its side
                    script.left.set()

        def log_message(self, format: str, *args: Any) -> None:
            """Tests have their own output."""

        def _note(self, body: Any) -> None:
            script.requests.append((self.path, body))
            script.authorization.append(self.headers["Authorization"])

        def _answer(self, status: int, body: bytes) -> None:
            error = {"error": {"type": "invalid_request", "message": script.error}}
            content = script.raw if script.raw is not None else body if status == 200 else json.dumps(error).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
