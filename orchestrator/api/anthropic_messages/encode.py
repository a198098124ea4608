"""Items of a response as blocks, and its end as this dialect has it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, assert_never, cast

from orchestrator.api.anthropic_messages.ids import message_id, tool_use_id
from orchestrator.api.anthropic_messages.wire_reply import (
    Block,
    McpToolResultBlock,
    McpToolUseBlock,
    MessageReply,
    MessageUsage,
    OutputTokensDetails,
    Stopped,
    StopReason,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from orchestrator.core.content import described
from orchestrator.core.items import (
    FunctionCall,
    InvalidToolCall,
    Message,
    OutputItem,
    ProviderInfo,
    Reasoning,
    ToolCall,
    asked_of_client,
)
from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json, parse_object
from orchestrator.core.response import ChatResult, Close, Completed, Incomplete, Stats, Suspended
from orchestrator.core.tools import provider_label

NOBODY: Final = "unknown"
"""Whose tool it is that nobody offers."""
UNREADABLE: Final = "arguments"
"""Where the text stands that a model wrote in the place of an object."""


@dataclass(frozen=True, slots=True)
class View:
    """What a client is told. The inputs of `eager` functions are passed on as they are written, be they JSON or not.

    With `hides_thinking` thinking blocks are empty. Without `servers` nothing is said of calls but the client's own:
    who brought no server knows no such blocks.
    """

    eager: frozenset[str] = frozenset()
    hides_thinking: bool = False
    servers: bool = True


def message_reply(result: ChatResult, response_id: str, model: str, view: View) -> MessageReply:
    """The JSON reply."""
    stopped = stopped_by(result)
    return MessageReply(
        message_id(response_id),
        model,
        [*(block for item in result.output for block in blocks_of(item, view)), *_waiting(result)],
        usage_of(result.stats),
        stopped.stop_reason,
        stopped.stop_sequence,
    )


def _waiting(result: ChatResult) -> list[Block]:
    """The calls that somebody has to approve."""
    pending = result.ending.pending if isinstance(result.ending, Suspended) else ()
    return [use_block(call.call_id, call.tool, call.provider, call.arguments) for call in pending]


def blocks_of(item: OutputItem, view: View = View()) -> tuple[Block, ...]:
    """What stands for `item` in `content`. A call that was cut off has what there is of its text as its input."""
    match item:
        case Message(content):
            return (TextBlock(content),)
        case Reasoning(content):
            return (ThinkingBlock("" if view.hides_thinking else content, signature_of(content)),)
        case FunctionCall(call_id, name, arguments):
            return (ToolUseBlock(tool_use_id(call_id), name, input_of(arguments)),)
        case ToolCall() | InvalidToolCall() if not view.servers:
            return ()
        case ToolCall(call_id, tool, arguments, output, provider, is_error):
            return use_block(call_id, tool, provider, arguments), result_block(call_id, texts_of(output), is_error)
        case InvalidToolCall():
            arguments = item.arguments or {}
            return (
                use_block(item.call_id, item.tool_name, item.provider, arguments),
                result_block(item.call_id, [TextBlock(item.reason)], is_error=True),
            )
        case _:
            assert_never(item)


def use_block(call_id: str, tool: str, provider: ProviderInfo | None, arguments: JsonObject) -> McpToolUseBlock:
    """A call that ran here, or was refused."""
    server = NOBODY if provider is None else provider_label(provider)
    return McpToolUseBlock(tool_use_id(call_id, mcp=True), tool, server, arguments)


def result_block(call_id: str, content: Sequence[TextBlock], is_error: bool) -> McpToolResultBlock:
    """What came of such a call."""
    return McpToolResultBlock(tool_use_id(call_id, mcp=True), is_error, list(content))


def texts_of(output: str) -> list[TextBlock]:
    """The JSON text of a content array as texts; what is none is described."""
    return [TextBlock(described(part)) for part in cast("list[JsonValue]", json.loads(output))]


def input_of(arguments: str) -> JsonObject:
    """The input of a function, which has to be an object here whatever the model wrote."""
    value = parse_object(arguments or "{}")
    return {UNREADABLE: arguments} if value is None else value


def written(value: JsonObject) -> str:
    """The text that a model wrote where `input_of` made `value` of it."""
    text = value.get(UNREADABLE)
    unreadable = len(value) == 1 and isinstance(text, str) and parse_object(text or "{}") is None
    return text if isinstance(text, str) and unreadable else canonical_json(value)


def signature_of(thinking: str) -> str:
    """What a thinking block is signed with: it says that it is ours, and names the text."""
    return "orchestrator_" + hashlib.sha256(thinking.encode("utf-8", "surrogatepass")).hexdigest()


def stopped_by(result: ChatResult) -> Stopped:
    """Why the message is over. `pause_turn`: it would go on, sent back with a word of the user."""
    match result.ending:
        case Completed(str(stop_sequence)):
            return Stopped("stop_sequence", stop_sequence)
        case ending:
            return Stopped(_reason(ending, result.output))


def _reason(ending: Close, output: Sequence[OutputItem]) -> StopReason:
    match ending:
        case Completed():
            return "tool_use" if asked_of_client(output) else "end_turn"
        case Incomplete("max_output_tokens"):
            return "max_tokens"
        case Incomplete("content_filter"):
            return "refusal"
        case Incomplete("identical_calls"):
            return "end_turn"
        case _:
            return "pause_turn"


def usage_of(stats: Stats) -> MessageUsage:
    """The tokens of a message; what nobody counted is 0."""
    cached = stats.read_from_cache
    return MessageUsage(
        max(0, stats.read_tokens - (cached or 0)),
        stats.total_output_tokens,
        cached,
        output_tokens_details=OutputTokensDetails(stats.reasoning_output_tokens),
    )
