"""How a run is told in this dialect: as a stream, or as the response that the stream ends with."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Final

from litestar.response.base import ASGIResponse

from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.departures import while_connected
from orchestrator.api.errors import HttpRequest, answer_of
from orchestrator.api.json_text import json_bytes
from orchestrator.api.openai_responses.decisions import decided_before
from orchestrator.api.openai_responses.encode_input import stored_input, told_decisions
from orchestrator.api.openai_responses.heads import ResponseHead, response_object, stored_head, told_ending
from orchestrator.api.openai_responses.joined import CallsBefore, JoinedRun, as_asked, with_calls_before
from orchestrator.api.openai_responses.stream import Background, ResponseEncoder, utc_now
from orchestrator.api.openai_responses.wire_events import (
    Completed,
    Failed,
    Incomplete,
    ResponseEvent,
    as_open_responses,
)
from orchestrator.api.openai_responses.wire_response import ResponseItem, ResponseObject
from orchestrator.api.replies import json_reply
from orchestrator.api.sse import RunStream, StreamedRun
from orchestrator.core.placed import PlacedText
from orchestrator.core.response import Failed as FailedEnding
from orchestrator.core.stream import ChatEnd, QueuePosition
from orchestrator.service.approvals import StillWaiting
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.retelling import StoredTelling

VERSION_HEADER: Final = "OpenResponses-Version"
DONE: Final = b"data: [DONE]\n\n"
_LAST: Final = (Completed, Incomplete, Failed)


async def answer(
    run: LiveRun | JoinedRun | StillWaiting,
    head: ResponseHead,
    request: HttpRequest,
    *,
    stream: bool,
    keep_alive_seconds: float,
) -> ASGIResponse:
    """What the client is told of `run`, which ends with its client unless it is in the background.

    Raises:
        OrchestratorError: the run failed before it began.
    """
    headers = {} if run.response_id is None else {RESPONSE_ID_HEADER: run.response_id}
    try:
        await while_connected(request.receive, run.started)
        encoder = encoder_of(run, head)
        if stream:
            told = frames(run, encoder, open_responses=is_of_open_responses(request))
            return RunStream(run, headers, keep_alive_seconds, told, lasting=head.background)
        if head.background:
            return json_reply(response_object(head, "queued", []), headers=headers)
        result = await while_connected(request.receive, run.result)
    except BaseException:
        run.disconnect()
        raise
    ending = told_ending(result.ending)
    if isinstance(ending, FailedEnding):
        return answer_of(request, ending.error, headers=headers).as_asgi()
    async with aclosing(run.events()) as events:
        async for _, event in events:
            encoder.encode(event)
    return json_reply(encoder.response, headers=headers)


def encoder_of(
    run: LiveRun | JoinedRun | StillWaiting, head: ResponseHead, before: CallsBefore | None = None
) -> ResponseEncoder:
    """What tells `run` from its beginning; it has started."""
    if isinstance(run, StillWaiting):
        return ResponseEncoder(head)

    def ended_at() -> datetime:
        return run.ended_at or utc_now()

    if isinstance(run, JoinedRun) or before is not None:
        return ResponseEncoder(head, (), _background_of(head), ended_at)
    resumed = run.request.resumed
    if resumed is None:
        return ResponseEncoder(head, run.offered, clock=ended_at, labels=head.server_labels)
    texts = sum(isinstance(item, PlacedText) for item in resumed.items)
    return ResponseEncoder(head, (), Background(texts, frozenset(resumed.decisions)), ended_at)


def stored_encoder(telling: StoredTelling, before: CallsBefore | None = None) -> ResponseEncoder:
    """What tells a stored response, which may begin with calls of another one."""
    telling = as_asked(telling)
    head = stored_head(telling.response)
    # Where it has not got so far, its servers may not have answered.
    asked = telling.offered or telling.response.status in ("completed", "incomplete", "awaiting_approval")
    return ResponseEncoder(
        head,
        telling.offered if before is None else (),
        replace(_background_of(head), decided=telling.decided),
        lambda: telling.response.ended_at or telling.response.created_at,
        head.server_labels if asked and before is None else (),
    )


def stored_object(telling: StoredTelling, before: CallsBefore | None = None) -> ResponseObject:
    """A stored response as it is now, with the calls of another one that it begins with."""
    encoder = stored_encoder(telling, before)
    for event in with_calls_before(before, as_asked(telling).events()):
        encoder.encode(event)
    return encoder.so_far()


def input_of(telling: StoredTelling, before: CallsBefore | None = None) -> list[ResponseItem]:
    """What a stored response was asked: decisions about calls of another one, and what was said."""
    decisions = [] if before is None else told_decisions(before.telling, before.call_ids)
    return [*decisions, *(entry.item for entry in stored_input(telling.response))]


def _background_of(head: ResponseHead) -> Background:
    decided = decided_before(head.settings)
    return Background() if decided is None else Background(response_id=decided[0], calls=decided[1])


def is_of_open_responses(request: HttpRequest) -> bool:
    """Whether its client goes by the Open Responses specification: it says so, OpenAI's clients do not."""
    return VERSION_HEADER in request.headers


async def frames(
    run: StreamedRun, encoder: ResponseEncoder, after: int = -1, *, open_responses: bool = False
) -> AsyncGenerator[bytes]:
    """The whole stream of `run`, or what comes after the event of a number; the place in the queue is a comment.

    With `open_responses` events have the names of that specification where OpenAI has others.
    """
    async with aclosing(run.events()) as events:
        async for _, event in events:
            if isinstance(event, QueuePosition):
                yield b": queued %d\n\n" % event.position
            for told in encoder.encode(event):
                if told.sequence_number > after:
                    yield frame(as_open_responses(told) if open_responses else told)
    yield DONE


async def last_frames(run: StreamedRun, encoder: ResponseEncoder, after: int) -> AsyncGenerator[bytes]:
    """How `run` ended, for a client that had events of it which are not remembered one by one any more."""
    async with aclosing(run.events()) as events:
        async for _, event in events:
            for told in encoder.encode(event):
                if isinstance(event, ChatEnd) and isinstance(told, _LAST):
                    yield frame(type(told)(max(after + 1, told.sequence_number), told.response))
    yield DONE


def frame(told: ResponseEvent) -> bytes:
    """One event as it goes out; these streams have their numbers in the data."""
    name = told.__struct_config__.tag
    return b"event: %s\ndata: %s\n\n" % (str(name).encode(), json_bytes(told))
