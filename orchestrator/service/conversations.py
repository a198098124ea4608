"""Conversations: threads that may begin without a model, and that take items of their clients in between."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.functions import named_results
from orchestrator.core.items import InputItem
from orchestrator.core.response import Completed, Stats
from orchestrator.ports import INHERITS, Chain, NewResponse, ResponseStore, StoredResponse, Thread, ThreadMove
from orchestrator.service.callers import Caller
from orchestrator.service.ids import new_response_id, new_thread_id
from orchestrator.service.leases import LEASE_SECONDS
from orchestrator.service.threads import ThreadService

DEPOSITED: Final = "conversation"
"""The model of a response that holds what a client put into a conversation, and that no model made."""
AT_ONCE: Final = 500
"""How many responses are read at once."""


def metadata_of(said: Sequence[StoredResponse]) -> Mapping[str, str]:
    """What its client says of a conversation: what the newest response says that no model made."""
    deposits = (each.metadata for each in reversed(said) if each.model_key == DEPOSITED)
    return next(deposits, dict[str, str]())


class ConversationService:
    """The caller's conversations. Each is a thread; what is put into one is a response that no model made."""

    def __init__(self, threads: ThreadService, store: ResponseStore, holder: str) -> None:
        self._threads = threads
        self._store = store
        self._holder = holder

    async def create(self, items: Sequence[InputItem], metadata: Mapping[str, str], caller: Caller) -> str:
        """Begin a conversation with some items, or none; the id of its thread.

        Raises:
            OrchestratorError: `permission_denied`; `invalid_value` for a result of a call that there is not.
        """
        caller.require("chat", "The API token has no permission to chat.")
        move = ThreadMove(new_thread_id(), None)
        await self._deposit(items, Chain((), None), move, metadata, caller)
        return move.thread_id

    async def add(
        self, thread_id: str, items: Sequence[InputItem], caller: Caller, metadata: Mapping[str, str] | None = None
    ) -> StoredResponse:
        """Put items at the end of a conversation, or other metadata; the response that holds them.

        Raises:
            OrchestratorError: as `create`; `thread_not_found`; `thread_conflict`; `response_not_finished` while its newest
                response runs.
        """
        _, said = await self.responses(thread_id, caller)
        chain = await self._store.load_chain(said[-1].id, caller.owner)
        told = metadata_of(said) if metadata is None else metadata
        return await self._deposit(items, chain, ThreadMove(thread_id, said[-1].id), told, caller)

    async def responses(self, thread_id: str, caller: Caller) -> tuple[Thread, list[StoredResponse]]:
        """The conversation, and all that was said in it, oldest first.

        Raises:
            OrchestratorError: `thread_not_found`.
        """
        found: list[StoredResponse] = []
        start = 0
        while True:
            thread, page = await self._threads.read(thread_id, caller, start, AT_ONCE)
            found += page.items
            if page.next is None:
                return thread, found
            start = page.next

    async def _deposit(
        self,
        items: Sequence[InputItem],
        chain: Chain,
        move: ThreadMove,
        metadata: Mapping[str, str],
        caller: Caller,
    ) -> StoredResponse:
        named = named_results(tuple(items), chain.responses)
        if isinstance(named, ErrorInfo):
            raise OrchestratorError(named.kind, named.message, param=named.param)
        now = datetime.now(UTC)
        response = NewResponse(
            id=new_response_id(),
            previous_response_id=move.newest,
            owner=caller.owner,
            token_id=caller.token_id,
            model_key=DEPOSITED,
            model_instance_id=DEPOSITED,
            system_prompt=None,
            parameters={INHERITS: False},
            metadata=dict(metadata),
            input=named,
            stored=True,
            offered=(),
            tool_names=dict(chain.tool_names),
            holder=self._holder,
            created_at=now,
            lease_until=now + timedelta(seconds=LEASE_SECONDS),
            thread=move,
        )
        await self._store.open_response(response)
        await self._store.save_response(response.id, Completed(), Stats(), (), (), now)
        stored = await self._store.get_response(response.id, caller.owner)
        if stored is None:  # deleted in between
            raise OrchestratorError(ErrorKind.THREAD_NOT_FOUND, "The conversation was deleted meanwhile.")
        return stored
