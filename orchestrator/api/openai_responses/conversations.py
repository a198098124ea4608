"""`/v1/conversations`: threads in OpenAI's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UnsetType

from orchestrator.api.decode import decode_value
from orchestrator.api.errors import OK, HttpRequest, answer_of
from orchestrator.api.openai_responses.answers import input_of, stored_object
from orchestrator.api.openai_responses.edge import ResponsesEdge
from orchestrator.api.openai_responses.history import input_items
from orchestrator.api.openai_responses.joined import CallsBefore
from orchestrator.api.openai_responses.names import conversation_of_thread, thread_of
from orchestrator.api.openai_responses.pages import page_of
from orchestrator.api.openai_responses.wire_conversations import (
    Conversation,
    ConversationCreateBody,
    ConversationItemsBody,
    ConversationUpdateBody,
    DeletedConversation,
)
from orchestrator.api.openai_responses.wire_items import SentItem
from orchestrator.api.openai_responses.wire_response import ItemList, ResponseItem
from orchestrator.api.openai_responses.words import naming_conversation
from orchestrator.api.query import Query
from orchestrator.api.replies import json_reply
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import InputItem
from orchestrator.ports import StoredResponse
from orchestrator.service.callers import Caller
from orchestrator.service.conversations import ConversationService, metadata_of
from orchestrator.service.retelling import StoredTelling

CONVERSATIONS_PATH: Final = "/v1/conversations"
CONVERSATION_PATH: Final = CONVERSATIONS_PATH + "/{conversation_id:str}"
ITEMS_PATH: Final = CONVERSATION_PATH + "/items"
ITEM_PATH: Final = ITEMS_PATH + "/{item_id:str}"
PARAM: Final = "conversation_id"


@dataclass(frozen=True, slots=True)
class ConversationsEdge:
    """Answers requests about conversations."""

    conversations: ConversationService
    responses: ResponsesEdge

    async def create(self, request: HttpRequest) -> ASGIResponse:
        caller = await self.responses.authenticator.caller(request)
        body = decode_value(await self.responses.value_of(request), ConversationCreateBody)
        items = await self._items([] if isinstance(body.items, UnsetType) else body.items, caller)
        metadata = {} if isinstance(body.metadata, UnsetType) else body.metadata
        return json_reply(await self._told(await self.conversations.create(items, metadata, caller), caller))

    async def read(self, request: HttpRequest, conversation_id: str) -> ASGIResponse:
        caller = await self.responses.authenticator.caller(request)
        Query(request, ())
        with naming_conversation(conversation_id, PARAM):
            return json_reply(await self._told(_thread(conversation_id), caller))

    async def update(self, request: HttpRequest, conversation_id: str) -> ASGIResponse:
        caller = await self.responses.authenticator.caller(request)
        body = decode_value(await self.responses.value_of(request), ConversationUpdateBody)
        with naming_conversation(conversation_id, PARAM):
            thread_id = _thread(conversation_id)
            await self.conversations.add(thread_id, (), caller, body.metadata)
            return json_reply(await self._told(thread_id, caller))

    async def delete(self, request: HttpRequest, conversation_id: str) -> ASGIResponse:
        caller = await self.responses.authenticator.caller(request)
        subtree = Query(request, ("subtree",)).boolean("subtree")
        await self._pass_over_what_waits(conversation_id, caller)
        with naming_conversation(conversation_id, PARAM):
            await self.responses.threads.delete(_thread(conversation_id), caller, subtree=subtree)
        return json_reply(DeletedConversation(conversation_id))

    async def list_items(self, request: HttpRequest, conversation_id: str) -> ASGIResponse:
        caller = await self.responses.authenticator.caller(request)
        return json_reply(page_of(await self._all_items(conversation_id, caller), request))

    async def add_items(self, request: HttpRequest, conversation_id: str) -> ASGIResponse:
        caller = await self.responses.authenticator.caller(request)
        body = decode_value(await self.responses.value_of(request), ConversationItemsBody)
        items = await self._items(body.items, caller)
        await self._pass_over_what_waits(conversation_id, caller)
        with naming_conversation(conversation_id, PARAM):
            deposited = await self.conversations.add(_thread(conversation_id), items, caller)
        added = _items_of(StoredTelling(deposited), None)
        first, last = (added[0].id, added[-1].id) if added else (None, None)
        return json_reply(ItemList(added, first, last, has_more=False))

    async def read_item(self, request: HttpRequest, conversation_id: str, item_id: str) -> ASGIResponse:
        caller = await self.responses.authenticator.caller(request)
        items = await self._all_items(conversation_id, caller)
        found = next((item for item in items if item.id == item_id), None)
        if found is None:
            message = "There is no such item in this conversation."
            raise OrchestratorError(ErrorKind.ITEM_NOT_FOUND, message, param="item_id")
        return json_reply(found)

    async def delete_item(self, request: HttpRequest, conversation_id: str, item_id: str) -> ASGIResponse:
        """Refused: what was said is what the later responses go on from, and what an audit reads."""
        caller = await self.responses.authenticator.caller(request)
        await self._said(conversation_id, caller)
        message = (
            f"Single items are not deleted ('{item_id[:100]}'): delete the response that has it, or the conversation."
        )
        info = ErrorInfo(ErrorKind.METHOD_NOT_ALLOWED, message, "item_id")
        return answer_of(request, info, headers={"Allow": "GET"}).as_asgi()

    async def _pass_over_what_waits(self, conversation_id: str, caller: Caller) -> None:
        """A question about a call that nobody answers holds nothing up."""
        newest = (await self._said(conversation_id, caller))[-1]
        if newest.status == "awaiting_approval":
            await self.responses.chats.pass_over(newest.id, caller.owner)

    async def _said(self, conversation_id: str, caller: Caller) -> Sequence[StoredResponse]:
        with naming_conversation(conversation_id, PARAM):
            _, said = await self.conversations.responses(_thread(conversation_id), caller)
        return said

    async def _items(self, sent: Sequence[SentItem], caller: Caller) -> tuple[InputItem, ...]:
        said = list(sent)
        return input_items(said, await self.responses.resolved(said, caller))

    async def _all_items(self, conversation_id: str, caller: Caller) -> list[ResponseItem]:
        found: list[ResponseItem] = []
        for response in await self._said(conversation_id, caller):
            with_servers = bool(response.parameters.get("integrations"))
            told = await self.responses.told(response.id, caller) if with_servers else (StoredTelling(response), None)
            found += _items_of(*told)
        return found

    async def _told(self, thread_id: str, caller: Caller) -> Conversation:
        thread, said = await self.conversations.responses(thread_id, caller)
        created = int(thread.created_at.timestamp())
        return Conversation(conversation_of_thread(thread_id), created, dict(metadata_of(said)))


def _thread(conversation_id: str) -> str:
    """The thread of a conversation that stands in a path: what cannot be one is not there."""
    try:
        return thread_of(conversation_id)
    except OrchestratorError:
        raise OrchestratorError(ErrorKind.THREAD_NOT_FOUND, "It is no conversation's id.", param=PARAM) from None


def _items_of(telling: StoredTelling, before: CallsBefore | None) -> list[ResponseItem]:
    return [*input_of(telling, before), *stored_object(telling, before).output]


def conversation_routes(edge: ConversationsEdge) -> list[HTTPRouteHandler]:
    """The routes."""

    @post(CONVERSATIONS_PATH, status_code=OK)
    async def create(request: HttpRequest) -> ASGIResponse:
        return await edge.create(request)

    @get(CONVERSATION_PATH)
    async def read(request: HttpRequest, conversation_id: FromPath[str]) -> ASGIResponse:
        return await edge.read(request, conversation_id)

    @post(CONVERSATION_PATH, status_code=OK)
    async def update(request: HttpRequest, conversation_id: FromPath[str]) -> ASGIResponse:
        return await edge.update(request, conversation_id)

    @delete(CONVERSATION_PATH, status_code=OK)
    async def remove(request: HttpRequest, conversation_id: FromPath[str]) -> ASGIResponse:
        return await edge.delete(request, conversation_id)

    @get(ITEMS_PATH)
    async def items(request: HttpRequest, conversation_id: FromPath[str]) -> ASGIResponse:
        return await edge.list_items(request, conversation_id)

    @post(ITEMS_PATH, status_code=OK)
    async def add(request: HttpRequest, conversation_id: FromPath[str]) -> ASGIResponse:
        return await edge.add_items(request, conversation_id)

    @get(ITEM_PATH)
    async def item(request: HttpRequest, conversation_id: FromPath[str], item_id: FromPath[str]) -> ASGIResponse:
        return await edge.read_item(request, conversation_id, item_id)

    @delete(ITEM_PATH, status_code=OK)
    async def remove_item(request: HttpRequest, conversation_id: FromPath[str], item_id: FromPath[str]) -> ASGIResponse:
        return await edge.delete_item(request, conversation_id, item_id)

    return [create, read, update, remove, items, add, item, remove_item]
