"""A run as the events of this dialect.

Blocks follow each other here, while ours may overlap: a block waits until those that began before it are over.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from msgspec import structs

from orchestrator.api.anthropic_messages.encode import (
    View,
    input_of,
    result_block,
    signature_of,
    stopped_by,
    texts_of,
    usage_of,
    use_block,
)
from orchestrator.api.anthropic_messages.ids import message_id, tool_use_id
from orchestrator.api.anthropic_messages.wire_reply import (
    AnthropicErrorEvent,
    AnthropicEvent,
    AnthropicMessageDelta,
    AnthropicMessageStart,
    AnthropicMessageStop,
    Block,
    BlockDelta,
    BlockDeltaEvent,
    BlockStart,
    BlockStop,
    InputJsonDelta,
    McpToolUseBlock,
    MessageReply,
    MessageUsage,
    Ping,
    SignatureDelta,
    Stopped,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
)
from orchestrator.api.errors import anthropic_error
from orchestrator.api.json_text import json_bytes
from orchestrator.api.sse import StreamedRun
from orchestrator.core import stream as s
from orchestrator.core.json_types import JsonObject, canonical_json
from orchestrator.core.response import ChatResult, Failed

_TEXT: Final = "text"


@dataclass(slots=True)
class _Open:
    """A block that is not told to its end; `key` is the id of its call, or what kind of text it is."""

    key: str
    index: int
    waiting: list[AnthropicEvent]
    over: bool = False


@dataclass(slots=True)
class _Written:
    """The input of a function as far as it is written. What does not begin as an object does is held back to its end."""

    eager: bool
    text: str = ""
    told: bool = False

    def more(self, text: str) -> str:
        """What may be told of it now."""
        self.text += text
        if self.told:
            return text
        self.told = bool(self.text) if self.eager else self.text.lstrip().startswith("{")
        return self.text if self.told else ""


@dataclass(slots=True)
class MessageEncoder:
    """Tells a run event by event; it begins with a prompt of about so many `input_tokens`."""

    response_id: str
    model: str
    request_id: str
    view: View
    input_tokens: int = 0
    _open: deque[_Open] = field(default_factory=deque[_Open])
    _blocks: int = 0
    _thinking: list[str] = field(default_factory=list[str])
    _written: dict[str, _Written] = field(default_factory=dict[str, _Written])

    def encode(self, event: s.StreamEvent) -> list[AnthropicEvent]:
        """What goes out for one event of ours."""
        match event:
            case s.ChatStart():
                start = MessageReply(message_id(self.response_id), self.model, [], MessageUsage(self.input_tokens, 0))
                return [AnthropicMessageStart(start), Ping()]
            case s.ChatEnd(result):
                return [*self._flush(everything=True), *self._end(result)]
            case s.MessageStart() | s.MessageDelta() | s.MessageEnd():
                self._text(event)
            case s.ReasoningStart() | s.ReasoningDelta() | s.ReasoningEnd():
                self._reasoning(event)
            case s.FunctionCallStart() | s.FunctionCallDelta() | s.FunctionCallEnd():
                self._function(event)
            case s.ToolCallStart() | s.ToolCallArguments() | s.ToolCallSuccess() | s.ToolCallFailure():
                if self.view.servers:
                    self._tool(event)
            case _:  # the rest is of no dialect but ours
                return []
        return list(self._flush())

    def _text(self, event: s.MessageStart | s.MessageDelta | s.MessageEnd) -> None:
        match event:
            case s.MessageStart():
                self._begin(_TEXT, TextBlock(""))
            case s.MessageDelta(content):
                self._more(_TEXT, TextDelta(content))
            case s.MessageEnd():
                self._over(_TEXT)

    def _reasoning(self, event: s.ReasoningStart | s.ReasoningDelta | s.ReasoningEnd) -> None:
        match event:
            case s.ReasoningStart():
                self._thinking = []
                self._begin(_TEXT, ThinkingBlock("", ""))
            case s.ReasoningDelta(content):
                self._thinking.append(content)
                if not self.view.hides_thinking:
                    self._more(_TEXT, ThinkingDelta(content))
            case s.ReasoningEnd():
                self._more(_TEXT, SignatureDelta(signature_of("".join(self._thinking))))
                self._over(_TEXT)

    def _function(self, event: s.FunctionCallStart | s.FunctionCallDelta | s.FunctionCallEnd) -> None:
        match event:
            case s.FunctionCallStart(call_id, name):
                self._begin(call_id, ToolUseBlock(tool_use_id(call_id), name, {}))
                self._written[call_id] = _Written(name in self.view.eager)
            case s.FunctionCallDelta(call_id, arguments):
                told = self._written[call_id].more(arguments)
                if told:
                    self._more(call_id, InputJsonDelta(told))
            case s.FunctionCallEnd(call):
                if not self._written[call.call_id].told:
                    self._input(call.call_id, input_of(call.arguments))
                self._over(call.call_id)

    def _tool(self, event: s.ToolCallStart | s.ToolCallArguments | s.ToolCallSuccess | s.ToolCallFailure) -> None:
        match event:
            case s.ToolCallStart(call_id, tool, provider):
                self._begin(call_id, use_block(call_id, tool, provider, {}))
            case s.ToolCallArguments(call_id, _, arguments):
                self._input(call_id, arguments)
                self._over(call_id)
            case s.ToolCallSuccess(call):
                self._whole(call.call_id, result_block(call.call_id, texts_of(call.output), call.is_error))
            case s.ToolCallFailure(call_id, _, reason, tool_name, arguments, provider):
                if self._find(call_id) is None:
                    self._begin(call_id, use_block(call_id, tool_name, provider, {}))
                self._input(call_id, arguments or {})
                self._over(call_id)
                self._whole(call_id, result_block(call_id, [TextBlock(reason)], is_error=True))

    def _end(self, result: ChatResult) -> Iterator[AnthropicEvent]:
        if isinstance(result.ending, Failed):
            yield AnthropicErrorEvent(anthropic_error(result.ending.error), self.request_id)
            return
        yield AnthropicMessageDelta(stopped_by(result), usage_of(result.stats))
        yield AnthropicMessageStop()

    def _begin(self, key: str, block: Block) -> None:
        self._open.append(_Open(key, self._blocks, [BlockStart(self._blocks, block)]))
        self._blocks += 1

    def _more(self, key: str, delta: BlockDelta) -> None:
        found = self._find(key)
        if found is not None:
            found.waiting.append(BlockDeltaEvent(found.index, delta))

    def _input(self, key: str, arguments: JsonObject) -> None:
        self._more(key, InputJsonDelta(canonical_json(arguments)))

    def _over(self, key: str) -> None:
        found = self._find(key)
        if found is not None:
            found.waiting.append(BlockStop(found.index))
            found.over = True

    def _whole(self, key: str, block: Block) -> None:
        self._begin(key, block)
        self._over(key)

    def _find(self, key: str) -> _Open | None:
        return next((one for one in self._open if one.key == key and not one.over), None)

    def _flush(self, *, everything: bool = False) -> Iterator[AnthropicEvent]:
        """What may go out now: what the first block has, and after its end the next one's; in the end all there is."""
        while self._open:
            first = self._open[0]
            if everything and not first.over:
                self._over(first.key)
            yield from first.waiting
            first.waiting.clear()
            if not first.over:
                return
            self._open.popleft()


async def frames(run: StreamedRun, encoder: MessageEncoder) -> AsyncGenerator[bytes]:
    """The whole stream of `run`; the place in the queue is a comment."""
    async with aclosing(run.events()) as events:
        async for _, event in events:
            if isinstance(event, s.QueuePosition):
                yield b": queued %d\n\n" % event.position
            for told in encoder.encode(event):
                yield frame(told)


def frame(told: AnthropicEvent) -> bytes:
    """One event as it goes out."""
    return b"event: %s\ndata: %s\n\n" % (str(told.__struct_config__.tag).encode(), json_bytes(told))


def retold_message(reply: MessageReply) -> bytes:
    """The stream of a message that is there already: every block in one piece."""
    told: list[AnthropicEvent] = [AnthropicMessageStart(structs.replace(reply, content=[], stop_reason=None)), Ping()]
    for index, block in enumerate(reply.content):
        told += [*_pieces(index, block), BlockStop(index)]
    stopped = Stopped(reply.stop_reason or "end_turn", reply.stop_sequence)
    return b"".join(map(frame, [*told, AnthropicMessageDelta(stopped, reply.usage), AnthropicMessageStop()]))


def _pieces(index: int, block: Block) -> list[AnthropicEvent]:
    match block:
        case TextBlock(text):
            return [BlockStart(index, TextBlock("")), BlockDeltaEvent(index, TextDelta(text))]
        case ToolUseBlock() | McpToolUseBlock():
            written = InputJsonDelta(canonical_json(block.input))
            return [BlockStart(index, structs.replace(block, input={})), BlockDeltaEvent(index, written)]
        case _:
            return [BlockStart(index, block)]
