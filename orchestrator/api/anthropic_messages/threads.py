"""Threads of messages: a request that names the message before it and brings only what is new.

They are the graph itself. What a thread was created with, its system prompt and its tools, is taken from the store: a request
that continues one must not say them again. The codes that clients act on are in `api/errors.py`, by the field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from msgspec import UNSET, UnsetType, structs

from orchestrator.api.anthropic_messages.decode import EAGER, Asked, asked_message
from orchestrator.api.anthropic_messages.encode import blocks_of
from orchestrator.api.anthropic_messages.ids import response_id_of
from orchestrator.api.anthropic_messages.wire_reply import Block, McpToolUseBlock
from orchestrator.api.anthropic_messages.wire_requests import MessagesBody, ThreadContinue
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.request import EphemeralRequest, IntegrationRequest
from orchestrator.ports import StoredResponse
from orchestrator.service.callers import Caller
from orchestrator.service.chat_parameters import stored_chat
from orchestrator.service.retelling import StoredTelling, TellingService

THREAD: Final = "thread"
PREVIOUS: Final = "thread.previous_message_id"


def check_thread(body: MessagesBody) -> None:
    """Refuse what threads do not go with.

    Raises:
        OrchestratorError: `invalid_value` on `thread`, or on a field that the thread has.
    """
    if isinstance(body.thread, UnsetType):
        return
    if not body.store:
        raise _wrong(THREAD, "needs the message to be stored: leave 'store' at true")
    if isinstance(body.thread, ThreadContinue):
        for name, given in (("system", body.system), ("tools", body.tools)):
            if not isinstance(given, UnsetType):
                raise _wrong(name, "is what the thread was created with: leave it out")
        if not isinstance(body.previous_response_id, UnsetType):
            raise _wrong("previous_response_id", "and 'thread' say the same: leave one out")


async def continued(thread: ThreadContinue, tellings: TellingService, caller: Caller) -> StoredTelling:
    """The message that a thread goes on from.

    Raises:
        OrchestratorError: `response_not_found`; `response_not_finished` while it is being made.
    """
    response_id = response_id_of(thread.previous_message_id)
    try:
        telling = await tellings.stored(response_id, caller)
    except OrchestratorError as error:
        if error.info.kind is not ErrorKind.RESPONSE_NOT_FOUND:
            raise
        raise OrchestratorError(ErrorKind.RESPONSE_NOT_FOUND, error.info.message, param=PREVIOUS) from None
    if telling.response.status == "in_progress":
        message = "The message before this one is still being made."
        raise OrchestratorError(ErrorKind.RESPONSE_NOT_FINISHED, message, param=PREVIOUS)
    return telling


def asked_in_thread(body: MessagesBody, stored: StoredResponse) -> Asked:
    """The request that goes on from `stored`, with its system prompt and its tools."""
    kept = stored_chat(stored, ())
    plain = structs.replace(body, thread=UNSET, previous_response_id=stored.id)
    asked = asked_message(plain, paused=not body.messages, functions=kept.functions)
    entries = cast("Sequence[Mapping[str, Any]]", stored.parameters.get("integrations") or ())
    servers = {entry["server_label"]: entry for entry in entries if entry["type"] == "ephemeral_mcp"}
    chat = replace(
        asked.chat,
        input=asked.chat.input if body.messages else (),
        integrations=tuple(_with_toolset(one, servers) for one in asked.chat.integrations),
    )
    eager = frozenset(cast("Sequence[str]", kept.dialect.get(EAGER, ())))
    return replace(asked, chat=chat, view=replace(asked.view, eager=eager))


def since_decided(telling: StoredTelling) -> list[Block]:
    """What came of the response once somebody had decided about its calls."""
    output = telling.response.output
    turn = max(
        (entry.turn for entry in output if getattr(entry.item, "call_id", None) in telling.decided), default=None
    )
    if turn is None:
        return []
    blocks = [(entry, block) for entry in output if entry.turn >= turn for block in blocks_of(entry.item)]
    return [
        block
        for entry, block in blocks
        if entry.turn > turn
        or (getattr(entry.item, "call_id", None) in telling.decided and not isinstance(block, McpToolUseBlock))
    ]


def _with_toolset(integration: IntegrationRequest, servers: Mapping[str, Mapping[str, Any]]) -> IntegrationRequest:
    """`integration` with what the thread's toolset says of its tools."""
    if not isinstance(integration, EphemeralRequest) or integration.server_label not in servers:
        return integration
    entry = servers[integration.server_label]
    allowed = integration.allowed_tools
    if allowed is None and entry.get("allowed_tools") is not None:
        allowed = tuple(entry["allowed_tools"])
    return replace(integration, allowed_tools=allowed, excluded=tuple(entry.get("excluded_tools", ())))


def _wrong(path: str, problem: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f'"{path}" {problem}.', param=path)
