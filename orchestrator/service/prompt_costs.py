"""How long the prompt of a chat would be: nothing is generated, and nothing is loaded for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import anyio

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorInfo, OrchestratorError
from orchestrator.core.functions import named_results
from orchestrator.core.items import ImageInput, TextInput
from orchestrator.core.offering import functions
from orchestrator.core.prompt import (
    AssistantMessage,
    PromptMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
    answered,
    opening_messages,
)
from orchestrator.core.request import ReasoningSetting, RunRequest, Sampling
from orchestrator.core.token_costs import definition_text, estimated_tokens
from orchestrator.core.tools import OfferedTool
from orchestrator.ports import Chain, PromptCounter, ResponseStore
from orchestrator.service.callers import Caller
from orchestrator.service.chain_context import prompt_in_force
from orchestrator.service.chat_checks import wished_reasoning
from orchestrator.service.chat_request import ChatRequest
from orchestrator.service.integration_checks import IntegrationCheckService
from orchestrator.service.models import ModelChoice, ModelService

AROUND: Final = 4
"""Tokens that a template puts around a message, roughly."""
IMAGE_TOKENS: Final = 1024
"""What a picture costs, roughly: every model has its own way to see."""
HASTE_SECONDS: Final = 0.5
"""How long a stream may wait for what its prompt costs."""


@dataclass(frozen=True, slots=True)
class PromptCost:
    """The tokens of a prompt: as its engine would read it, template and all, or `estimated`."""

    tokens: int
    estimated: bool


class PromptCostService:
    """Has the engine of a chat's model count its prompt, where it can and the model is loaded; else estimates it."""

    def __init__(self, models: ModelService, store: ResponseStore, checks: IntegrationCheckService) -> None:
        self._models = models
        self._store = store
        self._checks = checks

    async def count(self, chat: ChatRequest, caller: Caller) -> PromptCost:
        """The tokens of the chat's first prompt: what was said, and the definitions of what would be offered.

        Its servers are asked what they offer. Pictures are estimated.

        Raises:
            OrchestratorError: `permission_denied`, `unknown_model`, what is wrong with the chain, or the first server that
                cannot be had.
        """
        caller.require("chat", "The API token has no permission to chat.")
        choice = await self._models.find(chat.model)
        chain = Chain((), None)
        if chat.previous_response_id is not None:
            chain = await self._store.load_chain(chat.previous_response_id, caller.owner)
        system = await prompt_in_force(chat, chain, self._store, caller.owner)
        said = named_results(chat.input, chain.responses)
        if isinstance(said, ErrorInfo):
            raise OrchestratorError(said.kind, said.message, param=said.param)
        messages = opening_messages(system, chain.responses, said, vision=choice.model.vision)
        reasoning = chat.reasoning or wished_reasoning(chat, choice.model)
        return await _cost(choice, _turn(messages, await self._offered(chat, caller), reasoning))

    async def of_run(self, request: RunRequest, offered: Sequence[OfferedTool]) -> int:
        """About the tokens of the first prompt of a run that has begun; it answers soon."""
        messages = opening_messages(request.system_prompt, request.history, request.input, vision=request.vision)
        turn = _turn(messages, offered, request.reasoning)
        with anyio.move_on_after(HASTE_SECONDS):
            try:
                return (await _cost(await self._models.find(request.model_key), turn)).tokens
            except OrchestratorError:  # its engine has gone meanwhile: the run will tell
                pass
        return _estimate(turn)

    async def _offered(self, chat: ChatRequest, caller: Caller) -> tuple[OfferedTool, ...]:
        if chat.tool_choice == "none":
            return ()
        own = functions(RunRequest("", "", "", (), functions=chat.functions))
        if not chat.integrations:
            return own
        check = await self._checks.check(chat.integrations, caller, model=chat.model)
        for place, integration in enumerate(check.integrations):
            if integration.error is not None:
                info = replace(integration.error, param=integration.error.param or f"integrations.{place}")
                raise OrchestratorError(info.kind, info.message, param=info.param)
        return (*own, *(tool.offered for integration in check.integrations for tool in integration.tools))


async def _cost(choice: ModelChoice, turn: Generate) -> PromptCost:
    pictures = _pictures(turn)
    if isinstance(choice.engine, PromptCounter):
        counted = await choice.engine.count_prompt(choice.model, _without_pictures(turn))
        if counted is not None:
            return PromptCost(counted + IMAGE_TOKENS * pictures, estimated=pictures > 0)
    return PromptCost(_estimate(turn), estimated=True)


def _turn(
    messages: Sequence[PromptMessage], tools: Sequence[OfferedTool], reasoning: ReasoningSetting | None
) -> Generate:
    return Generate(1, tuple(answered(messages)), tuple(tools), Sampling(), reasoning, None)


def _pictures(turn: Generate) -> int:
    shown = [message.parts for message in turn.messages if isinstance(message, UserMessage)]
    return sum(isinstance(part, ImageInput) for parts in shown for part in parts)


def _without_pictures(turn: Generate) -> Generate:
    return replace(turn, messages=tuple(map(_said, turn.messages)))


def _said(message: PromptMessage) -> PromptMessage:
    if not isinstance(message, UserMessage):
        return message
    return UserMessage(tuple(part for part in message.parts if isinstance(part, TextInput)))


def _estimate(turn: Generate) -> int:
    texts = [text for message in turn.messages for text in _texts(message)]
    texts += [definition_text(tool.name, tool.definition) for tool in turn.tools]
    return AROUND * len(turn.messages) + IMAGE_TOKENS * _pictures(turn) + sum(map(estimated_tokens, texts))


def _texts(message: PromptMessage) -> Iterator[str]:
    match message:
        case SystemMessage(content) | ToolMessage(_, _, content):
            yield content
        case AssistantMessage():
            yield message.reasoning
            yield message.content
            for call in message.calls:
                yield f"{call.name} {call.arguments}"
        case UserMessage(parts):
            yield from (part.content for part in parts if isinstance(part, TextInput))
