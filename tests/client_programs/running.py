"""A running service with the demo model, a server of tools, and a service whose stories never end."""

import json
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from anyio.from_thread import start_blocking_portal

from orchestrator.core.commands import Generate
from orchestrator.testing import SCRIPTED_MODEL, Say, ScriptedEngine, Stall
from tests.api.house import house, served
from tests.e2e.adder import running_adder
from tests.e2e.running import DEMO_MODEL, running_service

STORY = "Tell me a story."


@dataclass(frozen=True, slots=True)
class Place:
    """What a program is told of where things are."""

    url: str
    model: str
    mcp_url: str
    slow_url: str
    slow_model: str

    @property
    def argument(self) -> str:
        return json.dumps(asdict(self))


@contextmanager
def running_place(data_dir: Path) -> Generator[Place]:
    """All of it, for as long as the context lasts."""
    with (
        running_service(data_dir) as service,
        running_adder() as adder,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_slow_service()) as slow_url,
    ):
        yield Place(service.url, DEMO_MODEL, adder, slow_url, SCRIPTED_MODEL)


@asynccontextmanager
async def _slow_service() -> AsyncGenerator[str]:
    """It writes one reply at a time: whoever asks after a story is answered once the story was given up."""

    def script(request: Generate) -> Sequence[Say | Stall]:
        if STORY in str(request.messages):
            return [Say("Once upon a time"), Stall(anyio.Event())]
        return [Say("Hi.")]

    async with house(ScriptedEngine(script, parallel=1)) as api, served(api.app) as http:
        yield str(http.base_url)
