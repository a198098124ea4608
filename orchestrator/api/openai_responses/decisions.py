"""What a request decides about calls that wait, told from what it only says again of earlier decisions.

A client that keeps the chat itself sends all of it again: its questions and its answers, too. An answer counts where nothing
that a model or a server said stands behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from msgspec import UnsetType

from orchestrator.api.openai_responses.item_ids import call_id_of, parse_item_id
from orchestrator.api.openai_responses.wire_items import (
    SentApproval,
    SentApprovalRequest,
    SentFunctionCall,
    SentInput,
    SentItem,
    SentMcpCall,
    SentMcpTools,
    SentMessage,
    SentReasoning,
    SentReference,
)
from orchestrator.core.approvals import Approve, Decision, Deny
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.ports import JournaledCall

_SETTING: Final = "decided"
_OUTPUT: Final = ("msg", "rs", "fc", "mcp", "mcpl")


@dataclass(frozen=True, slots=True)
class SentDecisions:
    """Decisions about calls of one response, in the order given; `first` is the place of the first item that is new."""

    response_id: str
    decisions: tuple[tuple[str, Decision], ...]
    first: int

    def are_those_of(self, calls: Sequence[JournaledCall]) -> bool:
        """Whether all of this was decided before, just so: the request was sent once more."""
        made = {call.call_id: call.decision for call in calls if call.decision is not None}
        return all(
            (earlier := made.get(call_id)) is not None and isinstance(earlier.decision, type(decision))
            for call_id, decision in self.decisions
        )


def sent_decisions(said: SentInput | UnsetType) -> SentDecisions | None:
    """What the input decides, None where it is about something else.

    Raises:
        OrchestratorError: `invalid_value` where it decides about calls of several responses.
    """
    items = () if isinstance(said, str | UnsetType) else said
    first = _first_new(items)
    found: list[tuple[str, Decision]] = []
    response_id: str | None = None
    for place, item in enumerate(items[first:], first):
        if not isinstance(item, SentApproval):
            continue
        path = f"input.{place}.approval_request_id"
        known = parse_item_id(item.approval_request_id)
        if known is None or known.kind != "mcpr":
            raise _wrong(path, "is not the id of a call that waits")
        if response_id not in (None, known.response_id):
            raise _wrong(path, "is about a call of another response than those before: decide about one at a time")
        response_id = known.response_id
        reason = None if isinstance(item.reason, UnsetType) else item.reason
        found.append((call_id_of(known), Approve() if item.approve else Deny(reason)))
    return None if response_id is None else SentDecisions(response_id, tuple(found), first)


def new_items(said: SentInput | UnsetType, sent: SentDecisions) -> list[int]:
    """The places of what the input says beside its decisions."""
    items = () if isinstance(said, str | UnsetType) else said
    places = range(sent.first, len(items))
    return [place for place in places if not isinstance(items[place], SentApproval) and not _is_question(items[place])]


def decided_setting(response_id: str, call_ids: Sequence[str]) -> JsonObject:
    """How a response that begins with calls of another one says so, among its settings."""
    return {_SETTING: {"response_id": response_id, "calls": [*call_ids]}}


def decided_before(settings: JsonObject) -> tuple[str, frozenset[str]] | None:
    """The response whose calls these are, and the calls; None for one that begins with nothing of another."""
    known = settings.get(_SETTING)
    if not isinstance(known, dict):
        return None
    said = cast("Mapping[str, Any]", known)
    return said["response_id"], frozenset(said["calls"])


def settings_behind(settings: JsonObject, previous_response_id: str | None) -> JsonObject:
    """The settings of a response that continues this one: what goes on elsewhere than behind calls does not begin with them.

    Such are branches of the response that did begin with them, which continue it, and replays that continue a replay.
    """
    decided = decided_before(settings)
    if decided is None or decided[0] == previous_response_id:
        return settings
    return {name: value for name, value in settings.items() if name != _SETTING}


def _first_new(items: Sequence[SentItem]) -> int:
    """Behind what a model or a server said; questions may stand among answers, but what was asked before them is no news."""
    first = next((place + 1 for place in reversed(range(len(items))) if _is_said_before(items[place])), 0)
    asked = next((place for place in range(first, len(items)) if _is_question(items[place])), first)
    return asked if all(isinstance(item, SentMessage) for item in items[first:asked]) else first


def _is_said_before(item: SentItem) -> bool:
    """Whether a model or a server said it: what stands before it was answered."""
    match item:
        case SentMessage(role=role):
            return role == "assistant"
        case SentFunctionCall() | SentReasoning() | SentMcpTools() | SentMcpCall():
            return True
        case SentReference(text):
            known = parse_item_id(text)
            return known is not None and known.kind in _OUTPUT and not known.of_input
        case _:
            return False


def _is_question(item: SentItem) -> bool:
    if isinstance(item, SentReference):
        known = parse_item_id(item.id)
        return known is not None and known.kind == "mcpr"
    return isinstance(item, SentApprovalRequest)


def _wrong(path: str, problem: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f'"{path}" {problem}.', param=path)
