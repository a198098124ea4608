"""The graph of responses in memory: the same answers as the database's, in the plainest words, for tests."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from orchestrator.core.approvals import Approve, Deny
from orchestrator.core.commands import PlacedCall
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import EphemeralProvider, Message, PluginProvider, ProviderInfo, TextInput, text_of
from orchestrator.core.listing import first_number
from orchestrator.core.permissions import normal_label
from orchestrator.core.response import Failed, Incomplete, ResponseStatus
from orchestrator.core.search import Term, matches, snippet, words_of
from orchestrator.ports import (
    MAX_CHILDREN,
    Deletion,
    OfferedReference,
    Page,
    Pruning,
    ResponseDetail,
    ResponseFilter,
    ResponseSummary,
    StoredResponse,
    Thread,
)
from orchestrator.ports.graph import continued
from orchestrator.testing_nodes import Node, PointedThread
from orchestrator.testing_store import MemoryStore


class MemoryGraph:
    """`ResponseGraph` and `ThreadStore` over the responses of a `MemoryStore`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.readings: list[tuple[str, str, str | None]] = []

    async def read_detail(self, response_id: str, owner: str | None) -> ResponseDetail | None:
        node = self._find(response_id, owner)
        if node is None:
            return None
        children = sorted(self._children(node), key=lambda child: child.number)
        offered = (
            OfferedReference(tool.name, tool.definition.name, tool.provider, tool.digest) for tool in node.new.offered
        )
        ids = tuple(child.new.id for child in children[:MAX_CHILDREN])
        return ResponseDetail(node.whole(), ids, len(children), tuple(offered))

    async def read_chain(
        self, response_id: str, owner: str | None, from_depth: int, limit: int
    ) -> Page[StoredResponse] | None:
        node = self._find(response_id, owner)
        if node is None:
            return None
        path = self._path(node)
        until = from_depth + limit
        return Page(tuple(each.whole() for each in path[from_depth:until]), until if until < len(path) else None)

    async def read_path(self, response_id: str, owner: str | None) -> Sequence[str] | None:
        node = self._find(response_id, owner)
        return None if node is None else [each.new.id for each in self._path(node)]

    async def read_tree(
        self, response_id: str, owner: str | None, after: tuple[int, int] | None, limit: int
    ) -> tuple[ResponseSummary, ...] | None:
        node = self._find(response_id, owner)
        if node is None:
            return None
        tree = [each for each in self._stored() if each.root_id == node.root_id]
        behind = [each for each in tree if after is None or (each.depth, each.number) > after]
        return tuple(_summary(each) for each in sorted(behind, key=lambda each: (each.depth, each.number))[:limit])

    async def list_responses(
        self, wanted: ResponseFilter, after: int | None, limit: int, *, oldest_first: bool = False
    ) -> Page[ResponseSummary]:
        nodes = sorted(
            (node for node in self._stored() if _is_wanted(node, wanted)),
            key=lambda node: node.number,
            reverse=not oldest_first,
        )
        if after is not None:
            nodes = [node for node in nodes if (node.number > after if oldest_first else node.number < after)]
        page = tuple(_summary(node, wanted.text) for node in nodes[:limit])
        return Page(page, page[-1].number if len(nodes) > limit else None)

    async def delete_response(
        self,
        response_id: str,
        owner: str,
        at: datetime,
        *,
        subtree: bool,
        keep_skeleton: bool,
        token_id: str | None = None,
    ) -> Deletion | None:
        node = self._find(response_id, owner)
        if node is None:
            return None
        nodes = self._tree(node)
        if len(nodes) > 1 and not subtree:
            message = continued(len(nodes) - 1)
            raise OrchestratorError(ErrorKind.RESPONSE_HAS_CHILDREN, message, param="response_id")
        self._refuse_busy(nodes, "response_id")
        return self._deleted(nodes, at, keep_skeleton=keep_skeleton)

    async def overwrite(self, *, whole: bool = False) -> None:
        """There are no files."""

    async def record_reading(
        self, at: datetime, reader: str, token_id: str | None, what: str, subject: str | None
    ) -> None:
        self.readings.append((reader, what, subject))

    async def find_thread(self, thread_id: str, owner: str) -> Thread | None:
        thread = self._store.threads.get(thread_id)
        return None if thread is None or thread.owner != owner else self._thread(thread_id)

    async def create_thread(self, thread_id: str, response_id: str, owner: str, at: datetime) -> Thread | None:
        if self._find(response_id, owner) is None:
            return None
        self._store.threads[thread_id] = thread = PointedThread(owner, at, response_id)
        thread.updated_at = at
        return self._thread(thread_id)

    async def list_threads(
        self, owner: str, after: tuple[datetime, str] | None, limit: int, through: str | None = None
    ) -> Sequence[Thread]:
        mine = [self._thread(id) for id, thread in self._store.threads.items() if thread.owner == owner]
        mine = [thread for thread in mine if through is None or through in self._ids_up(thread.newest.id)]
        mine.sort(key=lambda thread: (thread.updated_at, thread.id), reverse=True)
        return [thread for thread in mine if after is None or (thread.updated_at, thread.id) < after][:limit]

    def _ids_up(self, response_id: str | None) -> Sequence[str]:
        node = None if response_id is None else self._store.nodes.get(response_id)
        return () if node is None else (node.new.id, *self._ids_up(node.new.previous_response_id))

    async def delete_thread(
        self,
        thread_id: str,
        owner: str,
        at: datetime,
        *,
        subtree: bool,
        keep_skeleton: bool,
        token_id: str | None = None,
    ) -> Deletion | None:
        thread = self._store.threads.get(thread_id)
        if thread is None or thread.owner != owner:
            return None
        newest = self._store.nodes[thread.newest]
        path = self._path(newest)
        if subtree:
            tree = self._tree(path[0])
            self._refuse_busy(tree, "thread_id")
            del self._store.threads[thread_id]
            return self._deleted(tree, at, keep_skeleton=keep_skeleton)
        if newest.ending is None:
            message = "The newest response of this thread has not ended yet; cancel it first."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param="thread_id")
        del self._store.threads[thread_id]
        pointed = {each.newest for each in self._store.threads.values()}
        attempts = self._attempts(path)
        held = thread.newest in pointed or any(child not in attempts for child in self._children(newest))
        branch = [] if held else self._branch(newest, lambda node: node.new.id not in pointed, attempts)
        ids = {node.new.id for node in branch}
        branch += [each for each in attempts if each.new.previous_response_id in ids]
        kept = [node for node in path if node not in branch]
        beside = [child for node in kept for child in self._children(node) if child not in path]
        holding = [child.new.id for child in sorted(beside, key=lambda child: child.number)]
        ids = {node.new.id for node in kept}
        holding += sorted(id for id, other in self._store.threads.items() if other.newest in ids)
        deleted = self._deleted(branch, at, keep_skeleton=keep_skeleton)
        return Deletion(deleted.deleted, (*holding, *(id for id in deleted.kept_by if id not in holding)))

    async def request_cancel(self, response_id: str, owner: str, reason: str) -> ResponseStatus | None:
        node = self._find(response_id, owner)
        if node is None:
            return None
        if node.status == "in_progress":
            node.cancel_reason = node.cancel_reason or reason
        return node.status

    async def cancels_requested(self, holder: str) -> Sequence[tuple[str, str]]:
        mine = (
            each for each in self._store.nodes.values() if each.status == "in_progress" and each.new.holder == holder
        )
        return sorted((node.new.id, node.cancel_reason) for node in mine if node.cancel_reason is not None)

    async def prune_older(
        self, before: datetime, after: int | None, limit: int, at: datetime, *, keep_skeleton: bool
    ) -> Pruning:
        def old(node: Node) -> bool:
            return node.number < first_number(before)

        leaves = [leaf for leaf in self._leaves() if old(leaf) and (after is None or leaf.number > after)][:limit]
        nodes: list[Node] = []
        for leaf in leaves:
            nodes += self._branch(leaf, old)[: limit - len(nodes)]
        gone = self._erase(nodes, at, keep_skeleton=keep_skeleton)
        if not keep_skeleton:
            bare = [node for node in self._store.nodes.values() if not node.new.stored and node.ending and old(node)]
            self._forget(bare)
        return Pruning(len(gone), leaves[-1].number if len(leaves) == limit else None)

    async def prune_beyond(self, per_owner: int, limit: int, at: datetime, *, keep_skeleton: bool) -> int:
        gone = 0
        for owner in sorted({node.new.owner for node in self._stored()}):
            surplus = sum(node.new.owner == owner for node in self._stored()) - per_owner
            newest = max((leaf.number for leaf in self._leaves(running=True) if leaf.new.owner == owner), default=0)
            for leaf in [leaf for leaf in self._leaves() if leaf.new.owner == owner and leaf.number != newest]:
                if surplus <= 0 or gone >= limit:
                    break
                erased = self._erase(self._branch(leaf, lambda _: True), at, keep_skeleton=keep_skeleton)
                surplus -= len(erased)
                gone += len(erased)
        return gone

    # ---- rules --------------------------------------------------------------------------------

    def _thread(self, thread_id: str) -> Thread:
        thread = self._store.threads[thread_id]
        newest = _summary(self._store.nodes[thread.newest])
        return Thread(thread_id, thread.owner, thread.created_at, thread.updated_at, newest)

    def _find(self, response_id: str, owner: str | None) -> Node | None:
        node = self._store.nodes.get(response_id)
        return node if node is not None and node.new.stored and owner in (None, node.new.owner) else None

    def _path(self, node: Node) -> list[Node]:
        path = [node]
        while path[-1].new.previous_response_id is not None:
            path.append(self._store.nodes[path[-1].new.previous_response_id])
        return list(reversed(path))

    def _stored(self) -> list[Node]:
        return [node for node in self._store.nodes.values() if node.new.stored]

    def _children(self, node: Node) -> list[Node]:
        return [child for child in self._stored() if child.new.previous_response_id == node.new.id]

    def _tree(self, node: Node) -> list[Node]:
        """The response, and all that continue it."""
        nodes = [node]
        for each in nodes:
            nodes += self._children(each)
        return nodes

    def _refuse_busy(self, nodes: Sequence[Node], param: str) -> None:
        busy = sorted(each.new.id for each in nodes if each.ending is None)
        if busy:
            message = f"The response '{busy[0]}' has not ended yet; cancel it first."
            raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param=param)

    def _leaves(self, *, running: bool = False) -> list[Node]:
        leaves = [node for node in self._stored() if not self._children(node) and (running or node.ending is not None)]
        return sorted(leaves, key=lambda leaf: leaf.number)

    def _attempts(self, path: Sequence[Node]) -> list[Node]:
        """What failed beside a path without a call, and nothing goes on from."""
        pointed = {thread.newest for thread in self._store.threads.values()}
        beside = [child for node in path for child in self._children(node) if child not in path]
        return [
            child
            for child in beside
            if isinstance(child.ending, Failed)
            and not any(child.placed_calls())
            and not self._children(child)
            and child.new.id not in pointed
        ]

    def _branch(self, leaf: Node, wanted: Callable[[Node], bool], besides: Sequence[Node] = ()) -> list[Node]:
        """The leaf and its ancestors, up to where another branch begins; those in `besides` are none."""
        branch = [leaf]
        while (parent_id := branch[-1].new.previous_response_id) is not None:
            parent = self._store.nodes[parent_id]
            if [each for each in self._children(parent) if each not in besides] != [branch[-1]] or not wanted(parent):
                break
            branch.append(parent)
        return branch

    def _deleted(self, nodes: Sequence[Node], at: datetime, *, keep_skeleton: bool) -> Deletion:
        known: set[str] = set()
        kin = {node.new.id for node in nodes}
        while not kin <= known:
            known |= kin
            for new in (node.new for node in self._store.nodes.values()):
                tied = {new.id, new.replay_of, new.forked_from and new.forked_from.response_id} - {None}
                if tied & known:
                    kin |= cast("set[str]", tied)
        content = {key for node in nodes for key in _keys(node)}
        others = [node for node in self._stored() if node.new.id in kin and node not in nodes]
        kept = sorted((node for node in others if content & _keys(node)), key=lambda node: node.number)
        gone = self._erase(nodes, at, keep_skeleton=keep_skeleton)
        return Deletion(tuple(gone), tuple(node.new.id for node in kept))

    def _erase(self, nodes: Sequence[Node], at: datetime, *, keep_skeleton: bool) -> list[str]:
        for node in nodes:
            node.new = replace(node.new, stored=False)
        for thread_id, thread in list(self._store.threads.items()):
            kept: str | None = thread.newest
            while kept is not None and not self._store.nodes[kept].new.stored:
                kept = self._store.nodes[kept].new.previous_response_id
            if kept is None:
                del self._store.threads[thread_id]
            elif kept != thread.newest:
                thread.newest, thread.updated_at = kept, at
        held = self._store.held()
        for node in self._store.nodes.values():
            for call_id, made in node.decisions.items():
                if call_id not in held:
                    bare = Approve() if isinstance(made.decision, Approve) else Deny(None)
                    node.decisions[call_id] = replace(made, decision=bare)
        if not keep_skeleton:
            self._forget(nodes)
        return [node.new.id for node in sorted(nodes, key=lambda node: node.number)]

    def _forget(self, nodes: Iterable[Node]) -> None:
        for node in [node for node in nodes if not node.calls]:
            del self._store.nodes[node.new.id]


def _is_wanted(node: Node, wanted: ResponseFilter) -> bool:
    new = node.new
    calls = list(node.placed_calls())
    conditions = (
        wanted.owner in (None, new.owner),
        wanted.model_key in (None, new.model_key),
        wanted.status in (None, node.status),
        all(new.metadata.get(key) == value for key, value in wanted.metadata),
        wanted.plugin_id is None or any(_is_of(call.provider, PluginProvider(wanted.plugin_id)) for call in calls),
        wanted.server_label is None
        or any(_is_of(call.provider, EphemeralProvider(wanted.server_label)) for call in calls),
        wanted.tool is None or any(call.tool == wanted.tool for call in calls),
        wanted.created_from is None or new.created_at >= wanted.created_from,
        wanted.created_until is None or new.created_at < wanted.created_until,
        not wanted.text or (node.ending is not None and matches(wanted.text, words_of(_texts(node)))),
    )
    return all(conditions)


def _is_of(made: ProviderInfo | None, asked: PluginProvider | EphemeralProvider) -> bool:
    match made, asked:
        case (PluginProvider(one), PluginProvider(other)) | (EphemeralProvider(one), EphemeralProvider(other)):
            return normal_label(one) == normal_label(other)
        case _:
            return False


def _keys(node: Node) -> set[tuple[str, str]]:
    """What a response has, so that it can be found in another."""
    inputs = {(type(item).__name__, text_of(item)) for item in node.new.input}
    items = node.ordered()
    outputs = {
        ("call", item.call_id) if isinstance(item, PlacedCall) else (type(item.item).__name__, item.item.content)
        for item in items
    }
    return inputs | outputs


def _texts(node: Node) -> list[str]:
    """What a response is searched for."""
    texts = [item.content for item in node.new.input if isinstance(item, TextInput)]
    for item in node.ordered():
        if isinstance(item, PlacedCall):
            shown = None if item.outcome is None else item.outcome.shown
            texts += [part for part in (item.tool, item.arguments_text, shown) if part]
        else:
            texts.append(item.item.content)
    return texts


def _summary(node: Node, text: Sequence[Term] = ()) -> ResponseSummary:
    new, ending = node.new, node.ending
    items = [] if ending is None else node.ordered()
    messages = [
        item.item.content for item in items if not isinstance(item, PlacedCall) and isinstance(item.item, Message)
    ]
    return ResponseSummary(
        number=node.number,
        id=new.id,
        previous_response_id=new.previous_response_id,
        root_id=node.root_id,
        depth=node.depth,
        owner=new.owner,
        model_key=new.model_key,
        status=node.status,
        incomplete_reason=ending.reason if isinstance(ending, Incomplete) else None,
        metadata=new.metadata,
        input_preview=node.asked[:200],
        output_preview=messages[-1][:200] if messages else "",
        created_at=new.created_at,
        ended_at=node.ended_at,
        forked_from=new.forked_from,
        replay_of=new.replay_of,
        snippet=snippet(text, _texts(node)) if text else None,
    )
