"""What a store should answer, made from what it was given, and steps that many tests share."""

from dataclasses import replace
from datetime import datetime

import pytest

from orchestrator.core.calls import output_entry
from orchestrator.core.commands import Outcome, PlacedCall, PlacedItem, PlacedText
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import Message
from orchestrator.core.prompt import PastResponse
from orchestrator.core.response import Completed, Ending, Stats
from orchestrator.ports import JournaledCall, NewResponse, ResponseStore, StoredResponse
from tests.store.samples import (
    NOON,
    STATS,
)


def as_opened(new: NewResponse, root_id: str, depth: int) -> StoredResponse:
    """What a stored response reads like before anything has happened in it."""
    return StoredResponse(
        id=new.id,
        previous_response_id=new.previous_response_id,
        root_id=root_id,
        depth=depth,
        owner=new.owner,
        model_key=new.model_key,
        model_instance_id=new.model_instance_id,
        system_prompt=new.system_prompt,
        parameters=new.parameters,
        metadata=new.metadata,
        status="in_progress",
        incomplete_reason=None,
        error=None,
        stats=Stats(),
        input=new.input,
        output=(),
        created_at=new.created_at,
        ended_at=None,
    )


def as_journaled(placed: PlacedCall, response_id: str) -> JournaledCall:
    """What the journal says of a call that nobody has settled."""
    return JournaledCall(
        call_id=placed.call_id,
        response_id=response_id,
        position=placed.position,
        turn=placed.turn,
        model_name=placed.model_name,
        tool=placed.tool,
        provider=placed.provider,
        definition_digest=placed.digest,
        arguments=placed.arguments,
        status="awaiting_approval" if placed.awaits_approval else "journaled",
        output=None,
        is_error=False,
        duration_ms=None,
        created_at=NOON,
        settled_at=None,
    )


def with_outcome(journaled: JournaledCall, outcome: Outcome, at: datetime) -> JournaledCall:
    return replace(
        journaled,
        status=outcome.status,
        output=outcome.output,
        is_error=outcome.is_error,
        duration_ms=outcome.duration_ms,
        settled_at=at,
    )


def past(new: NewResponse, *items: PlacedItem) -> PastResponse:
    """What a chain has of a response."""
    return PastResponse(new.input, tuple(output_entry(_for_prompts(item)) for item in items))


def _for_prompts(item: PlacedItem) -> PlacedItem:
    """Without how likely the tokens of messages were: prompts do not tell it."""
    if isinstance(item, PlacedText) and isinstance(item.item, Message):
        return replace(item, item=Message(item.item.content))
    return item


async def finish(store: ResponseStore, new: NewResponse, *items: PlacedItem, ending: Ending | None = None) -> None:
    await store.open_response(new)
    await store.save_response(new.id, ending or Completed(), STATS, items, [], NOON)


async def failure_of(store: ResponseStore, response_id: str, owner: str = "ada") -> ErrorInfo:
    with pytest.raises(OrchestratorError) as caught:
        await store.load_chain(response_id, owner)
    return caught.value.info


def no_such_parent(response_id: str) -> ErrorInfo:
    message = f"There is no stored response '{response_id}' to continue."
    return ErrorInfo(ErrorKind.INVALID_VALUE, message, "previous_response_id")


def store_error() -> "pytest.RaisesExc[OrchestratorError]":
    return pytest.RaisesExc(OrchestratorError, check=lambda error: error.info.kind is ErrorKind.STORE_ERROR)
