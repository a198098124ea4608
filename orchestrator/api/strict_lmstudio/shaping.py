"""Our replies and events, with nothing in them but what the tables list."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from orchestrator.api.strict_lmstudio import tables

Shape: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any]]


def only(value: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The entries of `value` with these names, in their order."""
    return {name: value[name] for name in names if name in value}


def registered(plugin_id: str) -> str:
    """The id under which LM Studio registers a plugin."""
    return plugin_id.lower().replace("_", "-")


def strict_reply(reply: msgspec.Struct) -> dict[str, Any]:
    """A chat's reply."""
    shaped = only(msgspec.to_builtins(reply), tables.REPLY)
    shaped["stats"] = only(shaped["stats"], tables.STATS)
    shaped["output"] = [_told(item, tables.ITEMS[item["type"]]) for item in shaped["output"] if _known(item)]
    return shaped


def strict_event(event: msgspec.Struct) -> dict[str, Any] | None:
    """An event of a stream; None where LM Studio has no such event."""
    told = msgspec.to_builtins(event)
    names = tables.EVENTS.get(told["type"])
    if names is None:
        return None
    return _told(told, names)


def _known(item: Mapping[str, Any]) -> bool:
    return item["type"] in tables.ITEMS


def _told(value: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    shaped = only(value, names)
    if "provider_info" in shaped:
        shaped["provider_info"] = _provider(shaped["provider_info"])
    metadata = shaped.get("metadata")
    if metadata is not None and "provider_info" in metadata:
        shaped["metadata"] = {**metadata, "provider_info": _provider(metadata["provider_info"])}
    return shaped


def _provider(provider: Mapping[str, Any]) -> dict[str, Any]:
    return {name: registered(value) if name == "plugin_id" else value for name, value in provider.items()}


def _models(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"models": [only(model, tables.MODEL) for model in body["models"]]}


def _loaded(body: Mapping[str, Any]) -> dict[str, Any]:
    shaped = only(body, tables.LOADED)
    if "load_config" in shaped:
        shaped["load_config"] = only(shaped["load_config"], tables.LOAD_CONFIG)
    return shaped


def _download(body: Mapping[str, Any]) -> dict[str, Any]:
    return only(body, tables.DOWNLOAD)


def _download_status(body: Mapping[str, Any]) -> dict[str, Any]:
    return only(body, tables.DOWNLOAD_STATUS)


def shape_of(method: str, path: str) -> Shape | None:
    """How successful replies of this route lose their extensions; None where they have none."""
    return next((shape for route, shape in _SHAPES if route.fullmatch(f"{method} {path}")), None)


def strict_body(shape: Shape, body: bytes) -> bytes:
    """The body of such a reply without them."""
    return msgspec.json.encode(shape(msgspec.json.decode(body)))


_SHAPES: Final[Sequence[tuple[re.Pattern[str], Shape]]] = (
    (re.compile(r"GET /api/v1/models"), _models),
    (re.compile(r"POST /api/v1/models/load"), _loaded),
    (re.compile(r"POST /api/v1/models/download"), _download),
    (re.compile(r"GET /api/v1/models/download/status/[^/]+"), _download_status),
)
