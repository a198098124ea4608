"""What random sequences of changes are made of."""

from collections.abc import Callable
from typing import Any, TypeAlias

from hypothesis import strategies as st

from orchestrator.core.approvals import Approve, Decision, Deny
from orchestrator.core.commands import Outcome, PlacedCall
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.response import Cancelled, Completed, Counters, Ending, Failed, Incomplete
from orchestrator.core.search import Term
from orchestrator.ports import (
    ResponseFilter,
)
from tests.store.samples import (
    MINUTE,
    NOON,
    answered,
    call,
    cut_call,
    ephemeral_call,
    invented_call,
    waiting_call,
)

Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]
Shape: TypeAlias = tuple[Callable[[int, str], PlacedCall] | None, Outcome | None, str | None]

PICKS = st.integers(0, 19)
"""Which of the responses in question; the first two mean one that is not in question, or unknown."""

OWNERS = st.sampled_from(["ada", "ada", "ada", "bob"])
HOLDERS = st.sampled_from(["host:1", "host:2"])
MINUTES = st.integers(0, 30)
OUTCOMES = st.sampled_from([answered("one"), answered("two"), Outcome("failed", "[]", "no", True, 5)])
ENDINGS: st.SearchStrategy[Ending] = st.sampled_from(
    [
        Completed(),
        Incomplete("max_turns"),
        Cancelled("asked"),
        Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, "broke")),
        Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, "broke again")),
    ]
)
PLACES = st.integers(-1, 5)
"""Where a branch leaves another response; below 0 it runs that one again."""

KINDS = st.sampled_from([call, call, waiting_call, ephemeral_call, invented_call, cut_call, None])
SLIPS = st.sampled_from([None, None, None, None, None, "position", "call"])
SHAPES = st.lists(st.tuples(KINDS, st.none() | OUTCOMES, SLIPS), max_size=4)
"""Items to come: of which kind, with which outcome, and whether position or call id are taken already."""

DECISIONS: st.SearchStrategy[Decision] = st.sampled_from([Approve(), Approve({"zone": "CET"}), Deny("no"), Deny(None)])
DECIDED = st.lists(st.tuples(PICKS, DECISIONS), min_size=1, max_size=3)
COUNTERS = (Counters(10, 5, 0, 8, 0.5, 0.25),)
KINDS_OF_CHANGE = st.sampled_from(
    [
        *("open", "branch", "append", "journal", "settle", "save", "abandon", "suspend"),
        *("decide", "resume", "expire", "end suspended", "delete", "make thread", "delete thread", "cancel"),
    ]
)
"""What two processes can be about to do to one response."""

FILTERS = st.sampled_from(
    [
        ResponseFilter(None),
        ResponseFilter("ada"),
        ResponseFilter("bob", metadata=(("ticket", "42"),)),
        ResponseFilter("ada", status="completed"),
        ResponseFilter("ada", status="awaiting_approval"),
        ResponseFilter("ada", plugin_id="mcp/clock"),
        ResponseFilter(None, server_label="docs", tool="search"),
        ResponseFilter("ada", metadata=(("ticket", "43"),)),
        ResponseFilter("ada", created_from=NOON + 20 * MINUTE, created_until=NOON + 90 * MINUTE),
        ResponseFilter("ada", text=(Term(("hello",)),)),
        ResponseFilter(None, text=(Term(("item", "1")), Term(("tw",), prefix=True))),
        ResponseFilter("bob", text=(Term(("zone", "cet")),)),
        ResponseFilter("ada", text=(Term(("resp",), prefix=True),), model_key="demo/model"),
    ]
)
