"""The prompt of a turn begins with that of the turn before, as engines are sent it: else no prefix cache holds."""

from itertools import pairwise

import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.models import LoadSettings, ReasoningSupport
from orchestrator.core.prompt import ToolMessage
from orchestrator.core.request import PluginRequest
from orchestrator.engines.llama_cpp.constrained import turn_body
from orchestrator.engines.ollama.request import chat_body
from orchestrator.engines.openai_request import completion_body
from orchestrator.testing import Call, FakeServer, Say, ScriptedEngine, Think, Turn
from tests.service.house import events_of, fake_tool, service

pytestmark = pytest.mark.anyio
REQUESTS = 6


def script(request: Generate) -> Turn:
    """Thinks, calls two tools at once and one that does not exist, then answers."""
    if isinstance(request.messages[-1], ToolMessage):
        return [Think("So that is it."), Say("There you are.")]
    calls = (Call("first", {"b": 1, "a": "ä"}), Call("second"), Call("third", {"x": []}))
    return [Think("Let me see."), Say("I look it up."), *calls]


async def answer(arguments: JsonObject) -> str:
    return f"found {sorted(arguments)}"


async def bodies() -> list[tuple[JsonObject, ...]]:
    """What each turn of the chain is, for a server, for the embedded engine and for Ollama."""
    engine = ScriptedEngine(script)
    servers = {
        "mcp/a": FakeServer((fake_tool("first", answer), fake_tool("second", answer))),
        "mcp/b": FakeServer((fake_tool("first", answer),)),
    }
    integrations = (PluginRequest("mcp/a"), PluginRequest("mcp/b"))
    async with service(engine, servers) as it:
        previous: str | None = None
        for number in range(REQUESTS):
            run = await it.chat(
                f"Question {number}", *integrations, previous_response_id=previous, system_prompt="Be brief."
            )
            await events_of(run)
            previous = run.response_id
    return [
        (
            completion_body("m", request),
            turn_body("m", request, ReasoningSupport(("off", "on"), "on")),
            chat_body("m", request, LoadSettings(), None),
        )
        for request in engine.requests
    ]


def messages_of(body: JsonObject) -> list[JsonValue]:
    messages = body["messages"]
    assert isinstance(messages, list)
    return messages


async def test_every_prompt_begins_with_the_one_before_and_has_the_same_tools() -> None:
    turns = await bodies()
    assert len(turns) == 2 * REQUESTS
    for before, after in pairwise(turns):
        for one, next_one in zip(before, after, strict=True):
            sent, now = messages_of(one), messages_of(next_one)
            assert now[: len(sent)] == sent
            assert len(now) > len(sent)
            assert next_one["tools"] == one["tools"]
