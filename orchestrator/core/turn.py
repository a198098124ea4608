"""One turn of the model while it is being written: fragments in, stream events and items out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, assert_never

from orchestrator.core.calls import cut_off, function_call, is_cut_off_from_client, judge_call, missing_tool
from orchestrator.core.commands import PlacedCall, PlacedItem, PlacedText
from orchestrator.core.errors import IllegalInputError
from orchestrator.core.inputs import (
    CallArgumentsArrived,
    CallOpened,
    PromptProgressed,
    ReasoningArrived,
    TextArrived,
)
from orchestrator.core.items import ClientProvider, Message, Reasoning
from orchestrator.core.json_types import parse_object
from orchestrator.core.logprobs import TokenLogprob, kept_logprobs
from orchestrator.core.response import Counters
from orchestrator.core.stream import (
    FunctionCallDelta,
    FunctionCallEnd,
    FunctionCallStart,
    MessageDelta,
    MessageEnd,
    MessageStart,
    PromptProcessingEnd,
    PromptProcessingProgress,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    StreamEvent,
    ToolCallArguments,
    ToolCallFailure,
    ToolCallStart,
)
from orchestrator.core.tools import OfferedTool, argument_problems

TextKind: TypeAlias = Literal["reasoning", "message"]
TurnChunk: TypeAlias = PromptProgressed | ReasoningArrived | TextArrived | CallOpened | CallArgumentsArrived


@dataclass(slots=True)
class _TextSlot:
    kind: TextKind
    parts: list[str] = field(default_factory=list[str])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])


@dataclass(slots=True)
class _CallSlot:
    call_id: str
    name: str
    fragments: list[str] = field(default_factory=list[str])
    held: bool = False


class TurnAssembly:
    """Collects a turn; slots stand in the order in which the model opened them.

    Text that is only white space makes no item: models put line breaks around calls. A call of a strict function is held
    back until its arguments are whole and match, and stands where it became so. With `one_call` the turn `is_over`
    with its first call: what the model writes after it is not heard. What goes on with a `raw` prompt is told as it stands.
    """

    def __init__(
        self,
        number: int,
        first_position: int,
        offered: Mapping[str, OfferedTool],
        *,
        one_call: bool = False,
        raw: bool = False,
    ) -> None:
        self.number = number
        self._first_position = first_position
        self._offered = offered
        self._slots: list[_TextSlot | _CallSlot] = []
        self._calls: dict[int, _CallSlot] = {}
        self._open: _TextSlot | None = None
        self._one_call = one_call
        self._raw = raw
        self.is_over = False
        self._held: tuple[TextKind, str, tuple[TokenLogprob, ...]] | None = None
        self._prompt_done = False
        self._prompt_tokens: int | None = None
        self._pieces: Counter[str] = Counter()

    def heard(self) -> Counters:
        """What is known of a turn that was broken off: the pieces that came are counted, about a token each."""
        written = self._pieces.total()
        return Counters(self._prompt_tokens, written, self._pieces["reasoning"])

    def hear(self, chunk: TurnChunk) -> list[StreamEvent]:
        """What the engine says of the turn.

        Raises:
            IllegalInputError: it opens a call twice, or goes on with one that it has not opened.
        """
        self.is_over = self.is_over or (self._one_call and self._goes_beyond_a_call(chunk))
        if self.is_over:
            return []
        events = self._told(chunk)
        self._count(chunk)
        return events

    def _told(self, chunk: TurnChunk) -> list[StreamEvent]:
        match chunk:
            case PromptProgressed(progress):
                return self.prompt_progressed(progress)
            case ReasoningArrived(text):
                return self.text_arrived("reasoning", text)
            case TextArrived(text, logprobs):
                return self.text_arrived("message", text, logprobs)
            case CallOpened(index, name, call_id):
                return self.call_opened(index, name, call_id)
            case CallArgumentsArrived(index, text):
                return self.call_arguments_arrived(index, text)
            case _:
                assert_never(chunk)

    def _count(self, chunk: TurnChunk) -> None:
        match chunk:
            case PromptProgressed(_, tokens):
                self._prompt_tokens = tokens or self._prompt_tokens
            case ReasoningArrived(text):
                self._pieces["reasoning"] += bool(text)
            case TextArrived(text, logprobs):
                self._pieces["message"] += len(logprobs) or bool(text)
            case CallArgumentsArrived(_, text):
                self._pieces["call"] += bool(text)
            case CallOpened():
                pass
            case _:
                assert_never(chunk)

    def prompt_progressed(self, progress: float) -> list[StreamEvent]:
        """A report about the prompt; one that comes after the first token says nothing new."""
        return [] if self._prompt_done else [PromptProcessingProgress(progress)]

    def text_arrived(self, kind: TextKind, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> list[StreamEvent]:
        """A fragment of reasoning or message: continues the open item or opens the next."""
        if not text:
            return []
        events = self._end_prompt()
        if self._open is not None and self._open.kind == kind:
            self._open.parts.append(text)
            self._open.logprobs += logprobs
            return [*events, _delta(kind, text, logprobs)]
        if self._held is not None and self._held[0] == kind:
            text, logprobs = self._held[1] + text, (*self._held[2], *logprobs)
        if text.isspace() and not self._raw:
            self._held = (kind, text, logprobs)
            return events
        events += self._end_text()
        self._open = _TextSlot(kind, [text], [*logprobs])
        self._slots.append(self._open)
        return [*events, ReasoningStart() if kind == "reasoning" else MessageStart(), _delta(kind, text, logprobs)]

    def call_opened(self, index: int, name: str, call_id: str) -> list[StreamEvent]:
        """The model began a call. One that names no offered tool fails here and stands alone.

        Raises:
            IllegalInputError: a call with this index is open already.
        """
        if index in self._calls:
            raise IllegalInputError(f"call {index} of turn {self.number} was opened twice")
        events = self._end_prompt() + self._end_text()
        tool = self._offered.get(name)
        slot = self._calls[index] = _CallSlot(call_id, name, held=tool is not None and tool.definition.strict)
        if slot.held:
            return events
        self._slots.append(slot)
        if tool is None:
            reason = missing_tool(name, self._offered)
            return [*events, ToolCallFailure(call_id, "invalid_name", reason, name, None, None)]
        if isinstance(tool.provider, ClientProvider):
            return [*events, FunctionCallStart(call_id, name)]
        return [*events, ToolCallStart(call_id, tool.definition.name, tool.provider, tool.needs_approval)]

    def call_arguments_arrived(self, index: int, text: str) -> list[StreamEvent]:
        """A fragment of a call's arguments: the client hears of its own as they come.

        Raises:
            IllegalInputError: no call with this index was opened.
        """
        if index not in self._calls:
            raise IllegalInputError(f"call {index} of turn {self.number} was never opened")
        call = self._calls[index]
        tool = self._offered.get(call.name)
        if tool is not None and tool.definition.strict:
            return self._strict_arguments_arrived(call, text, tool)
        call.fragments.append(text)
        told = tool is not None and isinstance(tool.provider, ClientProvider) and text
        return [FunctionCallDelta(call.call_id, text)] if told else []

    def _strict_arguments_arrived(self, call: _CallSlot, text: str, tool: OfferedTool) -> list[StreamEvent]:
        """What comes after arguments that are whole is not heard."""
        if not call.held:
            return []
        call.fragments.append(text)
        arguments = parse_object("".join(call.fragments)) if text.rstrip().endswith("}") else None
        if arguments is None or argument_problems(tool.definition.input_schema, arguments) is not None:
            return []
        return [*self._end_text(), *self._release(call)]

    def _release(self, call: _CallSlot) -> list[StreamEvent]:
        """A strict call takes its place, and the client hears of it."""
        call.held = False
        self._slots.append(call)
        arguments = "".join(call.fragments)
        start = FunctionCallStart(call.call_id, call.name)
        return [start, FunctionCallDelta(call.call_id, arguments)] if arguments else [start]

    def finish(self, *, cut: bool, broken_off: bool = False) -> tuple[list[StreamEvent], list[PlacedItem]]:
        """The turn is over: judge its calls.

        `cut` says that a limit ended it, `broken_off` that it never came to its end: then no call of it may run.
        """
        events = self._end_prompt() + self._end_text()
        late = [call for call in self._calls.values() if call.held]
        items: list[PlacedItem] = []
        for position, slot in enumerate([*self._slots, *late], self._first_position):
            if isinstance(slot, _TextSlot):
                text = "".join(slot.parts)
                told = kept_logprobs(slot.logprobs)
                item = Reasoning(text) if slot.kind == "reasoning" else Message(text, told)
                items.append(PlacedText(position, self.number, item))
                continue
            placed = PlacedCall(position, self.number, slot.call_id, slot.name, "".join(slot.fragments), None)
            call = judge_call(placed, self._offered, cut=cut or broken_off)
            if slot.held and (call.is_handed_over or is_cut_off_from_client(call)):
                events += self._release(slot)
            if broken_off and (call.outcome is None or call.is_handed_over):
                call = cut_off(call)
            events += _judged(call)
            items.append(call)
        return events, items

    def _goes_beyond_a_call(self, chunk: TurnChunk) -> bool:
        """Whether the model writes on after a call that is whole, or begins another one."""
        if not self._calls:
            return False
        match chunk:
            case CallOpened(index):
                return index not in self._calls
            case TextArrived(text) | ReasoningArrived(text):
                [call] = self._calls.values()
                return bool(text.strip()) and parse_object("".join(call.fragments)) is not None
            case PromptProgressed() | CallArgumentsArrived():
                return False
            case _:
                assert_never(chunk)

    def _end_prompt(self) -> list[StreamEvent]:
        if self._prompt_done:
            return []
        self._prompt_done = True
        return [PromptProcessingEnd()]

    def _end_text(self) -> list[StreamEvent]:
        self._held = None
        slot, self._open = self._open, None
        if slot is None:
            return []
        return [ReasoningEnd() if slot.kind == "reasoning" else MessageEnd()]


def _delta(kind: TextKind, text: str, logprobs: tuple[TokenLogprob, ...]) -> StreamEvent:
    return ReasoningDelta(text) if kind == "reasoning" else MessageDelta(text, logprobs)


def _judged(call: PlacedCall) -> list[StreamEvent]:
    """What the stream says once a call's arguments are whole; an unknown name was told when it was opened."""
    if call.tool is None or call.provider is None:
        return []
    if call.is_handed_over:  # it is told of once it is journaled
        return []
    if is_cut_off_from_client(call):
        return [FunctionCallEnd(function_call(call))]
    events: list[StreamEvent] = []
    if call.arguments is not None and not call.is_of_client:
        events.append(ToolCallArguments(call.call_id, call.tool, call.arguments, call.provider, call.awaits_approval))
    if call.outcome is not None:
        reason = call.reason or ""
        events.append(
            ToolCallFailure(call.call_id, "invalid_arguments", reason, call.tool, call.arguments, call.provider)
        )
    return events
