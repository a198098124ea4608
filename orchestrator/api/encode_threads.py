"""From the core's words to those of the older dialect, and threads as they are listed and read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from msgspec import UNSET
from msgspec.structs import asdict

from orchestrator.api import wire
from orchestrator.api.encode import chat_reply, stored_reply, wire_events
from orchestrator.api.wire_events import ChatEnd, ChatStart, WireEvent
from orchestrator.api.wire_threads import (
    McpCallOutput,
    ThreadChatEnd,
    ThreadChatReply,
    ThreadChatStart,
    ThreadDetailReply,
    ThreadEntry,
    ThreadListReply,
    ThreadOutput,
    ThreadResponse,
)
from orchestrator.core.response import ChatResult
from orchestrator.core.stream import StreamEvent
from orchestrator.ports import Page, StoredResponse, Thread

SentEvent: TypeAlias = WireEvent | ThreadChatStart | ThreadChatEnd


def begun_reply(response_id: str) -> wire.BackgroundReply:
    """What is said of a response that goes on in the background."""
    return wire.BackgroundReply(response_id)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a dialect tells of a run: its reply, its events, and its beginning where it goes on in the background."""

    reply: Callable[[ChatResult], wire.ChatReply | ThreadChatReply] = chat_reply
    events: Callable[[StreamEvent], tuple[SentEvent, ...]] = wire_events
    begun: Callable[[str], wire.BackgroundReply] = begun_reply


RESPONSES = Encoding()


def thread_encoding(thread_id: str | None, *, begins: bool = False) -> Encoding:
    """That of the older dialect; None for a response that moves no thread, `begins` for one that begins it."""

    def lasting(reply: wire.ChatReply) -> ThreadChatReply:
        lost = begins and reply.status == "failed" and not reply.output
        return _in_thread(reply, None if lost else thread_id)

    def reply(result: ChatResult) -> ThreadChatReply:
        return lasting(chat_reply(result))

    def events(event: StreamEvent) -> tuple[SentEvent, ...]:
        sent: list[SentEvent] = []
        for each in wire_events(event):
            match each:
                case ChatStart(instance):
                    sent.append(ThreadChatStart(instance, thread_id or UNSET))
                case ChatEnd(result):
                    sent.append(ThreadChatEnd(lasting(result)))
                case _:
                    sent.append(each)
        return tuple(sent)

    def begun(response_id: str) -> wire.BackgroundReply:
        return wire.BackgroundReply(response_id, thread_id=thread_id or UNSET)

    return Encoding(reply, events, begun)


def thread_chat_reply(result: ChatResult, thread_id: str | None) -> ThreadChatReply:
    """The JSON reply in the older dialect."""
    return _in_thread(chat_reply(result), thread_id)


def _in_thread(reply: wire.ChatReply, thread_id: str | None) -> ThreadChatReply:
    return ThreadChatReply(
        model_instance_id=reply.model_instance_id,
        output=[_output(entry) for entry in reply.output],
        stats=reply.stats,
        thread_id=UNSET if thread_id is None or reply.response_id is UNSET else thread_id,
        status=reply.status,
        incomplete_reason=reply.incomplete_reason,
        pending_approvals=reply.pending_approvals,
        warnings=reply.warnings,
    )


def _output(entry: wire.OutputEntry) -> ThreadOutput:
    if not isinstance(entry, wire.ToolCallOutput):
        return entry
    return McpCallOutput(
        wire.label_of(entry.provider_info),
        entry.tool,
        entry.arguments,
        entry.output,
        entry.call_id,
        entry.is_error,
        entry.duration_ms,
        entry.status,
        entry.structured_output,
    )


def thread_list_reply(threads: Sequence[Thread], next_cursor: str | None) -> ThreadListReply:
    """A page of threads."""
    return ThreadListReply(threads=[thread_entry(thread) for thread in threads], next_cursor=next_cursor)


def thread_detail_reply(thread: Thread, page: Page[StoredResponse], next_cursor: str | None) -> ThreadDetailReply:
    """A thread with a page of its responses."""
    return ThreadDetailReply(
        thread=thread_entry(thread),
        responses=[_response(response) for response in page.items],
        next_cursor=next_cursor,
    )


def _response(response: StoredResponse) -> ThreadResponse:
    told = stored_reply(response)
    fields: dict[str, Any] = asdict(told)
    fields["output"] = [_output(entry) for entry in told.output]
    return ThreadResponse(**fields)


def thread_entry(thread: Thread) -> ThreadEntry:
    """A thread as it is listed."""
    newest = thread.newest
    return ThreadEntry(
        thread_id=thread.id,
        newest_response_id=newest.id,
        model=newest.model_key,
        status=newest.status,
        responses_count=newest.depth + 1,
        input_preview=newest.input_preview,
        output_preview=newest.output_preview,
        created_at=thread.created_at,
        updated_at=thread.updated_at,
    )
