"""Many ephemeral servers through the whole service, over its own database: nothing of them is left."""

from pathlib import Path

import anyio
import pytest

from orchestrator.testing import SCRIPTED_MODEL
from tests.faults.whole import service
from tests.integrations.harness import serving
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.test_leaks import nothing_left

pytestmark = pytest.mark.anyio
IN_A_ROW = 200
AT_ONCE = 50


async def test_two_hundred_ephemeral_servers_in_a_row_and_fifty_at_once_leave_nothing_behind(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin, service(tmp_path) as client:

        async def use() -> None:
            server = {"type": "ephemeral_mcp", "server_label": "e", "server_url": f"{origin}/fine"}
            body = {"model": SCRIPTED_MODEL, "input": "Go on.", "integrations": [server]}
            response = await client.post("/api/v1/chat", json=body)
            assert [item.get("is_error") for item in response.json()["output"]] == [False, None], response.text

        async def use_at_once(times: int) -> None:
            async with anyio.create_task_group() as users:
                for _ in range(times):
                    users.start_soon(use)

        await use_at_once(AT_ONCE)  # the database opens all of its connections
        before = app.sessions
        async with nothing_left():
            for _ in range(IN_A_ROW):
                await use()
        async with nothing_left():
            await use_at_once(AT_ONCE)
    assert app.sessions - before == IN_A_ROW + AT_ONCE
    assert sum(request.method == "DELETE" for request in app.seen) == app.sessions
