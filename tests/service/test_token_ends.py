"""A token that is revoked or expires ends its runs, in whatever process they are."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from orchestrator.core.items import TextInput
from orchestrator.core.response import Cancelled, Close, Completed
from orchestrator.ports import StoredResponse, Token
from orchestrator.service.callers import Caller
from orchestrator.service.chats import ChatRequest
from orchestrator.testing import SCRIPTED_MODEL, MemoryTokenStore, Say, ScriptedEngine, Stall
from tests.service.house import service

pytestmark = pytest.mark.anyio

CHAT = frozenset({"chat"})


async def test_a_token_that_ends_ends_its_runs_with_the_reason_and_nobody_elses() -> None:
    tokens, now, gate = MemoryTokenStore(), datetime.now(UTC), anyio.Event()
    await tokens.create_token(Token("revoked1", "a", "ada", CHAT, now), b"")
    await tokens.create_token(Token("expires1", "b", "bob", CHAT, now, expires_at=now + timedelta(seconds=1)), b"")
    await tokens.create_token(Token("remains1", "c", "eve", CHAT, now), b"")
    ended: list[Close] = []
    stored: StoredResponse | None = None
    engine = ScriptedEngine([[Say("a "), Stall(gate), Say("b")]])
    async with service(engine) as house, anyio.create_task_group() as tasks:
        callers = [Caller("ada", "revoked1"), Caller("bob", "expires1"), Caller("eve", "remains1"), Caller()]
        runs = [await house.chats.start(ChatRequest(SCRIPTED_MODEL, (TextInput("x"),)), each) for each in callers]
        for run in runs:
            await run.started()
        tasks.start_soon(house.runs.heed_tokens, tokens.find_ended)
        await tokens.revoke_token("revoked1", datetime.now(UTC))
        with anyio.fail_after(10):
            ended += [(await run.result()).ending for run in runs[:2]]
            gate.set()
            ended += [(await run.result()).ending for run in runs[2:]]
        stored = await house.store.get_response(runs[0].request.response_id, "ada")
        tasks.cancel_scope.cancel()
    assert ended == [
        Cancelled("its API token was revoked"),
        Cancelled("its API token expired"),
        Completed(),
        Completed(),
    ]
    assert stored is not None
    assert stored.status == "cancelled"
