"""Results that are more than a text: pictures for models that see, and outputs that are read on in later requests."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.items import ImageInput, TextInput, ToolCall
from orchestrator.core.prompt import PromptMessage, ToolMessage, UserMessage
from orchestrator.core.request import Limits
from orchestrator.core.stream import StreamFold
from orchestrator.ports import LONG_TEXT
from orchestrator.service.live_runs import LiveRun
from orchestrator.testing import Call, Say, ScriptedEngine, Turn
from tests.integrations.harness import catalog_of, plugin, program
from tests.service.house import events_of, service

pytestmark = pytest.mark.anyio
TOOLS = {"x": program("tool_server.py")}


def seeing(script: list[Turn], *, vision: bool) -> ScriptedEngine:
    plain = ScriptedEngine(script)
    return ScriptedEngine(script, model=replace(plain.model, vision=vision))


async def done(run: LiveRun) -> tuple[str, list[ToolCall]]:
    """The id of the response and its calls, once it is over."""
    fold = StreamFold()
    for event in await events_of(run):
        fold.apply(event)
    assert fold.result is not None and fold.result.response_id is not None
    return fold.result.response_id, [item for item in fold.result.output if isinstance(item, ToolCall)]


def pictures(messages: tuple[PromptMessage, ...]) -> list[str]:
    return [
        part.data_url
        for message in messages
        if isinstance(message, UserMessage)
        for part in message.parts
        if isinstance(part, ImageInput)
    ]


@pytest.mark.parametrize("kilobytes", [0, 24])
async def test_a_model_that_sees_is_shown_the_pictures_of_results_in_every_later_turn(
    tmp_path: Path, kilobytes: int
) -> None:
    engine = seeing([[Call("picture", {"kilobytes": kilobytes})], [Say("A cat.")], [Say("Still.")]], vision=True)
    async with catalog_of(tmp_path, TOOLS) as catalog, service(engine, catalog=catalog) as house:
        first, (call,) = await done(await house.chat("Look.", plugin()))
        await done(await house.chat("And now?", plugin(), previous_response_id=first))
    data = json.loads(call.output)[1]["data"]
    assert (len(call.output) > LONG_TEXT) == bool(kilobytes)
    _, second, third = engine.requests
    result, shown = second.messages[-2:]
    assert isinstance(result, ToolMessage)
    assert result.content == f"look\n[image, image/png, {8 + 1000 * kilobytes} bytes]"
    assert shown == UserMessage(
        (
            TextInput(f"[images in the result of picture, call {call.call_id}]"),
            ImageInput(f"data:image/png;base64,{data}"),
        )
    )
    assert third.messages[: len(second.messages)] == second.messages


async def test_a_text_model_is_told_that_there_is_a_picture_which_the_journal_has(tmp_path: Path) -> None:
    engine = seeing([[Call("picture", {"kilobytes": 1})], [Say("I see nothing.")]], vision=False)
    async with catalog_of(tmp_path, TOOLS) as catalog, service(engine, catalog=catalog) as house:
        response_id, (call,) = await done(await house.chat("Look.", plugin()))
        (journaled,) = await house.store.list_calls(response_id, "local")
    assert journaled.output == call.output
    assert [part["type"] for part in json.loads(call.output)] == ["text", "image"]
    assert pictures(engine.requests[-1].messages) == []
    last = engine.requests[-1].messages[-1]
    assert isinstance(last, ToolMessage)
    assert last.content == "look\n[image, image/png, 1008 bytes]"


async def test_an_output_that_was_cut_is_read_on_in_a_later_request(tmp_path: Path) -> None:
    length = 3 * LONG_TEXT
    script: list[Turn] = [[Call("big", {"length": length})], [Say("Long.")]]
    engine = ScriptedEngine(script)
    limits = Limits(max_tool_output_model_bytes=1024)
    async with catalog_of(tmp_path, TOOLS) as catalog, service(engine, catalog=catalog, limits=limits) as house:
        first, (call,) = await done(await house.chat("Read.", plugin()))
        script += [[Call("read_tool_output", {"call_id": call.call_id, "offset": length - 3})], [Say("xxx")]]
        _, (read,) = await done(await house.chat("Go on.", plugin(), previous_response_id=first))
    assert (read.is_error, json.loads(read.output)[0]["text"]) == (
        False,
        f"[bytes {length - 3} to {length} of {length}]\nxxx\n[end of the output]",
    )


@pytest.mark.parametrize("family", ["handshake", "stateless"])
async def test_a_server_that_lists_its_tools_in_another_order_changes_no_prompt(tmp_path: Path, family: str) -> None:
    engine = ScriptedEngine([[Call("change")], [Say("Done.")], [Say("Still.")]])
    servers = {"x": program("asking_server.py", family)}
    async with catalog_of(tmp_path, servers) as catalog, service(engine, catalog=catalog) as house:
        first, _ = await done(await house.chat("Change.", plugin()))
        await done(await house.chat("And now?", plugin(), previous_response_id=first))
        status = catalog.host.plugin("mcp/x")
    before, _, after = engine.requests
    assert after.tools == before.tools
    assert status is not None and status.tools is not None
    assert [tool.name for tool in status.tools] == [tool.name for tool in reversed(before.tools)]
