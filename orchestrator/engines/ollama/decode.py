"""What Ollama streams, decoded into the chunks of the port: no I/O, no clock.

`LineSplitter` cuts bytes into the lines of NDJSON, `TurnDecoder` turns lines into chunks. The wire is described in
https://github.com/ollama/ollama/blob/main/docs/api.md and was recorded from the real server, see
`tests/engines/ollama/recordings/`.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import (
    CallArgumentsArrived,
    FinishReason,
    GenerationFinished,
    ReasoningArrived,
    TextArrived,
)
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.response import Counters
from orchestrator.engines.ollama.failures import Peer, Subject
from orchestrator.engines.ollama.passes import Passes
from orchestrator.ports import CallBegun, GenerationChunk

log = structlog.stdlib.get_logger(__name__)

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""A server that sends more than this without a line end is not speaking NDJSON. A whole tool call is one line."""

REPEATS_THAT_END_A_TURN: Final = 30
"""After so many equal tokens Ollama ends the stream, without a last line: `Completion` in the server's `llm/`."""

_NANOSECONDS: Final = 1e9


class LineSplitter:
    """Cuts a byte stream into lines, however the bytes were fragmented.

    Lines end in LF and in nothing else. `str.splitlines`, and with it httpx's line iterator that Ollama's own client
    uses, also cuts at U+0085, which Go leaves as it is within a JSON string.
    """

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Every line that `data` completes, but for empty ones.

        Raises:
            ValueError: a line is longer than `MAX_LINE_BYTES`.
        """
        first_new = len(self._rest)
        self._rest += data
        if self._rest.find(b"\n", first_new) < 0:
            if len(self._rest) > MAX_LINE_BYTES:
                raise ValueError(f"a line of more than {MAX_LINE_BYTES} bytes")
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return [line for line in lines if line.strip()]

    def end(self) -> list[bytes]:
        """The line that the stream ended in without a line end, if any."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [rest] if rest.strip() else []


class WireFunction(msgspec.Struct, frozen=True):
    """A function call; its arguments stay the text that the server wrote."""

    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class WireCall(msgspec.Struct, frozen=True):
    """A tool call, whole. Its `index` is no use: parsers of the server number from 0 in every chunk."""

    function: WireFunction = WireFunction()


class WireMessage(msgspec.Struct, frozen=True):
    """What is new in a chunk."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[WireCall] | None = None


class WireLikely(msgspec.Struct, frozen=True):
    """A token and how likely it was."""

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list["WireLikely"] | None = None

    def likely(self) -> LikelyToken:
        """In the core's words; what are no bytes is left out."""
        whole = self.bytes is not None and all(0 <= byte < 256 for byte in self.bytes)
        return LikelyToken(self.token, self.logprob, bytes(self.bytes or ()) if whole else None)


class WireError(msgspec.Struct, frozen=True):
    """An error that has its text inside."""

    message: str = ""


class WireLine(msgspec.Struct, frozen=True):
    """One line of the stream. Durations are nanoseconds; a count of 0 is left out by the server.

    `response` is what it says where the prompt was raw.
    """

    message: WireMessage | None = None
    response: str | None = None
    logprobs: list[WireLikely] | None = None
    done: bool = False
    done_reason: str | None = None
    error: str | WireError | None = None
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int | None = None
    eval_count: int = 0
    eval_duration: int = 0


_LINE: Final = msgspec.json.Decoder(WireLine)


class TurnDecoder:
    """Turns the lines of one turn into chunks. Calls are numbered in the order in which they come.

    `limit` is how many tokens may be written; a `held` turn has a format.
    """

    def __init__(self, peer: Peer, about: Subject, *, held: bool = False, limit: int | None = None) -> None:
        self._peer = peer
        self._about = about
        self._calls = 0
        self._passes = Passes(held, limit)
        self._seconds = 0.0
        self.is_cut = False
        """Whether the limit was passed, which Ollama itself does not heed there: nothing more is read."""
        self._first_token: float | None = None
        self._last: WireLine | None = None
        self._last_word = ""
        self._repeats = 0

    def feed(self, line: bytes, seconds: float) -> list[GenerationChunk]:
        """What a line says, in order. `seconds` have passed since the request was sent.

        Raises:
            OrchestratorError: the line is an error, or not of Ollama's protocol.
        """
        try:
            wire = _LINE.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):  # its text may hold content: it goes nowhere
            raise self._peer.broken("a line is not what it should be") from None
        if wire.error is not None:
            text = wire.error if isinstance(wire.error, str) else wire.error.message
            raise self._peer.refusal(None, text, self._about)
        self._seconds = seconds
        message = wire.message or (None if wire.response is None else WireMessage(content=wire.response))
        chunks = self._message(message, wire.logprobs or ()) if message is not None else []
        if chunks and self._first_token is None:
            self._first_token = seconds
        if wire.done:
            self._last = wire
        return chunks

    @property
    def finished(self) -> bool:
        """Whether the line came that ends a turn."""
        return self._last is not None

    def finish(self) -> GenerationFinished:
        """The end of the turn, once its lines are over.

        Raises:
            OrchestratorError: `engine_error`: the stream ended before the turn did.
        """
        if self.is_cut:
            return GenerationFinished("length", self._counters(WireLine()))
        if self._last is None:
            if self._repeats >= REPEATS_THAT_END_A_TURN:
                message = f"Model '{self._about.key}' repeated itself, and {self._peer.name} stopped it."
            else:
                message = f"{self._peer.name} ended its answer before it was complete."
            raise OrchestratorError(ErrorKind.ENGINE_ERROR, message)
        return GenerationFinished(self._reason(self._last.done_reason), self._counters(self._last))

    def _written(self, text: str) -> str:
        word = text.strip()
        self._repeats = self._repeats + 1 if word == self._last_word else 0
        self._last_word = word
        return text

    def _message(self, message: WireMessage, logprobs: Sequence[WireLikely]) -> list[GenerationChunk]:
        chunks: list[GenerationChunk] = []
        if message.thinking:
            self._passes.reasoning(self._seconds)
            chunks.append(ReasoningArrived(self._written(message.thinking)))
        if message.content and not self._passes.text():
            self.is_cut = True
        elif message.content:
            likely = (
                TokenLogprob(one.likely(), tuple(top.likely() for top in one.top_logprobs or ())) for one in logprobs
            )
            chunks.append(TextArrived(self._written(message.content), tuple(likely)))
        for call in message.tool_calls or ():
            chunks.append(CallBegun(self._calls, call.function.name))
            chunks.append(CallArgumentsArrived(self._calls, bytes(call.function.arguments).decode()))
            self._calls += 1
        return chunks

    def _reason(self, done_reason: str | None) -> FinishReason:
        match done_reason:
            case "length":
                return "length"
            case "stop" | "" | None:
                pass
            case other:
                log.warning("unknown reason for the end of a turn", engine="ollama", done_reason=other)
        return "tool_calls" if self._calls else "stop"

    def _counters(self, last: WireLine) -> Counters:
        passes = self._passes
        lacking = passes.reasoned if passes.two else 0
        return Counters(
            input_tokens=last.prompt_eval_count,
            output_tokens=passes.limit if self.is_cut else last.eval_count + lacking,
            reasoning_tokens=passes.reasoning_tokens,
            cached_tokens=None,
            decode_seconds=last.eval_duration / _NANOSECONDS + passes.reasoning_seconds or None,
            first_token_seconds=self._first_token_seconds(last),
        )

    def _first_token_seconds(self, last: WireLine) -> float | None:
        """From the request to the first token, without what loading took of it.

        Ollama holds a tool call back until it is whole, so what came first may have come late: the server's own
        durations bound it as well.
        """
        before_writing = last.total_duration - last.load_duration - last.eval_duration
        bounds = [before_writing / _NANOSECONDS] if last.total_duration else []
        if self._first_token is not None:
            bounds.append(self._first_token - last.load_duration / _NANOSECONDS)
        return max(0.0, min(bounds)) if bounds else None
