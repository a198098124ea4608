"""The graph of responses on the wire. All of it is an extension."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire import ForkedFrom, IncompleteReason, ProviderInfo, Status, StoredReply

Cursor = Annotated[
    str | None, Meta(description="Where the next page begins, to be sent as `cursor`; null: there is none.")
]


class OfferedTool(Struct, frozen=True):
    """A tool that the model was offered."""

    name: Annotated[str, Meta(description="As the model was shown it.")]
    tool: Annotated[str, Meta(description="The server's own name.")]
    provider_info: ProviderInfo
    definition_digest: str


class CallsBefore(Struct, frozen=True):
    """Calls of another response, which stand there and in its journal."""

    response_id: str
    call_ids: list[str]


class ResponseDetailReply(StoredReply, frozen=True, kw_only=True):
    """A stored response, whole, with its place in the graph."""

    children: Annotated[list[str], Meta(description="The responses that continue this one, the oldest 100 of them.")]
    children_count: int
    tools: Annotated[list[OfferedTool], Meta(description="What was offered to the model.")]
    goes_on_from: (
        Annotated[
            CallsBefore,
            Meta(
                description="The calls whose decision made this response; its OpenAI client is told that it begins with them."
            ),
        ]
        | UnsetType
    ) = UNSET


class ChainReply(Struct, frozen=True, kw_only=True):
    """A path through the graph, from the root on."""

    responses: list[StoredReply]
    next_cursor: Cursor


class Found(Struct, frozen=True):
    """Where a response has what was searched for."""

    text: Annotated[str, Meta(description="A piece of the text round the first hit.")]
    matches: Annotated[
        list[tuple[int, int]], Meta(description="The hits in it: first character, and the one behind the last.")
    ]


class ResponseEntry(Struct, frozen=True, kw_only=True):
    """A stored response in a listing or a tree."""

    response_id: str
    previous_response_id: str | None
    root_id: str
    depth: Annotated[int, Meta(description="How many responses come before it in its chain.")]
    owner: str
    model: str
    status: Status
    incomplete_reason: IncompleteReason | UnsetType = UNSET
    metadata: dict[str, str]
    input_preview: Annotated[
        str,
        Meta(
            description="The first 200 characters of what its user says; of a response that only goes on, from results or decisions, of what was asked before it."
        ),
    ]
    output_preview: Annotated[str, Meta(description="The first 200 characters of the last message.")]
    created_at: datetime
    ended_at: datetime | None
    forked_from: ForkedFrom | UnsetType = UNSET
    replay_of: Annotated[str, Meta(description="The response that this one ran again.")] | UnsetType = UNSET
    found: Annotated[Found, Meta(description="Only in a search.")] | UnsetType = UNSET


class ResponseListReply(Struct, frozen=True, kw_only=True):
    """A page of responses."""

    responses: list[ResponseEntry]
    next_cursor: Cursor


class DeletionReply(Struct, frozen=True, kw_only=True):
    """What was deleted."""

    response_id: str
    deleted: bool
    deleted_responses: Annotated[list[str], Meta(description="It, and with `subtree` what continued it.")]
    kept_by: Annotated[
        list[str],
        Meta(
            description="Other responses that still have some of the content: forks and replays share what they began "
            "with. It is gone when they are deleted too."
        ),
    ]


class CancellationReply(Struct, frozen=True, kw_only=True):
    """What became of a response that somebody wanted to end."""

    response_id: str
    status: Annotated[Status, Meta(description="`in_progress` with the HTTP status 202: the end is on its way.")]
