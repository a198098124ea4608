"""From a run's events to OpenAI's chunks and replies."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import UNSET, UnsetType

from orchestrator.api.encode import pending_approvals
from orchestrator.api.openai_chat import wire_replies as w
from orchestrator.api.openai_chat.words import RESPONSE
from orchestrator.api.wire import PendingApproval
from orchestrator.core.items import FunctionCall, Message, asked_of_client
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.response import ChatResult, Completed, Incomplete, Stats, Suspended, ending_status
from orchestrator.core.stream import (
    FunctionCallDelta,
    FunctionCallStart,
    MessageDelta,
    MessageStart,
    ReasoningDelta,
    ReasoningStart,
    StreamEvent,
)

_APART: Final = "\n\n"
"""Between messages of different turns: a client of this dialect knows one message only."""


def completion_id(prefix: str, response_id: str | None) -> str:
    """`chatcmpl-` and what stands behind `resp_`; where nothing is stored, an id of its own."""
    return prefix + (secrets.token_hex(24) if response_id is None else response_id.removeprefix(RESPONSE))


def fingerprint(instance_id: str) -> str:
    """The same for the same model instance."""
    return "fp_" + hashlib.sha256(instance_id.encode()).hexdigest()[:10]


@dataclass(frozen=True, slots=True)
class Head:
    """What every answer begins with. `fields` are the dialect's names, `choices` how many answers each prompt has."""

    id: str
    created: int
    model: str
    fingerprint: str
    fields: Mapping[str, str]
    choices: int = 1
    with_usage: bool = False

    def chunk(self, choices: list[w.ChunkChoice], usage: w.Usage | None = None) -> w.Chunk:
        """A chunk of a chat; without `with_usage` none has counters."""
        counted: w.Usage | UnsetType | None = usage if self.with_usage else UNSET
        return w.Chunk(self.id, "chat.completion.chunk", self.created, self.model, self.fingerprint, choices, counted)

    def text(self, choices: list[w.TextChoice], usage: w.Usage | None = None) -> w.TextCompletion:
        """A chunk of texts, likewise."""
        counted: w.Usage | UnsetType | None = usage if self.with_usage else UNSET
        return w.TextCompletion(
            self.id, "text_completion", self.created, self.model, choices, self.fingerprint, counted
        )

    def usage_of(self, stats: Sequence[Stats]) -> w.Usage:
        """The counters of all answers, in order; the prompt of the choices of one was the same."""
        prompts = stats[:: self.choices]
        read = sum(one.read_tokens for one in prompts)
        written = sum(one.total_output_tokens for one in stats)
        return w.Usage(
            read,
            written,
            read + written,
            w.PromptDetails(sum(one.read_from_cache or 0 for one in prompts)),
            w.CompletionDetails(sum(one.reasoning_output_tokens for one in stats)),
        )


@dataclass(slots=True)
class ChoiceFold:
    """One answer as it comes: what it says next, and what it has said by then."""

    index: int
    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    _calls: dict[str, int] = field(default_factory=dict[str, int])

    def hear(self, event: StreamEvent) -> list[w.ChunkChoice]:
        """What goes out for one event of the run."""
        match event:
            case MessageStart() if self.text:
                return [self._said(_APART)]
            case MessageDelta(content, logprobs):
                self.logprobs += logprobs
                return [self._said(content, logprobs)]
            case ReasoningStart() if self.reasoning:
                return [self._reasoned(_APART)]
            case ReasoningDelta(content):
                return [self._reasoned(content)]
            case FunctionCallStart(call_id, name):
                place = self._calls[call_id] = len(self._calls)
                return [self._call(w.ToolCallPart(w.FunctionOfCall("", name), call_id, "function", place))]
            case FunctionCallDelta(call_id, arguments):
                return [self._call(w.ToolCallPart(w.FunctionOfCall(arguments), index=self._calls[call_id]))]
            case _:
                return []

    def last(self, result: ChatResult) -> w.ChunkChoice:
        """How it ended."""
        return w.ChunkChoice(
            self.index,
            w.Delta(),
            None,
            finish_reason(result),
            result.response_id or UNSET,
            status_of(result),
            waiting_of(result),
        )

    def choice(self, result: ChatResult) -> w.Choice:
        """The whole answer."""
        calls = [item for item in result.output if isinstance(item, FunctionCall)]
        text = "".join(self.text)
        message = w.AnswerMessage(
            role="assistant",
            content=text if text or not calls else None,
            reasoning_content="".join(self.reasoning) or UNSET,
            tool_calls=[
                w.ToolCallPart(w.FunctionOfCall(call.arguments, call.name), call.call_id, "function") for call in calls
            ]
            or UNSET,
        )
        told = choice_logprobs(self.logprobs)
        return w.Choice(
            self.index,
            message,
            told,
            finish_reason(result),
            result.response_id or UNSET,
            status_of(result),
            waiting_of(result),
        )

    def _said(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> w.ChunkChoice:
        self.text.append(text)
        return w.ChunkChoice(self.index, w.Delta(content=text), choice_logprobs(logprobs))

    def _reasoned(self, text: str) -> w.ChunkChoice:
        self.reasoning.append(text)
        return w.ChunkChoice(self.index, w.Delta(reasoning_content=text))

    def _call(self, part: w.ToolCallPart) -> w.ChunkChoice:
        return w.ChunkChoice(self.index, w.Delta(tool_calls=[part]))


@dataclass(slots=True)
class TextFold:
    """One text as it comes."""

    index: int
    length: int = 0

    def hear(self, event: StreamEvent) -> list[w.TextChoice]:
        """What goes out for one event of the run."""
        if not isinstance(event, MessageDelta):
            return []
        told = text_logprobs(event.logprobs, self.length)
        self.length += len(event.content)
        return [w.TextChoice(event.content, self.index, told, None)]

    def last(self, result: ChatResult) -> w.TextChoice:
        """How it ended."""
        return w.TextChoice("", self.index, None, finish_reason(result))


def text_choice(index: int, result: ChatResult) -> w.TextChoice:
    """The whole text."""
    said = [item for item in result.output if isinstance(item, Message)]
    told = text_logprobs([one for item in said for one in item.logprobs])
    return w.TextChoice("".join(item.content for item in said), index, told, finish_reason(result))


def text_logprobs(tokens: Sequence[TokenLogprob], offset: int = 0) -> w.TextLogprobs | None:
    """How likely the tokens of a text were that begins at `offset`; None where nobody asked."""
    if not tokens:
        return None
    told = w.TextLogprobs()
    for one in tokens:
        told.tokens.append(one.chosen.token)
        told.token_logprobs.append(one.chosen.logprob)
        told.top_logprobs.append({each.token: each.logprob for each in one.likeliest})
        told.text_offset.append(offset)
        offset += len(one.chosen.token)
    return told


def first(index: int) -> w.ChunkChoice:
    """How every answer of a stream begins."""
    return w.ChunkChoice(index, w.Delta(role="assistant", content=""))


def finish_reason(result: ChatResult) -> w.FinishReason:
    """OpenAI's word for how a run ended; who needs ours has `status`."""
    match result.ending:
        case Completed():
            return "tool_calls" if asked_of_client(result.output) else "stop"
        case Incomplete("content_filter"):
            return "content_filter"
        case _:  # it is not the whole answer
            return "length"


def waiting_of(result: ChatResult) -> list[PendingApproval] | UnsetType:
    """The calls of servers' tools that wait for somebody to approve them."""
    ending = result.ending
    return pending_approvals(ending.pending, ending.expires_at) if isinstance(ending, Suspended) else UNSET


def status_of(result: ChatResult) -> str | UnsetType:
    """Ours, where it says more than OpenAI's."""
    status = ending_status(result.ending)
    return UNSET if status == "completed" else status


def choice_logprobs(tokens: Sequence[TokenLogprob]) -> w.ChoiceLogprobs | None:
    """How likely they were; None where nobody asked, or the engine does not tell."""
    if not tokens:
        return None
    return w.ChoiceLogprobs(
        [
            w.TokenLogprob(
                token.chosen.token,
                token.chosen.logprob,
                _bytes(token.chosen),
                [w.TopLogprob(each.token, each.logprob, _bytes(each)) for each in token.likeliest],
            )
            for token in tokens
        ]
    )


def _bytes(token: LikelyToken) -> list[int] | None:
    return None if token.raw is None else list(token.raw)
