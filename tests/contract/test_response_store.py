"""What every `ResponseStore` promises of responses and chains: the twin, SQLite and Postgres alike."""

from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import Outcome, PlacedItem, PlacedText
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import EphemeralProvider, ImageInput, Message, TextInput, ToolCall
from orchestrator.core.json_types import JsonObject
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.prompt import PastResponse
from orchestrator.core.response import Cancelled, Completed, Ending, Failed, Incomplete, Stats
from orchestrator.core.tools import OfferedTool, ToolKey, text_content, tool_key
from orchestrator.ports import INHERITS, LONG_TEXT, Chain, ResponseStore
from tests.store.readings import (
    as_opened,
    failure_of,
    finish,
    no_such_parent,
    past,
    store_error,
)
from tests.store.samples import (
    MINUTE,
    NOON,
    OFFERED,
    STATS,
    answered,
    call,
    cut_call,
    ephemeral_call,
    invented_call,
    new_response,
    settled,
    text,
)
from tests.store.stores import Stores

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio


@pytest.fixture
def store(stores: Stores) -> ResponseStore:
    return stores.responses


# ---- one response -------------------------------------------------------------------------------


async def test_an_opened_response_reads_as_in_progress_with_everything_it_began_with(store: ResponseStore) -> None:
    new = new_response("resp_a")
    await store.open_response(new)
    assert await store.get_response("resp_a", "ada") == as_opened(new, "resp_a", 0)


async def test_a_saved_response_comes_back_whole_and_in_the_models_order(store: ResponseStore) -> None:
    new = new_response("resp_a")
    items = (
        text(0),
        settled(call(1, "call_1"), answered("12:00")),
        settled(ephemeral_call(2, "call_2"), Outcome("failed", text_content("broke"), "broke", True, 7)),
        invented_call(3, "call_3"),
        cut_call(4, "call_4"),
        text(5, turn=2),
    )
    await store.open_response(new)
    await store.save_response("resp_a", Completed(), STATS, items[::-1], [], NOON + MINUTE)
    assert await store.get_response("resp_a", "ada") == replace(
        as_opened(new, "resp_a", 0),
        status="completed",
        stats=STATS,
        output=tuple(output_entry(item) for item in items),
        ended_at=NOON + MINUTE,
    )


@pytest.mark.parametrize(
    ("ending", "fields"),
    [
        (Completed(), {"status": "completed"}),
        (Completed("\n\nEND \x00"), {"status": "completed", "stop_sequence": "\n\nEND \x00"}),
        (Incomplete("max_turns"), {"status": "incomplete", "incomplete_reason": "max_turns"}),
        (Cancelled("asked for"), {"status": "cancelled", "cancel_reason": "asked for"}),
        (
            Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, "It broke.", "input")),
            {"status": "failed", "error": ErrorInfo(ErrorKind.ENGINE_ERROR, "It broke.", "input")},
        ),
    ],
)
async def test_every_ending_is_kept_and_can_be_continued(
    store: ResponseStore, ending: Ending, fields: dict[str, object]
) -> None:
    new = new_response("resp_a")
    await finish(store, new, ending=ending)
    ended: dict[str, object] = {"stats": STATS, "ended_at": NOON, **fields}
    assert await store.get_response("resp_a", "ada") == replace(as_opened(new, "resp_a", 0), **ended)  # pyright: ignore[reportArgumentType] - field names are the tests' own
    assert (await store.load_chain("resp_a", "ada")).responses == (past(new),)


async def test_only_the_owner_sees_a_response_and_its_calls(store: ResponseStore) -> None:
    await finish(store, new_response("resp_a"), settled(call(0, "call_1"), answered("ok")))
    assert await store.get_response("resp_a", "bob") is None
    assert await store.list_calls("resp_a", "bob") == []
    assert await store.get_response("resp_b", "ada") is None
    assert await store.list_calls("resp_b", "ada") == []


async def test_an_id_is_given_once(store: ResponseStore) -> None:
    new = new_response("resp_a")
    await store.open_response(new)
    with store_error():
        await store.open_response(replace(new, system_prompt="Another."))
    assert await store.get_response("resp_a", "ada") == as_opened(new, "resp_a", 0)


async def test_any_text_and_any_json_come_back_as_they_were(store: ResponseStore) -> None:
    odd = 'NUL \x00, escapes \x10 \x100000 \\u0000, half a pair \ud83d, emoji \U0001f600, "quotes", \u2028 \uffff \r\n'
    arguments: JsonObject = {
        odd: odd,
        "float": 1.0,
        "whole": 1,
        "huge": 10**30,
        "tiny": 5e-324,
        "nested": [{"z": None, "a": []}],
    }
    new = replace(
        new_response("resp_a"),
        system_prompt=odd,
        parameters={"b": odd, "a": arguments},
        metadata={odd: odd},
        input=(TextInput(odd), TextInput(""), ImageInput(odd)),
        model_key=odd,
    )
    items: tuple[PlacedItem, ...] = (
        PlacedText(0, 1, Message(odd, (TokenLogprob(LikelyToken(odd, -0.5), (LikelyToken(odd, -5e-324, b"\0"),)),))),
        settled(call(1, "call_1", arguments=arguments), Outcome("succeeded", odd, odd, False, 1, odd)),
        replace(invented_call(2, "call_2"), model_name=odd, arguments_text=odd, reason=odd),
    )
    ending = Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, odd, odd))
    await finish(store, new, *items, ending=ending)
    stored = await store.get_response("resp_a", "ada")
    assert stored == replace(
        as_opened(new, "resp_a", 0),
        status="failed",
        error=ending.error,
        stats=STATS,
        output=tuple(output_entry(item) for item in items),
        ended_at=NOON,
    )
    journaled = (await store.list_calls("resp_a", "ada"))[0].arguments
    assert repr(journaled) == repr(arguments), "types of numbers and the order of keys count"


async def test_moments_come_back_to_the_microsecond_in_utc(store: ResponseStore) -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=45)))
    new = new_response("resp_a", at=elsewhere)
    await store.open_response(new)
    stored = await store.get_response("resp_a", "ada")
    assert stored == as_opened(new, "resp_a", 0)
    assert stored is not None and stored.created_at.tzinfo is not None


async def test_large_values_come_back_whole(store: ResponseStore) -> None:
    picture = ImageInput("data:image/png;base64," + "A" * 1_000_000)
    new = replace(new_response("resp_a"), input=(picture, picture, TextInput("ä" * 500_000)))
    item = settled(call(0, "call_1"), answered("x" * 1_000_000))
    await finish(store, new, item)
    stored = await store.get_response("resp_a", "ada")
    assert stored is not None and PastResponse(stored.input, stored.output) == past(new, item)
    assert [call.output for call in await store.list_calls("resp_a", "ada")] == [text_content("x" * 1_000_000)]


async def test_a_chain_holds_what_the_model_was_shown_of_a_long_output_and_not_the_output(store: ResponseStore) -> None:
    new = new_response("resp_a")
    for length, kept in ((LONG_TEXT, True), (LONG_TEXT + 1, False)):
        outcome = replace(answered("ok"), output="x" * length, structured="y" * length)
        item = settled(call(0, f"call_{length}"), outcome)
        await finish(store, replace(new, id=f"resp_{length}"), item)
        in_chain = past(new, item if kept else settled(item, replace(outcome, output="", structured=None)))
        assert (await store.load_chain(f"resp_{length}", "ada")).responses == (in_chain,)
    wanted = {f"call_{length}": "x" * length for length in (LONG_TEXT, LONG_TEXT + 1)}
    assert await store.read_outputs([*wanted, "call_unknown"], "ada") == wanted
    assert await store.read_outputs([*wanted], "bob") == {}
    await store.open_response(replace(new, id="resp_open"))
    await store.journal_calls("resp_open", [call(0, "call_open")], NOON)
    assert await store.read_outputs(["call_open"], "ada") == {}


# ---- chains -------------------------------------------------------------------------------------


async def test_a_chain_is_the_path_from_its_root_and_branches_share_what_they_share(store: ResponseStore) -> None:
    root, left, right = (
        new_response("resp_root"),
        new_response("resp_left", "resp_root"),
        new_response("resp_right", "resp_root"),
    )
    leaf = replace(new_response("resp_leaf", "resp_left"), system_prompt="", tool_names={}, offered=())
    await finish(store, root, text(0), settled(call(1, "call_1"), answered("12:00")))
    for branch, position in ((left, 0), (right, 3)):
        await finish(store, branch, text(position))
    await finish(store, leaf)

    of_root = past(root, text(0), settled(call(1, "call_1"), answered("12:00")))
    assert await store.load_chain("resp_leaf", "ada") == Chain(
        (of_root, past(left, text(0)), past(leaf)), "", {}, "resp_root"
    )
    assert await store.load_chain("resp_right", "ada") == Chain(
        (of_root, past(right, text(3))), right.system_prompt, right.tool_names, "resp_root"
    )
    assert await store.get_response("resp_leaf", "ada") == replace(
        as_opened(leaf, "resp_root", 2), status="completed", stats=STATS, ended_at=NOON
    )


async def test_a_chain_without_a_system_prompt_of_its_own_has_none(store: ResponseStore) -> None:
    await finish(store, new_response("resp_a"))
    await finish(store, replace(new_response("resp_b", "resp_a"), system_prompt=None))
    assert (await store.load_chain("resp_b", "ada")).system_prompt is None


async def test_a_prompt_is_inherited_past_responses_that_left_it_out_for_themselves(store: ResponseStore) -> None:
    away = {"system_prompt": None, "parameters": {INHERITS: False}}
    await finish(store, replace(new_response("resp_0"), system_prompt="Be brief."))
    for number in range(1, 4):
        await finish(store, replace(new_response(f"resp_{number}", f"resp_{number - 1}"), **away))
    await finish(store, replace(new_response("resp_none", "resp_0"), system_prompt=None))
    await finish(store, replace(new_response("resp_root"), **away))
    await finish(store, replace(new_response("resp_after", "resp_root"), **away))

    async def inherited(response_id: str, owner: str = "ada") -> str | None:
        return await store.inherited_prompt(response_id, owner)

    assert [await inherited(f"resp_{number}") for number in range(4)] == ["Be brief."] * 4
    assert [await inherited(f"resp_{name}") for name in ("none", "root", "after", "unknown")] == [None] * 4
    assert await inherited("resp_0", "bob") is None


async def test_names_that_a_chain_has_given_stay_even_when_the_tool_is_not_offered_again(store: ResponseStore) -> None:
    await finish(store, new_response("resp_a"))
    names: dict[ToolKey, str] = {("plugin:mcp/x", "t"): "t", ("ephemeral_mcp:x", "t"): "x_t"}
    await finish(store, replace(new_response("resp_b", "resp_a"), offered=(), tool_names=names))
    assert (await store.load_chain("resp_b", "ada")).tool_names == names


async def test_ids_that_cannot_be_continued_are_all_answered_alike(store: ResponseStore) -> None:
    await finish(store, new_response("resp_a"))
    await finish(store, new_response("resp_hidden", stored=False))
    await store.open_response(new_response("resp_hidden_and_running", stored=False))
    assert await failure_of(store, "resp_unknown") == no_such_parent("resp_unknown")
    assert await failure_of(store, "resp_a", "bob") == no_such_parent("resp_a")
    assert await failure_of(store, "resp_hidden") == no_such_parent("resp_hidden")
    assert await failure_of(store, "resp_hidden_and_running") == no_such_parent("resp_hidden_and_running")


async def test_a_response_that_runs_cannot_be_continued_yet(store: ResponseStore) -> None:
    await store.open_response(new_response("resp_a"))
    expected = ErrorInfo(
        ErrorKind.RESPONSE_NOT_FINISHED, "The response 'resp_a' is not finished yet.", "previous_response_id"
    )
    assert await failure_of(store, "resp_a") == expected
    assert await failure_of(store, "resp_a", "bob") == no_such_parent("resp_a")
    with pytest.raises(OrchestratorError) as caught:
        await store.open_response(new_response("resp_b", "resp_a"))
    assert caught.value.info == expected


async def test_a_parent_that_vanished_meanwhile_is_refused_when_the_child_opens(store: ResponseStore) -> None:
    await finish(store, new_response("resp_hidden", stored=False))
    await finish(store, replace(new_response("resp_foreign"), owner="bob"))
    for parent in ("resp_unknown", "resp_hidden", "resp_foreign"):
        with pytest.raises(OrchestratorError) as caught:
            await store.open_response(new_response("resp_b", parent))
        assert caught.value.info == no_such_parent(parent)
    assert await store.get_response("resp_b", "ada") is None


# ---- the save -----------------------------------------------------------------------------------


async def test_what_a_response_was_warned_about_is_kept_from_its_opening_to_its_end(store: ResponseStore) -> None:
    await store.open_response(replace(new_response("resp_a"), warnings=("many tools",)))
    opened = await store.get_response("resp_a", "ada")
    await store.save_response("resp_a", Completed(), STATS, [], [], NOON, ["many tools", "a broken promise"])
    saved = await store.get_response("resp_a", "ada")
    assert opened is not None
    assert saved is not None
    assert (opened.warnings, saved.warnings) == (("many tools",), ("many tools", "a broken promise"))


async def test_structured_output_comes_back_and_is_what_is_read_of_a_result_without_content(
    store: ResponseStore,
) -> None:
    short, long = '{"n":5}', '{"n":"' + "x" * LONG_TEXT + '"}'
    outcomes = [Outcome("succeeded", "[]", text, is_error=False, structured=text) for text in (short, long)]
    calls = [settled(call(at, f"call_{at}"), outcome) for at, outcome in enumerate(outcomes)]
    await store.open_response(new_response("resp_a"))
    await store.journal_calls("resp_a", calls, NOON)
    await store.save_response("resp_a", Completed(), STATS, [], [], NOON)
    whole = await store.get_response("resp_a", "ada")
    chain = await store.load_chain("resp_a", "ada")
    assert whole is not None
    (first,) = chain.responses
    assert isinstance(first, PastResponse)
    for entries, kept in ((whole.output, [short, long]), (first.output, [short, None])):
        assert [entry.item.structured for entry in entries if isinstance(entry.item, ToolCall)] == kept
    read = await store.read_outputs(["call_0", "call_1"], "ada")
    assert read == {"call_0": text_content(short), "call_1": text_content(long)}


async def test_a_save_adds_what_is_missing_and_settles_what_is_open(store: ResponseStore) -> None:
    new, first, second, third = new_response("resp_a"), call(0, "call_1"), call(1, "call_2"), call(2, "call_3")
    await store.open_response(new)
    await store.journal_calls("resp_a", [first, second, third], NOON)
    await store.record_outcome("resp_a", "call_1", answered("1"), NOON)
    items = [settled(first, answered("1")), settled(second, answered("2")), text(3)]
    await store.save_response("resp_a", Completed(), STATS, items, [("call_3", answered("3"))], NOON + MINUTE)
    assert await store.get_response("resp_a", "ada") == replace(
        as_opened(new, "resp_a", 0),
        status="completed",
        stats=STATS,
        output=tuple(output_entry(item) for item in (*items[:2], settled(third, answered("3")), text(3))),
        ended_at=NOON + MINUTE,
    )


async def test_a_save_that_is_repeated_changes_nothing(store: ResponseStore) -> None:
    new, item = new_response("resp_a"), settled(call(0, "call_1"), answered("1"))
    for ending in (Completed(), Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, "It broke."))):
        response = replace(new, id=f"resp_{type(ending).__name__}")
        placed = replace(item, call_id=f"call_{type(ending).__name__}")
        await finish(store, response, placed, ending=ending)
        saved = await store.get_response(response.id, "ada")
        await store.save_response(response.id, ending, Stats(), [placed, text(1)], [], NOON + MINUTE)
        assert await store.get_response(response.id, "ada") == saved


async def test_a_save_does_not_end_a_response_a_second_time_in_another_way(store: ResponseStore) -> None:
    new = new_response("resp_a")
    await finish(store, new, text(0), ending=Incomplete("deadline"))
    saved = await store.get_response("resp_a", "ada")
    for ending in (Completed(), Incomplete("max_turns"), Cancelled("late")):
        with store_error():
            await store.save_response("resp_a", ending, STATS, [text(1)], [], NOON)
    with store_error():
        await store.save_response("resp_unknown", Completed(), STATS, [text(1)], [], NOON)
    assert await store.get_response("resp_a", "ada") == saved


async def test_a_save_that_fails_can_be_made_again(store: ResponseStore) -> None:
    new, item = new_response("resp_a"), settled(call(1, "call_1"), answered("1"))
    await finish(store, new_response("resp_other"), settled(call(0, "call_taken"), answered("0")))
    await store.open_response(new)
    with store_error():
        await store.save_response(
            "resp_a", Completed(), STATS, [text(0), replace(item, call_id="call_taken")], [], NOON
        )
    assert await store.get_response("resp_a", "ada") == as_opened(new, "resp_a", 0)
    await store.save_response("resp_a", Completed(), STATS, [text(0), item], [], NOON)
    assert (await store.load_chain("resp_a", "ada")).responses == (past(new, text(0), item),)


# ---- offers -------------------------------------------------------------------------------------


async def test_an_offer_that_changes_along_a_chain_is_told_apart(store: ResponseStore) -> None:
    await finish(store, new_response("resp_a"))
    renamed = OfferedTool("clock_now", OFFERED[0].definition, EphemeralProvider("clock"), 0, OFFERED[0].digest)
    for name, offered in (("b", (*OFFERED, renamed)), ("c", OFFERED[:1]), ("d", OFFERED[::-1]), ("e", ())):
        names: dict[ToolKey, str] = {tool_key(tool.provider, tool.definition.name): tool.name for tool in offered}
        await finish(store, replace(new_response(f"resp_{name}", "resp_a"), offered=offered, tool_names=names))
        assert (await store.load_chain(f"resp_{name}", "ada")).tool_names == names
