"""`POST /v1/responses/input_tokens` and `POST /v1/responses/compact`: how long a chat is, and the same chat in short."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from orchestrator.api.chat import RESPONSE_ID_HEADER
from orchestrator.api.decode import decode_value
from orchestrator.api.departures import while_connected
from orchestrator.api.errors import OK, HttpRequest, answer_of
from orchestrator.api.openai_responses.decode import asked_compaction, asked_prompt, in_openai_words
from orchestrator.api.openai_responses.decode_tools import AskedTools
from orchestrator.api.openai_responses.edge import ResponsesEdge
from orchestrator.api.openai_responses.encode_items import sealed
from orchestrator.api.openai_responses.heads import usage_of
from orchestrator.api.openai_responses.history import COMPACTED_HEAD
from orchestrator.api.openai_responses.item_ids import item_id
from orchestrator.api.openai_responses.routes import RESPONSES_PATH
from orchestrator.api.openai_responses.wire_requests import CompactBody, InputTokensBody
from orchestrator.api.openai_responses.wire_response import (
    CompactedResponse,
    CompactionItem,
    InputTokens,
    MessageItem,
    SentTextContent,
)
from orchestrator.api.replies import json_reply, token_count
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.items import InputItem, Message, TextInput
from orchestrator.core.prompt import Past, SystemMessage, UserMessage, opening_messages
from orchestrator.core.response import Failed
from orchestrator.service.prompt_costs import PromptCostService

COMPACT_PATH: Final = RESPONSES_PATH + "/compact"
INPUT_TOKENS_PATH: Final = RESPONSES_PATH + "/input_tokens"
WISH: Final = (
    "Write down this whole conversation in short, for somebody who goes on with it and has nothing else: what the user "
    "wants, what was found out and decided, names, numbers and texts that are still needed, what tools answered, and what "
    "is left to do. Write nothing but that."
)
KEPT_CHARACTERS: Final = 32_000
"""How much of what users and systems said is kept word for word, the newest first: some 8,000 tokens."""


@dataclass(frozen=True, slots=True)
class CompactionEdge:
    """Answers both."""

    responses: ResponsesEdge
    costs: PromptCostService

    async def count(self, request: HttpRequest) -> ASGIResponse:
        """How long the prompt of a request would be."""
        caller = await self.responses.authenticator.caller(request)
        body = decode_value(await self.responses.value_of(request), InputTokensBody)
        asked = asked_prompt(body, await self.responses.resolved(body.input, caller))
        try:
            asked = await self.responses.placed(asked, caller)
            cost = await while_connected(request.receive, lambda: self.costs.count(asked.chat, caller))
            return json_reply(InputTokens(cost.tokens), headers=token_count(estimated=cost.estimated))
        except OrchestratorError as error:
            raise in_openai_words(error, asked.tools) from None

    async def compact(self, request: HttpRequest) -> ASGIResponse:
        """A chat in short, written by its model: a response like any other, stored and audited."""
        caller = await self.responses.authenticator.caller(request)
        body = decode_value(await self.responses.value_of(request), CompactBody)
        chat = asked_compaction(body, await self.responses.resolved(body.input, caller), WISH)
        try:
            run = await self.responses.chats.start(chat, caller)
        except OrchestratorError as error:
            raise in_openai_words(error, AskedTools()) from None
        try:
            result = await while_connected(request.receive, run.result)
        except BaseException:
            run.disconnect()
            raise
        if isinstance(result.ending, Failed):
            return answer_of(request, result.ending.error).as_asgi()
        response_id = run.request.response_id
        text = "\n".join(item.content for item in result.output if isinstance(item, Message))
        item = CompactionItem(item_id("cmp", response_id, 0), sealed(text))
        kept = kept_messages(response_id, run.request.history, run.request.input[:-1])
        now = int(datetime.now(UTC).timestamp())
        reply = CompactedResponse(response_id, now, [*kept, item], usage_of(result.stats))
        return json_reply(reply, headers={RESPONSE_ID_HEADER: response_id})


def kept_messages(response_id: str, history: Sequence[Past], said: tuple[InputItem, ...]) -> list[MessageItem]:
    """What users and systems said, as it was said: the first item of the chat in short, as OpenAI has it.

    Pictures are not kept, nor what was put in short before.
    """
    kept: list[MessageItem] = []
    room = KEPT_CHARACTERS
    for number, message in reversed(list(enumerate(opening_messages(None, history, said)))):
        match message:
            case UserMessage(parts):
                role, text = "user", "\n".join(part.content for part in parts if isinstance(part, TextInput))
            case SystemMessage(text):
                role = "developer"
            case _:
                continue
        if not text or text.startswith(COMPACTED_HEAD):
            continue
        room -= len(text)
        if room < 0:
            break
        kept.insert(
            0, MessageItem(item_id("msg", response_id, f"c{number}"), role, "completed", [SentTextContent(text)])
        )
    return kept


def compaction_routes(edge: CompactionEdge) -> list[HTTPRouteHandler]:
    """The routes."""

    @post(INPUT_TOKENS_PATH, status_code=OK)
    async def count(request: HttpRequest) -> ASGIResponse:
        return await edge.count(request)

    @post(COMPACT_PATH, status_code=OK)
    async def compact(request: HttpRequest) -> ASGIResponse:
        return await edge.compact(request)

    return [count, compact]
