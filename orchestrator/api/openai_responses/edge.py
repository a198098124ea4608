"""`POST /v1/responses` and what reads responses again: decode, call a service, encode."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from litestar.response.base import ASGIResponse
from msgspec import UnsetType

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.decode import decode_value, parse_json
from orchestrator.api.departures import while_connected
from orchestrator.api.errors import HttpRequest
from orchestrator.api.limits import check_counts, limits_of
from orchestrator.api.openai_responses.answers import (
    answer,
    encoder_of,
    frames,
    input_of,
    is_of_open_responses,
    last_frames,
    stored_encoder,
    stored_object,
)
from orchestrator.api.openai_responses.decisions import SentDecisions, decided_before, new_items, sent_decisions
from orchestrator.api.openai_responses.decode import (
    Asked,
    asked_response,
    decided_response,
    in_openai_words,
    references_of,
)
from orchestrator.api.openai_responses.encode_input import referred
from orchestrator.api.openai_responses.heads import ResponseHead, stored_head
from orchestrator.api.openai_responses.history import References
from orchestrator.api.openai_responses.item_ids import parse_item_id
from orchestrator.api.openai_responses.joined import (
    CallsBefore,
    FollowedStream,
    JoinedRun,
    ToldAgain,
    as_asked,
    asked_calls,
    with_calls_before,
)
from orchestrator.api.openai_responses.names import thread_of
from orchestrator.api.openai_responses.pages import check_included, page_of
from orchestrator.api.openai_responses.request_forms import plain_request
from orchestrator.api.openai_responses.wire_items import SentInput
from orchestrator.api.openai_responses.wire_requests import ResponseCreateBody
from orchestrator.api.openai_responses.wire_response import DeletedResponse
from orchestrator.api.openai_responses.words import naming_conversation
from orchestrator.api.query import Query
from orchestrator.api.replies import json_reply
from orchestrator.api.sse import RunStream, StreamedRun
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import InputItem
from orchestrator.core.json_types import JsonValue
from orchestrator.core.stream import StreamEvent
from orchestrator.service.approvals import ApprovalService, DecisionRequest, StillWaiting
from orchestrator.service.callers import Caller
from orchestrator.service.chat_request import ChatRequest
from orchestrator.service.chats import ChatService
from orchestrator.service.graph import GraphService
from orchestrator.service.ids import new_response_id
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.retelling import StoredRunStream, StoredTelling, TellingService
from orchestrator.service.threads import ThreadService

_READING: Final = ("stream", "starting_after", "include", "include[]", "include_obfuscation")


@dataclass(frozen=True, slots=True)
class ResponsesEdge:
    """Answers requests about responses; `keep_alive_seconds` is how long a stream may be silent."""

    chats: ChatService
    approvals: ApprovalService
    graph: GraphService
    tellings: TellingService
    threads: ThreadService
    authenticator: Authenticator
    max_body_bytes: int
    keep_alive_seconds: float

    async def create(self, request: HttpRequest) -> ASGIResponse:
        """Ask the model for a response, or go on with one that waited for somebody."""
        caller = await self.authenticator.caller(request)
        body = decode_value(await self.value_of(request), ResponseCreateBody)
        sent = sent_decisions(body.input)
        if sent is not None:
            return await self._decide(body, sent, request, caller)
        asked = asked_response(body, await self.resolved(body.input, caller))
        try:
            asked = await self.placed(asked, caller)
            chat = _begun(asked.chat)
            run = await self.chats.start(chat, caller)
            return await self._answer(run, chat, request, stream=body.stream)
        except OrchestratorError as error:
            raise in_openai_words(error, asked.tools) from None

    async def _answer(self, run: LiveRun, chat: ChatRequest, request: HttpRequest, *, stream: bool) -> ASGIResponse:
        head = _head(chat, run.request.response_id, run.request.model_key, run.previous_response_id)
        return await answer(run, head, request, stream=stream, keep_alive_seconds=self.keep_alive_seconds)

    async def _decide(
        self, body: ResponseCreateBody, sent: SentDecisions, request: HttpRequest, caller: Caller
    ) -> ASGIResponse:
        """Take decisions down; where none is left to make, another response goes on from what comes of the calls."""
        telling = await self._asked_about(sent, caller)
        calls = asked_calls(telling)
        call_ids = [call.call_id for call in calls]
        references = await self.resolved(body.input, caller, sent.first)
        asked = decided_response(body, references, sent, call_ids)
        try:
            chat = _begun((await self._placed_behind(asked, caller)).chat)
            first: LiveRun | list[StreamEvent]
            if calls and telling.response.status == "completed" and sent.are_those_of(calls):
                first = CallsBefore(telling, frozenset(call_ids)).events()  # asked once more
            else:
                _check_all_decided(body, sent, telling)
                decisions = DecisionRequest(sent.response_id, sent.decisions, asked.tools.integrations, chat)
                run = await self.approvals.decide(decisions, caller)
                if isinstance(run, StillWaiting):
                    head = stored_head(telling.response)
                    wait = self.keep_alive_seconds
                    return await answer(run, head, request, stream=body.stream, keep_alive_seconds=wait)
                first = run
            return await self._answer_joined(first, chat, telling, request, caller, stream=body.stream)
        except OrchestratorError as error:
            raise in_openai_words(error, asked.tools) from None

    async def _answer_joined(
        self,
        first: LiveRun | list[StreamEvent],
        chat: ChatRequest,
        telling: StoredTelling,
        request: HttpRequest,
        caller: Caller,
        *,
        stream: bool,
    ) -> ASGIResponse:
        response_id = chat.response_id or ""
        shown = response_id if chat.store else None
        instance = telling.response.model_instance_id
        lasting = chat.background
        run = JoinedRun(first, lambda: self.chats.start(chat, caller), shown, instance, lasting=lasting)
        if lasting:
            self.chats.keep(run.keep)
            await while_connected(request.receive, run.started)
            if not stream:  # who asks for it by its id finds it from the reply on
                await while_connected(request.receive, run.second)
        earlier = telling.response
        model = earlier.model_key if chat.model == earlier.parameters.get("model") else chat.model
        head = _head(chat, response_id, model, chat.previous_response_id if chat.store else None)
        return await answer(run, head, request, stream=stream, keep_alive_seconds=self.keep_alive_seconds)

    async def _asked_about(self, sent: SentDecisions, caller: Caller) -> StoredTelling:
        try:
            return await self.tellings.stored(sent.response_id, caller)
        except OrchestratorError as error:
            if error.info.kind is not ErrorKind.RESPONSE_NOT_FOUND:
                raise
            raise OrchestratorError(error.info.kind, error.info.message, param="input") from None

    async def _placed_behind(self, asked: Asked, caller: Caller) -> Asked:
        """`asked`, at the end of the conversation that it names, which ends with the calls that are decided about."""
        placed = await self.placed(asked, caller)
        if placed.chat.previous_response_id != asked.chat.previous_response_id:
            message = "The calls that are decided about are not the last of this conversation."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="conversation")
        return placed

    async def value_of(self, request: HttpRequest) -> JsonValue:
        """The body of a request, in one form, with no more in it than the limits admit."""
        value = plain_request(parse_json(await read_json_body(request, self.max_body_bytes)))
        check_counts(value, limits_of(request.scope))
        return value

    async def placed(self, asked: Asked, caller: Caller) -> Asked:
        """`asked`, at the end of the conversation that it names."""
        if asked.conversation is None:
            return asked
        with naming_conversation(asked.conversation, "conversation"):
            place = await self.threads.place(thread_of(asked.conversation), caller)
        return replace(asked, chat=replace(asked.chat, previous_response_id=place.newest, thread=place))

    async def resolved(self, said: SentInput | UnsetType, caller: Caller, first: int = 0) -> References:
        """What the items stand for that the input refers to, from its item `first` on.

        Raises:
            OrchestratorError: `invalid_value` for one that is not there, or somebody else's.
        """
        found: dict[str, tuple[InputItem, ...]] = {}
        for text, path in references_of(said, first):
            item_id = parse_item_id(text)
            items = None
            if item_id is not None:
                try:
                    items = referred((await self.tellings.stored(item_id.response_id, caller)).response, item_id, text)
                except OrchestratorError as error:
                    if error.info.kind is not ErrorKind.RESPONSE_NOT_FOUND:
                        raise
            if items is None:
                message = f"There is no stored item '{text[:300]}'."
                raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=path)
            found[text] = items
        return found

    async def read(self, request: HttpRequest, response_id: str) -> ASGIResponse:
        """A response as it is now, or the stream of it."""
        caller = await self.authenticator.caller(request)
        query = Query(request, _READING)
        check_included(query)
        after = _after(query)
        if after is not None and not query.boolean("stream"):
            message = "'starting_after' takes a stream up again: send 'stream=true' with it."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="starting_after")
        telling, before = await self.told(response_id, caller)
        if not query.boolean("stream"):
            return json_reply(stored_object(telling, before))
        run = await self.tellings.follow(response_id, caller)
        live = run if isinstance(run, LiveRun) else None
        if live is not None and live.request.resumed is not None and as_asked(telling) is not telling:
            live = None  # what runs now is told by the response that decided about it
        if live is None:
            encoder = stored_encoder(telling, before)
            stored = _told_again(telling, before, run)
            names = is_of_open_responses(request)
            told = (
                frames(stored, encoder, open_responses=names) if after is None else last_frames(stored, encoder, after)
            )
            return RunStream(stored, {}, self.keep_alive_seconds, told, lasting=True)
        await live.started()
        telling, before = await self.told(response_id, caller)
        followed = live if before is None else FollowedStream(before, live)
        encoder = encoder_of(live, stored_head(telling.response), before)
        first = -1 if after is None else after
        told = frames(followed, encoder, first, open_responses=is_of_open_responses(request))
        return RunStream(followed, {}, self.keep_alive_seconds, told, lasting=True)

    async def told(self, response_id: str, caller: Caller) -> tuple[StoredTelling, CallsBefore | None]:
        """A stored response, and the calls of another one that it begins with.

        Raises:
            OrchestratorError: as `TellingService.stored`.
        """
        telling = await self.tellings.stored(response_id, caller)
        decided = decided_before(stored_head(telling.response).settings)
        if decided is None:
            return telling, None
        asked_id, call_ids = decided  # it is there for as long as something goes on from it
        return telling, CallsBefore(await self.tellings.stored(asked_id, caller), call_ids)

    async def delete(self, request: HttpRequest, response_id: str) -> ASGIResponse:
        """Overwrite the content of a response."""
        caller = await self.authenticator.caller(request)
        subtree = Query(request, ("subtree",)).boolean("subtree")
        telling = await self.tellings.stored(response_id, caller)
        if telling.response.status == "awaiting_approval":  # its client was told that it is completed
            await self.chats.pass_over(response_id, caller.owner)
        try:
            await self.graph.delete(response_id, caller, subtree=subtree)
        except OrchestratorError as error:
            if error.info.kind is not ErrorKind.RESPONSE_HAS_CHILDREN:
                raise
            # Not the 409 of our own route: these clients ask again after each of them.
            message = (
                f"The response '{response_id}' is part of what other responses continue, so it cannot go alone: delete those "
                "first, the newest before the others, or send ?subtree=true to delete them with it."
            )
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="response_id") from None
        return json_reply(DeletedResponse(response_id))

    async def cancel(self, request: HttpRequest, response_id: str) -> ASGIResponse:
        """End a response, and tell what there is of it."""
        caller = await self.authenticator.caller(request)
        Query(request, ())
        await self.graph.cancel(response_id, caller)
        return json_reply(stored_object(*await self.told(response_id, caller)))

    async def input_items(self, request: HttpRequest, response_id: str) -> ASGIResponse:
        """A page of what a response was asked."""
        caller = await self.authenticator.caller(request)
        telling, before = await self.told(response_id, caller)
        return json_reply(page_of(input_of(telling, before), request))


def _head(chat: ChatRequest, response_id: str, model: str, previous: str | None) -> ResponseHead:
    created_at, instructions = chat.created_at or datetime.now(UTC), chat.system_prompt or None
    return ResponseHead(response_id, created_at, model, previous, instructions, chat.store, chat.metadata, chat.dialect)


def _begun(chat: ChatRequest) -> ChatRequest:
    """`chat` with the id and the time that its client is told, and that are stored: one of each."""
    return replace(chat, response_id=new_response_id(), created_at=datetime.now(UTC))


def _told_again(telling: StoredTelling, before: CallsBefore | None, run: LiveRun | StoredRunStream) -> StreamedRun:
    asked = as_asked(telling)
    if asked is not telling:
        return ToldAgain(with_calls_before(before, asked.events()))
    return run if before is None else FollowedStream(before, run)


def _check_all_decided(body: ResponseCreateBody, sent: SentDecisions, telling: StoredTelling) -> None:
    """What is said with decisions is said to the model when no call waits any more."""
    rest = new_items(body.input, sent)
    if rest and {call.call_id for call in telling.response.pending} - {call_id for call_id, _ in sent.decisions}:
        path = f"input.{rest[0]}"
        message = (
            f'"{path}" is said while other calls wait for approval: decide about all of them with it, or say it later.'
        )
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=path)


def _after(query: Query) -> int | None:
    text = query.text("starting_after")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        message = "'starting_after' must be a whole number, the sequence_number of an event."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="starting_after")
    return int(text)
