"""What every `ResponseStore` promises of histories and of functions that clients run: the twin, SQLite and Postgres alike."""

from dataclasses import replace

import pytest

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import Outcome, PlacedCall
from orchestrator.core.items import (
    ClientProvider,
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    OutputEntry,
    ReasoningInput,
    TextInput,
)
from orchestrator.core.placed import HANDED_OVER
from orchestrator.core.prompt import PastResponse
from orchestrator.core.response import Completed
from orchestrator.core.tools import OfferedTool, ToolDefinition, definition_digest, text_content
from orchestrator.core.transcript import EMPTY, extended_transcript
from orchestrator.ports import LONG_TEXT, NewResponse, ResponseStore
from orchestrator.store.audit_verify import verify
from orchestrator.store.database import open_database
from orchestrator.store.graph import SqlResponseGraph
from orchestrator.store.responses import SqlResponseStore
from tests.store.readings import as_journaled, finish
from tests.store.samples import MINUTE, NOON, OFFERED, STATS, answered, call, new_response, settled, text
from tests.store.stores import Stores

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

WEATHER = ToolDefinition("weather", "Tell the weather.", {"type": "object"})
FUNCTION = OfferedTool("weather", WEATHER, ClientProvider(), -1, definition_digest(WEATHER))


@pytest.fixture
def store(stores: Stores) -> ResponseStore:
    return stores.responses


def with_function(id: str, previous: str | None = None, *said: InputItem, stored: bool = True) -> NewResponse:
    new = replace(new_response(id, previous, stored=stored), offered=(*OFFERED, FUNCTION))
    return replace(new, input=said) if said else new


def handed_over(position: int, call_id: str) -> PlacedCall:
    return PlacedCall(
        position,
        1,
        call_id,
        "weather",
        '{"city": "Oslo"}',
        {"city": "Oslo"},
        "weather",
        ClientProvider(),
        FUNCTION.digest,
        outcome=HANDED_OVER,
    )


async def test_histories_come_back_item_by_item(store: ResponseStore) -> None:
    said = (
        TextInput("Be kind.", speaker="system", begins=True, heads=True),
        TextInput("Be brief.", speaker="developer", begins=True),
        TextInput("Look.", begins=True, name="bob"),
        ImageInput("data:image/png;base64,AAAA", begins=True, name="eve"),
        ReasoningInput("hm", begins=True),
        TextInput("x" * (LONG_TEXT + 1), speaker="assistant"),
        FunctionCallInput("call_1", "f", '{"a": 1}'),
        FunctionCallInput("call_2", "f", "{", begins=True),
        FunctionOutput("call_1", text_content("y" * LONG_TEXT), is_error=True, name="f"),
        FunctionOutput("call_2", "[]", name="f"),
        FunctionCallInput("call_3", "now", "{}", begins=True, of_server=True),
        FunctionOutput("call_3", text_content("noon"), name="now", of_server=True),
        FunctionCallInput("call_4", "now", "{}", of_server=True, server="clock"),
        FunctionOutput("call_4", "[]", is_error=True, name="now", of_server=True),
    )
    await finish(store, with_function("resp_a", None, *said))
    stored = await store.get_response("resp_a", "ada")
    assert stored is not None and stored.input == said
    assert (await store.load_chain("resp_a", "ada")).responses == (PastResponse(said, ()),)


async def test_a_call_that_is_handed_over_waits_in_the_journal_for_its_first_result(store: ResponseStore) -> None:
    call, other = handed_over(0, "call_1"), handed_over(1, "call_2")
    await finish(store, with_function("resp_a"), call, other)
    waiting = replace(
        as_journaled(call, "resp_a"), status="handed_over", output=None, duration_ms=None, settled_at=None
    )
    assert (await store.list_calls("resp_a", "ada"))[0] == waiting
    entry = OutputEntry(1, *(output_entry(call).item, output_entry(call).shown))
    stored = await store.get_response("resp_a", "ada")
    assert stored is not None and stored.output == (entry, output_entry(other))
    result = FunctionOutput("call_1", text_content("sunny"), is_error=True, name="weather")
    await store.open_response(replace(with_function("resp_b", "resp_a", result), created_at=NOON + MINUTE))
    answered = replace(
        waiting, status="answered", output=result.output, is_error=True, duration_ms=0, settled_at=NOON + MINUTE
    )
    assert (await store.list_calls("resp_a", "ada"))[0] == answered
    assert (await store.list_calls("resp_a", "ada"))[1].status == "handed_over"
    late = replace(result, output=text_content("rain"))
    await store.open_response(with_function("resp_c", "resp_a", late))
    assert (await store.list_calls("resp_a", "ada"))[0] == answered
    asked = with_function("resp_a").input
    assert (await store.load_chain("resp_a", "ada")).responses == (PastResponse(asked, (entry, output_entry(other))),)
    run = await store.read_run("resp_a", "ada")
    assert run is not None
    assert run.items == (
        replace(call, outcome=Outcome("answered", result.output, None, is_error=True)),
        other,
    )


async def test_nobody_else_answers_and_what_is_not_stored_answers_nothing(store: ResponseStore) -> None:
    await finish(store, with_function("resp_a"), handed_over(0, "call_1"))
    result = FunctionOutput("call_1", text_content("sunny"), name="weather")
    await store.open_response(replace(with_function("resp_b", None, result), owner="bob"))
    await store.open_response(with_function("resp_c", None, result, stored=False))
    assert (await store.list_calls("resp_a", "ada"))[0].status == "handed_over"


async def test_of_a_response_that_is_not_stored_only_the_skeleton_of_its_call_is_kept(store: ResponseStore) -> None:
    await finish(store, with_function("resp_a", stored=False), handed_over(0, "call_1"))
    await store.open_response(with_function("resp_b", None, FunctionOutput("call_1", text_content("secret"))))
    [call] = await store.list_calls("resp_a", "ada")
    assert (call.status, call.tool, call.arguments, call.output) == ("answered", "weather", None, None)


async def test_a_conversation_is_found_by_its_digest_the_newest_first(store: ResponseStore) -> None:
    first = with_function("resp_a", None, TextInput("Hello."))
    await finish(store, first, text(0))
    one = extended_transcript(EMPTY, first.input, [text(0).item])
    assert await store.find_transcript(["unknown", one], "ada") == ("resp_a", one)
    second = replace(with_function("resp_b", "resp_a", TextInput("And?")), created_at=NOON + MINUTE)
    await finish(store, second, text(0))
    two = extended_transcript(one, second.input, [text(0).item])
    assert await store.find_transcript([two, one], "ada") == ("resp_b", two)
    twin = replace(first, id="resp_c", created_at=NOON + MINUTE)
    await store.open_response(twin)
    assert await store.find_transcript([one], "ada") == ("resp_a", one)
    await store.save_response("resp_c", Completed(), STATS, [text(0)], [], NOON + MINUTE)
    await finish(store, replace(first, id="resp_d", replay_of="resp_a", created_at=NOON + 2 * MINUTE), text(0))
    assert await store.find_transcript([one], "ada") == ("resp_c", one)
    assert await store.find_transcript([one], "bob") is None
    assert await store.find_transcript([], "ada") is None
    await finish(store, replace(first, id="resp_e", stored=False, input=(TextInput("Bye."),)), text(0))
    assert (
        await store.find_transcript([extended_transcript(EMPTY, (TextInput("Bye."),), [text(0).item])], "ada") is None
    )


async def test_a_response_that_was_asked_nothing_is_one_message_with_the_one_before_it(store: ResponseStore) -> None:
    first = with_function("resp_a", None, TextInput("Hello."))
    await finish(store, first, text(0))
    second = replace(with_function("resp_b", "resp_a"), input=(), created_at=NOON + MINUTE)
    await finish(store, second, text(0))
    third = replace(with_function("resp_c", "resp_b", TextInput("And?")), created_at=NOON + 2 * MINUTE)
    await finish(store, third, text(0))
    together = extended_transcript(EMPTY, first.input, [text(0).item, text(0).item])
    assert await store.find_transcript([together], "ada") == ("resp_b", together)
    after = extended_transcript(together, third.input, [text(0).item])
    assert await store.find_transcript([after], "ada") == ("resp_c", after)


async def test_a_conversation_that_is_deleted_is_not_found_again(database_url: str) -> None:
    database = await open_database(database_url)
    responses, graph = SqlResponseStore(database), SqlResponseGraph(database)
    new = with_function("resp_a", None, TextInput("Hello."))
    await finish(responses, new, text(0))
    digest = extended_transcript(EMPTY, new.input, [text(0).item])
    assert await responses.find_transcript([digest], "ada") == ("resp_a", digest)
    await graph.delete_response("resp_a", "ada", NOON, subtree=False, keep_skeleton=True)
    assert await responses.find_transcript([digest], "ada") is None
    await database.aclose()


async def test_the_audit_proves_calls_that_wait_for_their_clients_and_those_that_were_answered(
    database_url: str,
) -> None:
    database = await open_database(database_url)
    responses, graph = SqlResponseStore(database), SqlResponseGraph(database)
    await finish(responses, with_function("resp_a"), handed_over(0, "call_1"), handed_over(1, "call_2"))
    before = await verify(database)
    result = FunctionOutput("call_1", text_content("sunny"), name="weather")
    await finish(responses, with_function("resp_b", "resp_a", result))
    after = await verify(database)
    assert (before.problem, after.problem, after.links - before.links) == (None, None, 1)
    await graph.delete_response("resp_a", "ada", NOON, subtree=True, keep_skeleton=True)
    assert (await verify(database)).problem is None
    await database.aclose()


async def test_of_conversations_that_sound_alike_the_one_with_the_calls_is_found(store: ResponseStore) -> None:
    first = with_function("resp_a", None, TextInput("Hello."))
    await finish(store, first, settled(call(0, "call_1"), answered("noon")), text(1))
    await finish(
        store,
        replace(first, id="resp_b", created_at=NOON + MINUTE),
        settled(call(0, "call_2"), answered("noon")),
        text(1),
    )
    said = extended_transcript(EMPTY, first.input, [text(1).item])
    for calls, expected in ((["call_1"], "resp_a"), (["call_2"], "resp_b"), (["call_9"], "resp_b"), ([], "resp_b")):
        assert await store.find_transcript([said], "ada", calls) == (expected, said)
