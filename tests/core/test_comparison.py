"""Two branches beside each other, item by item."""

from dataclasses import replace

import pytest

from orchestrator.core.comparison import (
    BEFORE,
    MISSING,
    SHOWN,
    BranchNode,
    Change,
    ComparedTool,
    ItemComparison,
    ResponseComparison,
    ToolComparison,
    compare_branches,
    compare_responses,
)
from orchestrator.core.items import (
    EphemeralProvider,
    ImageInput,
    InvalidToolCall,
    Message,
    Origin,
    OutputItem,
    PluginProvider,
    Reasoning,
    TextInput,
    ToolCall,
)
from orchestrator.core.json_types import JsonObject
from orchestrator.core.reading import SERVICE
from orchestrator.core.replay_report import ChainReplayReport, Difference, ReplayReport, differences

CLOCK, FILES = PluginProvider("mcp/clock"), EphemeralProvider("files")
NODE = BranchNode("resp_a", {"model": "m", "status": "completed"}, {"seed": 1}, (TextInput("Hello"),), ())


def call(call_id: str, tool: str = "now", **changed: object) -> ToolCall:
    whole = ToolCall(call_id, tool, {"zone": "UTC"}, "[]", CLOCK, is_error=False, duration_ms=5)
    return replace(whole, **changed)


def node(*output: OutputItem, id: str = "resp_a", **changed: object) -> BranchNode:
    return replace(NODE, id=id, output=output, **changed)


def written(a: BranchNode, b: BranchNode) -> tuple[ItemComparison, ...]:
    return compare_responses(a, b).output


def equal(kind: str, a: int, b: int) -> ItemComparison:
    return ItemComparison("equal", kind, a, b)  # pyright: ignore[reportArgumentType] - a test says which kinds there are


def test_what_is_equal_is_equal_whatever_its_ids_and_times_are() -> None:
    a = node(Reasoning("Hm."), call("call_1"), Message("Noon."))
    b = node(Reasoning("Hm."), call("call_2", duration_ms=900), Message("Noon."), id="resp_b")
    assert compare_responses(a, b) == ResponseComparison(
        "equal",
        "resp_a",
        "resp_b",
        input=(equal("text", 0, 0),),
        output=(
            equal("reasoning", 0, 0),
            replace(equal("tool_call", 1, 1), tool="now", provider=CLOCK, call_a="call_1", call_b="call_2"),
            equal("message", 2, 2),
        ),
    )


def test_a_call_tells_which_arguments_changed_and_how_its_result_did() -> None:
    before: JsonObject = {"zone": "UTC", "deep": {"x": 1, "y": [1]}, "gone": None, "flag": 1}
    after: JsonObject = {"zone": "CET", "deep": {"x": 1, "y": [1, 2]}, "new": "n", "flag": True}
    a = node(call("call_1", arguments=before))
    b = node(call("call_2", arguments=after, output='["no"]', is_error=True))
    [item] = written(a, b)
    assert item == ItemComparison(
        "changed",
        "tool_call",
        0,
        0,
        (
            Change("arguments.zone", "UTC", "CET"),
            Change("arguments.deep.y", [1], [1, 2]),
            Change("arguments.gone", None, MISSING),
            Change("arguments.flag", 1, True),
            Change("arguments.new", MISSING, "n"),
            Change("output", "[]", '["no"]'),
            Change("is_error", False, True),
        ),
        "now",
        CLOCK,
        "call_1",
        "call_2",
    )


def test_results_that_are_only_structured_are_compared_by_that() -> None:
    a, b = (node(call("call_1", structured=text)) for text in ('{"n":5}', '{"n":6}'))
    [item] = written(a, b)
    assert (item.standing, [change.field for change in item.changes]) == ("changed", ["structured_output"])
    assert written(a, a)[0].standing == "equal"


def test_how_a_call_came_to_its_result_is_compared_where_it_is_known() -> None:
    a, b = node(call("call_1"), statuses={"call_1": "succeeded"}), node(call("call_2"), statuses={"call_2": "edited"})
    assert [item.changes for item in written(a, b)] == [(Change("status", "succeeded", "edited"),)]
    [one_sided] = written(a, node(call("call_2")))
    assert one_sided.changes == (Change("status", "succeeded", MISSING),)


def test_calls_stand_beside_calls_of_the_same_tool_and_rather_of_the_same_arguments() -> None:
    a = node(call("call_1"), call("call_2", arguments={"zone": "CET"}), call("call_3", "count"))
    b = node(call("call_4", arguments={"zone": "CET"}, output="x"), call("call_5", "count"), Message("Done."))
    assert [(item.standing, item.a, item.b) for item in written(a, b)] == [
        ("removed", 0, None),
        ("changed", 1, 0),
        ("equal", 2, 1),
        ("added", None, 2),
    ]


def test_what_stands_alone_is_shown_whole() -> None:
    removed, added = written(node(Message("Bye.")), node(call("call_1")))
    assert removed == ItemComparison("removed", "message", 0, None, (Change("content", "Bye.", MISSING),))
    assert added == ItemComparison(
        "added",
        "tool_call",
        None,
        0,
        (
            Change("arguments", MISSING, {"zone": "UTC"}),
            Change("output", MISSING, "[]"),
            Change("is_error", MISSING, False),
        ),
        "now",
        CLOCK,
        None,
        "call_1",
    )


def test_calls_of_the_same_name_on_different_servers_are_two() -> None:
    compared = written(node(call("call_1")), node(call("call_2", provider=FILES)))
    assert [item.standing for item in compared] == ["removed", "added"]


def test_a_call_that_became_invalid_stands_beside_what_it_was() -> None:
    invalid = InvalidToolCall("call_2", "invalid_name", "Cannot find tool.", "now")
    [item] = written(node(call("call_1")), node(invalid))
    assert (item.standing, item.kind, item.tool, item.provider) == ("changed", "invalid_tool_call", "now", CLOCK)
    assert item.changes[0] == Change("type", "tool_call", "invalid_tool_call")
    assert Change("reason", MISSING, "Cannot find tool.") in item.changes
    [back] = written(node(invalid), node(call("call_1")))
    assert back.changes[0] == Change("type", "invalid_tool_call", "tool_call")


def test_reading_on_in_another_response_is_the_same_for_all_its_own_ids() -> None:
    def reading(id: str, offset: int) -> ToolCall:
        return call(id, "read_tool_output", provider=SERVICE, arguments={"call_id": f"of_{id}", "offset": offset})

    assert [item.standing for item in written(node(reading("call_1", 5)), node(reading("call_2", 5)))] == ["equal"]
    [item] = written(node(reading("call_1", 5)), node(reading("call_2", 6)))
    assert item.changes == (Change("arguments.offset", 5, 6),)


def test_input_is_compared_with_where_it_comes_from() -> None:
    origin = Origin(CLOCK, "resource", "file:///a")
    a = replace(NODE, input=(TextInput("Hello"), ImageInput("data:a"), TextInput("x", origin)))
    b = replace(
        NODE, input=(TextInput("Hello"), ImageInput("data:b"), TextInput("x", replace(origin, name="file:///b")))
    )
    compared = compare_responses(a, b).input
    assert [item.standing for item in compared] == ["equal", "changed", "changed"]
    [digest] = compared[1].changes
    assert digest.field == "digest"
    assert str(digest.a).startswith("sha256:")
    assert compared[2].changes == (
        Change("origin", "resource file:///a of mcp/clock", "resource file:///b of mcp/clock"),
    )


def test_the_whole_is_compared_too() -> None:
    b = replace(NODE, id="resp_b", facts={"model": "n", "status": "completed"}, parameters={"top_k": 3})
    compared = compare_responses(NODE, b)
    assert (compared.standing, compared.changes) == (
        "changed",
        (Change("model", "m", "n"), Change("parameters.seed", 1, MISSING), Change("parameters.top_k", MISSING, 3)),
    )


def test_tools_are_compared_by_the_digests_of_their_definitions() -> None:
    a = replace(
        NODE, tools=(ComparedTool("now", CLOCK, "1"), ComparedTool("add", CLOCK, "2"), ComparedTool("x", FILES, "3"))
    )
    b = replace(
        NODE, tools=(ComparedTool("now", CLOCK, "1"), ComparedTool("add", CLOCK, "9"), ComparedTool("x", CLOCK, "3"))
    )
    compared = compare_responses(a, b)
    assert (compared.standing, compared.tools) == (
        "changed",
        (
            ToolComparison("changed", "add", CLOCK, "2", "9"),
            ToolComparison("removed", "x", FILES, "3", None),
            ToolComparison("added", "x", CLOCK, None, "3"),
        ),
    )


def test_long_texts_are_shown_from_where_they_begin_to_differ() -> None:
    same = "s" * 10_000
    [item] = written(node(Message(same + "a" * 5_000)), node(Message(same + "b")))
    [change] = item.changes
    assert change.a == "…" + "s" * BEFORE + "a" * (SHOWN - BEFORE) + "…"
    assert change.b == "…" + "s" * BEFORE + "b"
    [longer] = written(node(Message(same)), node(Message(same + "!")))
    assert longer.changes[0].b == "…" + "s" * BEFORE + "!"
    [alone] = written(node(), node(Message(same)))
    assert alone.changes == (Change("content", MISSING, "s" * SHOWN + "…"),)


FORK = ("resp_a", 2)
KEPT = (Message("One."), call("call_1"))
ANEW = (KEPT[0], call("call_9"))


@pytest.mark.parametrize(
    ("a", "b", "shared"),
    [
        (node(*KEPT, Message("Two.")), node(*KEPT, Message("Three."), id="resp_b", forked_from=FORK), 2),
        (node(*KEPT, id="resp_b", forked_from=FORK), node(*KEPT), 2),
        (node(*KEPT, id="resp_b", forked_from=FORK), node(*ANEW, id="resp_c", forked_from=("resp_a", 1)), 1),
        (node(*KEPT, id="resp_b", forked_from=FORK), node(*KEPT, id="resp_c", forked_from=("resp_a", 1)), 2),
        (node(*KEPT, id="resp_b", forked_from=FORK), node(*ANEW, id="resp_c", forked_from=("resp_x", 1)), 0),
        (node(*KEPT), node(*ANEW, id="resp_b"), 0),
    ],
    ids=["fork", "origin", "siblings", "the same call", "strangers", "none"],
)
def test_what_a_branch_has_of_the_other_is_shared(a: BranchNode, b: BranchNode, shared: int) -> None:
    assert [item.shared for item in written(a, b)] == [place < shared for place in range(len(a.output))]


def test_what_a_branch_has_in_the_place_where_it_left_stands_beside_what_was_there() -> None:
    old, new = call("call_2", arguments={"zone": "CET"}), call("call_3")
    a = node(*KEPT, old, Message("Two."))
    b = node(*KEPT, new, replace(old, call_id="call_4"), id="resp_b", forked_from=FORK)
    assert [(item.standing, item.a, item.b) for item in written(a, b)] == [
        ("equal", 0, 0),
        ("equal", 1, 1),
        ("changed", 2, 2),
        ("removed", 3, None),
        ("added", None, 3),
    ]
    other = node(*KEPT, Message("Else."), id="resp_b", forked_from=FORK)
    assert [(item.standing, item.a, item.b) for item in written(a, other)][2:] == [
        ("removed", 2, None),
        ("changed", 3, 2),
    ]
    short = node(*KEPT, id="resp_b", forked_from=("resp_a", 9))
    assert [(item.standing, item.a, item.b) for item in written(a, short)][2:] == [
        ("removed", 2, None),
        ("removed", 3, None),
    ]


def test_branches_of_different_length_have_responses_that_stand_alone() -> None:
    first, second = compare_branches([NODE, node(Message("More."), id="resp_c")], [NODE])
    assert (first.standing, second.standing, second.a, second.b) == ("equal", "removed", "resp_c", None)
    assert second.changes == (
        Change("model", "m", MISSING),
        Change("status", "completed", MISSING),
        Change("parameters.seed", 1, MISSING),
    )
    assert [item.standing for item in (*second.input, *second.output)] == ["removed", "removed"]
    [added] = compare_branches([], [NODE])
    assert (added.standing, added.a, added.b) == ("added", None, "resp_a")


# ---- what a replay found ----------------------------------------------------------------------


def found(a: BranchNode, b: BranchNode) -> list[tuple[str, int | None, int | None]]:
    return [(each.kind, each.a, each.b) for each in differences(compare_responses(a, b))]


def test_a_replay_that_came_out_as_before_found_nothing() -> None:
    whole = node(Reasoning("Hm."), call("call_1"), Message("Noon."))
    assert differences(compare_responses(whole, whole)) == ()
    assert ReplayReport("resp_b", "resp_a", "live", "completed", ()).equal
    assert not ReplayReport("resp_b", "resp_a", "live", "completed", (Difference("text", ()),)).equal


def test_a_chain_came_out_as_before_where_all_of_it_did_and_nothing_is_left() -> None:
    same = ReplayReport("resp_b", "resp_a", "live", "completed", ())
    other = ReplayReport("resp_d", "resp_c", "live", "completed", (Difference("text", ()),))
    assert ChainReplayReport((same, same)).equal
    assert not ChainReplayReport((same, other)).equal
    assert not ChainReplayReport((same,), ("resp_c",), "The engine broke.").equal


def test_the_model_and_the_settings_of_a_replay_are_no_differences() -> None:
    assert found(NODE, replace(NODE, facts={**NODE.facts, "model": "n"}, parameters={})) == []


def test_a_replay_names_every_kind_of_difference() -> None:
    a = node(
        Message("One."),
        call("call_1"),
        call("call_2", "count"),
        call("call_3", "gone"),
        call("call_x", "broke"),
        call("call_4", "fell"),
        tools=(ComparedTool("now", CLOCK, "1"), ComparedTool("gone", CLOCK, "2")),
    )
    b = node(
        Message("Two."),
        call("call_5", arguments={"zone": "CET"}, output="[1]"),
        call("call_6", "count", output="[2]"),
        InvalidToolCall("call_7", "invalid_name", "Cannot find tool.", "gone"),
        call("call_y", "broke", is_error=True),
        call("call_8", "more"),
        facts={"model": "m", "status": "incomplete", "incomplete_reason": "max_turns"},
        tools=(ComparedTool("now", CLOCK, "9"), ComparedTool("new", CLOCK, "3")),
    )
    assert found(a, b) == [
        ("definition", None, None),
        ("tool_missing", None, None),
        ("tool_added", None, None),
        ("text", 0, 0),
        ("arguments", 1, 1),
        ("result", 1, 1),
        ("result", 2, 2),
        ("error", 3, 3),
        ("error", 4, 4),
        ("call_removed", 5, None),
        ("call_added", None, 5),
        ("status", None, None),
    ]
    first, *_, last = differences(compare_responses(a, b))
    assert first == Difference("definition", (Change("definition_digest", "1", "9"),), tool="now", provider=CLOCK)
    assert last.changes == (
        Change("status", "completed", "incomplete"),
        Change("incomplete_reason", MISSING, "max_turns"),
    )


def test_a_missing_definition_digest_is_the_absence_of_a_tool() -> None:
    [gone] = differences(compare_responses(replace(NODE, tools=(ComparedTool("x", CLOCK, "1"),)), NODE))
    assert gone.changes == (Change("definition_digest", "1", MISSING),)


def test_other_arguments_with_the_same_result_are_one_difference() -> None:
    assert found(node(call("call_1")), node(call("call_2", arguments={}))) == [("arguments", 0, 0)]
