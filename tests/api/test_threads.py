"""The older dialect over HTTP: threads instead of response ids, and the fields that go with them."""

import json
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from orchestrator.api.encode_threads import thread_chat_reply
from orchestrator.core.approvals import ApprovalPolicy
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import EphemeralProvider, TextInput, ToolCall
from orchestrator.core.models import Model, ReasoningSupport
from orchestrator.core.prompt import AssistantMessage, ToolMessage, UserMessage
from orchestrator.core.response import ChatResult, Completed, Stats
from orchestrator.testing import Break, Call, FakeServer, Say, ScriptedEngine, Stall, Think
from tests.api.house import CHAT, House, chat_body, fake_tool, house
from tests.api.test_auth import token_text
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

ONE_TWO = (UserMessage((TextInput("one?"),)), AssistantMessage("", "One.", ()), UserMessage((TextInput("two?"),)))
THREADS = "/api/v1/threads"
SERVER = {"server_label": "tiktoken", "server_url": "https://gitmcp.io/openai/tiktoken"}
NOT_THERE = {
    "type": "invalid_request",
    "message": "There is no such thread, or it is somebody else's.",
    "code": "thread_not_found",
    "param": "thread_id",
}


def servers() -> dict[str, FakeServer]:
    return {"tiktoken": FakeServer([fake_tool("now", tell_time), fake_tool("other", tell_time)])}


async def threads_of(api: House, length: int) -> list[str]:
    """Threads, each newer than the one before; their ids."""
    return [
        (await api.chat(input=f"question {number}", mcp_servers=[])).json()["thread_id"] for number in range(length)
    ]


async def test_a_reply_of_the_older_dialect_has_its_calls_and_its_thread() -> None:
    script = [[Think("Let me see."), Call("now", {"zone": "UTC"}), Call("fly")], [Say("It is noon.")]]
    async with house(ScriptedEngine(script), servers()) as api:
        response = await api.chat(mcp_servers=[SERVER | {"allowed_tools": ["now"]}], reasoning_effort="low")
        assert response.status_code == 200, response.text
        reply = response.json()
        [_, call, invalid, _] = reply["output"]
        assert reply["thread_id"].startswith("thread_")
        assert len(reply["thread_id"]) == 55
        assert "response_id" not in reply
        assert response.headers["X-Response-Id"].startswith("resp_")
        assert call == {
            "type": "mcp_call",
            "server_label": "tiktoken",
            "tool": "now",
            "arguments": {"zone": "UTC"},
            "output": '[{"text":"noon","type":"text"}]',
            "call_id": call["call_id"],
            "is_error": False,
            "duration_ms": call["duration_ms"],
        }
        assert invalid["type"] == "invalid_tool_call"
        assert [item["type"] for item in reply["output"]] == ["reasoning", "mcp_call", "invalid_tool_call", "message"]
        assert [tool.name for tool in api.engine.requests[0].tools] == ["now"]


def test_a_call_that_no_server_answered_says_so_in_the_older_dialect() -> None:
    output = tuple(
        ToolCall("call_1", "now", {}, "[]", EphemeralProvider("clock"), is_error=False, duration_ms=0, source=source)
        for source in (None, "edited", "replayed")
    )
    result = ChatResult("demo", output, Stats(), Completed())
    reply = msgspec.to_builtins(thread_chat_reply(result, None))
    assert [item.get("status") for item in reply["output"]] == [None, "edited", "replayed"]


async def test_a_stream_of_the_older_dialect_has_the_same_events_and_ends_with_its_reply() -> None:
    script = [[Call("now", {"zone": "UTC"})], [Say("It is noon.")]]
    async with house(ScriptedEngine(script), servers()) as api:
        response = await api.chat(mcp_servers=[SERVER], stream=True)
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    [start, end] = [event for event in events if event["type"] in ("chat.start", "chat.end")]
    assert start == {
        "type": "chat.start",
        "model_instance_id": "test/scripted",
        "thread_id": end["result"]["thread_id"],
    }
    assert [item["type"] for item in end["result"]["output"]] == ["mcp_call", "message"]
    [success] = [event for event in events if event["type"] == "tool_call.success"]
    assert success["provider_info"] == {"type": "ephemeral_mcp", "server_label": "tiktoken"}


async def test_what_is_appended_to_a_thread_continues_it_and_moves_it() -> None:
    async with house(ScriptedEngine([[Say("One.")], [Say("Two.")]])) as api:
        first = await api.chat(input="one?", mcp_servers=[])
        thread_id = first.json()["thread_id"]
        second = await api.chat(input="two?", thread_id=thread_id)
        assert second.json()["thread_id"] == thread_id
        read = (await api.client.get(f"{THREADS}/{thread_id}")).json()
        assert [entry["response_id"] for entry in read["responses"]] == [
            first.headers["X-Response-Id"],
            second.headers["X-Response-Id"],
        ]
        assert api.engine.requests[1].messages == ONE_TWO
        thread = read["thread"]
        assert thread.pop("created_at") <= thread.pop("updated_at")
        assert thread == {
            "thread_id": thread_id,
            "newest_response_id": second.headers["X-Response-Id"],
            "model": "test/scripted",
            "status": "completed",
            "responses_count": 2,
            "input_preview": "two?",
            "output_preview": "Two.",
        }


async def test_a_response_of_a_thread_is_continued_in_the_newer_dialect_and_the_thread_stays_where_it_is() -> None:
    async with house() as api:
        first = await api.chat(mcp_servers=[])
        branch = await api.chat(previous_response_id=first.headers["X-Response-Id"])
        assert branch.json()["response_id"].startswith("resp_")
        read = (await api.client.get(f"{THREADS}/{first.json()['thread_id']}")).json()
        assert len(read["responses"]) == 1


async def test_what_is_not_stored_reads_a_thread_and_does_not_move_it() -> None:
    async with house(ScriptedEngine([[Say("One.")], [Say("Two.")]])) as api:
        thread_id = (await api.chat(input="one?", mcp_servers=[])).json()["thread_id"]
        aside = await api.chat(input="two?", thread_id=thread_id, store=False)
        assert "thread_id" not in aside.json()
        assert api.engine.requests[1].messages == ONE_TWO
        read = (await api.client.get(f"{THREADS}/{thread_id}")).json()
        assert read["thread"]["responses_count"] == 1
        fresh = await api.chat(mcp_servers=[], store=False)
        assert "thread_id" not in fresh.json()
        assert len((await api.client.get(THREADS)).json()["threads"]) == 1


@pytest.mark.parametrize("thread_id", ["thread_" + "0" * 48, "thread_"])
async def test_a_thread_that_is_not_there_cannot_be_appended_to(thread_id: str) -> None:
    async with house() as api:
        response = await api.chat(thread_id=thread_id)
    message = f"There is no stored thread '{thread_id}' to append to."
    error = {"type": "invalid_request", "message": message, "code": "invalid_value", "param": "thread_id"}
    assert (response.status_code, response.json()) == (400, {"error": error})


async def test_what_is_no_threads_id_is_said_so() -> None:
    async with house() as api:
        error = (await api.chat(thread_id="resp_1")).json()["error"]
    assert (error["param"], error["message"]) == ("thread_id", '"thread_id" must start with "thread_".')


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"thread_id": "thread_1"}, {"previous_response_id": "resp_1"}),
        ({"mcp_servers": []}, {"integrations": []}),
        ({"enable_thinking": True}, {"reasoning": "on"}),
    ],
)
async def test_fields_of_both_dialects_do_not_go_together(older: dict[str, Any], newer: dict[str, Any]) -> None:
    async with house() as api:
        response = await api.chat(**older, **newer)
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request", next(iter(older)))
    assert next(iter(newer)) in error["message"]


async def test_two_who_append_at_once_do_not_both_succeed() -> None:
    """The second is refused while the first runs, and nothing of it is generated."""
    stalled = ScriptedEngine([[Say("One.")], [Stall(anyio.Event())]])
    async with house(stalled) as api, anyio.create_task_group() as tasks:
        thread_id = (await api.chat(mcp_servers=[])).json()["thread_id"]
        body = chat_body(thread_id=thread_id)

        async def append() -> None:
            await api.client.post(CHAT, json=body)

        tasks.start_soon(append)
        await api.generating(1)
        response = await api.client.post(CHAT, json=body)
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (409, "response_not_finished", "thread_id")
        assert error["message"] == "The newest response of this thread has not ended yet."
        assert len(stalled.requests) == 2
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ({"reasoning_effort": "low"}, ("low", "medium", "high"), "low"),
        ({"reasoning_effort": "low"}, ("off", "on"), None),
        ({"reasoning_effort": "low", "enable_thinking": True}, ("off", "on"), "on"),
        ({"reasoning_effort": "low", "enable_thinking": False}, ("off", "on"), "off"),
        ({"enable_thinking": False}, ("low", "medium", "high"), None),
        ({"enable_thinking": True}, (), None),
    ],
)
async def test_reasoning_is_as_asked_where_the_model_offers_it_and_ignored_where_not(
    wanted: dict[str, Any], offered: tuple[Any, ...], chosen: str | None
) -> None:
    reasoning = ReasoningSupport(offered, offered[0]) if offered else None
    model = Model("test/scripted", "scripted", "llm", "test", "Scripted", reasoning=reasoning)
    async with house(ScriptedEngine([[Say("Hi.")]], model=model)) as api:
        response = await api.chat(**wanted)
        assert response.status_code == 200, response.text
        assert api.engine.requests[0].reasoning == chosen


async def test_the_setting_decides_for_requests_without_a_field_of_either() -> None:
    async with house(usual_dialect="thread") as api:
        older, newer = await api.chat(), await api.chat(integrations=[])
    assert ("thread_id" in older.json(), "response_id" in newer.json()) == (True, True)


async def test_an_error_names_the_field_of_the_dialect() -> None:
    unreachable = OrchestratorError(ErrorKind.MCP_CONNECTION_ERROR, "No route.", param="integrations.0.server_url")
    async with house(servers={"tiktoken": FakeServer(error=unreachable)}) as api:
        error = (await api.chat(mcp_servers=[SERVER])).json()["error"]
    assert (error["type"], error["param"]) == ("mcp_connection_error", "mcp_servers.0.server_url")


async def test_a_thread_is_made_of_a_chain_that_another_dialect_began() -> None:
    async with house(ScriptedEngine([[Say("One.")], [Say("Two.")]])) as api:
        first = (await api.chat(input="one?")).json()["response_id"]
        made = (await api.client.post(THREADS, json={"response_id": first})).json()
        again = (await api.client.post(THREADS, json={"response_id": first})).json()
        assert made.pop("created_at") == made.pop("updated_at")
        assert made == {
            "thread_id": made["thread_id"],
            "newest_response_id": first,
            "model": "test/scripted",
            "status": "completed",
            "responses_count": 1,
            "input_preview": "one?",
            "output_preview": "One.",
        }
        second = await api.chat(input="two?", thread_id=made["thread_id"])
        assert second.json()["thread_id"] == made["thread_id"]
        assert api.engine.requests[1].messages == ONE_TWO
        ends = {
            entry["thread_id"]: entry["newest_response_id"]
            for entry in (await api.client.get(THREADS)).json()["threads"]
        }
    assert ends == {made["thread_id"]: second.headers["X-Response-Id"], again["thread_id"]: first}


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"response_id": "resp_" + "0" * 48}, "invalid_value", "response_id"),
        ({"response_id": "\0"}, "invalid_value", "response_id"),
        ({"response_id": 1}, "invalid_type", "response_id"),
        ({}, "missing_required_parameter", "response_id"),
        ({"response_id": "resp_1", "thread_id": "thread_1"}, "unrecognized_keys", "thread_id"),
    ],
)
async def test_a_thread_of_nothing_is_refused(body: dict[str, Any], code: str, param: str) -> None:
    async with house() as api:
        response = await api.client.post(THREADS, json=body)
        assert (await api.client.get(THREADS)).json()["threads"] == []
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)


async def test_what_is_not_stored_has_no_thread() -> None:
    async with house() as api:
        await api.chat(store=False)
        (unstored,) = api.store.nodes
        response = await api.client.post(THREADS, json={"response_id": unstored})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "response_id")


def failing(message: str = "It broke.") -> Break:
    return Break(OrchestratorError(ErrorKind.ENGINE_ERROR, message))


async def test_a_thread_leaves_what_failed_however_often_its_client_tries_again() -> None:
    script = [[Say("One.")], [failing()], [Say("Half."), failing()], [Say("Half."), failing()], [Say("Two.")]]
    async with house(ScriptedEngine(script)) as api:
        thread_id = (await api.chat(input="one?", mcp_servers=[])).json()["thread_id"]
        broken = await api.chat(input="three?", thread_id=thread_id)
        streamed = await api.chat(input="three?", thread_id=thread_id, stream=True)
        half = await api.chat(input="three?", thread_id=thread_id)
        again = await api.chat(input="two?", thread_id=thread_id)
        read = (await api.client.get(f"{THREADS}/{thread_id}")).json()
        left = (await api.client.get(f"/api/v1/responses/{half.headers['X-Response-Id']}")).json()
    assert (broken.status_code, half.status_code, again.json()["thread_id"]) == (502, 502, thread_id)
    assert json.loads(streamed.text.splitlines()[-2][6:])["result"]["thread_id"] == thread_id
    assert api.engine.requests[-1].messages == ONE_TWO
    assert [each["input"][0]["content"] for each in read["responses"]] == ["one?", "two?"]
    assert left["output"] == [{"type": "message", "content": "Half."}], "it is there as before, by its id"


async def test_failed_attempts_go_with_their_thread() -> None:
    script = [[Say("One.")], [Say("Half."), failing()], [Say("Two.")]]
    async with house(ScriptedEngine(script)) as api:
        thread_id = (await api.chat(input="one?", mcp_servers=[])).json()["thread_id"]
        await api.chat(input="three?", thread_id=thread_id)
        await api.chat(input="two?", thread_id=thread_id)
        deleted = (await api.client.delete(f"{THREADS}/{thread_id}")).json()
        left = (await api.client.get("/api/v1/responses")).json()["responses"]
    assert (len(deleted["deleted_responses"]), deleted["kept_by"], left) == (3, [], [])


async def test_what_failed_after_a_call_stays_in_its_thread_for_the_call_is_done() -> None:
    script = [[Call("now", {"zone": "UTC"})], [failing()], [Say("It was noon.")]]
    async with house(ScriptedEngine(script), servers()) as api:
        await api.chat(input="one?", mcp_servers=[SERVER])
        (thread,) = (await api.client.get(THREADS)).json()["threads"]
        await api.chat(input="two?", thread_id=thread["thread_id"])
    told = api.engine.requests[-1].messages
    assert [message.name for message in told if isinstance(message, ToolMessage)] == ["now"]


async def test_a_thread_that_only_failed_is_none() -> None:
    async with house(ScriptedEngine([[failing()]])) as api:
        response = await api.chat(mcp_servers=[])
        streamed = await api.chat(mcp_servers=[], stream=True)
        assert (await api.client.get(THREADS)).json()["threads"] == []
    assert response.status_code == 502
    end = json.loads(streamed.text.splitlines()[-2][6:])
    assert (end["type"], end["result"]["status"], "thread_id" in end["result"]) == ("chat.end", "failed", False)


async def test_calls_that_wait_are_named_in_the_reply() -> None:
    server = FakeServer([fake_tool("now", tell_time)], approval=ApprovalPolicy("always"))
    async with house(ScriptedEngine([[Call("now", {"zone": "UTC"})], [Say("Noon.")]]), {"tiktoken": server}) as api:
        asked = await api.chat(mcp_servers=[SERVER])
        (waiting,) = asked.json()["pending_approvals"]
        stored = f"/api/v1/responses/{asked.headers['X-Response-Id']}"
        decision = {"approvals": [{"call_id": waiting["call_id"], "decision": "approve"}]}
        decided = await api.client.post(f"{stored}/approvals", json=decision)
        (read,) = (await api.client.get(f"{THREADS}/{asked.json()['thread_id']}")).json()["responses"]
    assert (asked.json()["status"], waiting["tool"]) == ("awaiting_approval", "now")
    assert decided.json()["output"][-1] == {"type": "message", "content": "Noon."}
    assert [item["type"] for item in read["output"]] == ["mcp_call", "message"]


async def test_a_reply_has_its_warnings() -> None:
    servers = {"tiktoken": FakeServer([fake_tool(f"tool_{number}", tell_time) for number in range(200)])}
    async with house(servers=servers) as api:
        warned = (await api.chat(mcp_servers=[SERVER])).json()["warnings"]
        newer = (await api.chat(integrations=[{"type": "ephemeral_mcp", **SERVER}])).json()["warnings"]
    assert warned and warned == newer


async def test_a_thread_that_is_read_has_the_calls_of_its_dialect() -> None:
    script = [[Call("now", {"zone": "UTC"})], [Say("It is noon.")]]
    async with house(ScriptedEngine(script), servers()) as api:
        reply = (await api.chat(mcp_servers=[SERVER])).json()
        (read,) = (await api.client.get(f"{THREADS}/{reply['thread_id']}")).json()["responses"]
    assert [item["type"] for item in reply["output"]] == ["mcp_call", "message"]
    assert read["output"] == reply["output"]


async def test_threads_are_listed_page_by_page_the_last_moved_first() -> None:
    async with house() as api:
        ids = await threads_of(api, 5)
        await api.chat(thread_id=ids[0])
        found: list[str] = []
        query: dict[str, Any] | None = {"limit": 2}
        while query is not None:
            page = (await api.client.get(THREADS, params=query)).json()
            found += [entry["thread_id"] for entry in page["threads"]]
            query = None if page["next_cursor"] is None else {"limit": 2, "cursor": page["next_cursor"]}
        assert found == [ids[0], *ids[:0:-1]]


async def test_the_threads_that_a_response_is_in_are_found_by_it() -> None:
    async with house() as api:
        begun = await api.chat(enable_thinking=True)
        first, thread_id = begun.headers["X-Response-Id"], begun.json()["thread_id"]
        second = (await api.chat(thread_id=thread_id)).headers["X-Response-Id"]
        aside = (await api.chat(previous_response_id=first)).json()["response_id"]
        other = (await api.client.post("/api/v1/threads", json={"response_id": aside})).json()["thread_id"]
        await api.chat(enable_thinking=True)

        async def through(response_id: str) -> set[str]:
            reply = (await api.client.get("/api/v1/threads", params={"response_id": response_id})).json()
            return {thread["thread_id"] for thread in reply["threads"]}

        assert [await through(each) for each in (first, second, aside, "resp_none")] == [
            {thread_id, other},
            {thread_id},
            {other},
            set(),
        ]


async def test_a_long_thread_is_read_page_by_page() -> None:
    async with house() as api:
        [thread_id] = await threads_of(api, 1)
        made = [(await api.chat(thread_id=thread_id)).headers["X-Response-Id"] for _ in range(3)]
        first = (await api.client.get(f"{THREADS}/{thread_id}", params={"limit": 2})).json()
        rest = (
            await api.client.get(f"{THREADS}/{thread_id}", params={"limit": 2, "cursor": first["next_cursor"]})
        ).json()
        assert [entry["response_id"] for entry in [*first["responses"], *rest["responses"]]][1:] == made
        assert rest["next_cursor"] is None


async def test_deleting_a_thread_takes_its_responses_with_it() -> None:
    async with house() as api:
        [thread_id] = await threads_of(api, 1)
        await api.chat(thread_id=thread_id)
        ids = [each["response_id"] for each in (await api.client.get(f"{THREADS}/{thread_id}")).json()["responses"]]
        deleted = await api.client.delete(f"{THREADS}/{thread_id}")
        assert deleted.json() == {
            "thread_id": thread_id,
            "deleted": True,
            "deleted_responses": ids,
            "kept_responses": [],
            "kept_by": [],
        }
        for path in (f"{THREADS}/{thread_id}", *(f"/api/v1/responses/{id}" for id in ids)):
            assert (await api.client.get(path)).status_code == 404
        again = await api.client.delete(f"{THREADS}/{thread_id}")
        assert (again.status_code, again.json()) == (404, {"error": NOT_THERE})


async def test_deleting_a_thread_names_what_stays_because_others_go_on_from_it() -> None:
    async with house() as api:
        [thread_id] = await threads_of(api, 1)
        second = (await api.chat(thread_id=thread_id)).headers["X-Response-Id"]
        ids = [each["response_id"] for each in (await api.client.get(f"{THREADS}/{thread_id}")).json()["responses"]]
        branch = (await api.chat(previous_response_id=second)).json()["response_id"]
        other = (await api.client.post(THREADS, json={"response_id": ids[0]})).json()["thread_id"]
        deleted = (await api.client.delete(f"{THREADS}/{thread_id}")).json()
        rest = await api.client.delete(f"/api/v1/responses/{ids[0]}", params={"subtree": "true"})
    assert deleted == {
        "thread_id": thread_id,
        "deleted": True,
        "deleted_responses": [],
        "kept_responses": ids,
        "kept_by": [branch, other],
    }
    assert sorted(rest.json()["deleted_responses"]) == sorted([*ids, branch])


async def test_deleting_a_thread_takes_what_goes_on_from_it_when_asked() -> None:
    async with house() as api:
        [thread_id] = await threads_of(api, 1)
        await api.chat(thread_id=thread_id)
        ids = [each["response_id"] for each in (await api.client.get(f"{THREADS}/{thread_id}")).json()["responses"]]
        branch = (await api.chat(previous_response_id=ids[0])).json()["response_id"]
        other = (await api.client.post(THREADS, json={"response_id": branch})).json()["thread_id"]
        deleted = (await api.client.delete(f"{THREADS}/{thread_id}", params={"subtree": "true"})).json()
        gone = [
            (await api.client.get(path)).status_code
            for path in (f"{THREADS}/{thread_id}", f"{THREADS}/{other}", f"/api/v1/responses/{branch}")
        ]
    assert deleted == {
        "thread_id": thread_id,
        "deleted": True,
        "deleted_responses": [*ids, branch],
        "kept_responses": [],
        "kept_by": [],
    }
    assert gone == [404, 404, 404]


async def test_anothers_thread_is_as_unknown_as_one_that_never_was() -> None:
    async with house(require_authentication=True) as api:
        ada, bob = [{"x-api-key": await token_text(api, "chat")} for _ in range(2)]
        made = await api.client.post(CHAT, json=chat_body(mcp_servers=[]), headers=ada)
        thread_id = made.json()["thread_id"]
        answers: list[httpx.Response] = []
        for id in (thread_id, "thread_" + "0" * 48):
            path = f"{THREADS}/{id}"
            answers += [await api.client.get(path, headers=bob), await api.client.delete(path, headers=bob)]
            appended = await api.client.post(CHAT, json=chat_body(thread_id=id), headers=bob)
            assert appended.json()["error"]["message"] == f"There is no stored thread '{id}' to append to."
        assert [(answer.status_code, answer.json()) for answer in answers] == [(404, {"error": NOT_THERE})] * 4
        assert (await api.client.get(THREADS, headers=bob)).json() == {"threads": [], "next_cursor": None}
        assert (await api.client.get(f"{THREADS}/{thread_id}", headers=ada)).status_code == 200
