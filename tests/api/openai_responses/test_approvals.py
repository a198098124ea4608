"""Calls that wait for somebody, as OpenAI's clients ask about them and answer: each answer makes a response of its own."""

from typing import Any

import anyio
import openai
import pytest

from orchestrator.core.approvals import Approve
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.request import ResponseFormat
from orchestrator.testing import Call, FakeServer, Say, ScriptedEngine
from tests.api.house import fake_tool
from tests.api.openai_responses.clients import MODEL, openai_house, texts_of, told
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

CLOCK_TOOL: Any = {"type": "mcp", "server_label": "clock"}  # OpenAI asks by default
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}
CALLS = [[Say("Let me look."), Call("now", {"zone": "UTC"})], [Say("It is noon.")], [Say("You are welcome.")]]
BOTH = [[Call("now", {"zone": "UTC"}), Call("get_weather", {"place": "Rome"})], [Say("Noon, and sun.")], [Say("Bye.")]]


def clock() -> dict[str, FakeServer]:
    return {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}


def answer(asked: str, *, approve: bool = True, **more: Any) -> Any:
    return {"type": "mcp_approval_response", "approval_request_id": asked, "approve": approve, **more}


def sent_back(response: Any) -> list[Any]:
    """The output of a response, as a client puts it into a later input."""
    return [item.model_dump(mode="json", exclude_none=True) for item in response.output]


def asked_in(response: Any) -> list[str]:
    return [item.id for item in response.output if item.type == "mcp_approval_request"]


async def decided(client: Any, asked: Any, *, stream: bool = False, **more: Any) -> Any:
    """What comes of approving every call that `asked` asks about."""
    body: Any = {
        "model": MODEL,
        "input": [answer(name) for name in asked_in(asked)],
        "tools": [CLOCK_TOOL],
        "previous_response_id": asked.id,
        **more,
    }
    if not stream:
        return await client.responses.create(**body)
    events = [event async for event in await client.responses.create(**body, stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert {event.response.id for event in events if hasattr(event, "response")} == {events[0].response.id}
    return events[-1].response


@pytest.mark.parametrize("stream", [False, True])
async def test_a_decision_makes_a_new_response_that_begins_with_the_call(*, stream: bool) -> None:
    servers = clock()
    async with openai_house(ScriptedEngine(CALLS), servers) as (api, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        waiting = await client.responses.retrieve(first.id)
        second = await decided(client, first, stream=stream)
        asked, went_on = [await client.responses.retrieve(response.id) for response in (first, second)]
        retold = [event async for event in await client.responses.retrieve(second.id, stream=True)]
        question = [event async for event in await client.responses.retrieve(first.id, stream=True)]
        said = [told(item) async for item in client.responses.input_items.list(second.id)]
        native = (await api.client.get(f"/api/v1/responses/{first.id}")).json()
        [call] = await api.store.list_calls(first.id, "local")
    assert [item.type for item in first.output] == ["mcp_list_tools", "message", "mcp_approval_request"]
    assert [item.type for item in second.output] == ["mcp_call", "message"]
    assert (second.status, second.output_text, second.previous_response_id) == ("completed", "It is noon.", first.id)
    assert second.id != first.id
    assert second.output[0].approval_request_id == asked_in(first)[0]
    # What was told stays as it was told, and reads the same again.
    for earlier in (waiting, asked):
        assert told(earlier) == told(first) | {"completed_at": earlier.completed_at}
    assert told(went_on) == told(second) | {"completed_at": went_on.completed_at}
    assert told(retold[-1].response) == told(went_on)
    assert told(question[-1].response) == told(asked)
    assert [(item["type"], item["approval_request_id"], item["approve"]) for item in said] == [
        ("mcp_approval_response", asked_in(first)[0], True)
    ]
    # One run, one journal: the call stands with the response that asked.
    assert [item["type"] for item in native["output"]] == ["message", "tool_call"]
    assert call.decision is not None
    assert (call.status, call.decision.decision) == ("succeeded", Approve())
    assert servers["mcp/clock"].calls == [("now", {"zone": "UTC"})]


async def test_tokens_are_counted_once() -> None:
    async with openai_house(ScriptedEngine(CALLS), clock()) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        second = await decided(client, first)
        stored = await client.responses.retrieve(first.id)
    assert first.usage is not None and second.usage is not None
    assert stored.usage == first.usage
    assert (first.usage.output_tokens, second.usage.output_tokens) == (5, 5)


async def test_what_the_deciding_request_says_counts_from_there_on() -> None:
    engine = ScriptedEngine(CALLS)
    async with openai_house(engine, clock()) as (_, client):
        first = await client.responses.create(
            model=MODEL, input="Time?", tools=[CLOCK_TOOL], tool_choice="required", instructions="Be long."
        )
        second = await decided(
            client,
            first,
            instructions="Be brief.",
            max_output_tokens=77,
            temperature=0.25,
            metadata={"step": "2"},
            tools=[CLOCK_TOOL, WEATHER],
            tool_choice="required",
        )
    assert (second.instructions, second.max_output_tokens, second.temperature) == ("Be brief.", 77, 0.25)
    assert (second.metadata, len(second.tools)) == ({"step": "2"}, 2)
    last = engine.requests[-1]
    assert (last.sampling.temperature, last.max_output_tokens, last.tool_choice) == (0.25, 77, "auto")
    assert [tool.name for tool in last.tools] == ["get_weather", "now"]
    assert texts_of(engine)[0] == ("system", "Be brief.")


@pytest.mark.parametrize("chained", [False, True])
async def test_results_of_functions_and_decisions_come_in_one_request(*, chained: bool) -> None:
    engine = ScriptedEngine(BOTH)
    tools = [CLOCK_TOOL, WEATHER]
    async with openai_house(engine, clock()) as (_, client):
        first = await client.responses.create(model=MODEL, input="Both?", tools=tools)
        call = next(item for item in first.output if item.type == "function_call")
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "Sun."}
        said: Any = [output, answer(asked_in(first)[0])]
        before: Any = [{"role": "user", "content": "Both?"}, *sent_back(first)]
        if chained:
            second = await client.responses.create(model=MODEL, input=said, tools=tools, previous_response_id=first.id)
        else:
            second = await client.responses.create(model=MODEL, input=[*before, *said], tools=tools)
        listed = [told(item)["type"] async for item in client.responses.input_items.list(second.id, order="asc")]
    assert [item.type for item in second.output] == ["mcp_call", "message"]
    assert (second.output_text, second.previous_response_id) == ("Noon, and sun.", first.id)
    assert listed == ["mcp_approval_response", "function_call_output"]
    assert texts_of(engine) == [
        ("user", "Both?"),
        ("assistant", "", "", ("now", '{"zone":"UTC"}'), ("get_weather", '{"place":"Rome"}')),
        ("tool", "now", "noon"),
        ("tool", "get_weather", "Sun."),
    ]


async def test_messages_that_were_said_before_the_question_are_not_said_again() -> None:
    """A client that refers to questions, and brings everything else along: it has the user's words twice otherwise."""
    engine = ScriptedEngine(CALLS)
    async with openai_house(engine, clock()) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        [asked] = asked_in(first)
        said: Any = [{"role": "user", "content": "Time?"}, {"type": "item_reference", "id": asked}, answer(asked)]
        second = await client.responses.create(model=MODEL, input=said, tools=[CLOCK_TOOL])
    assert [item.type for item in second.output] == ["mcp_call", "message"]
    assert [message for message in texts_of(engine) if message[0] == "user"] == [("user", "Time?")]


async def test_a_denial_and_what_the_user_says_with_it_are_told_to_the_model() -> None:
    engine = ScriptedEngine(CALLS)
    async with openai_house(engine, clock()) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        no = answer(asked_in(first)[0], approve=False, reason="Not now.")
        second = await client.responses.create(
            model=MODEL,
            input=[no, {"role": "user", "content": "Guess."}],
            tools=[CLOCK_TOOL],
            previous_response_id=first.id,
        )
        [decision, message] = [told(item) async for item in client.responses.input_items.list(second.id, order="asc")]
    assert (second.output[0].type, told(second.output[0])["status"]) == ("mcp_call", "failed")
    assert "Not now." in texts_of(engine)[-2][-1]
    assert texts_of(engine)[-1] == ("user", "Guess.")
    assert (decision["approve"], decision["reason"], message["role"]) == (False, "Not now.", "user")


@pytest.mark.parametrize("approve", [True, False])
@pytest.mark.parametrize("references", [False, True])
async def test_a_history_with_answered_questions_goes_on_turn_after_turn(*, approve: bool, references: bool) -> None:
    """Clients that keep the chat themselves send all of it, whole or as references to what is stored."""
    engine = ScriptedEngine(CALLS)

    def kept(response: Any) -> list[Any]:
        items = sent_back(response)
        return [{"type": "item_reference", "id": item["id"]} for item in items] if references else items

    async with openai_house(engine, clock()) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", instructions="Hi.", tools=[CLOCK_TOOL])
        history: Any = [{"role": "user", "content": "Time?"}, *kept(first), answer(asked_in(first)[0], approve=approve)]
        second = await client.responses.create(model=MODEL, input=history, tools=[CLOCK_TOOL])
        history += [*kept(second), {"role": "user", "content": "Thanks."}]
        third = await client.responses.create(model=MODEL, input=history, tools=[CLOCK_TOOL])
    assert (second.previous_response_id, third.previous_response_id) == (first.id, second.id)
    assert (second.instructions, third.output_text) == (None, "You are welcome.")
    [user, call, result, said, thanks] = texts_of(engine)
    assert (user, call) == (("user", "Time?"), ("assistant", "", "Let me look.", ("now", '{"zone":"UTC"}')))
    assert (result[1], said, thanks) == ("now", ("assistant", "", "It is noon."), ("user", "Thanks."))
    assert (result[2] == "noon") == approve


async def test_answered_questions_of_another_place_are_history_too() -> None:
    engine = ScriptedEngine([[Say("Hello.")]])
    history: Any = [
        {"role": "user", "content": "Time?"},
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "clock", "name": "now", "arguments": "{}"},
        answer("mcpr_1"),
        {"type": "mcp_call", "id": "mcp_1", "server_label": "clock", "name": "now", "arguments": "{}", "output": "1"},
        {"role": "user", "content": "And now?"},
    ]
    async with openai_house(engine, clock()) as (_, client):
        response = await client.responses.create(model=MODEL, input=history)
    assert response.output_text == "Hello."
    assert texts_of(engine)[-1] == ("user", "And now?")


async def test_a_decision_that_is_sent_again_runs_nothing_again_and_another_one_is_refused() -> None:
    servers = clock()
    async with openai_house(ScriptedEngine(CALLS), servers) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        second = await decided(client, first)
        again = await decided(client, first, stream=True)
        with pytest.raises(openai.ConflictError) as refused:
            await client.responses.create(
                model=MODEL, input=[answer(asked_in(first)[0], approve=False)], previous_response_id=first.id
            )
    assert again.id != second.id
    assert told(again.output[0]) == told(second.output[0])
    assert again.output_text == "You are welcome."
    assert len(servers["mcp/clock"].calls) == 1
    assert refused.value.param == "input"


class Fickle(ScriptedEngine):
    """An engine that comes to refuse what it took before."""

    refuses = False

    def check_response_format(self, response_format: ResponseFormat) -> None:
        if self.refuses:
            raise OrchestratorError(ErrorKind.INVALID_VALUE, "That schema cannot be kept to.", param="response_format")


async def test_a_response_that_cannot_go_on_any_more_leaves_its_decisions_made() -> None:
    engine = Fickle(CALLS)
    formed: Any = {"text": {"format": {"type": "json_object"}}}

    async def change_its_mind(arguments: JsonObject) -> str:
        engine.refuses = True
        return "noon"

    servers = {"mcp/clock": FakeServer([fake_tool("now", change_its_mind)])}
    async with openai_house(engine, servers) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        failed = await decided(client, first, stream=True, **formed)
        with pytest.raises(openai.APIStatusError) as refused:
            await decided(client, first, **formed)
        second = await decided(client, first)
    assert (refused.value.status_code, refused.value.param) == (400, "text.format")
    assert (failed.status, failed.error.message) == ("failed", "That schema cannot be kept to.")
    assert (second.output_text, len(servers["mcp/clock"].calls)) == ("It is noon.", 1)


async def test_of_two_calls_that_wait_one_goes_on_waiting_until_it_is_decided_too() -> None:
    engine = ScriptedEngine([[Call("now", {"zone": "UTC"}), Call("now", {"zone": "CET"})], [Say("Noon.")]])
    async with openai_house(engine, clock()) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        one, other = asked_in(first)
        with pytest.raises(openai.BadRequestError) as early:
            said: Any = [answer(one), {"role": "user", "content": "Quick."}]
            await client.responses.create(model=MODEL, input=said, tools=[CLOCK_TOOL])
        still = await client.responses.create(model=MODEL, input=[answer(one)], tools=[CLOCK_TOOL])
        waiting = await client.responses.retrieve(first.id)
        last = await client.responses.create(model=MODEL, input=[answer(other)], tools=[CLOCK_TOOL])
        listed = [told(item) async for item in client.responses.input_items.list(last.id, order="asc")]
    assert early.value.param == "input.1"
    assert (still.id, asked_in(still), asked_in(waiting)) == (first.id, [other], [one, other])
    assert ([item.type for item in last.output], last.output_text) == (["mcp_call", "mcp_call", "message"], "Noon.")
    assert [item["approval_request_id"] for item in listed] == [one, other]


async def test_a_response_that_goes_on_may_ask_again() -> None:
    engine = ScriptedEngine([[Call("now", {"zone": "UTC"})], [Call("now", {"zone": "CET"})], [Say("Noon.")]])
    async with openai_house(engine, clock()) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        second = await decided(client, first)
        third = await decided(client, second)
        again = await client.responses.retrieve(second.id)
        retold = [event async for event in await client.responses.retrieve(second.id, stream=True)]
    assert [item.type for item in second.output] == ["mcp_call", "mcp_approval_request"]
    assert [item.type for item in third.output] == ["mcp_call", "message"]
    assert (told(again)["output"], third.previous_response_id) == (told(second)["output"], second.id)
    assert told(retold[-1].response)["output"] == told(second)["output"]


async def test_in_the_background_a_decision_goes_on_without_its_client() -> None:
    async with openai_house(ScriptedEngine(CALLS), clock()) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        queued = await decided(client, first, background=True)
        events = [event async for event in await client.responses.retrieve(queued.id, stream=True)]
        done = await client.responses.retrieve(queued.id)
    assert (queued.status, queued.background, queued.output) == ("queued", True, [])
    assert (events[0].response.id, told(events[-1].response)["output"]) == (queued.id, told(done)["output"])
    assert [item.type for item in done.output] == ["mcp_call", "message"]


async def test_a_conversation_goes_on_behind_the_decision() -> None:
    async with openai_house(ScriptedEngine(CALLS), clock()) as (_, client):
        conversation = await client.conversations.create()
        first = await client.responses.create(
            model=MODEL, input="Time?", tools=[CLOCK_TOOL], conversation=conversation.id
        )
        second = await decided(client, first, previous_response_id=None, conversation=conversation.id)
        third = await client.responses.create(model=MODEL, input="Thanks.", conversation=conversation.id)
        with pytest.raises(openai.BadRequestError) as late:
            await decided(client, first, previous_response_id=None, conversation=conversation.id)
        with pytest.raises(openai.BadRequestError) as other:
            await decided(client, first, previous_response_id=third.id)
    assert (second.output_text, third.output_text) == ("It is noon.", "You are welcome.")
    assert second.conversation is not None and second.conversation.id == conversation.id
    assert third.previous_response_id == second.id
    assert (late.value.param, other.value.param) == ("conversation", "previous_response_id")


async def test_the_items_of_a_conversation_have_what_was_asked_and_answered() -> None:
    async with openai_house(ScriptedEngine(CALLS), clock()) as (_, client):
        conversation = await client.conversations.create()

        async def listed() -> list[str]:
            items = client.conversations.items.list(conversation.id, order="asc")
            return [item.type async for item in items]

        first = await client.responses.create(
            model=MODEL, input="Time?", tools=[CLOCK_TOOL], conversation=conversation.id
        )
        waiting = await listed()
        await decided(client, first, previous_response_id=None, conversation=conversation.id)
        answered = await listed()
        question = await client.conversations.items.retrieve(asked_in(first)[0], conversation_id=conversation.id)
    assert waiting == ["message", "mcp_list_tools", "message", "mcp_approval_request"]
    assert answered == [*waiting, "mcp_approval_response", "mcp_call", "message"]
    assert told(question) == told(first.output[-1])


@pytest.mark.parametrize("way", ["chain", "history", "conversation"])
async def test_a_chat_goes_on_past_a_question_that_nobody_answers(way: str) -> None:
    engine = ScriptedEngine(CALLS)
    servers = clock()
    async with openai_house(engine, servers) as (_, client):
        conversation = await client.conversations.create()
        there: Any = {"conversation": conversation.id} if way == "conversation" else {}
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL], **there)
        never_mind: Any = {"role": "user", "content": "No, forget it."}
        if way == "chain":
            there = {"previous_response_id": first.id}
        history = [{"role": "user", "content": "Time?"}, *sent_back(first)] if way == "history" else []
        second = await client.responses.create(model=MODEL, input=[*history, never_mind], **there)
        asked = await client.responses.retrieve(first.id)
        with pytest.raises(openai.ConflictError):
            await decided(client, first, tools=[CLOCK_TOOL])
    assert (second.output_text, second.previous_response_id) == ("It is noon.", first.id)
    assert (told(asked)["output"], asked.status) == (told(first)["output"], "completed")
    assert servers["mcp/clock"].calls == []
    [_, call, result, said] = texts_of(engine)
    assert (call[3], said) == (("now", '{"zone":"UTC"}'), ("user", "No, forget it."))
    assert "not run" in result[2]


async def test_a_question_that_nobody_answers_locks_no_conversation() -> None:
    async with openai_house(ScriptedEngine(CALLS), clock()) as (_, client):
        conversation = await client.conversations.create()
        ask: Any = {"model": MODEL, "input": "Time?", "tools": [CLOCK_TOOL], "conversation": conversation.id}
        await client.responses.create(**ask)
        await client.conversations.items.create(conversation.id, items=[{"role": "user", "content": "Well."}])
        items = [item.type async for item in client.conversations.items.list(conversation.id, order="asc")]
        other = await client.conversations.create()
        await client.responses.create(**ask | {"conversation": other.id})
        assert (await client.conversations.delete(other.id)).deleted
    assert items == ["message", "mcp_list_tools", "message", "mcp_approval_request", "message"]


async def test_what_waits_can_be_cancelled_and_deleted() -> None:
    async with openai_house(ScriptedEngine(CALLS[:1]), clock()) as (_, client):
        first, second = [
            await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL]) for _ in range(2)
        ]
        cancelled = await client.responses.cancel(first.id)
        read = await client.responses.retrieve(first.id)
        await client.responses.delete(second.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(second.id)
    assert (cancelled.status, told(cancelled)) == ("cancelled", told(read))
    assert told(cancelled)["output"] == told(first)["output"]


async def test_what_is_not_kept_of_a_server_is_asked_for_by_the_name_that_it_has_here() -> None:
    tool: Any = {**CLOCK_TOOL, "server_url": "http://x.example/mcp", "headers": {"X-Key": "1"}}
    async with openai_house(ScriptedEngine(CALLS), {"clock": clock()["mcp/clock"]}) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[tool])
        with pytest.raises(openai.ConflictError, match="send 'tools' with the entry of 'clock'") as refused:
            await decided(client, first, tools=[])
        second = await decided(client, first, tools=[tool])
    assert (refused.value.param, second.output_text) == ("tools", "It is noon.")


async def test_a_decision_that_is_made_natively_goes_on_in_the_same_response() -> None:
    async with openai_house(ScriptedEngine(CALLS), clock()) as (api, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        waiting = (await api.client.get(f"/api/v1/responses/{first.id}")).json()["pending_approvals"]
        made = {"approvals": [{"call_id": waiting[0]["call_id"], "decision": "approve"}]}
        decided_there = await api.client.post(f"/api/v1/responses/{first.id}/approvals", json=made)
        whole = await client.responses.retrieve(first.id)
        with pytest.raises(openai.ConflictError):
            await decided(client, first)
    assert decided_there.status_code == 200
    kinds = ["mcp_list_tools", "message", "mcp_approval_request", "mcp_call", "message"]
    assert [item.type for item in whole.output] == kinds


async def test_a_call_that_was_approved_ends_with_a_client_that_leaves() -> None:
    began, ended = anyio.Event(), anyio.Event()

    async def wait_long(arguments: JsonObject) -> str:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return ""

    servers = {"mcp/clock": FakeServer([fake_tool("now", wait_long)])}
    async with openai_house(ScriptedEngine(CALLS), servers) as (_, client):
        first = await client.responses.create(model=MODEL, input="Time?", tools=[CLOCK_TOOL])
        stream = await client.responses.create(
            model=MODEL,
            input=[answer(asked_in(first)[0])],
            tools=[CLOCK_TOOL],
            previous_response_id=first.id,
            stream=True,
        )
        kinds: list[str] = []
        async for event in stream:
            kinds.append(event.type)
            if event.type == "response.mcp_call.in_progress":
                break
        with anyio.fail_after(5):
            await began.wait()
            await stream.close()
            await ended.wait()
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.mcp_call.in_progress",
    ]


async def test_a_decision_about_nothing_that_waits_is_refused() -> None:
    async with openai_house(ScriptedEngine([[Say("Hi.")]])) as (_, client):
        response = await client.responses.create(model=MODEL, input="Hi")
        refused: list[Any] = []
        for wrong in (
            [answer("mcpr_1")],
            [answer(f"mcpr_{response.id[5:]}_0123456789abcdef01234567")],
            [answer(f"mcpr_{'0' * 48}_0123456789abcdef01234567")],
            [answer(f"mcpr_{digit * 48}_0123456789abcdef01234567") for digit in "01"],
        ):
            with pytest.raises(openai.APIStatusError) as error:
                await client.responses.create(model=MODEL, input=wrong)
            refused.append((error.value.status_code, error.value.param))
    assert refused == [
        (400, "input.0.approval_request_id"),
        (409, "input"),
        (404, "input"),
        (400, "input.1.approval_request_id"),
    ]
