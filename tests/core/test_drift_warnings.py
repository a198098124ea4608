"""What a request is told of tools whose definitions changed since they were approved."""

from dataclasses import replace

import pytest

from orchestrator.core import inputs as i
from orchestrator.core.offering import (
    CHANGED,
    DUPLICATES,
    MOST_PROBLEMS,
    NOT_THERE,
    REMOVED,
    WITHHELD,
    drift_warnings,
    duplicate_warnings,
    problem_warnings,
)
from orchestrator.core.request import PluginRequest
from orchestrator.core.stream import ChatEnd, Warned
from tests.core.dialogue import ADD, CLOCK, COUNTED, PING, Dialogue, with_clock

BOTH = frozenset({"add", "ping"})
OFFERED = CHANGED.format(label="mcp/clock", tools="add, ping")
KEPT = WITHHELD.format(label="mcp/clock", tools="add, ping")


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (i.OpenedIntegration(CLOCK, (ADD, PING), changed=BOTH), (OFFERED,)),
        (i.OpenedIntegration(CLOCK, (ADD, PING), drifted=BOTH), (KEPT,)),
        (i.OpenedIntegration(CLOCK, (), removed=BOTH), (REMOVED.format(label="mcp/clock", tools="add, ping"),)),
        (i.OpenedIntegration(CLOCK, (ADD, PING), problems=("it is odd",)), ("'mcp/clock': it is odd",)),
        (i.OpenedIntegration(CLOCK, (ADD, PING)), ()),
    ],
    ids=["warn", "block", "gone", "problem", "none"],
)
def test_the_stream_and_the_reply_tell_of_a_change(server: i.OpenedIntegration, expected: tuple[str, ...]) -> None:
    dialogue = Dialogue(with_clock())
    dialogue.feed(i.Start(), i.IntegrationsOpened((server,)), i.ResponseOpened(), i.ModelReady())
    dialogue.feed(i.GenerationFinished("stop", COUNTED), i.ResponseSaved())
    (end,) = (one for one in dialogue.log if isinstance(one, ChatEnd))
    assert end.result.warnings == expected
    assert tuple(one.message for one in dialogue.log if isinstance(one, Warned)) == expected


def test_a_tool_that_is_listed_twice_is_told_of_where_it_would_be_offered() -> None:
    twice = i.OpenedIntegration(CLOCK, (ADD, PING, replace(ADD, description="Another.")))
    assert duplicate_warnings(with_clock(), [twice]) == (DUPLICATES.format(label="mcp/clock", tools="add"),)
    assert duplicate_warnings(with_clock(allowed=("ping",)), [twice]) == ()


def test_tools_that_the_request_leaves_out_are_not_offered_and_one_that_is_not_there_is_told_of() -> None:
    request = replace(with_clock(), integrations=(PluginRequest("mcp/clock", excluded=("ping", "pong", "pang")),))
    twice = i.OpenedIntegration(CLOCK, (ADD, PING, replace(PING, description="Another.")), changed=frozenset({"ping"}))
    assert duplicate_warnings(request, [twice]) == drift_warnings(request, [twice]) == ()
    dialogue = Dialogue(request)
    dialogue.until_generating(ADD, PING)
    assert list(dialogue.run.offered) == ["add"]
    absent = NOT_THERE.format(label="mcp/clock", tools="pong, pang")
    assert [one.message for one in dialogue.log if isinstance(one, Warned)] == [absent]


def test_nothing_is_told_of_tools_that_the_request_would_not_get_anyway() -> None:
    server = i.OpenedIntegration(CLOCK, (ADD, PING), changed=BOTH)
    request = with_clock(allowed=("ping",))
    granted = replace(request, integrations=(PluginRequest("mcp/clock", None, granted_tools=("add",)),))
    told = {
        "asked for": drift_warnings(request, [server]),
        "granted": drift_warnings(granted, [server]),
        "withheld": drift_warnings(with_clock(), [replace(server, withheld=BOTH)]),
        "no tools": drift_warnings(with_clock(tool_choice="none"), [server]),
        "gone": drift_warnings(granted, [replace(server, changed=frozenset(), removed=BOTH)]),
    }
    assert told == {
        "asked for": (CHANGED.format(label="mcp/clock", tools="ping"),),
        "granted": (CHANGED.format(label="mcp/clock", tools="add"),),
        "withheld": (),
        "no tools": (),
        "gone": (REMOVED.format(label="mcp/clock", tools="add"),),
    }


def test_of_many_problems_some_are_told_and_of_none_where_no_tools_are_wanted() -> None:
    server = i.OpenedIntegration(CLOCK, (), problems=tuple(f"problem {n}" for n in range(MOST_PROBLEMS + 2)))
    told = problem_warnings(with_clock(), [server])
    assert told == (
        *(f"'mcp/clock': problem {n}" for n in range(MOST_PROBLEMS)),
        "'mcp/clock': there are 2 more such problems",
    )
    assert problem_warnings(with_clock(tool_choice="none"), [server]) == ()
