"""What a request of this dialect goes on from: a thread, a message that paused, or what is stored of its history.

A message that paused is sent back as it is. Such a history ends with the assistant: its last call of a server says which response is meant. What of that the client has
not heard yet is told; where it has heard all, and a limit had ended it, a new response goes on from it.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final, TypeAlias

import msgspec

from orchestrator.api.anthropic_messages.decode import Asked, asked_message
from orchestrator.api.anthropic_messages.encode import View, message_reply
from orchestrator.api.anthropic_messages.ids import call_id_of
from orchestrator.api.anthropic_messages.threads import asked_in_thread, check_thread, continued, since_decided
from orchestrator.api.anthropic_messages.wire_reply import (
    Block,
    McpToolResultBlock,
    MessageReply,
    TextBlock,
    ThinkingBlock,
)
from orchestrator.api.anthropic_messages.wire_requests import (
    ContentParam,
    McpToolResultBlockParam,
    McpToolUseBlockParam,
    MessageParam,
    MessagesBody,
    TextBlockParam,
    ThreadContinue,
    ToolResultBlockParam,
    ToolUseBlockParam,
)
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.response import ChatResult, Failed, Incomplete, Suspended
from orchestrator.core.stream import ChatEnd
from orchestrator.service.audit import AuditService
from orchestrator.service.callers import Caller
from orchestrator.service.retelling import StoredTelling, TellingService

_MOST_CUT: Final = 16
"""Of calls without a result that are looked up."""
_Key: TypeAlias = tuple[str, str]
_WAITS: Final = (
    "The message '{id}' waits for somebody to approve its calls: decide at POST /api/v1/responses/{id}/approvals, "
    "then send this again."
)


@dataclass(frozen=True, slots=True)
class MessageOpener:
    """Finds what a request goes on from."""

    audit: AuditService
    tellings: TellingService

    async def opened(self, body: MessagesBody, caller: Caller) -> Asked | MessageReply:
        """The request in the service's words, or the rest of a message that it asks for and that is there.

        Raises:
            OrchestratorError: what is wrong with it; `response_not_finished` while calls wait for approval.
        """
        check_thread(body)
        body = await self._without_cut_calls(body, caller)
        if isinstance(body.thread, ThreadContinue):
            telling = await continued(body.thread, self.tellings, caller)
            if not body.messages:
                return await self._resumed(body, telling, caller)
            return asked_in_thread(body, telling.response)
        call_id = _paused_call(body)
        response_id = None if call_id is None else await self.audit.response_of(call_id, caller)
        if response_id is None:
            return asked_message(body)
        result = await self._result(response_id, caller)
        rest = _unheard(body, response_id, result)
        if rest is not None:
            return rest
        if not _may_go_on(result):
            return asked_message(body)
        asked = asked_message(body, paused=True)
        chat = replace(asked.chat, input=(), previous_response_id=response_id, stateless=False)
        return replace(asked, chat=chat)

    async def _without_cut_calls(self, body: MessagesBody, caller: Caller) -> MessagesBody:
        """`body` without calls that a limit had cut off: no transcript has them, and nobody answers them."""
        blocks = [block for message in body.messages for block in _content(message)]
        answered = {block.tool_use_id for block in blocks if isinstance(block, ToolResultBlockParam)}
        unanswered = [block.id for block in blocks if isinstance(block, ToolUseBlockParam) and block.id not in answered]
        cut = {id for id in unanswered[:_MOST_CUT] if await self.audit.is_cut_off(call_id_of(id), caller)}
        if not cut:
            return body
        messages = [
            msgspec.structs.replace(
                message, content=[block for block in _content(message) if not _is_one_of(block, cut)]
            )
            for message in body.messages
        ]
        return msgspec.structs.replace(body, messages=messages)

    async def _resumed(self, body: MessagesBody, telling: StoredTelling, caller: Caller) -> Asked | MessageReply:
        result = await self._result(telling.response.id, caller)
        rest = since_decided(telling)
        if rest:
            whole = message_reply(result, telling.response.id, body.model, View())
            return msgspec.structs.replace(whole, content=rest)
        if not _may_go_on(result):
            message = '"messages" must not be empty: the message before is over.'
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="messages")
        return asked_in_thread(body, telling.response)

    async def _result(self, response_id: str, caller: Caller) -> ChatResult:
        """What became of the response, once it is over."""
        told = await self.tellings.follow(response_id, caller)
        result = [event.result async for _, event in told.events() if isinstance(event, ChatEnd)][-1]
        match result.ending:
            case Suspended():
                message = _WAITS.format(id=response_id)
                raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param="messages")
            case Failed(error):
                raise OrchestratorError(error.kind, error.message, param=error.param)
            case _:
                return result


def _may_go_on(result: ChatResult) -> bool:
    """Whether a limit ended the response between two turns."""
    return isinstance(result.ending, Incomplete) and result.ending.reason == "max_turns"


def _unheard(body: MessagesBody, response_id: str, result: ChatResult) -> MessageReply | None:
    """What `body` does not send back of the response, as a message; None where it has all of it."""
    whole = message_reply(result, response_id, body.model, View())
    heard = Counter(key for block in _trailing(body) if (key := _key_of_param(block)) is not None)
    rest: list[Block] = []
    for block in whole.content:
        key = _key(block)
        if heard[key] > 0:
            heard[key] -= 1
        elif not isinstance(block, ThinkingBlock):  # clients may leave thinking out
            rest.append(block)
    return msgspec.structs.replace(whole, content=rest) if rest else None


def _trailing(body: MessagesBody) -> list[ContentParam]:
    """What the assistant says at the end."""
    last = [*takewhile(lambda message: message.role == "assistant", reversed(body.messages))]
    return [block for message in reversed(last) for block in _content(message)]


def _content(message: MessageParam) -> list[ContentParam]:
    return [TextBlockParam(message.content)] if isinstance(message.content, str) else message.content


def _is_one_of(block: ContentParam, calls: Collection[str]) -> bool:
    return isinstance(block, ToolUseBlockParam) and block.id in calls


def _paused_call(body: MessagesBody) -> str | None:
    uses = [block.id for block in _trailing(body) if isinstance(block, McpToolUseBlockParam)]
    return call_id_of(uses[-1]) if uses and body.store else None


def _key(block: Block) -> _Key:
    match block:
        case TextBlock(text):
            return "text", text.strip()
        case ThinkingBlock():
            return "thinking", ""
        case McpToolResultBlock(call_id):
            return "result", call_id
        case _:
            return "use", block.id


def _key_of_param(block: ContentParam) -> _Key | None:
    match block:
        case TextBlockParam(text):
            return "text", text.strip()
        case McpToolUseBlockParam(id) | ToolUseBlockParam(id):
            return "use", id
        case McpToolResultBlockParam(call_id):
            return "result", call_id
        case _:
            return None
