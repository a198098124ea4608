"""What the store keeps of a chat's settings, and the chat made of it again. No content, no header value, no secret."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from orchestrator.core.approvals import NEVER, approval_policy_json, parse_approval_policy
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.request import (
    EphemeralRequest,
    IntegrationRequest,
    NamedTool,
    PluginRequest,
    ResponseFormat,
    Sampling,
    ToolChoice,
)
from orchestrator.core.tools import definition_from_json
from orchestrator.ports import INHERITS, StoredResponse
from orchestrator.service.chat_request import ChatRequest

_SAMPLING: Final = (
    *("temperature", "top_p", "min_p", "top_k", "repeat_penalty", "seed"),
    *("presence_penalty", "frequency_penalty", "logprobs"),
)


def chat_parameters(chat: ChatRequest) -> JsonObject:
    """The settings that the request gave."""
    sampling = chat.sampling
    wanted = chat.response_format
    given: JsonObject = {
        "model": chat.model,
        **{name: getattr(sampling, name) for name in _SAMPLING},
        "stop": list(sampling.stop) or None,
        "logit_bias": [[token, bias] for token, bias in sampling.logit_bias] or None,
        "reasoning": chat.reasoning,
        "max_output_tokens": chat.max_output_tokens,
        "context_length": chat.context_length,
        "ttl": chat.ttl_seconds,
        "tool_choice": _tool_choice_json(chat.tool_choice),
        "response_format": None
        if wanted is None
        else {
            "type": "json_schema",
            "json_schema": {"name": wanted.name, "schema": wanted.schema, "strict": wanted.strict},
        },
        "max_turns": chat.max_turns,
        "max_tool_calls": chat.max_tool_calls,
        "parallel_tool_calls": None if chat.parallel_tool_calls else False,
        "raw": chat.raw or None,
        "functions": [function.as_json() for function in chat.functions] or None,
        "integrations": [_integration_json(integration) for integration in chat.integrations] or None,
        INHERITS: None if chat.inherits or chat.system_prompt is not None else False,
        "background": chat.background or None,
        "dialect": chat.dialect or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def stored_chat(stored: StoredResponse, integrations: Sequence[IntegrationRequest]) -> ChatRequest:
    """The chat that made `stored`, with `integrations` as `stored_integrations` gives them.

    It names the system prompt that was in force, be that an inherited one, and no model where none wrote it.
    """
    known = cast("Mapping[str, Any]", stored.parameters)
    wanted = known.get("response_format", {}).get("json_schema")
    return ChatRequest(
        model=known.get("model", ""),
        input=stored.input,
        system_prompt=stored.system_prompt or ("" if known.get(INHERITS, True) else None),
        inherits=known.get(INHERITS, True),
        integrations=tuple(integrations),
        sampling=Sampling(
            **{name: known[name] for name in _SAMPLING if name in known},
            stop=tuple(known.get("stop", ())),
            logit_bias=tuple((token, bias) for token, bias in known.get("logit_bias", ())),
        ),
        reasoning=known.get("reasoning"),
        max_output_tokens=known.get("max_output_tokens"),
        context_length=known.get("context_length"),
        previous_response_id=stored.previous_response_id,
        ttl_seconds=known.get("ttl"),
        tool_choice=_tool_choice(known.get("tool_choice")),
        response_format=None
        if wanted is None
        else ResponseFormat(wanted["name"], wanted["schema"], strict=wanted["strict"]),
        max_turns=known.get("max_turns"),
        metadata=stored.metadata,
        background=known.get("background", False),
        dialect=known.get("dialect", {}),
        functions=tuple(definition_from_json(function) for function in known.get("functions", ())),
        parallel_tool_calls=known.get("parallel_tool_calls", True),
        raw=known.get("raw", False),
        max_tool_calls=known.get("max_tool_calls"),
    )


def stored_integrations(stored: StoredResponse, given: Sequence[IntegrationRequest]) -> tuple[IntegrationRequest, ...]:
    """The integrations of the chat that made `stored`.

    What is not kept of them, header values and the query of an address, comes from `given`, which may
    change nothing else: neither who is asked, nor what may be called, nor what needs approval.

    Raises:
        OrchestratorError: `integration_credentials_required` where they are missing, or `invalid_value`
            where `given` names an integration that the chat does not have, or another address.
    """
    entries = cast("Sequence[Mapping[str, Any]]", stored.parameters.get("integrations") or ())
    kept = [_integration(entry) for entry in entries]
    offered = dict(enumerate(given))
    completed: list[IntegrationRequest] = []
    for entry, integration in zip(entries, kept, strict=True):
        place = next((place for place, other in offered.items() if _same_server(integration, other)), None)
        other = None if place is None else offered.pop(place)
        if isinstance(integration, EphemeralRequest) and isinstance(other, EphemeralRequest):
            if _without_query(other.server_url) != integration.server_url:
                message = f"'{integration.server_label}' was at another address when the response was begun."
                raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=f"integrations.{place}.server_url")
            integration = replace(integration, server_url=other.server_url, headers=other.headers)
        elif entry.get("header_names") or entry.get("query_withheld"):
            message = (
                f"Header values and queries of addresses are not kept: send 'integrations' with the entry of "
                f"'{entry['server_label']}' as the first request had it."
            )
            raise OrchestratorError(ErrorKind.INTEGRATION_CREDENTIALS_REQUIRED, message, param="integrations")
        completed.append(integration)
    for place in offered:
        message = "The response was begun without this integration."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=f"integrations.{place}")
    return tuple(completed)


def _same_server(one: IntegrationRequest, other: IntegrationRequest) -> bool:
    match one, other:
        case PluginRequest(first), PluginRequest(second):
            return first == second
        case EphemeralRequest(first), EphemeralRequest(second):
            return first == second
        case _:
            return False


def _without_query(url: str) -> str:
    return url.partition("?")[0]


def _integration_json(integration: IntegrationRequest) -> JsonObject:
    allowed: JsonValue = None if integration.allowed_tools is None else list(integration.allowed_tools)
    rest: JsonObject = {"allowed_tools": allowed}
    if integration.read_only is not None:
        rest["read_only"] = integration.read_only
    if integration.excluded:
        rest["excluded_tools"] = [*integration.excluded]
    if integration.approval != NEVER:
        rest["require_approval"] = approval_policy_json(integration.approval)
    # For the record: what was taken is input of the response, and is not taken again.
    if integration.resources:
        rest["resources"] = [*integration.resources]
    if integration.prompt is not None:
        rest["prompt"] = {"name": integration.prompt.name, "arguments": dict(integration.prompt.arguments)}
    match integration:
        case PluginRequest(plugin_id):
            return {"type": "plugin", "id": plugin_id, **rest}
        case EphemeralRequest(server_label, server_url):
            if integration.headers:
                rest["header_names"] = [*sorted(integration.headers)]
            if "?" in server_url:
                rest["query_withheld"] = True  # it may carry a key
            url = _without_query(server_url)
            return {"type": "ephemeral_mcp", "server_label": server_label, "server_url": url, **rest}


def _integration(entry: Mapping[str, Any]) -> IntegrationRequest:
    listed = entry.get("allowed_tools")
    allowed = None if listed is None else tuple(listed)
    approval = parse_approval_policy(entry.get("require_approval", "never"))
    read_only = entry.get("read_only")
    excluded = tuple(entry.get("excluded_tools", ()))
    if entry["type"] == "plugin":
        return PluginRequest(entry["id"], allowed, approval=approval, read_only=read_only, excluded=excluded)
    url = entry["server_url"]
    return EphemeralRequest(
        entry["server_label"], url, allowed, approval=approval, read_only=read_only, excluded=excluded
    )


def _tool_choice_json(choice: ToolChoice) -> JsonValue:
    if isinstance(choice, NamedTool):
        return {"tool": choice.tool, "server": choice.server}
    return None if choice == "auto" else choice


def _tool_choice(value: Any) -> ToolChoice:
    if isinstance(value, dict):
        named = cast("Mapping[str, Any]", value)
        return NamedTool(named["tool"], named["server"])
    return value or "auto"
