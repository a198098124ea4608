"""From the body of a request to what the service takes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from msgspec import UNSET, UnsetType

from orchestrator.api.anthropic_messages.decode_tools import asked_tools
from orchestrator.api.anthropic_messages.encode import View
from orchestrator.api.anthropic_messages.history import input_items
from orchestrator.api.anthropic_messages.ids import response_id_of
from orchestrator.api.anthropic_messages.wire_requests import (
    MessagesBody,
    Prompting,
    ThinkingAdaptive,
    ThinkingDisabled,
    ThinkingEnabled,
)
from orchestrator.api.chat_request import RESPONSE_PREFIX, integration_requests
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.request import ReasoningSetting, ResponseFormat, Sampling
from orchestrator.core.tools import ToolDefinition, schema_problem
from orchestrator.service.chat_request import ChatRequest

_LOW_BUDGET: Final = 4096
_HIGH_BUDGET: Final = 16_384
_EFFORTS: Final[dict[str, ReasoningSetting]] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}

EAGER: Final = "eager"
"""The setting that keeps which functions' inputs are streamed whatever they are."""

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Places:
    """Where integrations stand: the first `plugins` in `integrations`, the rest in `mcp_servers`.

    `allowed` are the paths of the names of tools that the entry of a server allows, for those that are said by a toolset.
    """

    plugins: int = 0
    allowed: Mapping[int, Sequence[str]] = field(default_factory=dict[int, Sequence[str]])


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what its client is to be told. `places` is where its integrations stand in the body."""

    chat: ChatRequest
    places: Places
    view: View


def asked_message(body: MessagesBody, *, paused: bool = False, functions: Sequence[ToolDefinition] = ()) -> Asked:
    """The request in the service's words. One that sends a `paused` message back has no word of the user at its end;
    one that goes on with a thread has the thread's `functions`.

    Raises:
        OrchestratorError: `invalid_value` with its path.
    """
    integrations = integration_requests(_given(body.integrations) or ())
    tools = asked_tools(body, others=bool(integrations or functions))
    previous = _given(body.previous_response_id)
    if previous is not None and not response_id_of(previous).startswith(RESPONSE_PREFIX):
        message = '"previous_response_id" must start with "msg_" or "resp_".'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="previous_response_id")
    _check_budget(body, interleaved=bool(tools.functions or tools.servers or integrations or functions))
    wishes, demanded = reasoning_wishes(body)
    user = _given(body.metadata.user_id)
    chat = ChatRequest(
        model=body.model,
        input=input_items(body.messages, paused=paused),
        system_prompt=None if body.system is UNSET else system_prompt(body),
        inherits=previous is not None,
        integrations=(*integrations, *tools.servers),
        functions=(*functions, *tools.functions),
        sampling=Sampling(
            temperature=_given(body.temperature),
            top_p=_given(body.top_p),
            top_k=_given(body.top_k),
            stop=tuple(_given(body.stop_sequences) or ()),
        ),
        max_output_tokens=body.max_tokens,
        store=body.store,
        previous_response_id=None if previous is None else response_id_of(previous),
        tool_choice=tools.choice,
        response_format=_response_format(body),
        metadata={} if user is None else {"user_id": user},
        reasoning_wishes=wishes,
        demands_reasoning=demanded,
        parallel_tool_calls=tools.parallel,
        stateless=previous is None,
        passes_over=True,
        dialect=_settings(body, tools.eager),
    )
    hides = isinstance(body.thinking, ThinkingEnabled | ThinkingAdaptive) and body.thinking.display == "omitted"
    view = View(tools.eager, hides, servers=bool(chat.integrations))
    return Asked(chat, Places(len(integrations), tools.allowed), view)


def _check_budget(body: MessagesBody, *, interleaved: bool) -> None:
    """Thinking is part of what may be written; with tools between it, its budget is that of all turns together."""
    if interleaved or not isinstance(body.thinking, ThinkingEnabled) or body.thinking.budget_tokens < body.max_tokens:
        return
    message = '"thinking.budget_tokens" must be less than "max_tokens": thinking counts among these.'
    raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="thinking.budget_tokens")


def system_prompt(body: Prompting) -> str:
    """What the system says; empty where it says nothing."""
    match body.system:
        case UnsetType():
            return ""
        case str(text):
            return text
        case blocks:
            return "\n".join(block.text for block in blocks)


def reasoning_wishes(body: Prompting) -> tuple[tuple[ReasoningSetting, ...], bool]:
    """The settings that the request is content with, the best first; and whether it has to be one of them."""
    effort = _given(body.output_config.effort)
    wished: tuple[ReasoningSetting, ...] = () if effort is None else (_EFFORTS[effort],)
    match body.thinking:
        case ThinkingDisabled():
            return ("off",), True
        case ThinkingEnabled(budget):
            level: ReasoningSetting = "low" if budget < _LOW_BUDGET else "medium" if budget < _HIGH_BUDGET else "high"
            return (*(wished or (level,)), "on"), True
        case ThinkingAdaptive():
            return (*wished, "on", "medium"), False
        case _:
            return wished, False


def _response_format(body: Prompting) -> ResponseFormat | None:
    wanted = _given(body.output_config.format)
    if wanted is None:
        return None
    problem = schema_problem(wanted.schema)
    if problem is not None:
        param = "output_config.format.schema"
        message = f'"{param}" is not a JSON schema that can be used: {problem}.'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)
    return ResponseFormat("output", wanted.schema)


def _settings(body: MessagesBody, eager: Collection[str]) -> JsonObject:
    """What is kept of the request beside what every dialect keeps."""
    kept: JsonObject = {"api": "messages", "service_tier": body.service_tier}
    if eager:
        kept[EAGER] = [*sorted(eager)]
    return kept


def in_anthropic_words(error: OrchestratorError, places: Places) -> OrchestratorError:
    """The error with the field's name in this dialect."""
    info = error.info
    param = _path(info.param or "", places)
    if param == info.param or not param:
        return error
    return OrchestratorError.of(replace(info, param=param))


def _path(param: str, places: Places) -> str:
    head, _, rest = param.partition(".")
    if head != "integrations":
        return _RENAMED.get(head, param)
    number, _, field_name = rest.partition(".")
    if not number:
        return param if places.plugins else "mcp_servers"
    server = int(number) - places.plugins
    if server < 0:
        return param
    kind, _, index = field_name.partition(".")
    if kind == "allowed_tools" and index and server in places.allowed:
        return places.allowed[server][int(index)]
    if kind == "allowed_tools":
        return f"mcp_servers.{server}.tool_configuration.{field_name}"
    renamed = {"server_url": "url", "server_label": "name", "headers": "authorization_token"}.get(
        field_name, field_name
    )
    return ".".join(filter(None, ("mcp_servers", str(server), renamed)))


_RENAMED: Final = {
    "input": "messages",
    "system_prompt": "system",
    "reasoning": "thinking",
    "response_format": "output_config.format",
    "max_output_tokens": "max_tokens",
}


def _given(value: V | UnsetType) -> V | None:
    return None if isinstance(value, UnsetType) else value
