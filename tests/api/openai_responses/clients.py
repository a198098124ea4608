"""OpenAI's own client, against the application behind a real server."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI

from orchestrator.testing import SCRIPTED_MODEL, FakeServer, ScriptedEngine
from tests.api.house import House, house, served

MODEL = SCRIPTED_MODEL


@asynccontextmanager
async def openai_house(
    engine: ScriptedEngine | None = None, servers: Mapping[str, FakeServer] | None = None, **options: Any
) -> AsyncGenerator[tuple[House, Any]]:
    """The application over twins, and the client of it; its replies are unions of all that OpenAI has."""
    async with house(engine, servers, **options) as api, served(api.app) as http:
        async with AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="lm-studio", max_retries=0) as client:
            yield api, client


def told(value: Any) -> Any:
    """What the client made of a reply, as JSON."""
    return value.model_dump(mode="json", by_alias=True)
