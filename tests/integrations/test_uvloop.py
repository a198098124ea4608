"""The service runs on uvloop where it is there: its pipes and processes differ from asyncio's own."""

from pathlib import Path

import psutil
import pytest

from orchestrator.core.errors import OrchestratorError
from tests.integrations.harness import SCOPE, catalog_of, ephemeral, faulty, plugin, refusal_to_open, serving
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.started import Started

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.mark.parametrize("mode", ["dies in the call", "leaves a child behind", "ignores every request to end"])
async def test_child_processes_work_and_end(tmp_path: Path, mode: str) -> None:
    ours = Started()
    async with catalog_of(tmp_path, {"x": faulty(mode)}) as catalog:
        async with catalog.open([plugin()], SCOPE) as (session,):
            if mode == "dies in the call":
                with pytest.raises(OrchestratorError, match="it exited with status 9"):
                    await session.call_tool("first", {})
            assert (await session.call_tool("second", {})).text == "0 cancelled"
        started = ours.all()
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []


async def test_failed_starts_say_why(tmp_path: Path) -> None:
    entries = {"x": faulty("exits before the handshake"), "y": {"command": "no-such-command"}}
    async with catalog_of(tmp_path, entries) as catalog:
        ending = "it exited with status 7; its last lines were: missing API key | the key ••• is wrong."
        assert ending in (await refusal_to_open(catalog, plugin())).message
        assert "was not found" in (await refusal_to_open(catalog, plugin("y"))).message


async def test_addresses_work_and_refuse(tmp_path: Path) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path) as catalog:
        async with catalog.open([ephemeral(f"{origin}/fine")], SCOPE) as (session,):
            assert (await session.call_tool("first", {})).text == "fine"
        refused = await refusal_to_open(catalog, ephemeral("http://127.0.0.1:1/"))
        assert "(stage: connect): connection refused." in refused.message
        refused = await refusal_to_open(catalog, ephemeral("http://no-such-host.invalid/"))
        assert "(stage: resolve): the name cannot be resolved (" in refused.message
