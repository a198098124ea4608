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


class _OfResponse(Struct, frozen=True):
    sequence_number: int
    response: ResponseObject


class _OfItem(Struct, frozen=True):
    sequence_number: int
    output_index: int
    item: ResponseItem


class _OfPart(Struct, frozen=True):
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    part: ContentPart


class _ReasoningGoesOn(Struct, frozen=True):
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    delta: str


class _ReasoningEnds(Struct, frozen=True):
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    text: str


class _OfSummary(Struct, frozen=True):
    sequence_number: int
    item_id: str
    output_index: int
    summary_index: int
    part: SummaryContent


class _ArgumentsGoOn(Struct, frozen=True):
    sequence_number: int
    item_id: str
    output_index: int
    delta: str


class _OfCall(Struct, frozen=True):
    sequence_number: int
    item_id: str
    output_index: int


class Created(_OfResponse, frozen=True, tag_field="type", tag="response.created"):
    pass


class Queued(_OfResponse, frozen=True, tag_field="type", tag="response.queued"):
    pass


class InProgress(_OfResponse, frozen=True, tag_field="type", tag="response.in_progress"):
    pass


class Completed(_OfResponse, frozen=True, tag_field="type", tag="response.completed"):
    pass


class Incomplete(_OfResponse, frozen=True, tag_field="type", tag="response.incomplete"):
    pass


class Failed(_OfResponse, frozen=True, tag_field="type", tag="response.failed"):
    pass


class OutputItemAdded(_OfItem, frozen=True, tag_field="type", tag="response.output_item.added"):
    pass


class OutputItemDone(_OfItem, frozen=True, tag_field="type", tag="response.output_item.done"):
    pass


class ContentPartAdded(_OfPart, frozen=True, tag_field="type", tag="response.content_part.added"):
    pass


class ContentPartDone(_OfPart, frozen=True, tag_field="type", tag="response.content_part.done"):
    pass


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


class ReasoningTextDelta(_ReasoningGoesOn, frozen=True, tag_field="type", tag="response.reasoning_text.delta"):
    pass


class ReasoningTextDone(_ReasoningEnds, frozen=True, tag_field="type", tag="response.reasoning_text.done"):
    pass


class OpenReasoningDelta(_ReasoningGoesOn, frozen=True, tag_field="type", tag="response.reasoning.delta"):
    """`response.reasoning_text.delta` as the Open Responses specification calls it."""


class OpenReasoningDone(_ReasoningEnds, frozen=True, tag_field="type", tag="response.reasoning.done"):
    """`response.reasoning_text.done` as the Open Responses specification calls it."""


class SummaryPartAdded(_OfSummary, frozen=True, tag_field="type", tag="response.reasoning_summary_part.added"):
    pass


class SummaryPartDone(_OfSummary, frozen=True, tag_field="type", tag="response.reasoning_summary_part.done"):
    pass


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


class FunctionArgumentsDelta(
    _ArgumentsGoOn, frozen=True, tag_field="type", tag="response.function_call_arguments.delta"
):
    pass


class FunctionArgumentsDone(Struct, frozen=True, tag_field="type", tag="response.function_call_arguments.done"):
    sequence_number: int
    item_id: str
    output_index: int
    name: str
    arguments: str


class McpListing(_OfCall, frozen=True, tag_field="type", tag="response.mcp_list_tools.in_progress"):
    pass


class McpListed(_OfCall, frozen=True, tag_field="type", tag="response.mcp_list_tools.completed"):
    pass


class McpCalling(_OfCall, frozen=True, tag_field="type", tag="response.mcp_call.in_progress"):
    pass


class McpArgumentsDelta(_ArgumentsGoOn, frozen=True, tag_field="type", tag="response.mcp_call_arguments.delta"):
    pass


class McpArgumentsDone(Struct, frozen=True, tag_field="type", tag="response.mcp_call_arguments.done"):
    sequence_number: int
    item_id: str
    output_index: int
    arguments: str


class McpCalled(_OfCall, frozen=True, tag_field="type", tag="response.mcp_call.completed"):
    pass


class McpFailed(_OfCall, frozen=True, tag_field="type", tag="response.mcp_call.failed"):
    pass


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
