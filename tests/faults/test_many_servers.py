"""Many ephemeral servers through the whole service, over its own database: nothing of them is left."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from orchestrator import app as composition
from orchestrator.core.commands import Generate
from orchestrator.core.prompt import ToolMessage
from orchestrator.settings import load_settings
from orchestrator.testing import SCRIPTED_MODEL, Call, Say, ScriptedEngine, Turn
from tests.integrations.harness import serving
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.test_leaks import nothing_left

pytestmark = pytest.mark.anyio
IN_A_ROW = 200
AT_ONCE = 50


class Model(ScriptedEngine):
    """The scripted model, as the composition root closes an engine."""

    async def aclose(self) -> None:
        assert self.open_generations == 0


def engines(*_: object) -> list[Model]:
    """What stands in for every engine."""
    return [Model(call_once)]


def call_once(request: Generate) -> Turn:
    """A model that calls the first tool, and then is done."""
    return [Say("Fine.")] if isinstance(request.messages[-1], ToolMessage) else [Call("first", {})]


@asynccontextmanager
async def service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the composition root, as it is, but for the model."""
    monkeypatch.setattr(composition, "_engines", engines)
    given = {
        "ORCHESTRATOR_DATA_DIR": str(folder),
        "ORCHESTRATOR_MCP_USER_CONFIG": str(folder / "none.json"),
        "ORCHESTRATOR_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'service.sqlite'}",
    }
    async with composition.open_app(load_settings({"HOME": os.environ["HOME"], **given})) as application:
        transport = httpx.ASGITransport(application)  # pyright: ignore[reportArgumentType] - two libraries' words for ASGI
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1234", timeout=120) as client:
            yield client


async def test_two_hundred_ephemeral_servers_in_a_row_and_fifty_at_once_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FaultyApp()
    async with serving(app) as origin, service(tmp_path, monkeypatch) as client:

        async def use() -> None:
            server = {"type": "ephemeral_mcp", "server_label": "e", "server_url": f"{origin}/fine"}
            body = {"model": SCRIPTED_MODEL, "input": "Go on.", "integrations": [server]}
            response = await client.post("/api/v1/chat", json=body)
            assert [item.get("is_error") for item in response.json()["output"]] == [False, None], response.text

        async def use_at_once(times: int) -> None:
            async with anyio.create_task_group() as users:
                for _ in range(times):
                    users.start_soon(use)

        await use_at_once(10)  # the database opens its connections
        before = app.sessions
        async with nothing_left():
            for _ in range(IN_A_ROW):
                await use()
        async with nothing_left():
            await use_at_once(AT_ONCE)
    assert app.sessions - before == IN_A_ROW + AT_ONCE
    assert sum(request.method == "DELETE" for request in app.seen) == app.sessions
