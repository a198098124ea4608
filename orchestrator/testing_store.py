"""The store's in-memory twin: the same promises as the database's, in the plainest words, for tests."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem, PlacedText
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import OutputEntry
from orchestrator.core.prompt import PastResponse
from orchestrator.core.response import Cancelled, Ending, Failed, Incomplete, Stats, ending_status
from orchestrator.core.tools import text_content
from orchestrator.ports import Chain, JournaledCall, NewResponse, StoredResponse

PROCESS_DIED = "The process that ran this call died during it: whether it took effect is not known."


@dataclass(slots=True)
class _Call:
    created_at: datetime
    settled_at: datetime | None = None


@dataclass(slots=True)
class _Node:
    """A response. `items` are as they were given; what is not stored is left out when it is read."""

    new: NewResponse
    root_id: str
    depth: int
    lease_until: datetime
    items: dict[int, PlacedItem] = field(default_factory=dict[int, PlacedItem])
    calls: dict[str, _Call] = field(default_factory=dict[str, _Call])
    ending: Ending | None = None
    stats: Stats = field(default_factory=Stats)
    ended_at: datetime | None = None

    def ordered(self) -> list[PlacedItem]:
        return [self.items[position] for position in sorted(self.items)]

    def call(self, call_id: str) -> PlacedCall | None:
        return next((call for call in self.placed_calls() if call.call_id == call_id), None)

    def placed_calls(self) -> Iterator[PlacedCall]:
        return (item for item in self.ordered() if isinstance(item, PlacedCall))

    def output(self) -> tuple[OutputEntry, ...]:
        settled = (item for item in self.ordered() if isinstance(item, PlacedText) or item.outcome is not None)
        return tuple(output_entry(item) for item in settled)


class MemoryStore:
    """`ResponseStore` without a database."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._definitions: set[str] = set()

    # ---- ResponseStore ------------------------------------------------------------------------

    async def load_chain(self, response_id: str, owner: str) -> Chain:
        node = last = self._parent(response_id, owner)
        path = [node]
        while node.new.previous_response_id is not None:
            node = self._nodes[node.new.previous_response_id]
            path.append(node)
        past = tuple(PastResponse(step.new.input, step.output()) for step in reversed(path))
        return Chain(past, last.new.system_prompt, dict(last.new.tool_names), last.root_id)

    async def open_response(self, response: NewResponse) -> None:
        root_id, depth = response.id, 0
        if response.previous_response_id is not None:
            parent = self._parent(response.previous_response_id, response.owner)
            root_id, depth = parent.root_id, parent.depth + 1
        if response.id in self._nodes:
            raise _store_error(f"There is a response '{response.id}' already.")
        self._definitions.update(tool.digest for tool in response.offered)
        self._nodes[response.id] = _Node(response, root_id, depth, response.lease_until)

    async def journal_calls(self, response_id: str, items: Sequence[PlacedItem], at: datetime) -> None:
        node = self._running(response_id)
        items = _kept_items(node, items)
        if any(item.position in node.items for item in items):
            raise _store_error("An item stands there already.")
        self._insert(node, items, at)

    async def record_outcome(self, response_id: str, call_id: str, outcome: Outcome, at: datetime) -> None:
        node = self._nodes.get(response_id)
        call = None if node is None else node.call(call_id)
        if node is None or call is None:
            raise _store_error(f"The journal has no call '{call_id}' of this response.")
        if call.outcome is None:
            _settle(self._running(response_id), call, outcome, at)
        elif _kept(call.outcome, node) != _kept(outcome, node):
            raise _store_error(f"The call '{call_id}' is settled in another way already.")

    async def save_response(
        self,
        response_id: str,
        ending: Ending,
        stats: Stats,
        items: Sequence[PlacedItem],
        outcomes: Sequence[tuple[str, Outcome]],
        at: datetime,
    ) -> None:
        node = self._nodes.get(response_id)
        if node is not None and node.ending is not None and _same_ending(node.ending, ending, node):
            return
        node = self._running(response_id)
        items = _kept_items(node, items)
        pending = {item.call_id: item.outcome for item in items if isinstance(item, PlacedCall)} | dict(outcomes)
        there = list(node.placed_calls())
        self._insert(node, [item for item in items if item.position not in node.items], at)
        for call in there:
            outcome = pending.get(call.call_id)
            if call.outcome is None and outcome is not None:
                _settle(node, call, outcome, at)
        node.ending, node.stats, node.ended_at = ending, stats, at

    async def get_response(self, response_id: str, owner: str) -> StoredResponse | None:
        node = self._nodes.get(response_id)
        if node is None or node.new.owner != owner or not node.new.stored:
            return None
        new, ending = node.new, node.ending
        return StoredResponse(
            id=new.id,
            previous_response_id=new.previous_response_id,
            root_id=node.root_id,
            depth=node.depth,
            owner=new.owner,
            model_key=new.model_key,
            model_instance_id=new.model_instance_id,
            system_prompt=new.system_prompt,
            parameters=new.parameters,
            metadata=new.metadata,
            status="in_progress" if ending is None else ending_status(ending),
            incomplete_reason=ending.reason if isinstance(ending, Incomplete) else None,
            error=ending.error if isinstance(ending, Failed) else None,
            stats=node.stats,
            input=new.input,
            output=node.output(),
            created_at=new.created_at,
            ended_at=node.ended_at,
        )

    async def list_calls(self, response_id: str, owner: str) -> Sequence[JournaledCall]:
        node = self._nodes.get(response_id)
        if node is None or node.new.owner != owner:
            return []
        return [_journaled(node, call) for call in node.placed_calls()]

    def journal(self) -> list[tuple[NewResponse, PlacedCall, JournaledCall]]:
        """Every call there is, with the response that it belongs to."""
        nodes = self._nodes.values()
        return [(node.new, call, _journaled(node, call)) for node in nodes for call in node.placed_calls()]

    async def renew_leases(self, response_ids: Sequence[str], until: datetime) -> None:
        for node in self._in_progress():
            if node.new.id in response_ids:
                node.lease_until = until

    async def holders_in_progress(self) -> Sequence[str]:
        return sorted({node.new.holder for node in self._in_progress()})

    async def end_abandoned(self, now: datetime, dead_holders: Sequence[str]) -> Sequence[str]:
        ended: list[str] = []
        for node in self._in_progress():
            if node.lease_until < now or node.new.holder in dead_holders:
                outcome = Outcome("abandoned", text_content(PROCESS_DIED), PROCESS_DIED, is_error=True)
                for call in [call for call in node.placed_calls() if call.outcome is None]:
                    _settle(node, call, outcome, now)
                node.ending, node.ended_at = Incomplete("process_died"), now
                ended.append(node.new.id)
        return sorted(ended)

    # ---- rules --------------------------------------------------------------------------------

    def _parent(self, response_id: str, owner: str) -> _Node:
        node = self._nodes.get(response_id)
        if node is None or node.new.owner != owner or not node.new.stored:
            message = f"There is no stored response '{response_id}' to continue."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="previous_response_id")
        if node.ending is None:
            message = f"The response '{response_id}' is not finished yet."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param="previous_response_id")
        return node

    def _running(self, response_id: str) -> _Node:
        node = self._nodes.get(response_id)
        if node is None:
            raise _store_error(f"The store has no response '{response_id}'.")
        if node.ending is not None:
            raise _store_error(
                f"The response '{response_id}' has ended already: another process took this one for dead."
            )
        return node

    def _in_progress(self) -> list[_Node]:
        return [node for node in self._nodes.values() if node.ending is None]

    def _insert(self, node: _Node, items: Sequence[PlacedItem], at: datetime) -> None:
        calls = [item for item in items if isinstance(item, PlacedCall)]
        ids = [call.call_id for call in calls]
        taken = any(call_id in other.calls for other in self._nodes.values() for call_id in ids)
        unknown = any(call.digest is not None and call.digest not in self._definitions for call in calls)
        if taken or unknown or len(set(ids)) < len(ids) or len({item.position for item in items}) < len(items):
            raise _store_error("The store failed: what was to be written contradicts what is there.")
        for item in items:
            node.items[item.position] = item
            if isinstance(item, PlacedCall):
                node.calls[item.call_id] = _Call(at, None if item.outcome is None else at)


def _store_error(message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.STORE_ERROR, message)


def _settle(node: _Node, call: PlacedCall, outcome: Outcome, at: datetime) -> None:
    node.items[call.position] = replace(call, outcome=outcome)
    node.calls[call.call_id].settled_at = at


def _kept_items(node: _Node, items: Sequence[PlacedItem]) -> list[PlacedItem]:
    """What the store keeps of items: of a response that is not stored, only its calls."""
    return [item for item in items if node.new.stored or isinstance(item, PlacedCall)]


def _kept(outcome: Outcome, node: _Node) -> Outcome:
    """What the store keeps of an outcome."""
    return outcome if node.new.stored else replace(outcome, output="", shown=None, structured=None)


def _same_ending(one: Ending, other: Ending, node: _Node) -> bool:
    if node.new.stored:
        return one == other
    match one, other:
        case Failed(error), Failed(ErrorInfo(kind=kind)):
            return error.kind == kind
        case Cancelled(), Cancelled():
            return True
        case _:
            return one == other


def _journaled(node: _Node, call: PlacedCall) -> JournaledCall:
    times: Mapping[str, _Call] = node.calls
    stored, outcome = node.new.stored, call.outcome
    return JournaledCall(
        call_id=call.call_id,
        response_id=node.new.id,
        position=call.position,
        turn=call.turn,
        model_name=call.model_name if stored or call.tool is not None else "",
        tool=call.tool,
        provider=call.provider,
        definition_digest=call.digest,
        arguments=call.arguments if stored else None,
        status="journaled" if outcome is None else outcome.status,
        output=outcome.output if stored and outcome is not None else None,
        is_error=outcome is not None and outcome.is_error,
        duration_ms=None if outcome is None else outcome.duration_ms,
        created_at=times[call.call_id].created_at,
        settled_at=times[call.call_id].settled_at,
    )
