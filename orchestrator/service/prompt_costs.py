"""How long the prompt of a chat would be: nothing is generated, and nothing is loaded for it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from orchestrator.core.errors import ErrorInfo, OrchestratorError
from orchestrator.core.functions import named_results
from orchestrator.core.items import TextInput
from orchestrator.core.prompt import AssistantMessage, PromptMessage, SystemMessage, ToolMessage, opening_messages
from orchestrator.core.request import RunRequest
from orchestrator.core.token_costs import definition_text
from orchestrator.core.tools import OfferedTool
from orchestrator.ports import Chain, ResponseStore
from orchestrator.service.callers import Caller
from orchestrator.service.chat_request import ChatRequest
from orchestrator.service.chats import prompt_in_force
from orchestrator.service.integration_checks import IntegrationCheckService
from orchestrator.service.models import ModelService
from orchestrator.service.token_costs import TokenCostService

AROUND: Final = 4
"""Tokens that a template puts around a message, roughly."""


class PromptCostService:
    """Counts prompts, with the tokenizer of the model where it is loaded and its engine has one, else by an estimate."""

    def __init__(
        self,
        models: ModelService,
        store: ResponseStore,
        costs: TokenCostService,
        checks: IntegrationCheckService,
    ) -> None:
        self._models = models
        self._store = store
        self._costs = costs
        self._checks = checks

    async def count(self, chat: ChatRequest, caller: Caller) -> int:
        """The tokens of the chat's first prompt: what was said, and the definitions of what would be offered.

        Its servers are asked what they offer. Pictures are not counted.

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
        messages = opening_messages(system, chain.responses, said)
        definitions = [definition_text(function.name, function) for function in chat.functions]
        texts = [*(text for message in messages for text in _texts(message)), *definitions]
        costs = await self._costs.costs([text for text in texts if text], choice.model.key)
        return sum(costs.counts) + AROUND * len(messages) + await self._offered(chat, caller)

    async def of_run(self, request: RunRequest, offered: Sequence[OfferedTool]) -> int:
        """The tokens of the first prompt of a run that has begun: all of it is at hand, and counted in one piece."""
        messages = opening_messages(request.system_prompt, request.history, request.input)
        definitions = [definition_text(tool.name, tool.definition) for tool in offered]
        text = "\n".join([*(text for message in messages for text in _texts(message)), *definitions])
        costs = await self._costs.costs([text], request.model_key)
        return sum(costs.counts) + AROUND * len(messages)

    async def _offered(self, chat: ChatRequest, caller: Caller) -> int:
        if not chat.integrations or chat.tool_choice == "none":
            return 0
        check = await self._checks.check(chat.integrations, caller, model=chat.model)
        for place, integration in enumerate(check.integrations):
            if integration.error is not None:
                info = replace(integration.error, param=integration.error.param or f"integrations.{place}")
                raise OrchestratorError(info.kind, info.message, param=info.param)
        return check.tokens


def _texts(message: PromptMessage) -> Iterator[str]:
    match message:
        case SystemMessage(content):
            yield content
        case AssistantMessage():
            yield message.reasoning
            yield message.content
            for call in message.calls:
                yield f"{call.name} {call.arguments}"
        case ToolMessage():
            yield message.content
        case _:
            yield from _said(message.parts)


def _said(parts: Sequence[object]) -> Iterator[str]:
    return (part.content for part in parts if isinstance(part, TextInput))
