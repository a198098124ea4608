"""Responses that go on without their client, and streams that are taken up again."""

import re
from typing import Any

import anyio
import httpx
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.service import runs
from orchestrator.testing import Break, Call, FakeServer, Say, ScriptedEngine, Stall, Think
from tests.api.house import CHAT, House, chat_body, fake_tool, house, served
from tests.api.test_stream import events_in, tell_time

pytestmark = pytest.mark.anyio

CLOCK = {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}
TURNS = [[Think("Hm."), Say("A moment."), Call("now", {})], [Say("It is noon.")]]
ID = re.compile(r"resp_[0-9a-f]{48}")


def path_of(response_id: str) -> str:
    return f"/api/v1/responses/{response_id}"


async def stream_of(
    api: House, response_id: str, after: int | None = None, headers: dict[str, str] | None = None
) -> list[Any]:
    """The stream of a response, taken up behind an event."""
    given = {**(headers or {}), **({} if after is None else {"Last-Event-ID": str(after)})}
    response = await api.client.get(f"{path_of(response_id)}?stream=true", headers=given)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return events_in(response.text)


async def status_of(api: House, response_id: str, awaited: str) -> Any:
    """The response, once it has this status."""
    with anyio.fail_after(5):
        while True:
            told = (await api.client.get(path_of(response_id))).json()
            if told["status"] == awaited:
                return told
            await anyio.lowlevel.checkpoint()


async def closed(api: House, response_id: str) -> None:
    """Wait until its run has closed what it opened."""
    with anyio.fail_after(5):
        while api.runs.find(response_id) is not None:
            await anyio.lowlevel.checkpoint()


async def begun(api: House, **body: Any) -> str:
    """The id of a response that goes on in the background."""
    response = await api.chat(background=True, **body)
    told = response.json()
    assert ID.fullmatch(told["response_id"])
    assert (response.status_code, told) == (202, {"response_id": told["response_id"], "status": "in_progress"})
    assert response.headers["x-response-id"] == told["response_id"]
    return told["response_id"]


async def test_a_response_of_the_background_is_told_of_at_once_and_goes_on() -> None:
    going_on = anyio.Event()
    engine = ScriptedEngine([[Say("Once"), Stall(going_on), Say(" more.")]])
    async with house(engine) as api:
        response_id = await begun(api)
        assert (await api.client.get(path_of(response_id))).json()["status"] == "in_progress"
        going_on.set()
        told = await status_of(api, response_id, "completed")
    assert (told["output"], told["parameters"]["background"]) == ([{"type": "message", "content": "Once more."}], True)


async def test_a_stream_of_the_background_survives_its_client_and_is_taken_up_where_it_was_left() -> None:
    going_on = anyio.Event()
    engine = ScriptedEngine([[Say("Once upon"), Stall(going_on), Say(" a time.")]])
    async with house(engine) as api, served(api.app) as client:
        heard = ""
        async with client.stream("POST", CHAT, json=chat_body(stream=True, background=True)) as response:
            async for text in response.aiter_text():
                heard += text
                if "upon" in text:
                    break
        first = events_in(heard)
        response_id = first[0][2]["response_id"]
        going_on.set()
        rest = await stream_of(api, response_id, first[-1][0])
        whole = await stream_of(api, response_id)
        told = await status_of(api, response_id, "completed")
    assert first + rest == whole
    assert [number for number, _, _ in whole] == list(range(1, len(whole) + 1))
    assert whole[-1][2]["result"]["output"] == told["output"] == [{"type": "message", "content": "Once upon a time."}]


async def test_a_live_stream_is_followed_by_as_many_as_like() -> None:
    going_on = anyio.Event()
    engine = ScriptedEngine([[Say("Once upon"), Stall(going_on), Say(" a time.")]])
    async with house(engine) as api, served(api.app) as client:
        response_id = await begun(api)
        found: list[str] = []

        async def follow() -> None:
            found.append((await client.get(f"{path_of(response_id)}?stream=true")).text)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            tasks.start_soon(follow)
            await api.generating(1)
            going_on.set()
    assert events_in(found[0]) == events_in(found[1])
    assert events_in(found[0])[-1][1] == "chat.end"


async def test_extensions_have_their_numbers_in_streams_that_ask_for_them() -> None:
    async with house(ScriptedEngine(TURNS), CLOCK) as api:
        response_id = await begun(api, integrations=["mcp/clock"])
        await status_of(api, response_id, "completed")
        headers = {"X-Stream-Extensions": "true"}
        whole = await stream_of(api, response_id, None, headers)
        rest = await stream_of(api, response_id, 5, headers)
    assert rest == whole[5:]


async def test_what_is_not_remembered_any_more_is_told_from_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MOST_TOLD", 0)
    async with house(ScriptedEngine(TURNS), CLOCK) as api:
        response_id = await begun(api, integrations=["mcp/clock"])
        told = await status_of(api, response_id, "completed")
        await closed(api, response_id)
        whole = await stream_of(api, response_id)
        rest = await stream_of(api, response_id, 9)
    assert [name for _, name, _ in whole] == [
        "chat.start",
        *(f"reasoning.{part}" for part in ("start", "delta", "end")),
        *(f"message.{part}" for part in ("start", "delta", "end")),
        *(f"tool_call.{part}" for part in ("start", "name", "arguments", "success")),
        *(f"message.{part}" for part in ("start", "delta", "end")),
        "chat.end",
    ]
    end = whole[-1][2]["result"]
    assert (end["output"], end["stats"], end["status"]) == (told["output"], told["stats"], "completed")
    assert rest == [(10, "chat.end", whole[-1][2])]


@pytest.mark.parametrize(
    ("turn", "names", "status"),
    [
        ([Call("nothing", {})], ["tool_call.failure"], "incomplete"),
        ([Call("now", {"zone": 5})], ["tool_call.start", "tool_call.name", "tool_call.failure"], "incomplete"),
        ([Break(OrchestratorError(ErrorKind.ENGINE_ERROR, "No."))], ["error"], "failed"),
    ],
)
async def test_every_end_can_be_told_again(
    turn: Any, names: list[str], status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_TOLD", 0)
    schema = {"type": "object", "properties": {"zone": {"type": "string"}}}
    servers = {"mcp/clock": FakeServer([fake_tool("now", tell_time, schema)])}
    async with house(ScriptedEngine([turn]), servers) as api:
        response_id = await begun(api, integrations=["mcp/clock"], max_turns=1)
        await status_of(api, response_id, status)
        await closed(api, response_id)
        whole = await stream_of(api, response_id)
    assert [name for _, name, _ in whole] == ["chat.start", *names, "chat.end"]
    assert whole[-1][2]["result"]["status"] == status


async def test_a_response_that_waits_or_was_cancelled_can_be_told_again() -> None:
    integration = {"type": "plugin", "id": "mcp/clock", "require_approval": "always"}
    async with house(ScriptedEngine(TURNS), CLOCK) as api:
        asked = (await api.chat(integrations=[integration])).json()["response_id"]
        waiting = await stream_of(api, asked)
        await api.client.post(f"{path_of(asked)}/cancel")
        cancelled = await stream_of(api, asked)
    assert waiting[-1][2]["result"]["status"] == "awaiting_approval"
    assert cancelled[-1][2]["result"]["status"] == "cancelled"


async def test_a_response_of_the_background_is_cancelled_like_any_other() -> None:
    async with house(ScriptedEngine([[Say("Once"), Stall(anyio.Event())]])) as api:
        response_id = await begun(api)
        await api.generating(1)
        cancelled = await api.client.post(f"{path_of(response_id)}/cancel")
        whole = await stream_of(api, response_id)
    assert cancelled.json() == {"response_id": response_id, "status": "cancelled"}
    assert whole[-1][2]["result"]["status"] == "cancelled"


async def test_a_response_that_another_process_runs_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.service.retelling.LOOK_SECONDS", 0.01)
    going_on = anyio.Event()
    async with house(ScriptedEngine([[Say("Once"), Stall(going_on), Say(" more.")]])) as api:
        response_id = await begun(api)

        def elsewhere(response_id: str) -> None:
            """This process has no such run."""

        monkeypatch.setattr(api.runs, "find_told", elsewhere)
        found: list[Any] = []

        async def follow() -> None:
            found.extend(await stream_of(api, response_id))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await api.generating(1)
            going_on.set()
    assert [name for _, name, _ in found] == ["chat.start", "message.start", "message.delta", "message.end", "chat.end"]


@pytest.mark.parametrize("is_closed", [True, False])
async def test_what_is_deleted_is_not_remembered(*, is_closed: bool) -> None:
    async with house() as api:
        response_id = await begun(api)
        await status_of(api, response_id, "completed")
        if is_closed:
            await closed(api, response_id)
        await api.client.delete(path_of(response_id))
        await closed(api, response_id)
        assert api.runs.find_told(response_id) is None
        gone = await api.client.get(f"{path_of(response_id)}?stream=true")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "response_not_found")


async def test_what_was_said_is_remembered_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house() as api:
        response_id = await begun(api)
        await closed(api, response_id)
        assert api.runs.find_told(response_id) is not None
        monkeypatch.setattr(runs, "TOLD_SECONDS", -1.0)
        assert api.runs.find_told(response_id) is None


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9999999999"])
async def test_a_last_event_that_is_no_number_is_refused(last: str) -> None:
    async with house() as api:
        response_id = (await api.chat()).json()["response_id"]
        response = await api.client.get(f"{path_of(response_id)}?stream=true", headers={"Last-Event-ID": last})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "Last-Event-ID")


async def test_nobody_could_ask_for_a_response_of_the_background_that_is_not_stored() -> None:
    async with house() as api:
        response = await api.chat(background=True, store=False)
    message = "Nobody could ask for a response that is not stored: leave 'store' at true, or 'background' out."
    error = {"type": "invalid_request", "message": message, "code": "invalid_value", "param": "background"}
    assert (response.status_code, response.json()) == (400, {"error": error})


async def test_what_cannot_begin_is_refused_in_the_background_too() -> None:
    async with house(
        servers={"mcp/dead": FakeServer(error=OrchestratorError(ErrorKind.PLUGIN_CONNECTION_ERROR, "No."))}
    ) as api:
        response = await api.chat(background=True, integrations=["mcp/dead"])
    assert response.status_code == 424


async def test_the_older_dialect_has_a_background_too() -> None:
    async with house() as api:
        response = await api.chat(background=True, enable_thinking=False)
        told = response.json()
        thread = (await api.client.get(f"/api/v1/threads/{told['thread_id']}")).json()
    assert response.status_code == 202
    assert thread["thread"]["newest_response_id"] == told["response_id"]


async def test_others_responses_are_not_followed() -> None:
    async with house(require_authentication=True) as api:
        texts = [(await api.tokens.create_token(name, ["chat"]))[1] for name in ("a", "b")]
        mine, others = ({"Authorization": f"Bearer {text}"} for text in texts)
        made = await api.client.post(CHAT, json=chat_body(background=True), headers=mine)
        path = f"{path_of(made.json()['response_id'])}?stream=true"
        answers: list[httpx.Response] = [await api.client.get(path, headers=headers) for headers in (mine, others)]
    assert [answer.status_code for answer in answers] == [200, 404]
