"""The store's in-memory twin: the same promises as the database's, in the plainest words, for tests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.core.approvals import Approve, Deny
from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import FunctionOutput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.listing import listing_number
from orchestrator.core.placed import HANDED_OVER
from orchestrator.core.prompt import PastResponse
from orchestrator.core.redacted_run import merged
from orchestrator.core.response import UNCOUNTED, Ending, Failed, Incomplete, Stats
from orchestrator.core.tools import OfferedTool, ToolKey, readable_content, text_content
from orchestrator.core.transcript import EMPTY, chain_transcript
from orchestrator.ports import (
    INHERITS,
    CallDecision,
    Chain,
    JournaledCall,
    NewResponse,
    StoredResponse,
    StoredRun,
    Suspension,
)
from orchestrator.testing_nodes import (
    CallTimes,
    Node,
    PointedThread,
    kept,
    kept_items,
    same_ending,
    settle,
    shortened,
    take_back_threads,
)

PROCESS_DIED = "The process that ran this call died during it: whether it took effect is not known."
NEVER_APPROVED = "This call was not run: nobody had approved it when the process died that would have run it."


class MemoryStore:
    """`ResponseStore` without a database."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.threads: dict[str, PointedThread] = {}
        self._definitions: set[str] = set()

    # ---- ResponseStore ------------------------------------------------------------------------

    async def load_chain(self, response_id: str, owner: str) -> Chain:
        node = last = self._parent(response_id, owner)
        path = [node]
        while node.new.previous_response_id is not None:
            node = self.nodes[node.new.previous_response_id]
            path.append(node)
        past = tuple(PastResponse(step.new.input, shortened(step.output())) for step in reversed(path))
        return Chain(past, last.new.system_prompt, dict(last.new.tool_names), last.root_id)

    async def inherited_prompt(self, response_id: str, owner: str) -> str | None:
        node = self.nodes.get(response_id)
        while node is not None and node.new.owner == owner:
            if node.new.system_prompt is not None or node.new.parameters.get(INHERITS, True):
                return node.new.system_prompt
            node = self.nodes.get(node.new.previous_response_id or "")
        return None

    async def find_transcript(
        self, digests: Sequence[str], owner: str, calls: Sequence[str] = ()
    ) -> tuple[str, str] | None:
        nodes = [
            node
            for node in self.nodes.values()
            if node.new.owner == owner
            and node.new.stored
            and node.status != "in_progress"
            and node.new.replay_of is None
        ]
        known = {
            self._transcript(node): node.new.id
            for node in sorted(nodes, key=lambda node: (not node.calls.keys().isdisjoint(calls), node.number))
        }
        return next(((known[digest], digest) for digest in digests if digest in known), None)

    def _transcript(self, node: Node) -> str:
        path = [node]
        while (parent_id := path[0].new.previous_response_id) is not None:
            path.insert(0, self.nodes[parent_id])
        return chain_transcript(EMPTY, [(step.new.input, [entry.item for entry in step.output()]) for step in path])

    async def read_outputs(self, call_ids: Sequence[str], owner: str) -> Mapping[str, str]:
        own = [call for node in self.nodes.values() if node.new.owner == owner for call in node.items.values()]
        calls = [call for call in own if isinstance(call, PlacedCall) and call.call_id in call_ids]
        return {
            call.call_id: readable_content(call.outcome.output, call.outcome.structured)
            for call in calls
            if call.outcome is not None and call.outcome.output
        }

    async def open_response(self, response: NewResponse) -> None:
        root_id, depth, asked = response.id, 0, response.asked
        origin_id = response.replay_of if response.forked_from is None else response.forked_from.response_id
        if origin_id is not None:
            root_id = self._origin(origin_id, response.owner).root_id
        if response.previous_response_id is not None:
            parent = self._parent(response.previous_response_id, response.owner)
            root_id, depth = parent.root_id, parent.depth + 1
            asked = parent.asked if response.only_goes_on else asked
        if response.id in self.nodes:
            raise _store_error(f"There is a response '{response.id}' already.")
        move = response.thread
        if move is not None and self._pointed_to(move.thread_id, response.owner) != move.newest:
            message = "Another request moved or deleted this thread meanwhile. Read it, and ask again."
            raise OrchestratorError(ErrorKind.THREAD_CONFLICT, message, param="thread_id")
        self._definitions.update(tool.digest for tool in response.offered)
        number, taken = listing_number(response.created_at, response.id), {node.number for node in self.nodes.values()}
        while number in taken:
            number += 1
        node = self.nodes[response.id] = Node(response, number, root_id, depth, response.lease_until)
        node.warnings, node.asked = response.warnings, asked
        if response.forked_from is not None:
            point = response.forked_from
            original = self.nodes[point.response_id]
            rest = range(point.position + 1, point.position + 1 + point.rest)
            had = [item for item in original.ordered() if item.position < point.position or item.position in rest]
            node.items = {item.position: item for item in had}
            node.decisions = dict(original.decisions)
        if response.stored:
            self._take_results(response)
        if move is not None:
            thread = self.threads.setdefault(move.thread_id, PointedThread(response.owner, response.created_at))
            thread.newest, thread.updated_at = response.id, response.created_at

    def _take_results(self, response: NewResponse) -> None:
        told = {item.call_id: item for item in response.input if isinstance(item, FunctionOutput)}
        for node in self.nodes.values():
            for call in list(node.placed_calls()) if node.new.owner == response.owner else ():
                if call.call_id in told and call.outcome == HANDED_OVER and call.call_id in node.calls:
                    item = told[call.call_id]
                    outcome = Outcome("answered", item.output, None, item.is_error)
                    settle(node, call, outcome, response.created_at)

    async def extend_offer(
        self, response_id: str, offered: Sequence[OfferedTool], tool_names: Mapping[ToolKey, str], at: datetime
    ) -> None:
        node = self._running(response_id)
        self._definitions.update(tool.digest for tool in offered)
        node.new = replace(node.new, offered=tuple(offered), tool_names=dict(tool_names))

    async def journal_calls(self, response_id: str, items: Sequence[PlacedItem], at: datetime) -> None:
        node = self._running(response_id)
        items = kept_items(node, items)
        if any(item.position in node.items for item in items):
            raise _store_error("An item stands there already.")
        self._insert(node, items, at)

    async def record_outcome(self, response_id: str, call_id: str, outcome: Outcome, at: datetime) -> None:
        node = self.nodes.get(response_id)
        call = None if node is None else node.call(call_id)
        if node is None or call is None:
            raise _store_error(f"The journal has no call '{call_id}' of this response.")
        if call.outcome is None:
            settle(self._running(response_id), call, outcome, at)
        elif kept(call.outcome, node) != kept(outcome, node):
            raise _store_error(f"The call '{call_id}' is settled in another way already.")

    async def save_response(
        self,
        response_id: str,
        ending: Ending,
        stats: Stats,
        items: Sequence[PlacedItem],
        outcomes: Sequence[tuple[str, Outcome]],
        at: datetime,
        warnings: Sequence[str] = (),
    ) -> None:
        node = self.nodes.get(response_id)
        if node is not None and node.ending is not None and same_ending(node.ending, ending, node):
            return
        node = self._running(response_id)
        items = kept_items(node, items)
        pending = {item.call_id: item.outcome for item in items if isinstance(item, PlacedCall)} | dict(outcomes)
        there = list(node.placed_calls())
        self._insert(node, [item for item in items if item.position not in node.items], at)
        for call in there:
            outcome = pending.get(call.call_id)
            if call.outcome is None and outcome is not None:
                settle(node, call, outcome, at)
        node.ending, node.stats, node.ended_at, node.warnings = ending, stats, at, tuple(warnings)
        if isinstance(ending, Failed) and not any(node.placed_calls()):
            take_back_threads(self.threads, node, at)

    async def get_response(self, response_id: str, owner: str) -> StoredResponse | None:
        node = self.nodes.get(response_id)
        return None if node is None or node.new.owner != owner or not node.new.stored else node.whole()

    async def list_calls(self, response_id: str, owner: str) -> Sequence[JournaledCall]:
        node = self.nodes.get(response_id)
        if node is None or node.new.owner != owner:
            return []
        return [row for each, _, row in self.journal() if each.id == response_id]

    def journal(self) -> list[tuple[NewResponse, PlacedCall, JournaledCall]]:
        """Every call there is, with the response that it belongs to."""
        held = self.held()
        return [
            (node.new, call, node.journaled(call, held=call.call_id in held))
            for node in self.nodes.values()
            for call in node.placed_calls()
            if call.call_id in node.calls
        ]

    def held(self) -> set[str]:
        """The calls that stored responses have: their own, and those that a branch has of another one."""
        stored = (node for node in self.nodes.values() if node.new.stored)
        return {call.call_id for node in stored for call in node.placed_calls()}

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
                for call in [call for call in node.placed_calls() if call.outcome is None]:
                    decision = node.decisions.get(call.call_id)
                    may_have_run = not call.awaits_approval or (decision and isinstance(decision.decision, Approve))
                    status, why = ("abandoned", PROCESS_DIED) if may_have_run else ("refused", NEVER_APPROVED)
                    settle(node, call, Outcome(status, text_content(why), why, is_error=True), now)
                node.ending, node.ended_at = Incomplete("process_died"), now
                node.stats = UNCOUNTED if node.stats == Stats() else node.stats
                ended.append(node.new.id)
        return sorted(ended)

    # ---- SuspendedRunStore --------------------------------------------------------------------

    async def read_run(self, response_id: str, owner: str) -> StoredRun | None:
        node = self.nodes.get(response_id)
        if node is None or node.new.owner != owner or not node.new.stored:
            return None
        calls = {call.position: call for call in node.placed_calls()}
        providers = list(dict.fromkeys(tool.provider for tool in node.new.offered))
        return StoredRun(
            items=tuple(
                replace(calls[item.position], awaits_approval=item.awaits_approval and item.outcome is None)
                if isinstance(item, PlacedCall)
                else item
                for item in node.ordered()
            ),
            offered=tuple(
                replace(tool, integration=providers.index(tool.provider), needs_approval=False, server=None)
                for tool in node.new.offered
            ),
            tool_names=dict(node.new.tool_names),
            decisions=tuple(
                node.decisions[call.call_id]
                for call in node.placed_calls()
                if call.outcome is None and call.call_id in node.decisions
            ),
            suspension=node.suspension,
        )

    async def suspend_response(self, response_id: str, suspension: Suspension, stats: Stats, at: datetime) -> None:
        node = self._running(response_id)
        node.suspension, node.stats, node.warnings = suspension, stats, suspension.warnings

    async def record_decisions(
        self, response_id: str, decisions: Sequence[CallDecision], withheld: JsonObject | None = None
    ) -> bool:
        node = self.nodes.get(response_id)
        if node is None:
            raise _store_error(f"The store has no response '{response_id}'.")
        if node.suspension is None:
            raise _conflict("The response does not wait for approvals any more.")
        undecided = {call.call_id for call in node.waiting()}
        for decision in decisions:
            if decision.call_id not in undecided:
                raise _conflict(f"Somebody has decided about the call '{decision.call_id}' already.")
            undecided.remove(decision.call_id)
        node.decisions |= {decision.call_id: decision for decision in decisions}
        if withheld is not None:
            node.suspension = replace(node.suspension, withheld=merged(node.suspension.withheld or {}, withheld))
        return not undecided

    async def resume_response(
        self,
        response_id: str,
        decisions: Sequence[CallDecision],
        offered: Sequence[OfferedTool],
        tool_names: Mapping[ToolKey, str],
        holder: str,
        at: datetime,
        lease_until: datetime,
    ) -> None:
        before = dict(self.nodes[response_id].decisions) if response_id in self.nodes else {}
        complete = await self.record_decisions(response_id, decisions)
        node = self.nodes[response_id]
        if not complete:
            node.decisions = before
            raise _conflict("There are calls of this response that nobody has decided about.")
        self._definitions.update(tool.digest for tool in offered)
        node.new = replace(node.new, offered=tuple(offered), tool_names=dict(tool_names), holder=holder)
        node.suspension, node.lease_until = None, lease_until

    async def end_suspended(self, response_id: str, owner: str, ending: Ending, why: str, at: datetime) -> bool:
        node = self.nodes.get(response_id)
        if node is None or node.new.owner != owner or node.suspension is None:
            return False
        for call in [call for call in node.placed_calls() if call.outcome is None]:
            settle(node, call, Outcome("refused", text_content(why), why, is_error=True), at)
        node.suspension, node.ending, node.ended_at = None, ending, at
        return True

    async def end_expired(self, now: datetime, why: str) -> Sequence[str]:
        expired: list[str] = []
        for node in self.nodes.values():
            if node.suspension is not None and node.suspension.expires_at <= now:
                expired.append(node.new.id)
                for call in node.waiting():
                    node.decisions[call.call_id] = CallDecision(call.call_id, Deny(why), None, None, now)
                await self.end_suspended(node.new.id, node.new.owner, Incomplete("deadline"), why, now)
        return sorted(expired)

    # ---- rules --------------------------------------------------------------------------------

    def _parent(self, response_id: str, owner: str) -> Node:
        node = self.nodes.get(response_id)
        if node is None or node.new.owner != owner or not node.new.stored:
            message = f"There is no stored response '{response_id}' to continue."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="previous_response_id")
        if node.ending is None:
            why = "is not finished yet" if node.suspension is None else "waits for approvals"
            message = f"The response '{response_id}' {why}."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param="previous_response_id")
        return node

    def _pointed_to(self, thread_id: str, owner: str) -> str | None:
        thread = self.threads.get(thread_id)
        return None if thread is None or thread.owner != owner else thread.newest

    def _origin(self, response_id: str, owner: str) -> Node:
        node = self.nodes.get(response_id)
        if node is None or node.new.owner != owner or not node.new.stored:
            message = f"The response '{response_id}' is not stored any more."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, message, param="response_id")
        return node

    def _running(self, response_id: str) -> Node:
        node = self.nodes.get(response_id)
        if node is None:
            raise _store_error(f"The store has no response '{response_id}'.")
        if node.ending is not None or node.suspension is not None:
            raise _store_error(
                f"The response '{response_id}' has ended already: another process took this one for dead."
            )
        return node

    def _in_progress(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.status == "in_progress"]

    def _insert(self, node: Node, items: Sequence[PlacedItem], at: datetime) -> None:
        calls = [item for item in items if isinstance(item, PlacedCall)]
        ids = [call.call_id for call in calls]
        taken = any(call_id in other.calls for other in self.nodes.values() for call_id in ids)
        unknown = any(call.digest is not None and call.digest not in self._definitions for call in calls)
        if taken or unknown or len(set(ids)) < len(ids) or len({item.position for item in items}) < len(items):
            raise _store_error("The store failed: what was to be written contradicts what is there.")
        for item in items:
            node.items[item.position] = item
            if isinstance(item, PlacedCall):
                unsettled = item.outcome is None or item.outcome == HANDED_OVER
                node.calls[item.call_id] = CallTimes(at, None if unsettled else at)


def _conflict(message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.APPROVAL_CONFLICT, message, param="approvals")


def _store_error(message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.STORE_ERROR, message)
