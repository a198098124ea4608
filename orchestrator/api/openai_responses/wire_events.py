"""The events of a stream. Each has its place in it as `sequence_number`, from 0."""

from typing import TypeAlias

from msgspec import Struct, field

from orchestrator.api.openai_responses.wire_response import (
    ContentPart,
    ResponseItem,
    ResponseObject,
    SummaryContent,
    WrittenTokenTold,
)


class Created(Struct, frozen=True, tag_field="type", tag="response.created"):
    sequence_number: int
    response: ResponseObject


class Queued(Struct, frozen=True, tag_field="type", tag="response.queued"):
    sequence_number: int
    response: ResponseObject


class InProgress(Struct, frozen=True, tag_field="type", tag="response.in_progress"):
    sequence_number: int
    response: ResponseObject


class Completed(Struct, frozen=True, tag_field="type", tag="response.completed"):
    sequence_number: int
    response: ResponseObject


class Incomplete(Struct, frozen=True, tag_field="type", tag="response.incomplete"):
    sequence_number: int
    response: ResponseObject


class Failed(Struct, frozen=True, tag_field="type", tag="response.failed"):
    sequence_number: int
    response: ResponseObject


class OutputItemAdded(Struct, frozen=True, tag_field="type", tag="response.output_item.added"):
    sequence_number: int
    output_index: int
    item: ResponseItem


class OutputItemDone(Struct, frozen=True, tag_field="type", tag="response.output_item.done"):
    sequence_number: int
    output_index: int
    item: ResponseItem


class ContentPartAdded(Struct, frozen=True, tag_field="type", tag="response.content_part.added"):
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    part: ContentPart


class ContentPartDone(Struct, frozen=True, tag_field="type", tag="response.content_part.done"):
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    part: ContentPart


class OutputTextDelta(Struct, frozen=True, tag_field="type", tag="response.output_text.delta"):
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: list[WrittenTokenTold] = field(default_factory=list[WrittenTokenTold])


class OutputTextDone(Struct, frozen=True, tag_field="type", tag="response.output_text.done"):
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: list[WrittenTokenTold] = field(default_factory=list[WrittenTokenTold])


class ReasoningTextDelta(Struct, frozen=True, tag_field="type", tag="response.reasoning_text.delta"):
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    delta: str


class ReasoningTextDone(Struct, frozen=True, tag_field="type", tag="response.reasoning_text.done"):
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    text: str


class OpenReasoningDelta(Struct, frozen=True, tag_field="type", tag="response.reasoning.delta"):
    """`response.reasoning_text.delta` as the Open Responses specification calls it."""

    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    delta: str


class OpenReasoningDone(Struct, frozen=True, tag_field="type", tag="response.reasoning.done"):
    """`response.reasoning_text.done` as the Open Responses specification calls it."""

    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    text: str


class SummaryPartAdded(Struct, frozen=True, tag_field="type", tag="response.reasoning_summary_part.added"):
    sequence_number: int
    item_id: str
    output_index: int
    summary_index: int
    part: SummaryContent


class SummaryPartDone(Struct, frozen=True, tag_field="type", tag="response.reasoning_summary_part.done"):
    sequence_number: int
    item_id: str
    output_index: int
    summary_index: int
    part: SummaryContent


class SummaryTextDelta(Struct, frozen=True, tag_field="type", tag="response.reasoning_summary_text.delta"):
    sequence_number: int
    item_id: str
    output_index: int
    summary_index: int
    delta: str


class SummaryTextDone(Struct, frozen=True, tag_field="type", tag="response.reasoning_summary_text.done"):
    sequence_number: int
    item_id: str
    output_index: int
    summary_index: int
    text: str


class FunctionArgumentsDelta(Struct, frozen=True, tag_field="type", tag="response.function_call_arguments.delta"):
    sequence_number: int
    item_id: str
    output_index: int
    delta: str


class FunctionArgumentsDone(Struct, frozen=True, tag_field="type", tag="response.function_call_arguments.done"):
    sequence_number: int
    item_id: str
    output_index: int
    name: str
    arguments: str


class McpListing(Struct, frozen=True, tag_field="type", tag="response.mcp_list_tools.in_progress"):
    sequence_number: int
    item_id: str
    output_index: int


class McpListed(Struct, frozen=True, tag_field="type", tag="response.mcp_list_tools.completed"):
    sequence_number: int
    item_id: str
    output_index: int


class McpCalling(Struct, frozen=True, tag_field="type", tag="response.mcp_call.in_progress"):
    sequence_number: int
    item_id: str
    output_index: int


class McpArgumentsDelta(Struct, frozen=True, tag_field="type", tag="response.mcp_call_arguments.delta"):
    sequence_number: int
    item_id: str
    output_index: int
    delta: str


class McpArgumentsDone(Struct, frozen=True, tag_field="type", tag="response.mcp_call_arguments.done"):
    sequence_number: int
    item_id: str
    output_index: int
    arguments: str


class McpCalled(Struct, frozen=True, tag_field="type", tag="response.mcp_call.completed"):
    sequence_number: int
    item_id: str
    output_index: int


class McpFailed(Struct, frozen=True, tag_field="type", tag="response.mcp_call.failed"):
    sequence_number: int
    item_id: str
    output_index: int


ResponseEvent: TypeAlias = (
    Created
    | Queued
    | InProgress
    | Completed
    | Incomplete
    | Failed
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | OpenReasoningDelta
    | OpenReasoningDone
    | SummaryPartAdded
    | SummaryPartDone
    | SummaryTextDelta
    | SummaryTextDone
    | FunctionArgumentsDelta
    | FunctionArgumentsDone
    | McpListing
    | McpListed
    | McpCalling
    | McpArgumentsDelta
    | McpArgumentsDone
    | McpCalled
    | McpFailed
)


def as_open_responses(event: ResponseEvent) -> ResponseEvent:
    """`event` under the name that the Open Responses specification has for it."""
    match event:
        case ReasoningTextDelta(number, item_id, output, content, delta):
            return OpenReasoningDelta(number, item_id, output, content, delta)
        case ReasoningTextDone(number, item_id, output, content, text):
            return OpenReasoningDone(number, item_id, output, content, text)
        case _:
            return event
