"""`POST /v1/responses` and what reads responses again: decode, call a service, encode."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from litestar.response.base import ASGIResponse
from msgspec import UnsetType

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.decode import decode_value, parse_json
from orchestrator.api.errors import HttpRequest
from orchestrator.api.limits import check_counts, limits_of
from orchestrator.api.openai_responses.answers import (
    answer,
    encoder_of,
    frames,
    last_frames,
    stored_encoder,
    stored_object,
)
from orchestrator.api.openai_responses.decode import (
    Asked,
    asked_response,
    decisions_of,
    in_openai_words,
    references_of,
    settings_of,
)
from orchestrator.api.openai_responses.decode_tools import asked_tools
from orchestrator.api.openai_responses.encode_input import referred, stored_input
from orchestrator.api.openai_responses.heads import ResponseHead, stored_head
from orchestrator.api.openai_responses.history import References
from orchestrator.api.openai_responses.item_ids import parse_item_id
from orchestrator.api.openai_responses.names import thread_of
from orchestrator.api.openai_responses.pages import page_of
from orchestrator.api.openai_responses.request_forms import plain_request
from orchestrator.api.openai_responses.wire_items import SentInput
from orchestrator.api.openai_responses.wire_requests import ResponseCreateBody
from orchestrator.api.openai_responses.wire_response import DeletedResponse
from orchestrator.api.query import Query
from orchestrator.api.replies import json_reply
from orchestrator.api.sse import RunStream
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import InputItem
from orchestrator.core.json_types import JsonValue
from orchestrator.service.approvals import ApprovalService, DecisionRequest
from orchestrator.service.callers import Caller
from orchestrator.service.chats import ChatService
from orchestrator.service.graph import GraphService
from orchestrator.service.retelling import TellingService
from orchestrator.service.runs import LiveRun
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
        decisions = decisions_of(body, asked_tools(body))
        if decisions is not None:
            return await self._decide(body, decisions, request, caller)
        asked = asked_response(body, await self.resolved(body.input, caller))
        try:
            asked = await self.placed(asked, caller)
            run = await self.chats.start(asked.chat, caller)
            return await self._answer(run, asked, request, stream=body.stream)
        except OrchestratorError as error:
            raise in_openai_words(error, asked.tools.integration_places) from None

    async def _answer(self, run: LiveRun, asked: Asked, request: HttpRequest, *, stream: bool) -> ASGIResponse:
        chat = asked.chat
        head = ResponseHead(
            run.request.response_id,
            datetime.now(UTC),
            run.request.model_key,
            run.previous_response_id,
            chat.system_prompt or None,
            chat.store,
            chat.metadata,
            chat.dialect,
        )
        return await answer(run, head, request, stream=stream, keep_alive_seconds=self.keep_alive_seconds)

    async def _decide(
        self, body: ResponseCreateBody, decisions: DecisionRequest, request: HttpRequest, caller: Caller
    ) -> ASGIResponse:
        try:
            telling = await self.tellings.stored(decisions.response_id, caller)
            run = await self.approvals.decide(decisions, caller)
            now = settings_of(body, None)
            head = stored_head(telling.response)
            settings = {**head.settings, "background": body.background, "include": now.get("include")}
            head = replace(head, settings=settings)
            return await answer(run, head, request, stream=body.stream, keep_alive_seconds=self.keep_alive_seconds)
        except OrchestratorError as error:
            raise in_openai_words(error, ()) from None

    async def value_of(self, request: HttpRequest) -> JsonValue:
        """The body of a request, in one form, with no more in it than the limits admit."""
        value = plain_request(parse_json(await read_json_body(request, self.max_body_bytes)))
        check_counts(value, limits_of(request.scope))
        return value

    async def placed(self, asked: Asked, caller: Caller) -> Asked:
        """`asked`, at the end of the conversation that it names."""
        if asked.conversation is None:
            return asked
        place = await self.threads.place(thread_of(asked.conversation), caller)
        return replace(asked, chat=replace(asked.chat, previous_response_id=place.newest, thread=place))

    async def resolved(self, said: SentInput | UnsetType, caller: Caller) -> References:
        """What the items stand for that the input refers to.

        Raises:
            OrchestratorError: `invalid_value` for one that is not there, or somebody else's.
        """
        found: dict[str, tuple[InputItem, ...]] = {}
        for text, path in references_of(said):
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
        after = _after(query)
        if not query.boolean("stream"):
            return json_reply(stored_object(await self.tellings.stored(response_id, caller)))
        run = await self.tellings.follow(response_id, caller)
        if not isinstance(run, LiveRun):
            encoder = stored_encoder(run.telling)
            told = frames(run, encoder) if after is None else last_frames(run, encoder, after)
            return RunStream(run, {}, self.keep_alive_seconds, told, lasting=True)
        await run.started()
        telling = await self.tellings.stored(response_id, caller)
        told = frames(run, encoder_of(run, stored_head(telling.response)), -1 if after is None else after)
        return RunStream(run, {}, self.keep_alive_seconds, told, lasting=True)

    async def delete(self, request: HttpRequest, response_id: str) -> ASGIResponse:
        """Overwrite the content of a response."""
        caller = await self.authenticator.caller(request)
        subtree = Query(request, ("subtree",)).boolean("subtree")
        await self.graph.delete(response_id, caller, subtree=subtree)
        return json_reply(DeletedResponse(response_id))

    async def cancel(self, request: HttpRequest, response_id: str) -> ASGIResponse:
        """End a response, and tell what there is of it."""
        caller = await self.authenticator.caller(request)
        Query(request, ())
        await self.graph.cancel(response_id, caller)
        return json_reply(stored_object(await self.tellings.stored(response_id, caller)))

    async def input_items(self, request: HttpRequest, response_id: str) -> ASGIResponse:
        """A page of what a response was asked."""
        caller = await self.authenticator.caller(request)
        telling = await self.tellings.stored(response_id, caller)
        return json_reply(page_of([entry.item for entry in stored_input(telling.response)], request))


def _after(query: Query) -> int | None:
    text = query.text("starting_after")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        message = "'starting_after' must be a whole number, the sequence_number of an event."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="starting_after")
    return int(text)
