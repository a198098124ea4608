"""What the servers of a run report and ask, and who answers."""

from dataclasses import replace

import anyio
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import Message, Origin, PluginProvider, TextInput, ToolCall
from orchestrator.core.json_types import JsonObject
from orchestrator.core.materials import Piece, Prompt, PromptArgument
from orchestrator.core.prompt import AssistantMessage, UserMessage
from orchestrator.core.request import PluginRequest, WantedPrompt
from orchestrator.core.server_requests import (
    Elicitation,
    ElicitationAnswer,
    Progress,
    SamplingReply,
    SamplingRequest,
)
from orchestrator.core.stream import (
    ElicitationRequested,
    ElicitationResolved,
    SamplingCompleted,
    StreamEvent,
    ToolCallProgress,
)
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.server_callbacks import ServerPolicies
from orchestrator.testing import Call, FakeServer, FakeTool, Say, ScriptedEngine
from tests.service.house import LOCAL, Service, events_of, fake_tool, service

pytestmark = pytest.mark.anyio
DESK = PluginRequest("mcp/desk")
PROVIDER = PluginProvider("mcp/desk")
ASK = ServerPolicies(elicitation="ask", sampling="on")
FORM = Elicitation(
    "Your name?", schema={"type": "object", "properties": {"name": {"type": "string", "default": "Ada"}}}
)
WRITE = SamplingRequest((UserMessage((TextInput("Say hi."),)),), max_tokens=5000, system_prompt="Be brief.")


class Desk:
    """A server whose tool does, during its call, what a test wants done."""

    def __init__(self) -> None:
        self.house: Service | None = None
        self.server = FakeServer([fake_tool("ask", self.ask), fake_tool("sample", self.sample)])

    async def ask(self, arguments: JsonObject) -> str:
        answer = await self._callbacks().elicit(PROVIDER, self._call_id(), FORM)
        return f"{answer.action} {answer.content}"

    async def sample(self, arguments: JsonObject) -> str:
        try:
            return (await self._callbacks().sample(PROVIDER, self._call_id(), WRITE)).text
        except OrchestratorError as error:
            return error.info.message

    def _call_id(self) -> str:
        return self.server.watches[-1].call_id

    def _callbacks(self):
        assert self.house is not None
        callbacks = self.house.catalog.scopes[-1].callbacks
        assert callbacks is not None
        return callbacks


async def asked(run: LiveRun) -> ElicitationRequested:
    """The first question of the run."""
    async for _, event in run.events():
        if isinstance(event, ElicitationRequested):
            return event
    raise AssertionError("nobody was asked")


def of_kind(events: list[StreamEvent], *kinds: type) -> list[StreamEvent]:
    return [event for event in events if isinstance(event, kinds)]


def only_call(items: tuple[object, ...]) -> ToolCall:
    (call,) = (item for item in items if isinstance(item, ToolCall))
    return call


async def test_progress_of_a_call_is_in_the_stream() -> None:
    async def work(arguments: JsonObject) -> str:
        server.watches[-1].progressed(Progress(1, 3, "one of three"))
        server.watches[-1].progressed(Progress(3, 3))
        return "done"

    server = FakeServer([fake_tool("work", work)])
    async with service(ScriptedEngine([[Call("work")], [Say("Yes.")]]), {"mcp/desk": server}) as house:
        run = await house.chat("?", DESK)
        events = await events_of(run)
        call = only_call((await run.result()).output)
    assert of_kind(events, ToolCallProgress) == [
        ToolCallProgress(call.call_id, Progress(1, 3, "one of three")),
        ToolCallProgress(call.call_id, Progress(3, 3)),
    ]


async def test_the_users_answer_goes_to_the_server_with_the_schemas_defaults() -> None:
    desk = Desk()
    engine = ScriptedEngine([[Call("ask")], [Say("Yes.")]])
    async with service(engine, {"mcp/desk": desk.server}, policies=ASK) as house:
        desk.house = house
        run = await house.chat("?", DESK, interactive=True)
        with anyio.fail_after(5):
            question = await asked(run)
        assert run.response_id is not None
        callbacks = house.chats.running(run.response_id, LOCAL).callbacks
        assert [one.id for one in callbacks.pending] == [question.elicitation_id]
        with pytest.raises(OrchestratorError) as caught:
            callbacks.answer(question.elicitation_id, ElicitationAnswer("accept", {"name": 7}))
        assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.INVALID_VALUE, "content")
        callbacks.answer(question.elicitation_id, ElicitationAnswer("accept", {}))
        events = await events_of(run)
        call = only_call((await run.result()).output)
        assert callbacks.pending == ()
        with pytest.raises(OrchestratorError) as caught:
            callbacks.answer(question.elicitation_id, ElicitationAnswer("decline"))
        assert caught.value.info.kind is ErrorKind.ELICITATION_NOT_FOUND
    assert of_kind(events, ElicitationRequested, ElicitationResolved) == [
        ElicitationRequested(question.elicitation_id, call.call_id, PROVIDER, FORM, 300.0),
        ElicitationResolved(question.elicitation_id, "accept"),
    ]
    assert "accept {'name': 'Ada'}" in call.output


async def test_a_question_that_nobody_answers_is_cancelled_at_its_deadline() -> None:
    desk = Desk()
    engine = ScriptedEngine([[Call("ask")], [Say("Yes.")]])
    policies = replace(ASK, elicitation_seconds=0.01)
    async with service(engine, {"mcp/desk": desk.server}, policies=policies) as house:
        desk.house = house
        run = await house.chat("?", DESK, interactive=True)
        events = await events_of(run)
        assert "cancel None" in only_call((await run.result()).output).output
    assert [type(event) for event in of_kind(events, ElicitationRequested, ElicitationResolved)] == [
        ElicitationRequested,
        ElicitationResolved,
    ]


@pytest.mark.parametrize("changes", [{"interactive": False}, {"interactive": True, "store": False}])
async def test_a_client_that_cannot_answer_is_not_asked(changes: dict[str, bool]) -> None:
    desk = Desk()
    engine = ScriptedEngine([[Call("ask")], [Say("Yes.")]])
    async with service(engine, {"mcp/desk": desk.server}, policies=ASK) as house:
        desk.house = house
        run = await house.chat("?", DESK, **changes)
        events = await events_of(run)
        assert "cancel None" in only_call((await run.result()).output).output
    assert of_kind(events, ElicitationRequested) == []


async def test_another_owner_finds_no_run_to_answer() -> None:
    desk = Desk()
    engine = ScriptedEngine([[Call("ask")], [Say("Yes.")]])
    async with service(engine, {"mcp/desk": desk.server}, policies=ASK) as house:
        desk.house = house
        run = await house.chat("?", DESK, interactive=True)
        with anyio.fail_after(5):
            await asked(run)
        assert run.response_id is not None
        with pytest.raises(OrchestratorError) as caught:
            house.chats.running(run.response_id, replace(LOCAL, owner="somebody"))
        assert caught.value.info.kind is ErrorKind.RESPONSE_NOT_FOUND


async def test_the_model_writes_for_a_server_within_limits() -> None:
    desk = Desk()
    engine = ScriptedEngine([[Call("sample")], [Say("hi")], [Call("sample")], [Say("Yes.")]])
    policies = replace(ASK, sampling_max_tokens=100, sampling_max_requests=1)
    async with service(engine, {"mcp/desk": desk.server}, policies=policies) as house:
        desk.house = house
        run = await house.chat("?", DESK)
        events = await events_of(run)
        first, second = (item for item in (await run.result()).output if isinstance(item, ToolCall))
    assert '"hi"' in first.output
    assert "which is the limit" in second.output
    assert (engine.requests[1].max_output_tokens, engine.requests[1].tools) == (100, ())
    (told,) = of_kind(events, SamplingCompleted)
    assert isinstance(told, SamplingCompleted)
    assert told == SamplingCompleted(
        first.call_id, PROVIDER, SamplingReply("hi", "test/scripted", "endTurn", told.reply.output_tokens)
    )


async def test_the_user_can_be_asked_before_the_model_writes_for_a_server() -> None:
    desk = Desk()
    engine = ScriptedEngine([[Call("sample")], [Say("Yes.")]])
    policies = ServerPolicies(sampling="ask")
    async with service(engine, {"mcp/desk": desk.server}, policies=policies) as house:
        desk.house = house
        run = await house.chat("?", DESK, interactive=True)
        with anyio.fail_after(5):
            question = await asked(run)
        assert (question.asked.mode, "user: Say hi." in question.asked.message) == ("sampling", True)
        run.callbacks.answer(question.elicitation_id, ElicitationAnswer("decline"))
        assert "did not agree" in only_call((await run.result()).output).output


async def test_what_is_switched_off_is_refused() -> None:
    desk = Desk()
    engine = ScriptedEngine([[Call("sample")], [Call("ask")], [Say("Yes.")]])
    async with service(engine, {"mcp/desk": desk.server}) as house:
        desk.house = house
        run = await house.chat("?", DESK, interactive=True)
        sampled, _ = (item for item in (await run.result()).output if isinstance(item, ToolCall))
    assert "may not use the model" in sampled.output


PROMPT = Prompt("greet", arguments=(PromptArgument("name", required=True),))
TAKING = FakeServer(
    resources={
        "file:///a": (Piece("alpha"),),
        "file:///b": (Piece("beta"), Piece("[image]", "data:image/png;base64,AA")),
    },
    prompts={PROMPT: (Piece("Greet Ada."), Piece("Hello.", None, "assistant"), Piece("Again."))},
)


async def test_resources_and_prompts_become_input_that_says_where_it_is_from() -> None:
    engine = ScriptedEngine([[Say("Hello Ada.")]])
    wanted = replace(DESK, resources=("file:///b", "file:///a"), prompt=WantedPrompt("greet", {"name": "Ada"}))
    async with service(engine, {"mcp/desk": TAKING}) as house:
        run = await house.chat("now", wanted)
        assert [type(item) for item in (await run.result()).output] == [Message]
        assert run.response_id is not None
        stored = await house.store.get_response(run.response_id, "local")
        assert stored is not None
    a, b = Origin(PROVIDER, "resource", "file:///a"), Origin(PROVIDER, "resource", "file:///b")
    greet = Origin(PROVIDER, "prompt", "greet")
    assert stored.input == (
        TextInput("beta", b),
        TextInput("[image]", b),
        TextInput("alpha", a),
        TextInput("Greet Ada.", greet),
        TextInput("Hello.", greet, "assistant"),
        TextInput("Again.", greet),
        TextInput("now"),
    )
    first, second, third = engine.requests[0].messages
    assert isinstance(first, UserMessage)
    framed = "[resource file:///a of mcp/desk]\nalpha\n[end of resource file:///a of mcp/desk]"
    assert first.parts[2] == TextInput(framed)
    assert second == AssistantMessage("", "Hello.", ())
    assert third == UserMessage((TextInput("Again.", greet), TextInput("now")))


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        (replace(DESK, resources=("file:///a", "file:///none")), "integrations.0.resources.1"),
        (replace(DESK, prompt=WantedPrompt("greet")), "integrations.0.prompt"),
        (replace(DESK, prompt=WantedPrompt("none")), "integrations.0.prompt"),
    ],
)
async def test_what_cannot_be_taken_is_named_before_anything_is_said(wanted: PluginRequest, param: str) -> None:
    async with service(ScriptedEngine([[Say("Yes.")]]), {"mcp/desk": TAKING}) as house:
        run = await house.chat("?", wanted)
        with pytest.raises(OrchestratorError) as caught:
            await run.result()
    assert caught.value.info.param == param
    assert TAKING.open_sessions == 0


async def test_what_is_too_long_to_be_taken_is_refused() -> None:
    server = FakeServer(resources={"big": (Piece("x" * 9_000_000),), "empty": ()})
    for uri, said in (("big", "9000000 bytes"), ("empty", "is empty")):
        async with service(ScriptedEngine([[Say("Yes.")]]), {"mcp/desk": server}) as house:
            run = await house.chat("?", replace(DESK, resources=(uri,)))
            with pytest.raises(OrchestratorError) as caught:
                await run.result()
        assert (caught.value.info.kind, caught.value.info.param) == (
            ErrorKind.INVALID_VALUE,
            "integrations.0.resources.0",
        )
        assert said in caught.value.info.message


async def test_the_model_reads_on_where_an_output_was_cut() -> None:
    text = "".join(f"line {number}\n" for number in range(20_000))

    async def dump(arguments: JsonObject) -> str:
        return text

    desk = FakeServer([FakeTool(fake_tool("dump", dump).definition, dump)])
    engine = ScriptedEngine([[Call("dump")], [Say("Long.")], [Say("Longer.")]])
    async with service(engine, {"mcp/desk": desk}) as house:
        run = await house.chat("?", DESK)
        call = only_call((await run.result()).output)
        assert run.response_id is not None
        stored = await house.store.get_response(run.response_id, "local")
        assert stored is not None
        assert [[tool.name for tool in request.tools] for request in engine.requests] == [
            ["dump"],
            ["dump", "read_tool_output"],
        ]
        assert call.call_id in (stored.output[0].shown.result or "")  # pyright: ignore[reportOptionalMemberAccess] - a call has one
        engine.requests.clear()
        again = await house.chat("?", DESK, previous_response_id=run.response_id)
        await again.result()
    assert [tool.name for tool in engine.requests[0].tools] == ["dump", "read_tool_output"]
