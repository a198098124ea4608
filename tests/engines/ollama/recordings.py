"""Exchanges with a real Ollama, kept as files: written by a proxy before it, answered from by a server without it."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from orchestrator.core.json_types import JsonObject, JsonValue
from tests.engines.ollama.loopback import Answer, Asked, LoopbackServer, loopback

FOLDER: Final = Path(__file__).parent / "recordings"

_LEFT_OUT: Final = ("modelfile", "template", "tensors", "license")
"""Long, or full of the paths of the machine, and read by nobody here."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and the pieces of its reply."""

    asked: Asked
    status: int
    content_type: str
    pieces: list[bytes]

    def answer(self) -> Answer:
        return Answer(self.pieces, self.status, {"Content-Type": self.content_type})


@asynccontextmanager
async def replayed(name: str) -> AsyncGenerator[LoopbackServer]:
    """Ollama as it was recorded. Every request must be one of the recording's, byte for byte of its JSON; the first
    that has not been answered yet is."""
    left = _read(name)
    strangers: list[Asked] = []

    async def answer(asked: Asked) -> Answer:
        for place, exchange in enumerate(left):
            if exchange.asked == asked:
                return left.pop(place).answer()
        strangers.append(asked)
        return Answer((b"not recorded",), 599)

    async with loopback(answer) as server:
        yield server
    assert (strangers, left) == ([], [])


@asynccontextmanager
async def recorded(name: str, host: str, version: str) -> AsyncGenerator[LoopbackServer]:
    """The Ollama at `host`, with everything that is said written down when it is over."""
    exchanges: list[Exchange] = []

    async def answer(asked: Asked) -> Answer:
        client = httpx.AsyncClient(base_url=host, timeout=60, trust_env=False)
        response = await client.send(client.build_request(asked.method, asked.path, json=asked.body), stream=True)
        exchange = Exchange(asked, response.status_code, response.headers["content-type"], [])
        exchanges.append(exchange)

        async def relay() -> AsyncGenerator[bytes]:
            try:
                async for data in response.aiter_bytes():
                    exchange.pieces.append(data)
                    yield data
            finally:
                await client.aclose()

        return Answer(relay(), exchange.status, {"Content-Type": exchange.content_type})

    async with loopback(answer) as server:
        yield server
    _write(name, version, exchanges)


def _write(name: str, version: str, exchanges: list[Exchange]) -> None:
    document = {"ollama": version, "exchanges": [_as_json(exchange) for exchange in exchanges]}
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text + "\n", "utf-8")


def _as_json(exchange: Exchange) -> JsonObject:
    asked, body = exchange.asked, b"".join(exchange.pieces)
    lines: list[JsonValue] = [line.decode() for line in body.splitlines(keepends=True)]
    if asked.path == "/api/show" and exchange.status == 200:
        shown = {word: value for word, value in json.loads(body).items() if word not in _LEFT_OUT}
        shown["details"].pop("parent_model", None)
        lines = [json.dumps(shown)]
    return {
        "asked": {"method": asked.method, "path": asked.path, "body": asked.body},
        "answer": {"status": exchange.status, "content_type": exchange.content_type, "lines": lines},
    }


def _read(name: str) -> list[Exchange]:
    document = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return [
        Exchange(
            Asked(**entry["asked"]),
            entry["answer"]["status"],
            entry["answer"]["content_type"],
            [line.encode() for line in entry["answer"]["lines"]],
        )
        for entry in document["exchanges"]
    ]
