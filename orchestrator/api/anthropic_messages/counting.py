"""How many tokens a prompt would be."""

from msgspec import UnsetType

from orchestrator.api.anthropic_messages.decode import Places, in_anthropic_words, reasoning_wishes, system_prompt
from orchestrator.api.anthropic_messages.decode_tools import asked_tools
from orchestrator.api.anthropic_messages.history import input_items
from orchestrator.api.anthropic_messages.wire_requests import CountTokensBody
from orchestrator.api.chat_request import integration_requests
from orchestrator.core.errors import OrchestratorError
from orchestrator.service.callers import Caller
from orchestrator.service.chat_request import ChatRequest
from orchestrator.service.prompt_costs import PromptCost, PromptCostService


async def counted_tokens(body: CountTokensBody, costs: PromptCostService, caller: Caller) -> PromptCost:
    """The tokens of the prompt that `body` describes; its servers are asked what they offer.

    Raises:
        OrchestratorError: as the request itself would be refused.
    """
    integrations = integration_requests([] if isinstance(body.integrations, UnsetType) else body.integrations)
    tools = asked_tools(body, others=bool(integrations))
    wishes, demanded = reasoning_wishes(body)
    chat = ChatRequest(
        model=body.model,
        input=input_items(body.messages, paused=True),  # whoever speaks last
        system_prompt=system_prompt(body),
        integrations=(*integrations, *tools.servers),
        functions=() if tools.choice == "none" else tools.functions,
        tool_choice=tools.choice,
        reasoning_wishes=wishes,
        demands_reasoning=demanded,
    )
    try:
        return await costs.count(chat, caller)
    except OrchestratorError as error:
        raise in_anthropic_words(error, Places(len(integrations), tools.allowed)) from None
