"""What is wrong with a chat before anything is done for it: nothing here waits, and nothing changes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.functions import named_results, unanswered_call
from orchestrator.core.items import ImageInput, InputItem
from orchestrator.core.models import NO_REASONING, Model
from orchestrator.core.permissions import ALL_TOOLS
from orchestrator.core.prompt import Past
from orchestrator.core.request import EphemeralRequest, IntegrationRequest, PluginRequest, ReasoningSetting
from orchestrator.ports import EngineTraits
from orchestrator.service.callers import Caller
from orchestrator.service.chat_request import ChatRequest


def permitted_integrations(chat: ChatRequest, caller: Caller) -> tuple[IntegrationRequest, ...]:
    """The integrations of `chat`, each with what the caller's token allows of it.

    Raises:
        OrchestratorError: `permission_denied`.
    """
    caller.require("chat", "The API token has no permission to chat.")
    return granted_integrations(chat.integrations, caller)


def granted_integrations(integrations: Sequence[IntegrationRequest], caller: Caller) -> tuple[IntegrationRequest, ...]:
    """Each with what the caller's token allows of it.

    Raises:
        OrchestratorError: `permission_denied` on `integrations`.
    """
    permitted: list[IntegrationRequest] = []
    for integration in integrations:
        match integration:
            case PluginRequest():
                granted = caller.plugin_tools(integration.id, param="integrations")
                if granted != ALL_TOOLS and (integration.resources or integration.prompt is not None):
                    message = "The API token allows only some tools of this plugin, not its resources and prompts."
                    raise OrchestratorError(ErrorKind.PERMISSION_DENIED, message, param="integrations")
                permitted.append(replace(integration, granted_tools=granted))
            case EphemeralRequest():
                message = "Permission denied: the API token does not allow ephemeral MCP servers."
                caller.require("ephemeral_mcp", message, param="integrations")
                permitted.append(integration)
            case _:
                assert_never(integration)
    return tuple(permitted)


def check_what_waits(chat: ChatRequest) -> None:
    if chat.store:
        return
    if chat.background:
        message = "Nobody could ask for a response that is not stored: leave 'store' at true, or 'background' out."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="background")
    for index, integration in enumerate(chat.integrations):
        if integration.approval.can_demand:
            message = "A response that is not stored cannot wait for approvals: leave 'store' at true."
            param = f"integrations.{index}.require_approval"
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)


def check_model(chat: ChatRequest, model: Model) -> None:
    if model.type != "llm":
        message = f"'{model.key}' is an embedding model and cannot chat."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
    if not model.vision and any(isinstance(item, ImageInput) for item in chat.input):
        message = f"'{model.key}' does not see images."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="input")
    longest = model.max_context_length
    if chat.context_length is not None and longest is not None and chat.context_length > longest:
        message = f"'{model.key}' has a context of at most {longest} tokens."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="context_length")


def wished_reasoning(chat: ChatRequest, model: Model) -> ReasoningSetting | None:
    """The first of the wishes that the model offers; one that it does not where the chat demands one of them."""
    offered = () if model.reasoning is None else model.reasoning.allowed_options
    found: ReasoningSetting | None = next((wish for wish in chat.reasoning_wishes if wish in offered), None)
    if found is not None or not (chat.demands_reasoning and chat.reasoning_wishes):
        return found
    wished = chat.reasoning_wishes[0]
    return None if wished == "off" and model.reasoning is None else wished  # what is refused next


def check_reasoning(chat: ChatRequest, model: Model, hint: str) -> None:
    if chat.reasoning is None:
        return
    if model.reasoning is None:
        message = f"Model '{model.key}' {NO_REASONING} {hint}".rstrip()
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="reasoning")
    if chat.reasoning not in model.reasoning.allowed_options:
        options = ", ".join(f"'{option}'" for option in model.reasoning.allowed_options)
        message = f"Reasoning setting '{chat.reasoning}' is not supported by model '{model.key}'. Supported settings: {options}."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="reasoning")


def check_sampling(chat: ChatRequest, traits: EngineTraits, engine: str) -> None:
    """What the engine has no word for is refused, not left out."""
    sampling = chat.sampling
    lacking = {
        "logit_bias": bool(sampling.logit_bias) and not traits.logit_bias,
        "logprobs": sampling.logprobs is not None and not traits.logprobs,
    }
    for name, missing in lacking.items():
        if missing:
            message = f"The engine '{engine}' of this model cannot do that: leave \"{name}\" out."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=name)


def with_named_results(chat: ChatRequest, history: Sequence[Past]) -> tuple[InputItem, ...]:
    named = named_results(chat.input, history)
    lacking = unanswered_call(chat.input, history) if chat.demands_results else None
    if lacking is not None:
        message = f"No tool output found for function call {lacking}."
        named = ErrorInfo(ErrorKind.INVALID_VALUE, message, "input")
    if isinstance(named, ErrorInfo):
        raise OrchestratorError(named.kind, named.message, param=named.param)
    return named
