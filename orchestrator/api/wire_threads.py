"""Threads and the older dialect on the wire.

Source: the seed document "LM Studio REST API", and sections 6 and 9 of the contract.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire import (
    ChatStats,
    FunctionCallOutput,
    IncompleteReason,
    InvalidToolCallOutput,
    MessageOutput,
    PendingApprovals,
    ReasoningOutput,
    Status,
    StoredReply,
)
from orchestrator.api.wire_graph import Cursor


class McpCallOutput(Struct, frozen=True, tag_field="type", tag="mcp_call"):
    """A valid tool call with its result, be that an error, as the older dialect has it."""

    server_label: str
    tool: Annotated[str, Meta(description="The server's own name of the tool.")]
    arguments: dict[str, Any]
    output: Annotated[str, Meta(description="The JSON text of the MCP result's `content` array.")]
    call_id: Annotated[str, Meta(description="Extension.")]
    is_error: Annotated[bool, Meta(description="Extension. The tool failed, or no result came.")]
    duration_ms: Annotated[int, Meta(description="Extension. 0 for a call that never ran.")]
    status: (
        Annotated[
            Literal["edited", "replayed"],
            Meta(
                description="Extension. Only where no server was asked: a client, or a stored response, gave the result."
            ),
        ]
        | UnsetType
    ) = UNSET
    structured_output: (
        Annotated[str, Meta(description="Extension. The JSON text of the MCP result's `structuredContent`.")]
        | UnsetType
    ) = UNSET


ThreadOutput: TypeAlias = MessageOutput | ReasoningOutput | McpCallOutput | InvalidToolCallOutput | FunctionCallOutput


class ThreadChatReply(Struct, frozen=True, kw_only=True):
    """The answer to a chat in the older dialect; `chat.end` carries the same object."""

    model_instance_id: str
    output: Annotated[list[ThreadOutput], Meta(description="In the order in which the model began them.")]
    stats: ChatStats
    thread_id: (
        Annotated[str, Meta(description="Only when the response is stored; append to it by `thread_id`.")] | UnsetType
    ) = UNSET
    status: Annotated[Status, Meta(description="Extension. What became of the request.")]
    incomplete_reason: (
        Annotated[IncompleteReason, Meta(description="Extension. Only when `status` is `incomplete`.")] | UnsetType
    ) = UNSET
    pending_approvals: PendingApprovals | UnsetType = UNSET
    warnings: Annotated[list[str], Meta(description="Extension. Only where there are any.")] | UnsetType = UNSET


class ThreadChatEnd(Struct, frozen=True, tag_field="type", tag="chat.end"):
    """The request is over; always last."""

    result: ThreadChatReply


class ThreadChatStart(Struct, frozen=True, tag_field="type", tag="chat.start"):
    """The request is accepted; always first. `thread_id` is there when the response is being stored."""

    model_instance_id: str
    thread_id: str | UnsetType = UNSET


class ThreadEntry(Struct, frozen=True, kw_only=True):
    """A thread: a lasting id for the newest response of a chain."""

    thread_id: str
    newest_response_id: str
    model: Annotated[str, Meta(description="The model of the newest response.")]
    status: Annotated[Status, Meta(description="What became of the newest response.")]
    responses_count: Annotated[int, Meta(description="How many responses its chain has.")]
    input_preview: Annotated[str, Meta(description="How the newest input begins.")]
    output_preview: Annotated[str, Meta(description="How the newest message begins.")]
    created_at: datetime
    updated_at: Annotated[datetime, Meta(description="When it was last appended to.")]


class ThreadBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a thread is made of."""

    response_id: Annotated[str, Meta(description="The newest response of the thread: what is appended continues it.")]


class ThreadListReply(Struct, frozen=True, kw_only=True):
    """A page of threads, the last moved first."""

    threads: list[ThreadEntry]
    next_cursor: Cursor


class ThreadResponse(StoredReply, frozen=True, kw_only=True):
    """A response of a thread, whole: as it is told everywhere, but for its calls."""

    output: list[ThreadOutput]  # pyright: ignore[reportIncompatibleVariableOverride] - a frozen list, with other items


class ThreadDetailReply(Struct, frozen=True, kw_only=True):
    """A thread, and a page of its responses, whole, oldest first."""

    thread: ThreadEntry
    responses: list[ThreadResponse]
    next_cursor: Cursor


class ThreadDeletionReply(Struct, frozen=True, kw_only=True):
    """The answer to the deletion of a thread."""

    thread_id: str
    deleted: bool
    deleted_responses: Annotated[list[str], Meta(description="The responses whose content was overwritten.")]
    kept_responses: Annotated[
        list[str],
        Meta(
            description="The thread's responses that stay, the oldest first, because another branch continues them or another "
            "thread points to them. `DELETE /api/v1/responses/{id}?subtree=true` of the first takes all of it away."
        ),
    ]
    kept_by: Annotated[
        list[str],
        Meta(
            description="Why they stay: the responses that go on from them beside the thread, and the threads that point to "
            "them; then the forks and replays that still have some of the content."
        ),
    ]
