"""Conversations on the wire."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.openai_responses.wire_items import SentItem
from orchestrator.api.openai_responses.wire_requests import Metadata
from orchestrator.api.wire_requests import MOST_ITEMS


class ConversationCreateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/conversations`."""

    items: Annotated[list[SentItem], Meta(max_length=MOST_ITEMS)] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class ConversationUpdateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/conversations/{conversation_id}`."""

    metadata: Metadata


class ConversationItemsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/conversations/{conversation_id}/items`."""

    items: Annotated[list[SentItem], Meta(min_length=1, max_length=MOST_ITEMS)]


class Conversation(Struct, frozen=True):
    """A conversation. It is the thread whose id has the same digits, and every thread is one."""

    id: str
    created_at: int
    metadata: dict[str, str]
    object: Literal["conversation"] = "conversation"


class DeletedConversation(Struct, frozen=True):
    """The answer to `DELETE`."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True
