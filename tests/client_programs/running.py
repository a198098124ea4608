"""A running service with the demo model, a server of tools, and services over scripted engines for what that model cannot do."""

import json
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import anyio
from anyio.from_thread import start_blocking_portal

from orchestrator.core.commands import Generate
from orchestrator.core.items import ImageInput, TextInput
from orchestrator.core.models import Model, ReasoningSupport
from orchestrator.core.prompt import UserMessage
from orchestrator.testing import SCRIPTED_MODEL, Say, ScriptedEngine, Stall, Think
from tests.api.house import house, served
from tests.e2e.adder import running_adder
from tests.e2e.running import DEMO_MODEL, running_service

STORY, PICTURE, PUZZLE, FIRST = "Tell me a story.", "What is this?", "Solve it.", "What did I say first?"
PICTURE_DIGEST = "53f01d18fd6a"
"""Of the picture that the programs show, as they send it."""
EMBEDDER = "test/embedder"
ALL_SEEING = Model(
    SCRIPTED_MODEL,
    "scripted",
    "llm",
    "test",
    "Scripted",
    max_context_length=4096,
    vision=True,
    trained_for_tool_use=True,
    reasoning=ReasoningSupport(("off", "low", "medium", "high", "on"), "off"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """What a program is told of where things are."""

    url: str
    model: str
    mcp_url: str
    scripted_url: str
    scripted_model: str
    guarded_url: str
    embedder_url: str
    embedder_model: str

    def argument(self, **more: str) -> str:
        """As programs read it, with what is told to one of them."""
        return json.dumps(asdict(self) | more)


@contextmanager
def running_place(data_dir: Path) -> Generator[Place]:
    """All of it, for as long as the context lasts."""
    with (
        running_service(data_dir) as service,
        running_adder() as adder,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_scripted_services()) as (scripted, guarded, embedder),
    ):
        yield Place(service.url, DEMO_MODEL, adder, scripted, SCRIPTED_MODEL, guarded, embedder, EMBEDDER)


def scripted_turn(request: Generate) -> Sequence[Say | Stall | Think]:
    """What the model that sees and thinks says; nothing ends its stories."""
    asked = [message for message in request.messages if isinstance(message, UserMessage)]
    said = "".join(part.content for part in asked[-1].parts if isinstance(part, TextInput))
    if STORY in said:
        return [Say("Once upon a time"), Stall(anyio.Event())]
    if PUZZLE in said:
        return [Think("Let me see."), Say(f"I thought at '{request.reasoning}'.")]
    if PICTURE in said:
        (picture,) = [part for part in asked[-1].parts if isinstance(part, ImageInput)]
        return [Say(f"A picture, {digest(picture.data_url)}.")]
    if FIRST in said:
        return [Say("".join(part.content for part in asked[0].parts if isinstance(part, TextInput)))]
    return [Say("Hi.")]


def digest(data_url: str) -> str:
    """By which a picture is known again."""
    return sha256(data_url.encode()).hexdigest()[:12]


@asynccontextmanager
async def _scripted_services() -> AsyncGenerator[tuple[str, str, str]]:
    """One that writes one reply at a time, one that wants a token, one that embeds."""
    embedder = ScriptedEngine([[]], model=Model(EMBEDDER, "scripted", "embedding", "test", "Embedder"))
    async with (
        house(ScriptedEngine(scripted_turn, model=ALL_SEEING, parallel=1)) as scripted,
        served(scripted.app) as scripted_http,
        house(require_authentication=True) as guarded,
        served(guarded.app) as guarded_http,
        house(embedder) as embedding,
        served(embedding.app) as embedder_http,
    ):
        yield str(scripted_http.base_url), str(guarded_http.base_url), str(embedder_http.base_url)
