"""What a chat-completions server streams, decoded into the chunks of the port: no I/O, no clock.

`SseParser` turns bytes into the data of events, `decode_chunk` (`openai_wire.py`) turns that into wire structs, and `StreamDecoder`
turns those into chunks. Servers differ from each other and from OpenAI's documentation
(https://platform.openai.com/docs/api-reference/chat-streaming); what they were seen to do is normalised here, so
that the rest of the project knows one shape.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import CallArgumentsArrived, FinishReason, PromptProgressed, ReasoningArrived, TextArrived
from orchestrator.engines.openai_wire import (
    WireCall,
    WireChunk,
    WireDelta,
    WireFunction,
    WireLogprobs,
    WirePromptProgress,
    WireTimings,
    WireUsage,
)
from orchestrator.ports import CallBegun, GenerationChunk

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A server that sends more than this without a line end is not speaking SSE."""


# ---- server-sent events -----------------------------------------------------------------------


class SseParser:
    """Cuts a byte stream into the data of its events, however the bytes were fragmented.

    Lines end in LF or CRLF and in nothing else: `str.splitlines` (and with it httpx's own line iterator) would also
    cut at U+2028 and its like, which stand unescaped in JSON strings. Comments and the fields other than `data` are
    left out.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The data of every event that `data` completes.

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
        return [event for line in lines if (event := self._line(line.removesuffix(b"\r"))) is not None]

    def end(self) -> list[bytes]:
        """The event that the stream ended in, where its blank line never came."""
        lines = [bytes(self._rest).removesuffix(b"\r"), b""]
        self._rest.clear()
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            data, self._data = self._data, []
            return b"\n".join(data) if data else None
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        return None


# ---- chunks -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Call:
    id: str
    number: int | None = None
    waiting: str = ""


@dataclass(frozen=True, slots=True)
class CountedTokens:
    """What the server counted; None is what it does not."""

    input: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cached: int | None = None
    decode_seconds: float | None = None


class StreamDecoder:
    """Turns the wire chunks of one completion into chunks of the port.

    Calls are numbered in the order in which they got their names, whatever indexes the server uses: a call whose
    arguments come before its name waits for it; an id that changes within an index begins a new call; without an
    index, a new id or a name begins one and anything else continues the last. A name is taken whole, once.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._begun = 0
        self._finish: str | None = None
        self._progress: float | None = None
        self._reasoning: list[str] = []
        self._usage: WireUsage | None = None
        self._timings: WireTimings | None = None
        self.first_token_seen = False
        self.stop_sequence: str | None = None
        """The text that the model stopped at; None where it ended by itself, or the server does not tell."""

    @property
    def called(self) -> bool:
        """Whether a call has begun."""
        return self._begun > 0

    def feed(self, chunk: WireChunk) -> list[GenerationChunk]:
        """What `chunk` says, in order. It must not be an error.

        Raises:
            ValueError: the arguments of a call are not UTF-8, or a byte of a token is none.
        """
        self._usage = chunk.usage or self._usage
        self._timings = chunk.timings or self._timings
        if chunk.verbose is not None:
            self.stop_sequence = chunk.verbose.stopping_word or None
        out: list[GenerationChunk] = []
        progress = chunk.prompt_progress
        if progress is not None:
            out += self._prompt_progressed(progress)
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None:
            return out
        if progress is None and self._progress is not None:
            self.first_token_seen = True  # llama.cpp: the first chunk without progress is that of the first token
        delta = choice.delta or choice.message or (WireDelta(choice.text) if choice.text else None)
        if delta is not None:
            out += self._delta(delta, choice.logprobs)
        self._finish = choice.finish_reason or self._finish
        for told in (choice.stop_reason, choice.matched_stop):
            self.stop_sequence = told if isinstance(told, str) else self.stop_sequence
        return out

    @property
    def finished(self) -> bool:
        """Whether the server said why it stopped."""
        return self._finish is not None

    @property
    def reasoning_text(self) -> str:
        """All reasoning so far."""
        return "".join(self._reasoning)

    @property
    def counted(self) -> CountedTokens:
        """The server's counters; llama.cpp's own where it sent them."""
        usage, timings = self._usage, self._timings
        details = usage.completion_tokens_details if usage else None
        reasoning = details.reasoning_tokens if details else None
        if timings is not None:
            return CountedTokens(
                input=timings.cache_n + timings.prompt_n,
                output=timings.predicted_n,
                reasoning=reasoning,
                cached=timings.cache_n,
                decode_seconds=timings.predicted_ms / 1000,
            )
        if usage is None:
            return CountedTokens()
        cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
        return CountedTokens(usage.prompt_tokens, usage.completion_tokens, reasoning, cached)

    def finish_reason(self) -> FinishReason:
        """Why the turn ended, in our words. Call it when the stream is over.

        Raises:
            OrchestratorError: a call never got a name.
        """
        if any(call.number is None for call in self._calls):
            raise OrchestratorError(ErrorKind.ENGINE_ERROR, f"{self._who} sent a tool call without a name.")
        if self._finish in ("length", "content_filter"):
            return self._finish
        return "tool_calls" if self._calls else "stop"

    def _prompt_progressed(self, progress: WirePromptProgress) -> list[GenerationChunk]:
        value = min(1.0, progress.processed / progress.total) if progress.total > 0 else 0.0
        if self._progress is not None and value <= self._progress:
            return []
        self._progress = value
        return [PromptProgressed(value, progress.total or None)]

    def _delta(self, delta: WireDelta, logprobs: WireLogprobs | None) -> list[GenerationChunk]:
        out: list[GenerationChunk] = []
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning:
            self._reasoning.append(reasoning)
            out.append(ReasoningArrived(reasoning))
        if delta.content:
            out.append(TextArrived(delta.content, () if logprobs is None else logprobs.tokens()))
        for fragment in delta.tool_calls or ():
            self.first_token_seen = True
            out += self._call(fragment)
        self.first_token_seen = self.first_token_seen or bool(out)
        return out

    def _call(self, fragment: WireCall) -> list[GenerationChunk]:
        function = fragment.function or WireFunction()
        call = self._call_of(fragment, named=bool(function.name))
        call.waiting += function.arguments_text()
        out: list[GenerationChunk] = []
        if call.number is None and function.name:
            call.number = self._begun
            self._begun += 1
            out.append(CallBegun(call.number, function.name))
        if call.number is not None and call.waiting:
            out.append(CallArgumentsArrived(call.number, call.waiting))
            call.waiting = ""
        return out

    def _call_of(self, fragment: WireCall, *, named: bool) -> _Call:
        call_id = fragment.id or ""
        if fragment.index is not None:
            call = self._by_index.get(fragment.index)
        else:
            call = next((call for call in self._calls if call_id and call.id == call_id), None)
            if call is None and not call_id and not named and self._calls:
                call = self._calls[-1]
        changed = call is not None and named and call_id != "" and call.id not in ("", call_id)
        if call is None or changed:
            call = _Call(call_id)
            self._calls.append(call)
        if fragment.index is not None:
            self._by_index[fragment.index] = call
        call.id = call.id or call_id
        return call
