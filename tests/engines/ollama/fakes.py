"""An Ollama that says what a test wants it to say."""

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from orchestrator.core.errors import ErrorInfo, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import Model
from orchestrator.engines.ollama.engine import OllamaEngine
from tests.engines.ollama.loopback import Answer, Asked, LoopbackServer, Piece, loopback
from tests.engines.samples import Written, ask, written

KEY: Final = "some/model:latest"
MODEL: Final = Model(KEY, "ollama", "llm", "some", "some/model", max_context_length=4096)
JSON: Final = {"Content-Type": "application/json"}
TAG: Final[JsonObject] = {"model": KEY, "digest": "d1", "size": 5, "details": {"format": "gguf", "family": "llama"}}
SHOWN: Final[JsonObject] = {
    "details": {"format": "gguf", "family": "llama", "parameter_size": "1B", "quantization_level": "Q4_0"},
    "model_info": {"general.architecture": "llama", "llama.context_length": 4096},
    "capabilities": ["completion"],
}


def line(content: str = "", *, done: bool = False, **words: object) -> bytes:
    document = {"message": {"role": "assistant", "content": content}, "done": done, **words}
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def as_json(document: JsonObject, status: int = 200) -> Answer:
    return Answer((json.dumps(document).encode(),), status, JSON)


@dataclass(slots=True)
class Fake:
    """An Ollama with one model in memory; `chat` are the pieces of its next replies."""

    chat: Answer
    tags: Answer
    ps: Answer
    show: Answer

    async def answer(self, asked: Asked) -> Answer:
        match asked.path:
            case "/api/tags":
                return self.tags
            case "/api/ps":
                return self.ps
            case "/api/show":
                return self.show
            case _:
                return self.chat


@dataclass(frozen=True, slots=True)
class Bench:
    """An engine before a fake."""

    fake: Fake
    server: LoopbackServer
    engine: OllamaEngine

    def says(self, *pieces: Piece, status: int = 200) -> None:
        self.fake.chat = Answer(pieces, status)

    async def turn(self) -> Written:
        return await written(self.engine.generate(MODEL, KEY, ask("Hello!")))

    async def refused(self) -> ErrorInfo:
        with pytest.raises(OrchestratorError) as caught:
            await self.turn()
        return caught.value.info

    async def unlisted(self) -> ErrorInfo:
        with pytest.raises(OrchestratorError) as caught:
            await self.engine.models()
        return caught.value.info


@asynccontextmanager
async def fake_ollama() -> AsyncGenerator[Bench]:
    """A fake with one model, which is in memory, and an engine with little patience."""
    fake = Fake(
        chat=Answer((line(done=True, done_reason="stop"),)),
        tags=as_json({"models": [TAG]}),
        ps=as_json({"models": [{"model": KEY, "context_length": 4096}]}),
        show=as_json(SHOWN),
    )
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(loopback(fake.answer))
        engine = OllamaEngine(server.host, answer_seconds=0.3, load_seconds=0.3, silence_seconds=0.3)
        stack.push_async_callback(engine.aclose)
        yield Bench(fake, server, engine)
