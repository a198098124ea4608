"""What OpenAI's platform has and this service has not: told by its name, and with what there is instead."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, get_args

from msgspec import Struct

from orchestrator.api.decode import shown
from orchestrator.api.openai_responses.wire_items import OutputPart, SentItem, SentPart
from orchestrator.api.openai_responses.wire_requests import ToolParam
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue

_FIELDS: Final[Mapping[str, str]] = {
    "prompt": "stored prompts; say it in 'instructions' and 'input'",
    "context_management": "compaction by the server; use POST /v1/responses/compact",
    "moderation": "moderation",
    "image": "making pictures",
    "access_programs": "access programs",
    "background_options": "windows for background work",
    "prompt_cache_options": "settings of the prompt cache, which needs none",
}


def _tags(union: object) -> frozenset[str]:
    kinds: tuple[type[Struct], ...] = get_args(union)
    return frozenset(str(kind.__struct_config__.tag) for kind in kinds)


_TOOLS: Final = _tags(ToolParam)
_ITEMS: Final = _tags(SentItem)
_PARTS: Final = _tags(SentPart)
_OUTPUTS: Final = _tags(OutputPart)
_CHOICES: Final = _TOOLS | {"allowed_tools"}
_OPENAIS_TOOLS: Final = (
    *("web_search", "file_search", "computer", "code_interpreter", "image_generation", "local_shell", "shell"),
    *("apply_patch", "custom", "namespace", "tool_search", "programmatic_tool_calling"),
)
"""How the names of what OpenAI runs itself begin: some have a date, or a word, behind them."""
_OWN_WAY: Final[Mapping[str, str]] = {
    "custom": "offer a 'function' with one text as its parameter",
    "namespace": "offer its functions one by one",
}
_PARTS_ELSEWHERE: Final[Mapping[str, str]] = {
    "input_audio": "sound is not heard here: send the text of what is said",
    "computer_screenshot": "send the picture as 'input_image'",
}


def check_what_is_here(body: JsonObject) -> None:
    """That `body` asks for nothing that only OpenAI's platform has.

    Raises:
        OrchestratorError: `unsupported_parameter` for a field, `invalid_value` for a kind of tool, item or part.
    """
    for name, what in _FIELDS.items():
        if name in body:
            message = f'"{name}" is of OpenAI\'s platform, and is not supported here: {what}.'
            raise OrchestratorError(ErrorKind.UNSUPPORTED_PARAMETER, message, param=name)
    if body.get("truncation") == "auto":
        message = (
            '"truncation": "auto" would drop what was said first, and nothing is dropped here: a prompt that is too long is '
            "refused. Put the chat in short with POST /v1/responses/compact, or leave this out."
        )
        raise OrchestratorError(ErrorKind.UNSUPPORTED_PARAMETER, message, param="truncation")
    for path, tool in _objects(body.get("tools"), "tools"):
        _check_tool(tool, path, _TOOLS)
        _check_connector(tool, path)
    _check_verbosity(body.get("text"))
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        _check_tool(choice, "tool_choice", _CHOICES)
        for path, tool in _objects(choice.get("tools"), "tool_choice.tools"):
            _check_tool(tool, path, _TOOLS)
    for name in ("input", "items"):
        for path, item in _objects(body.get(name), name):
            _check_item(item, path)


def _objects(entries: JsonValue, path: str) -> Iterator[tuple[str, JsonObject]]:
    for place, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield f"{path}.{place}", entry


def _strange(entry: JsonObject, known: frozenset[str]) -> str | None:
    """The kind of `entry`, where it says one that is not `known`."""
    kind = entry.get("type")
    return kind if isinstance(kind, str) and kind not in known else None


def _check_tool(tool: JsonObject, path: str, known: frozenset[str]) -> None:
    kind = _strange(tool, known)
    if kind is None:
        return
    if not kind.startswith(_OPENAIS_TOOLS):
        raise _wrong(f"{path}.type", f"there is no kind of tool '{shown(kind)}', only {_listed(sorted(known))}")
    way = _OWN_WAY.get(kind, "bring a server of MCP (type 'mcp') that can do it, or a 'function' of your own")
    raise _wrong(f"{path}.type", f"the tool '{shown(kind)}' is of OpenAI's platform and is not here: {way}")


def _check_connector(tool: JsonObject, path: str) -> None:
    if tool.get("type") == "mcp" and "connector_id" in tool:
        what = (
            "connectors are of OpenAI's platform: say the 'server_url' of the server, or a 'server_label' of mcp.json"
        )
        raise _wrong(f"{path}.connector_id", what, ErrorKind.UNSUPPORTED_PARAMETER)


def _check_verbosity(text: JsonValue) -> None:
    if isinstance(text, dict) and text.get("verbosity") in ("low", "high"):
        what = "models here have no setting for how much they write: leave it out, and say it in 'instructions'"
        raise _wrong("text.verbosity", what)


def _check_item(item: JsonObject, path: str) -> None:
    kind = _strange(item, _ITEMS)
    if kind is not None:
        what = f"items of the kind '{shown(kind)}' are not known here, only {_listed(sorted(_ITEMS))}"
        raise _wrong(f"{path}.type", what)
    name, known = ("output", _OUTPUTS) if item.get("type") == "function_call_output" else ("content", _PARTS)
    if item.get("type") == "reasoning":
        return
    for where, part in _objects(item.get(name), f"{path}.{name}"):
        kind = _strange(part, known)
        if kind is not None:
            what = _PARTS_ELSEWHERE.get(kind, f"there is no part '{shown(kind)}', only {_listed(sorted(known))}")
            raise _wrong(f"{where}.type", what)


def _listed(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _wrong(path: str, what: str, kind: ErrorKind = ErrorKind.INVALID_VALUE) -> OrchestratorError:
    return OrchestratorError(kind, f'"{path}": {what}.', param=path)
