"""Anthropic's own client, against the application behind a real server."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from anthropic import AsyncAnthropic

from orchestrator.testing import FakeServer, ScriptedEngine
from tests.api.house import House, house, served


@asynccontextmanager
async def anthropic_house(
    engine: ScriptedEngine | None = None, servers: Mapping[str, FakeServer] | None = None, **options: Any
) -> AsyncGenerator[tuple[House, Any]]:
    """The application over twins, and the client of it: its types demand what their dictionaries cannot say."""
    async with house(engine, servers, **options) as api, served(api.app) as http:
        async with AsyncAnthropic(base_url=str(http.base_url), api_key="lm-studio", max_retries=0) as client:
            yield api, client


def told(value: Any) -> Any:
    """What the client made of a reply, as JSON, without what it fills in itself."""
    return value.model_dump(mode="json", exclude_unset=True)
