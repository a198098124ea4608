"""A run's events in OpenAI's: a pure fold, whose last word is the response itself.

The same events give the same numbers, so that a stream can be told again from any of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Concatenate, Final, Literal, ParamSpec, TypeAlias, TypeVar, cast

import msgspec
from msgspec import UNSET

from orchestrator.api.openai_responses import wire_events as e
from orchestrator.api.openai_responses.encode_items import (
    approval_request,
    begun_call,
    json_text,
    listed_tools,
    refused_call,
    sealed,
    settled_call,
    told_logprobs,
)
from orchestrator.api.openai_responses.heads import ResponseHead, ended, response_object
from orchestrator.api.openai_responses.item_ids import call_item_id, item_id
from orchestrator.api.openai_responses.wire_items import ItemStatus
from orchestrator.api.openai_responses.wire_response import (
    FunctionCallItem,
    McpCallItem,
    MessageItem,
    ReasoningContent,
    ReasoningItem,
    ResponseItem,
    ResponseObject,
    SummaryContent,
    TextContent,
)
from orchestrator.core import stream as s
from orchestrator.core.approvals import PendingApproval
from orchestrator.core.items import FunctionCall, ProviderInfo
from orchestrator.core.json_types import JsonObject
from orchestrator.core.logprobs import TokenLogprob, kept_logprobs
from orchestrator.core.response import Completed, Suspended
from orchestrator.core.tools import OfferedTool

TextKind: TypeAlias = Literal["message", "reasoning"]
Clock: TypeAlias = Callable[[], datetime]
Fields = ParamSpec("Fields")
Told = TypeVar("Told")


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass(slots=True)
class _OpenText:
    """A message, or reasoning, that is being written."""

    kind: TextKind
    id: str
    index: int
    parts: list[str] = field(default_factory=list[str])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    over: bool = False

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def content(self) -> TextContent:
        """It as the content of a message, as it is kept."""
        return TextContent(self.text, logprobs=told_logprobs(kept_logprobs(self.logprobs)))


@dataclass(frozen=True, slots=True)
class Background:
    """What there is already when the stream of a response begins that goes on after somebody decided about its calls.

    `texts` is how many messages and pieces of reasoning it has, `decided` the calls that were decided about. Of another
    response, `response_id`, are the `calls` that it begins with.
    """

    texts: int = 0
    decided: frozenset[str] = frozenset()
    response_id: str | None = None
    calls: frozenset[str] = frozenset()


NO_BACKGROUND: Final = Background()


class ResponseEncoder:
    """Tells one response. `offered` are the tools that its model has; `response` is what there is of it.

    `labels` are the servers that are to be listed even where they offer nothing.
    """

    def __init__(
        self,
        head: ResponseHead,
        offered: Sequence[OfferedTool] = (),
        earlier: Background = NO_BACKGROUND,
        clock: Clock = utc_now,
        labels: Sequence[str] = (),
    ) -> None:
        self._head = head
        self._offered = offered
        self._earlier = earlier
        self._clock = clock
        self._labels = labels
        self._number = 0
        self._texts = earlier.texts
        self._items: list[ResponseItem] = []
        self._text: _OpenText | None = None
        self._calls: dict[str, int] = {}
        self._written: set[str] = set()
        self.response: ResponseObject = response_object(head, "in_progress", [])

    def encode(self, event: s.StreamEvent) -> list[e.ResponseEvent]:
        """The events that go out for one of the run's, in order; none for what OpenAI has no words for."""
        match event:
            case s.ChatStart():
                return self._begin()
            case s.ReasoningStart():
                return [*self._close(), *self._open("reasoning")]
            case s.MessageStart():
                return [*self._close(), *self._open("message")]
            case s.ReasoningDelta(content):
                return self._write(content)
            case s.MessageDelta(content, logprobs):
                return self._write(content, logprobs)
            case s.ReasoningEnd() | s.MessageEnd():
                # Whether it is whole is known when the next thing comes.
                if self._text is not None:
                    self._text.over = True
                return []
            case s.ToolCallStart(call_id, tool, provider, awaits_approval):
                closed = self._close()
                return closed if awaits_approval else [*closed, *self._call(call_id, tool, provider)]
            case s.ToolCallArguments(call_id, tool, arguments, provider, awaits_approval):
                closed = self._close()
                return closed if awaits_approval else [*closed, *self._arguments(call_id, tool, arguments, provider)]
            case s.ToolCallApprovalRequired(pending):
                return [*self._close(), *self._asked(pending)]
            case s.ToolCallSuccess() | s.ToolCallFailure():
                return [*self._close(), *self._settle(event)]
            case s.FunctionCallStart(call_id, name):
                return [*self._close(), *self._function(call_id, name)]
            case s.FunctionCallDelta(call_id, arguments):
                return self._function_arguments(call_id, arguments)
            case s.FunctionCallEnd(call):
                return [*self._close(), *self._function_end(call)]
            case s.ErrorEvent():  # `response.failed` says it: clients raise at an `error` and read no further
                return self._close("incomplete", even_open=True)
            case s.ChatEnd():
                return self._end(event)
            case _:
                return self._close()

    def so_far(self) -> ResponseObject:
        """The response as it is now."""
        if self.response.status != "in_progress":
            return self.response
        return response_object(self._head, "in_progress", self._items)

    # ---- the response ---------------------------------------------------------------------------

    def _begin(self) -> list[e.ResponseEvent]:
        told: list[e.ResponseEvent] = []
        if self._head.background:
            waiting = response_object(self._head, "queued", [])
            told += [self._say(e.Created, waiting), self._say(e.Queued, waiting)]
        else:
            told.append(self._say(e.Created, self.response))
        told.append(self._say(e.InProgress, self.response))
        for item in listed_tools(self._head.id, self._offered, self._labels):
            index = self._place(item)
            told += [
                self._say(e.OutputItemAdded, index, msgspec.structs.replace(item, tools=[])),
                self._say(e.McpListing, item.id, index),
                self._say(e.McpListed, item.id, index),
                self._say(e.OutputItemDone, index, item),
            ]
        return told

    def _end(self, event: s.ChatEnd) -> list[e.ResponseEvent]:
        ending = event.result.ending
        whole = isinstance(ending, Completed | Suspended)
        told = self._close("completed" if whole else "incomplete", even_open=True)
        if isinstance(ending, Suspended):  # one that goes on waiting says again for what
            for pending in ending.pending:
                told += self._asked(pending)
        self.response = ended(self._head, event.result, self._items, self._clock())
        if whole:
            return [*told, self._say(e.Completed, self.response)]
        if self.response.status == "failed":
            return [*told, self._say(e.Failed, self.response)]
        return [*told, self._say(e.Incomplete, self.response)]

    # ---- texts ----------------------------------------------------------------------------------

    def _open(self, kind: TextKind) -> list[e.ResponseEvent]:
        name = item_id("msg" if kind == "message" else "rs", self._head.id, self._texts)
        self._texts += 1
        text = self._text = _OpenText(kind, name, len(self._items))
        item = self._item(text, "in_progress", begins=True)
        self._items.append(item)
        part = TextContent("") if kind == "message" else ReasoningContent("")
        told: list[e.ResponseEvent] = [self._say(e.OutputItemAdded, text.index, item)]
        if self._summarises(kind):
            told.append(self._say(e.SummaryPartAdded, name, text.index, 0, SummaryContent("")))
        return [*told, self._say(e.ContentPartAdded, name, text.index, 0, part)]

    def _write(self, content: str, logprobs: Sequence[TokenLogprob] = ()) -> list[e.ResponseEvent]:
        text = self._text
        if text is None:
            return []
        text.parts.append(content)
        if text.kind == "message":
            text.logprobs += logprobs
            return [self._say(e.OutputTextDelta, text.id, text.index, 0, content, told_logprobs(logprobs))]
        told: list[e.ResponseEvent] = [self._say(e.ReasoningTextDelta, text.id, text.index, 0, content)]
        if self._summarises(text.kind):
            told.append(self._say(e.SummaryTextDelta, text.id, text.index, 0, content))
        return told

    def _close(self, status: ItemStatus = "completed", *, even_open: bool = False) -> list[e.ResponseEvent]:
        """The end of the text that is over, if there is one."""
        text = self._text
        if text is None or not (text.over or even_open):
            return []
        self._text = None
        whole = text.text
        told: list[e.ResponseEvent] = []
        if text.kind == "message":
            part = text.content
            told.append(self._say(e.OutputTextDone, text.id, text.index, 0, whole, part.logprobs))
            told.append(self._say(e.ContentPartDone, text.id, text.index, 0, part))
        else:
            told.append(self._say(e.ReasoningTextDone, text.id, text.index, 0, whole))
            told.append(self._say(e.ContentPartDone, text.id, text.index, 0, ReasoningContent(whole)))
            if self._summarises(text.kind):
                told.append(self._say(e.SummaryTextDone, text.id, text.index, 0, whole))
                told.append(self._say(e.SummaryPartDone, text.id, text.index, 0, SummaryContent(whole)))
        item = self._items[text.index] = self._item(text, status)
        return [*told, self._say(e.OutputItemDone, text.index, item)]

    def _item(self, text: _OpenText, status: ItemStatus, *, begins: bool = False) -> MessageItem | ReasoningItem:
        whole = text.text
        if text.kind == "message":
            return MessageItem(text.id, "assistant", status, [] if begins else [text.content])
        return ReasoningItem(
            text.id,
            [SummaryContent(whole)] if self._summarises("reasoning") and not begins else [],
            [] if begins else [ReasoningContent(whole)],
            status,
            sealed(whole) if self._head.seals_reasoning and not begins else UNSET,
        )

    def _summarises(self, kind: TextKind) -> bool:
        return kind == "reasoning" and self._head.summarises

    # ---- calls ----------------------------------------------------------------------------------

    def _call(self, call_id: str, tool: str, provider: ProviderInfo | None) -> list[e.ResponseEvent]:
        earlier = self._earlier
        made_by = earlier.response_id if call_id in earlier.calls else None
        item = begun_call(made_by or self._head.id, call_id, provider, tool)
        if call_id in earlier.decided | earlier.calls:
            asked = call_item_id("mcpr", made_by or self._head.id, call_id)
            item = msgspec.structs.replace(item, approval_request_id=asked)
        index = self._calls[call_id] = self._place(item)
        return [self._say(e.OutputItemAdded, index, item), self._say(e.McpCalling, item.id, index)]

    def _arguments(
        self, call_id: str, tool: str, arguments: JsonObject | None, provider: ProviderInfo | None
    ) -> list[e.ResponseEvent]:
        """The whole arguments of a call, which begins with them where nothing was told of it."""
        begun = [] if call_id in self._calls else self._call(call_id, tool, provider)
        index = self._calls[call_id]
        item = cast(McpCallItem, self._items[index])
        if call_id in self._written:
            return begun
        self._written.add(call_id)
        text = "" if arguments is None else json_text(arguments)
        self._items[index] = msgspec.structs.replace(item, arguments=text)
        return [
            *begun,
            self._say(e.McpArgumentsDelta, item.id, index, text),
            self._say(e.McpArgumentsDone, item.id, index, text),
        ]

    def _settle(self, event: s.ToolCallSuccess | s.ToolCallFailure) -> list[e.ResponseEvent]:
        call = event if isinstance(event, s.ToolCallFailure) else event.call
        tool = call.tool_name if isinstance(call, s.ToolCallFailure) else call.tool
        begun = self._arguments(call.call_id, tool, call.arguments, call.provider)
        index = self._calls[call.call_id]
        item = cast(McpCallItem, self._items[index])
        if isinstance(call, s.ToolCallFailure):
            item = refused_call(item, call.kind, call.reason, call.arguments)
        else:
            item = settled_call(item, call)
        self._items[index] = item
        failed = item.status == "failed"
        said = self._say(e.McpFailed, item.id, index) if failed else self._say(e.McpCalled, item.id, index)
        return [*begun, said, self._say(e.OutputItemDone, index, item)]

    # ---- functions of the client's --------------------------------------------------------------

    def _function(self, call_id: str, name: str) -> list[e.ResponseEvent]:
        item = FunctionCallItem(call_item_id("fc", self._head.id, call_id), call_id, name, "", "in_progress")
        index = self._calls[call_id] = self._place(item)
        return [self._say(e.OutputItemAdded, index, item)]

    def _function_arguments(self, call_id: str, arguments: str) -> list[e.ResponseEvent]:
        index = self._calls[call_id]
        return [self._say(e.FunctionArgumentsDelta, self._items[index].id, index, arguments)]

    def _function_end(self, call: FunctionCall) -> list[e.ResponseEvent]:
        index = self._calls[call.call_id]
        status: ItemStatus = "completed" if call.complete else "incomplete"
        name = self._items[index].id
        item = self._items[index] = FunctionCallItem(name, call.call_id, call.name, call.arguments, status)
        done = self._say(e.FunctionArgumentsDone, name, index, call.name, call.arguments)
        return [done, self._say(e.OutputItemDone, index, item)]

    # ---- what they have in common ---------------------------------------------------------------

    def _asked(self, pending: PendingApproval) -> list[e.ResponseEvent]:
        """That a call waits for somebody, once."""
        item = approval_request(self._head.id, pending)
        if item in self._items:
            return []
        index = self._place(item)
        return [self._say(e.OutputItemAdded, index, item), self._say(e.OutputItemDone, index, item)]

    def _place(self, item: ResponseItem) -> int:
        self._items.append(item)
        return len(self._items) - 1

    def _say(self, kind: Callable[Concatenate[int, Fields], Told], *args: Fields.args, **more: Fields.kwargs) -> Told:
        number, self._number = self._number, self._number + 1
        return kind(number, *args, **more)
