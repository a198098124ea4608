"""What every `ResponseStore` and `TokenStore` promises: the twin, SQLite and Postgres alike."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem, PlacedText
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import EphemeralProvider, ImageInput, Message, PluginProvider, TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import PastResponse, ToolMessage, turn_messages
from orchestrator.core.response import Cancelled, Completed, Ending, Failed, Incomplete, Stats
from orchestrator.core.tools import OfferedTool, ToolKey, text_content, tool_key
from orchestrator.ports import Chain, JournaledCall, NewResponse, ResponseStore, StoredResponse, Token
from tests.store.samples import (
    LEASE,
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

DIED = "The process that ran this call died during it: whether it took effect is not known."


@pytest.fixture
def store(stores: Stores) -> ResponseStore:
    return stores.responses


def as_opened(new: NewResponse, root_id: str, depth: int) -> StoredResponse:
    """What a stored response reads like before anything has happened in it."""
    return StoredResponse(
        id=new.id,
        previous_response_id=new.previous_response_id,
        root_id=root_id,
        depth=depth,
        owner=new.owner,
        model_key=new.model_key,
        model_instance_id=new.model_instance_id,
        system_prompt=new.system_prompt,
        parameters=new.parameters,
        metadata=new.metadata,
        status="in_progress",
        incomplete_reason=None,
        error=None,
        stats=Stats(),
        input=new.input,
        output=(),
        created_at=new.created_at,
        ended_at=None,
    )


def as_journaled(placed: PlacedCall, response_id: str) -> JournaledCall:
    """What the journal says of a call that nobody has settled."""
    return JournaledCall(
        call_id=placed.call_id,
        response_id=response_id,
        position=placed.position,
        turn=placed.turn,
        model_name=placed.model_name,
        tool=placed.tool,
        provider=placed.provider,
        definition_digest=placed.digest,
        arguments=placed.arguments,
        status="journaled",
        output=None,
        is_error=False,
        duration_ms=None,
        created_at=NOON,
        settled_at=None,
    )


def with_outcome(journaled: JournaledCall, outcome: Outcome, at: datetime) -> JournaledCall:
    return replace(
        journaled,
        status=outcome.status,
        output=outcome.output,
        is_error=outcome.is_error,
        duration_ms=outcome.duration_ms,
        settled_at=at,
    )


def past(new: NewResponse, *items: PlacedItem) -> PastResponse:
    return PastResponse(new.input, tuple(output_entry(item) for item in items))


async def finish(store: ResponseStore, new: NewResponse, *items: PlacedItem, ending: Ending | None = None) -> None:
    await store.open_response(new)
    await store.save_response(new.id, ending or Completed(), STATS, items, [], NOON)


async def failure_of(store: ResponseStore, response_id: str, owner: str = "ada") -> ErrorInfo:
    with pytest.raises(OrchestratorError) as caught:
        await store.load_chain(response_id, owner)
    return caught.value.info


def no_such_parent(response_id: str) -> ErrorInfo:
    message = f"There is no stored response '{response_id}' to continue."
    return ErrorInfo(ErrorKind.INVALID_VALUE, message, "previous_response_id")


def store_error() -> "pytest.RaisesExc[OrchestratorError]":
    return pytest.RaisesExc(OrchestratorError, check=lambda error: error.info.kind is ErrorKind.STORE_ERROR)


# ---- one response -----------------------------------------------------------------------------


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
        (Incomplete("max_turns"), {"status": "incomplete", "incomplete_reason": "max_turns"}),
        (Cancelled("asked for"), {"status": "cancelled"}),
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
    assert await store.get_response("resp_a", "ada") == replace(as_opened(new, "resp_a", 0), **ended)  # pyright: ignore[reportArgumentType]
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
        PlacedText(0, 1, Message(odd)),
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
    assert await store.load_chain("resp_a", "ada") == Chain((past(new, item),), new.system_prompt, new.tool_names)


# ---- chains -----------------------------------------------------------------------------------


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
    assert await store.load_chain("resp_leaf", "ada") == Chain((of_root, past(left, text(0)), past(leaf)), "", {})
    assert await store.load_chain("resp_right", "ada") == Chain(
        (of_root, past(right, text(3))), right.system_prompt, right.tool_names
    )
    assert await store.get_response("resp_leaf", "ada") == replace(
        as_opened(leaf, "resp_root", 2), status="completed", stats=STATS, ended_at=NOON
    )


async def test_a_chain_without_a_system_prompt_of_its_own_has_none(store: ResponseStore) -> None:
    await finish(store, new_response("resp_a"))
    await finish(store, replace(new_response("resp_b", "resp_a"), system_prompt=None))
    assert (await store.load_chain("resp_b", "ada")).system_prompt is None


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


# ---- the journal ------------------------------------------------------------------------------


async def test_a_journaled_call_is_in_the_journal_at_once_and_in_the_output_once_settled(store: ResponseStore) -> None:
    new, first, second = new_response("resp_a"), call(1, "call_1"), ephemeral_call(2, "call_2")
    await store.open_response(new)
    await store.journal_calls("resp_a", [text(0), first, second], NOON)
    journal = [as_journaled(first, "resp_a"), as_journaled(second, "resp_a")]
    assert await store.list_calls("resp_a", "ada") == journal
    opened = as_opened(new, "resp_a", 0)
    assert await store.get_response("resp_a", "ada") == replace(opened, output=(output_entry(text(0)),))

    outcome = answered("found")
    await store.record_outcome("resp_a", "call_2", outcome, NOON + MINUTE)
    assert await store.list_calls("resp_a", "ada") == [journal[0], with_outcome(journal[1], outcome, NOON + MINUTE)]
    output = (output_entry(text(0)), output_entry(settled(second, outcome)))
    assert await store.get_response("resp_a", "ada") == replace(opened, output=output)


async def test_an_invalid_call_is_settled_as_soon_as_it_is_journaled(store: ResponseStore) -> None:
    invented, cut = invented_call(0, "call_1"), cut_call(1, "call_2")
    await store.open_response(new_response("resp_a"))
    await store.journal_calls("resp_a", [invented, cut], NOON)
    assert invented.outcome is not None and cut.outcome is not None
    assert await store.list_calls("resp_a", "ada") == [
        with_outcome(as_journaled(invented, "resp_a"), invented.outcome, NOON),
        with_outcome(as_journaled(cut, "resp_a"), cut.outcome, NOON),
    ]


async def test_a_settled_call_never_changes_again(store: ResponseStore) -> None:
    new, placed, outcome = new_response("resp_a"), call(0, "call_1"), answered("first")
    await store.open_response(new)
    await store.journal_calls("resp_a", [placed], NOON)
    await store.record_outcome("resp_a", "call_1", outcome, NOON)
    expected = [with_outcome(as_journaled(placed, "resp_a"), outcome, NOON)]

    await store.record_outcome("resp_a", "call_1", outcome, NOON + MINUTE)
    assert await store.list_calls("resp_a", "ada") == expected, "the same again changes nothing"
    with store_error():
        await store.record_outcome("resp_a", "call_1", answered("second"), NOON + MINUTE)
    again = settled(placed, answered("third"))
    await store.save_response("resp_a", Completed(), STATS, [again], [("call_1", answered("fourth"))], NOON)
    assert await store.list_calls("resp_a", "ada") == expected
    assert (await store.load_chain("resp_a", "ada")).responses == (past(new, settled(placed, outcome)),)


async def test_an_outcome_needs_a_call_of_that_response(store: ResponseStore) -> None:
    await store.open_response(new_response("resp_a"))
    await store.open_response(new_response("resp_b"))
    await store.journal_calls("resp_a", [call(0, "call_1")], NOON)
    for response_id, call_id in (("resp_a", "call_2"), ("resp_b", "call_1"), ("resp_c", "call_1")):
        with store_error():
            await store.record_outcome(response_id, call_id, answered("ok"), NOON)
    assert await store.list_calls("resp_a", "ada") == [as_journaled(call(0, "call_1"), "resp_a")]


async def test_what_the_journal_cannot_take_leaves_nothing_behind(store: ResponseStore) -> None:
    new, journaled = new_response("resp_a"), call(0, "call_1")
    await store.open_response(new)
    await store.journal_calls("resp_a", [journaled], NOON)
    refused: list[list[PlacedItem]] = [
        [call(1, "call_2"), call(0, "call_3")],
        [call(1, "call_2"), call(2, "call_1")],
        [call(1, "call_2"), call(2, "call_2")],
        [call(1, "call_2"), text(1)],
        [call(1, "call_2"), replace(call(2, "call_3"), digest="sha256:never offered")],
    ]
    for items in refused:
        with store_error():
            await store.journal_calls("resp_a", items, NOON)
    with store_error():
        await store.journal_calls("resp_unknown", [call(1, "call_2")], NOON)
    assert await store.list_calls("resp_a", "ada") == [as_journaled(journaled, "resp_a")]
    assert await store.get_response("resp_a", "ada") == as_opened(new, "resp_a", 0)


async def test_a_response_that_has_ended_takes_no_more_calls(store: ResponseStore) -> None:
    new = new_response("resp_a")
    await finish(store, new, text(0))
    with store_error():
        await store.journal_calls("resp_a", [call(1, "call_1")], NOON)
    assert await store.list_calls("resp_a", "ada") == []


async def test_a_call_that_its_response_ended_without_is_never_settled(store: ResponseStore) -> None:
    new, forgotten = new_response("resp_a"), call(0, "call_1")
    await store.open_response(new)
    await store.journal_calls("resp_a", [forgotten, text(1)], NOON)
    await store.save_response("resp_a", Completed(), STATS, [], [], NOON)
    assert (await store.load_chain("resp_a", "ada")).responses == (past(new, text(1)),)
    with store_error():
        await store.record_outcome("resp_a", "call_1", answered("late"), NOON)
    assert await store.list_calls("resp_a", "ada") == [as_journaled(forgotten, "resp_a")]


# ---- the save ---------------------------------------------------------------------------------


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


# ---- store: false -----------------------------------------------------------------------------


async def test_of_a_response_that_is_not_stored_only_the_skeleton_of_its_calls_is_kept(store: ResponseStore) -> None:
    new = new_response("resp_a", stored=False)
    first, second, invented, cut = (
        call(1, "call_1"),
        ephemeral_call(2, "call_2"),
        invented_call(3, "call_3"),
        cut_call(4, "call_4"),
    )
    await store.open_response(new)
    await store.journal_calls("resp_a", [text(0), first, second, invented], NOON)
    bare = [
        replace(as_journaled(first, "resp_a"), arguments=None),
        replace(as_journaled(second, "resp_a"), arguments=None),
        replace(
            as_journaled(invented, "resp_a"),
            model_name="",
            arguments=None,
            status="invalid",
            is_error=True,
            duration_ms=0,
            settled_at=NOON,
        ),
    ]
    assert await store.list_calls("resp_a", "ada") == bare

    await store.record_outcome("resp_a", "call_1", answered("secret"), NOON + MINUTE)
    await store.record_outcome("resp_a", "call_1", answered("another secret"), NOON + 2 * MINUTE)
    ending = Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, "It said: secret", "input"))
    await store.save_response("resp_a", ending, STATS, [cut], [("call_2", answered("secret"))], NOON + MINUTE)
    done = {"status": "succeeded", "duration_ms": 12, "settled_at": NOON + MINUTE}
    cut_off = {"status": "invalid", "is_error": True, "duration_ms": 0}
    assert await store.list_calls("resp_a", "ada") == [
        replace(bare[0], **done),
        replace(bare[1], **done),
        bare[2],
        replace(
            as_journaled(cut, "resp_a"),
            arguments=None,
            created_at=NOON + MINUTE,
            settled_at=NOON + MINUTE,
            **cut_off,
        ),
    ]
    assert await store.get_response("resp_a", "ada") is None
    await store.save_response("resp_a", ending, STATS, [], [], NOON)
    with store_error():
        await store.save_response("resp_a", Completed(), STATS, [], [], NOON)


async def test_a_response_that_is_not_stored_may_continue_one_that_is(store: ResponseStore) -> None:
    await finish(store, new_response("resp_a"), text(0))
    await finish(store, new_response("resp_b", "resp_a", stored=False), text(0))
    assert await failure_of(store, "resp_b") == no_such_parent("resp_b")
    assert (await store.load_chain("resp_a", "ada")).responses == (past(new_response("resp_a"), text(0)),)


# ---- leases -----------------------------------------------------------------------------------


async def test_a_response_whose_lease_has_expired_ends_with_what_was_durable(store: ResponseStore) -> None:
    new, done, lost = new_response("resp_a"), call(1, "call_1"), call(2, "call_2")
    await store.open_response(new)
    await store.journal_calls("resp_a", [text(0), done, lost], NOON)
    await store.record_outcome("resp_a", "call_1", answered("12:00"), NOON)

    assert await store.end_abandoned(LEASE, []) == [], "a lease still counts at its last moment"
    later = LEASE + MINUTE
    assert await store.end_abandoned(later, []) == ["resp_a"]
    assert await store.end_abandoned(later, []) == []

    abandoned = Outcome("abandoned", text_content(DIED), DIED, is_error=True)
    items = (text(0), settled(done, answered("12:00")), settled(lost, abandoned))
    assert await store.list_calls("resp_a", "ada") == [
        with_outcome(as_journaled(done, "resp_a"), answered("12:00"), NOON),
        with_outcome(as_journaled(lost, "resp_a"), abandoned, later),
    ]
    assert await store.get_response("resp_a", "ada") == replace(
        as_opened(new, "resp_a", 0),
        status="incomplete",
        incomplete_reason="process_died",
        output=tuple(output_entry(item) for item in items),
        ended_at=later,
    )
    chain = await store.load_chain("resp_a", "ada")
    assert chain.responses == (past(new, *items),)
    assert turn_messages(chain.responses[0].output)[-1] == ToolMessage("call_2", "now", DIED)


async def test_the_responses_of_a_dead_holder_end_before_their_lease(store: ResponseStore) -> None:
    for name, holder in (("a", "host:1"), ("b", "host:2"), ("c", "host:3")):
        await store.open_response(replace(new_response(f"resp_{name}"), holder=holder))
    await finish(store, replace(new_response("resp_d"), holder="host:2"))
    await store.open_response(replace(new_response("resp_e", stored=False), holder="host:2"))
    await store.journal_calls("resp_e", [call(0, "call_1")], NOON)
    assert await store.holders_in_progress() == ["host:1", "host:2", "host:3"]
    assert await store.end_abandoned(NOON, ["host:2", "host:4"]) == ["resp_b", "resp_e"]
    assert await store.holders_in_progress() == ["host:1", "host:3"]
    assert await store.list_calls("resp_e", "ada") == [
        replace(
            as_journaled(call(0, "call_1"), "resp_e"),
            arguments=None,
            status="abandoned",
            is_error=True,
            duration_ms=0,
            settled_at=NOON,
        )
    ]


async def test_a_renewed_lease_keeps_that_response_and_no_other(store: ResponseStore) -> None:
    for name in ("a", "b"):
        await store.open_response(new_response(f"resp_{name}"))
    await finish(store, new_response("resp_c"))
    ended = await store.get_response("resp_c", "ada")
    await store.renew_leases(["resp_a", "resp_c", "resp_unknown"], LEASE + 2 * MINUTE)
    await store.renew_leases([], LEASE + 9 * MINUTE)
    assert await store.end_abandoned(LEASE + MINUTE, []) == ["resp_b"]
    assert await store.holders_in_progress() == ["host:1"]
    assert await store.end_abandoned(LEASE + 3 * MINUTE, []) == ["resp_a"]
    assert await store.holders_in_progress() == []
    assert await store.get_response("resp_c", "ada") == ended


async def test_a_process_that_was_taken_for_dead_can_write_no_more(store: ResponseStore) -> None:
    await store.open_response(new_response("resp_a"))
    await store.journal_calls("resp_a", [call(0, "call_1")], NOON)
    await store.end_abandoned(LEASE + MINUTE, [])
    ended = await store.get_response("resp_a", "ada")
    journal = await store.list_calls("resp_a", "ada")
    with store_error():
        await store.record_outcome("resp_a", "call_1", answered("late"), NOON)
    with store_error():
        await store.journal_calls("resp_a", [call(1, "call_2")], NOON)
    with store_error():
        await store.save_response("resp_a", Completed(), STATS, [text(1)], [("call_1", answered("late"))], NOON)
    assert await store.get_response("resp_a", "ada") == ended
    assert await store.list_calls("resp_a", "ada") == journal


# ---- offers -----------------------------------------------------------------------------------


async def test_an_offer_that_changes_along_a_chain_is_told_apart(store: ResponseStore) -> None:
    await finish(store, new_response("resp_a"))
    renamed = OfferedTool("clock_now", OFFERED[0].definition, EphemeralProvider("clock"), 0, OFFERED[0].digest)
    for name, offered in (("b", (*OFFERED, renamed)), ("c", OFFERED[:1]), ("d", OFFERED[::-1]), ("e", ())):
        names: dict[ToolKey, str] = {tool_key(tool.provider, tool.definition.name): tool.name for tool in offered}
        await finish(store, replace(new_response(f"resp_{name}", "resp_a"), offered=offered, tool_names=names))
        assert (await store.load_chain(f"resp_{name}", "ada")).tool_names == names


# ---- tokens -----------------------------------------------------------------------------------


async def test_tokens_are_found_listed_and_revoked_once(stores: Stores) -> None:
    tokens = stores.tokens
    first = Token("abcd1234", "laptop", "ada", frozenset({"chat", "plugins:mcp/clock"}), NOON)
    second = Token("efgh5678", "laptop", "ada", frozenset(), NOON - MINUTE)
    await tokens.create_token(first, b"\x00digest")
    await tokens.create_token(second, b"other")
    assert await tokens.list_tokens() == [second, first]
    assert await tokens.find_token("abcd1234") == (first, b"\x00digest")
    assert await tokens.find_token("unknown") is None

    assert await tokens.revoke_token("abcd1234", NOON + MINUTE)
    assert not await tokens.revoke_token("abcd1234", NOON + 2 * MINUTE)
    assert not await tokens.revoke_token("unknown", NOON)
    revoked = replace(first, revoked_at=NOON + MINUTE)
    assert await tokens.find_token("abcd1234") == (revoked, b"\x00digest")
    assert await tokens.list_tokens() == [second, revoked]
    with store_error():
        await tokens.create_token(replace(first, name="again"), b"third")
    assert await tokens.list_tokens() == [second, revoked]


def test_the_samples_cover_both_kinds_of_providers() -> None:
    assert [type(tool.provider) for tool in OFFERED] == [PluginProvider, EphemeralProvider]
