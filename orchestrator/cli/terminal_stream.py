"""A chat's stream as a person reads it in a terminal: each event becomes pieces of text with a style."""

from dataclasses import dataclass
from typing import assert_never

from msgspec import UNSET, UnsetType

from orchestrator.api.wire import ChatReply, ChatStats, PendingApproval, ProviderInfo, label_of
from orchestrator.api.wire_events import (
    ChatEnd,
    ChatStart,
    ElicitationRequested,
    ElicitationResolved,
    ErrorEvent,
    FunctionCallDelta,
    FunctionCallEnd,
    FunctionCallStart,
    MessageDelta,
    MessageEnd,
    MessageStart,
    ModelLoadEnd,
    ModelLoadProgress,
    ModelLoadStart,
    PromptProcessingEnd,
    PromptProcessingProgress,
    PromptProcessingStart,
    QueuePosition,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    RequestWarning,
    SamplingCompleted,
    ToolCallApprovalRequired,
    ToolCallArguments,
    ToolCallFailure,
    ToolCallName,
    ToolCallProgress,
    ToolCallStart,
    ToolCallSuccess,
    WireEvent,
)
from orchestrator.cli.terminal_text import arguments_text, one_line, output_text, shortened, visible

QUIET = "dim"
CALL = "cyan"
WARNING = "yellow"
BAD = "red"
UNKNOWN_LENGTH = 200
LOAD_STEPS = 4


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event that this version does not know; `data` is its JSON text."""

    data: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Text to print as it is, with a style; a piece that ends a line has its line break in it."""

    text: str
    style: str = ""


class TerminalStream:
    """Turns the events of one stream, in their order, into what is printed."""

    def __init__(self) -> None:
        self._in_line = False
        self._load_steps = 0

    def pieces(self, event: WireEvent | UnknownEvent) -> list[Piece]:
        """What `event` adds to the terminal."""
        match event:
            case ReasoningDelta(content):
                return [self._running(content, QUIET)]
            case MessageDelta(content):
                return [self._running(content, "")]
            case ReasoningEnd() | MessageEnd():
                return self._line_end()
            case ModelLoadStart(model_instance_id):
                return [*self._line_end(), self._running(f"loading {model_instance_id} …", QUIET)]
            case ModelLoadProgress(_, progress):
                return self._load_progress(progress)
            case ModelLoadEnd(_, seconds):
                return [self._running(f" {seconds:.1f} s", QUIET), *self._line_end()]
            case ToolCallArguments(_, tool, arguments, provider):
                called = f"{one_line(tool)}({arguments_text(arguments)})"
                return self._lines(Piece(f"→ {called}", CALL), Piece(f"  {provider_text(provider)}\n", QUIET))
            case ToolCallSuccess():
                return self._result(event)
            case ToolCallFailure(_, reason, metadata):
                return self._lines(Piece(f"✗ {one_line(metadata.tool_name)}: {one_line(reason)}\n", BAD))
            case FunctionCallEnd(_, name, arguments):
                return self._lines(Piece(f"→ {one_line(name)} {one_line(arguments)}", CALL), Piece("  client\n", QUIET))
            case ToolCallProgress(_, progress, total, message):
                share = f"{progress:g}" if isinstance(total, UnsetType) else f"{progress:g} of {total:g}"
                said = "" if isinstance(message, UnsetType) else f"  {one_line(message)}"
                return self._lines(Piece(f"… {share}{said}\n", QUIET))
            case ElicitationRequested():
                return self._lines(
                    Piece(f"? {one_line(event.message)}  {provider_text(event.provider_info)}\n", WARNING)
                )
            case RequestWarning(message):
                return self._lines(Piece(f"warning: {one_line(message)}\n", WARNING))
            case ErrorEvent(error):
                return self._lines(Piece(f"error: {one_line(error.message)}\n", BAD))
            case ChatEnd(result):
                return [*self._line_end(), *closing(result)]
            case UnknownEvent(data):
                said = shortened(one_line(data), UNKNOWN_LENGTH)
                return self._lines(Piece(f"an event of a kind that this version does not know: {said}\n", WARNING))
            case ChatStart() | ReasoningStart() | MessageStart() | ToolCallStart() | ToolCallName():
                return []
            case ToolCallApprovalRequired() | ElicitationResolved() | SamplingCompleted():
                return []
            case FunctionCallStart() | FunctionCallDelta():
                return []
            case QueuePosition() | PromptProcessingStart() | PromptProcessingProgress() | PromptProcessingEnd():
                return []
            case _:
                assert_never(event)

    def _running(self, text: str, style: str) -> Piece:
        text = visible(text)
        if text:
            self._in_line = not text.endswith("\n")
        return Piece(text, style)

    def _line_end(self) -> list[Piece]:
        if not self._in_line:
            return []
        self._in_line = False
        return [Piece("\n")]

    def _lines(self, *pieces: Piece) -> list[Piece]:
        """Whole lines of their own."""
        return [*self._line_end(), *pieces]

    def _load_progress(self, progress: float) -> list[Piece]:
        step = int(progress * LOAD_STEPS)
        if step <= self._load_steps or step >= LOAD_STEPS:
            return []
        self._load_steps = step
        return [self._running(f" {step * 100 // LOAD_STEPS} %", QUIET)]

    def _result(self, event: ToolCallSuccess) -> list[Piece]:
        mark = f"{'✗' if event.is_error else '←'} {one_line(event.tool)}"
        output = "".join(f"  {line}\n" for line in output_text(event.output, event.structured_output).splitlines())
        return self._lines(
            Piece(mark, BAD if event.is_error else CALL),
            Piece(f"  {event.duration_ms} ms\n", QUIET),
            Piece(output, BAD if event.is_error else QUIET),
        )


def closing(reply: ChatReply) -> list[Piece]:
    """The last lines: what became of the request, its stats, and how to go on from it."""
    pieces: list[Piece] = []
    if reply.status != "completed":
        why = "" if isinstance(reply.incomplete_reason, UnsetType) else f" ({reply.incomplete_reason})"
        pieces.append(Piece(f"{reply.status}{why}\n", BAD if reply.status == "failed" else WARNING))
    if not isinstance(reply.pending_approvals, UnsetType):
        pieces += [Piece(f"  {pending_line(call)}\n", CALL) for call in reply.pending_approvals]
    pieces.append(Piece(stats_line(reply.stats) + "\n", QUIET))
    if reply.response_id is not UNSET:
        pieces.append(Piece(f"{reply.response_id}\n", QUIET))
    return pieces


def pending_line(call: PendingApproval) -> str:
    """A call that waits for approval, in one line."""
    return (
        f"{call.call_id}  {one_line(call.tool)}({arguments_text(call.arguments)})  {provider_text(call.provider_info)}"
    )


def stats_line(stats: ChatStats) -> str:
    """The stats in one line; a number that nobody counted is left out."""
    unknown = [] if isinstance(stats.unknown, UnsetType) else stats.unknown
    reasoning = f" ({stats.reasoning_output_tokens} reasoning)" if stats.reasoning_output_tokens else ""
    parts = {
        "input_tokens": f"{stats.input_tokens} tokens in",
        "total_output_tokens": f"{stats.total_output_tokens} out{reasoning}",
        "tokens_per_second": f"{stats.tokens_per_second:.1f} tokens/s",
        "time_to_first_token_seconds": f"first after {stats.time_to_first_token_seconds:.2f} s",
    }
    said = [text for name, text in parts.items() if name not in unknown]
    if not isinstance(stats.model_load_time_seconds, UnsetType):
        said.append(f"model loaded in {stats.model_load_time_seconds:.1f} s")
    return " · ".join(said)


def provider_text(provider: ProviderInfo) -> str:
    """Whose tool it is, in one line."""
    return one_line(label_of(provider))
