"""What a response that was asked for in another dialect says of its request in this one."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from orchestrator.core.items import CLIENT_LABEL
from orchestrator.core.json_types import JsonObject, JsonValue

_SAME: Final = (
    *("temperature", "top_p", "presence_penalty", "frequency_penalty", "max_output_tokens", "max_tool_calls"),
    *("parallel_tool_calls", "background"),
)
_EFFORTS: Final = {"off": "none", "low": "low", "medium": "medium", "high": "high", "on": "medium"}


def foreign_settings(parameters: JsonObject) -> JsonObject:
    """The settings of `decode.settings_of`, of the `parameters` that the store has of any chat."""
    settings: JsonObject = {name: parameters[name] for name in _SAME if name in parameters}
    effort = _EFFORTS.get(str(parameters.get("reasoning")))
    if effort is not None:
        settings["reasoning"] = {"effort": effort, "summary": None}
    tools = [*map(_function, _objects(parameters, "functions")), *map(_server, _objects(parameters, "integrations"))]
    if tools:
        settings["tools"] = [*tools]
    choice = parameters.get("tool_choice")
    if choice is not None:
        settings["tool_choice"] = _choice(cast("Mapping[str, Any]", choice)) if isinstance(choice, dict) else choice
    wanted = parameters.get("response_format")
    if isinstance(wanted, dict):
        settings["text"] = {"format": _format(wanted), "verbosity": "medium"}
    return settings


def _objects(parameters: JsonObject, name: str) -> Sequence[Mapping[str, Any]]:
    return cast("Sequence[Mapping[str, Any]]", parameters.get(name) or ())


def _function(function: Mapping[str, Any]) -> JsonObject:
    return {
        "type": "function",
        "name": function["name"],
        "description": function["description"],
        "parameters": function["inputSchema"],
        "strict": False,
    }


def _server(integration: Mapping[str, Any]) -> JsonObject:
    """A plugin is called by its label, as in a request; header values were never kept."""
    told: JsonObject = {
        "type": "mcp",
        "server_label": str(integration.get("server_label") or integration.get("id")).removeprefix("mcp/"),
        "require_approval": _approval(integration.get("require_approval", "never")),
        "allowed_tools": integration.get("allowed_tools"),
        "headers": None,
    }
    if "server_url" in integration:
        told["server_url"] = integration["server_url"]
    if "read_only" in integration:
        names = integration.get("allowed_tools")
        listed: JsonObject = {} if names is None else {"tool_names": names}
        told["allowed_tools"] = {**listed, "read_only": integration["read_only"]}
    return told


def _approval(policy: JsonValue) -> JsonValue:
    """OpenAI has no word for a default beside its lists: what neither names waits."""
    return {name: policy[name] for name in ("always", "never")} if isinstance(policy, dict) else policy


def _choice(named: Mapping[str, Any]) -> JsonObject:
    server = named.get("server")
    if server in (None, CLIENT_LABEL):
        return {"type": "function", "name": named["tool"]}
    return {"type": "mcp", "server_label": str(server).removeprefix("mcp/"), "name": named["tool"]}


def _format(wanted: JsonObject) -> JsonObject:
    said = cast("Mapping[str, Any]", wanted["json_schema"])
    if said["name"] == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", **said}
