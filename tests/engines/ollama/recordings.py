"""Exchanges with a real Ollama, kept as files: written by a proxy before it, answered from by a server without it.

A file is JSON lines: the version, then one exchange a line. A line of a reply that is compact JSON stands as that JSON,
one that differs from the one before it by its text (and its time, which nobody reads) as that text, any other as a
string. Of a reply that its client did not wait for, the beginning is kept.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx

from orchestrator.core.json_types import JsonObject, JsonValue, parse_object
from tests.engines.ollama.loopback import Answer, Asked, LoopbackServer, Piece, loopback

FOLDER: Final = Path(__file__).parent / "recordings"
RECORD: Final = "ORCHESTRATOR_RECORD_OLLAMA"
"""The version of the Ollama that is being recorded; set by `record.py`."""
LEFT_AFTER: Final = 40
"""How many lines are kept of a reply that its client left."""

_LEFT_OUT: Final = ("modelfile", "template", "tensors", "license")
"""Long, or full of the paths of the machine, and read by nobody here."""


@dataclass(slots=True)
class Exchange:
    """A request and the lines of its reply; `left` says that the client went away before its end."""

    asked: Asked
    status: int = 0
    content_type: str = ""
    lines: list[bytes] = field(default_factory=list[bytes])
    left: bool = True

    def answer(self) -> Answer:
        """The reply again. Who left it once is expected to leave it again."""
        pieces: list[Piece] = [*self.lines, *([anyio.Event()] if self.left else [])]
        return Answer(pieces, self.status, {"Content-Type": self.content_type})


@asynccontextmanager
async def replayed(name: str) -> AsyncGenerator[LoopbackServer]:
    """Ollama as it was recorded. Every request must be one of the recording's, byte for byte of its JSON; the first
    that has not been answered yet is.

    Raises:
        AssertionError: a request that was not recorded, or one that was and did not come.
    """
    left = _read(name)
    strangers: list[Asked] = []

    async def answer(asked: Asked) -> Answer:
        for place, exchange in enumerate(left):
            if exchange.asked == asked:
                return left.pop(place).answer()
        strangers.append(asked)
        return Answer((b'{"error": "this request is not in the recording"}',), 599)

    async with loopback(answer) as server:
        yield server
    message = f"recordings/{name}.jsonl is not what was asked: record it anew (tests/engines/ollama/record.py)"
    assert (strangers, [exchange.asked for exchange in left]) == ([], []), message


@asynccontextmanager
async def recorded(name: str, host: str, version: str) -> AsyncGenerator[LoopbackServer]:
    """The Ollama at `host`, with everything that is said written down when it is over."""
    exchanges: list[Exchange] = []

    async def answer(asked: Asked) -> Answer:
        exchange = Exchange(asked)
        exchanges.append(exchange)
        client = httpx.AsyncClient(base_url=host, timeout=60, trust_env=False)
        response = await client.send(client.build_request(asked.method, asked.path, json=asked.body), stream=True)
        exchange.status, exchange.content_type = response.status_code, response.headers["content-type"]

        async def relay() -> AsyncGenerator[bytes]:
            whole = b""
            try:
                async for data in response.aiter_bytes():
                    whole += data
                    yield data
                exchange.left = False
            except httpx.RemoteProtocolError:
                exchange.left = False
                raise
            finally:
                exchange.lines = whole.splitlines(keepends=True)
                await client.aclose()

        return Answer(relay(), exchange.status, {"Content-Type": exchange.content_type})

    async with loopback(answer) as server:
        yield server
    assert all(exchange.status for exchange in exchanges), "Ollama left a request without an answer: record it again"
    _write(name, version, exchanges)


def _write(name: str, version: str, exchanges: list[Exchange]) -> None:
    lines: list[JsonObject] = [{"ollama": version}, *map(_as_json, exchanges)]
    path = FOLDER / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")


def _as_json(exchange: Exchange) -> JsonObject:
    asked = exchange.asked
    kept = exchange.lines[: LEFT_AFTER if exchange.left else None]
    lines: list[Any] = _shortened([_compacted(line) for line in kept])
    if asked.path == "/api/show" and exchange.status == 200:
        shown: dict[str, Any] = {
            word: value for word, value in json.loads(b"".join(exchange.lines)).items() if word not in _LEFT_OUT
        }
        shown["details"].pop("parent_model", None)
        facts = shown["model_info"].items()
        shown["model_info"] = {word: value for word, value in facts if not word.startswith("tokenizer.")}
        lines = [shown]
    head: JsonObject = {"method": asked.method, "path": asked.path, "body": asked.body}
    said: JsonObject = {"status": exchange.status, "type": exchange.content_type, "lines": lines}
    return {**head, **said, "left": True} if exchange.left else {**head, **said}


def _compacted(line: bytes) -> JsonValue:
    text = line.decode()
    value = parse_object(text)
    return value if value is not None and _spelled(value, ended=text.endswith("\n")) == line else text


def _spelled(value: JsonValue, *, ended: bool) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" * ended


def _shortened(lines: list[JsonValue]) -> list[JsonValue]:
    short: list[JsonValue] = []
    before: JsonValue = None
    for line in lines:
        text = _text_of(line)
        short.append(line if text is None or _with_text(before, text, line) != line else {"text": text})
        before = line
    return short


def _whole(lines: list[JsonValue], *, ended: bool) -> list[bytes]:
    before: JsonValue = None
    spelled: list[bytes] = []
    for line in lines:
        if isinstance(line, dict) and line.keys() == {"text"}:
            before = _with_text(before, line["text"], before)
        else:
            before = line
        spelled.append(_spelled(before, ended=ended))
    return spelled


def _text_of(line: JsonValue) -> JsonValue:
    message = line.get("message") if isinstance(line, dict) else None
    return message.get("content") if isinstance(message, dict) else None


def _with_text(line: JsonValue, text: JsonValue, timed_as: JsonValue) -> JsonValue:
    """`line` with another text, and with the time of another."""
    message = line.get("message") if isinstance(line, dict) else None
    if not (isinstance(line, dict) and isinstance(message, dict) and isinstance(timed_as, dict)):
        return None
    return {**line, "created_at": timed_as.get("created_at"), "message": {**message, "content": text}}


def _read(name: str) -> list[Exchange]:
    path = FOLDER / f"{name}.jsonl"
    assert path.exists(), (
        f"nothing is recorded for this test: record it (tests/engines/ollama/record.py makes {path.name})"
    )
    _, *entries = map(json.loads, path.read_text("utf-8").splitlines())
    return [
        Exchange(
            Asked(entry["method"], entry["path"], entry["body"]),
            entry["status"],
            entry["type"],
            _whole(entry["lines"], ended="ndjson" in entry["type"]),
            entry.get("left", False),
        )
        for entry in entries
    ]


@asynccontextmanager
async def staged(name: str, host: str | None, version: str | None) -> AsyncGenerator[str]:
    """Where the Ollama of a test listens: the real one at `host`, recorded where a `version` is given, or its recording."""
    if host is None:
        async with replayed(name) as server:
            yield server.host
    elif version is None:
        yield host
    else:
        async with recorded(name, host, version) as server:
            yield server.host
