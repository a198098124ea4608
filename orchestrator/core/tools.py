"""Tools: their definitions, the set offered to the model, and the checks a call must pass."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, assert_never, cast

import jsonschema_rs

from orchestrator.core.items import (
    CLIENT_LABEL,
    ClientProvider,
    EphemeralProvider,
    PluginProvider,
    ProviderInfo,
    ServerIdentity,
)
from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json
from orchestrator.core.redaction import Redaction
from orchestrator.core.schema_bounds import schema_excess

MAX_NAME_LENGTH = 64
ANSWER_CUT: Final = "the rest exceeded the limit for tool outputs"
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class ToolAnnotations:
    """Hints of the server about its tool, None where it gives none (MCP, `ToolAnnotations`)."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool as its server defines it; `input_schema` is a JSON schema of an object.

    `strict` is a function of the client's that only ever gets arguments which match.
    """

    name: str
    description: str
    input_schema: JsonObject
    title: str | None = None
    output_schema: JsonObject | None = None
    annotations: ToolAnnotations = ToolAnnotations()
    strict: bool = False

    def as_json(self) -> JsonObject:
        """Every part of the definition as one JSON object: what is stored and what is digested."""
        hints = self.annotations
        more: JsonObject = {"strict": True} if self.strict else {}
        return {
            **more,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.input_schema,
            "outputSchema": self.output_schema,
            "annotations": {
                "readOnlyHint": hints.read_only,
                "destructiveHint": hints.destructive,
                "idempotentHint": hints.idempotent,
                "openWorldHint": hints.open_world,
            },
        }


def definition_from_json(value: JsonObject) -> ToolDefinition:
    """The definition that `ToolDefinition.as_json` made `value` of."""
    known = cast("dict[str, Any]", value)
    hints = known["annotations"]
    return ToolDefinition(
        known["name"],
        known["description"],
        known["inputSchema"],
        known["title"],
        known["outputSchema"],
        ToolAnnotations(
            hints["readOnlyHint"], hints["destructiveHint"], hints["idempotentHint"], hints["openWorldHint"]
        ),
        known.get("strict", False),
    )


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered.

    `content` is the JSON text of the MCP `content` array, whole; `text` is what a text model can
    read of it; `structured` is the JSON text of `structuredContent`, kept even where it does not
    match the tool's output schema. `status` is another one where no server was asked.
    """

    content: str
    text: str
    is_error: bool
    structured: str | None = None
    status: Literal["succeeded", "replayed", "refused"] = "succeeded"


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool under the name that the model is shown.

    `integration` is its index in the request. `needs_approval` says that no call of it runs before
    somebody has approved it. `server` is who would answer it now, None where nobody is connected.
    """

    name: str
    definition: ToolDefinition
    provider: ProviderInfo
    integration: int
    digest: str
    needs_approval: bool = False
    server: ServerIdentity | None = None


ToolKey: TypeAlias = tuple[str, str]
"""A tool's identity within a chain: its provider's label and the server's own name of it."""


def provider_label(provider: ProviderInfo) -> str:
    """The label that people read: `mcp/clock` for a plugin, the server label for an ephemeral server, `client`."""
    match provider:
        case PluginProvider(plugin_id):
            return plugin_id
        case EphemeralProvider(server_label):
            return server_label
        case ClientProvider():
            return CLIENT_LABEL
        case _:
            assert_never(provider)


def provider_kind(provider: ProviderInfo) -> Literal["plugin", "ephemeral_mcp", "client"]:
    """The word for its kind on the wire and in the store."""
    match provider:
        case PluginProvider():
            return "plugin"
        case EphemeralProvider():
            return "ephemeral_mcp"
        case ClientProvider():
            return "client"
        case _:
            assert_never(provider)


def tool_key(provider: ProviderInfo, tool: str) -> ToolKey:
    """The identity under which a chain remembers the name it gave to a tool."""
    return f"{provider_kind(provider)}:{provider_label(provider)}", tool


def redacted_definition(definition: ToolDefinition, rules: Redaction) -> ToolDefinition:
    """`definition` with the patterns applied to what its server wrote for people and models; names stay."""
    return replace(
        definition,
        description=rules.text(definition.description),
        title=None if definition.title is None else rules.text(definition.title),
        input_schema=_redacted_schema(definition.input_schema, rules),
        output_schema=None if definition.output_schema is None else _redacted_schema(definition.output_schema, rules),
    )


def _redacted_schema(schema: JsonObject, rules: Redaction) -> JsonObject:
    put = rules.leaves(schema, keys=False)
    return put if isinstance(put, dict) else {}


def definition_digest(definition: ToolDefinition) -> str:
    """`sha256:` and the hex digest of the definition's canonical JSON."""
    text = canonical_json(definition.as_json())
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def offer_tools(
    found: Iterable[tuple[int, ProviderInfo, Sequence[ToolDefinition]]],
    earlier: Mapping[ToolKey, str],
) -> tuple[OfferedTool, ...]:
    """Give every tool a name that the model can carry and that no other tool has.

    A name given `earlier` in the chain is kept; on a collision only the newcomer is prefixed with
    its provider's label. The order is that of the integrations; of each server come first the tools
    that have a name already, in the order in which they got it, then the others in that of its own
    list: a server that lists anew in another order changes no prompt. Among newcomers a name that the model
    can carry as it is wins over one that had to be changed to look like it.
    """
    places = {key: place for place, key in enumerate(earlier)}
    ordered: list[tuple[int, ProviderInfo, ToolDefinition]] = []
    for integration, provider, definitions in found:
        keys = [tool_key(provider, definition.name) for definition in definitions]
        order = sorted(range(len(keys)), key=lambda index: places.get(keys[index], len(places)))
        ordered += [(integration, provider, definitions[index]) for index in order]
    names = _names(ordered, earlier)
    return tuple(
        OfferedTool(name, definition, provider, integration, definition_digest(definition))
        for name, (integration, provider, definition) in zip(names, ordered, strict=True)
    )


def _names(ordered: Sequence[tuple[int, ProviderInfo, ToolDefinition]], earlier: Mapping[ToolKey, str]) -> list[str]:
    """A name for each: those that are given already, then those that fit as they are, then the rest."""
    taken = set(earlier.values())
    names = {
        place: earlier[key]
        for place, (_, provider, definition) in enumerate(ordered)
        if (key := tool_key(provider, definition.name)) in earlier
    }
    for fit in (True, False):
        for place, (_, provider, definition) in enumerate(ordered):
            if place not in names and _fits(definition.name) is fit:
                names[place] = _free_name(definition.name, provider, taken)
                taken.add(names[place])
    return [names[place] for place in range(len(ordered))]


def _fits(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_LENGTH and _UNFIT.search(name) is None


def _free_name(tool: str, provider: ProviderInfo, taken: set[str]) -> str:
    plain = _UNFIT.sub("_", tool) or "tool"
    label = _UNFIT.sub("_", provider_label(provider).removeprefix("mcp/"))
    prefixed = f"{label}_{plain}"
    for wanted in (plain, prefixed):
        if wanted not in taken and len(wanted) <= MAX_NAME_LENGTH:
            return wanted
    count = 1
    while True:
        ending = f"_{hashlib.sha256(f'{provider_label(provider)}/{tool}/{count}'.encode()).hexdigest()[:8]}"
        name = prefixed[: MAX_NAME_LENGTH - len(ending)] + ending
        if name not in taken:
            return name
        count += 1


def argument_problems(schema: JsonObject, arguments: JsonObject) -> str | None:
    """What is wrong with `arguments`, in one line, or None where they match the tool's input `schema`."""
    return schema_problems(schema, arguments)


def schema_problems(schema: JsonObject, value: JsonValue) -> str | None:
    """What is wrong with `value`, in one line, or None where it matches `schema`.

    A schema that is itself broken, or that refers to another document, checks nothing here: its
    server is left to check what it is given.
    """
    validator = _validator(canonical_json(schema))
    if validator is None:
        return None
    problems: list[str] = []
    for error in validator.iter_errors(value):
        where = ".".join(str(part) for part in error.instance_path)
        problems.append(f"{where}: {error.message}" if where else error.message)
        if len(problems) == 5:
            break
    return "; ".join(problems)[:1000] or None


def schema_problem(schema: JsonObject) -> str | None:
    """Why nothing can be checked against `schema`, in one line, or None where it can."""
    try:
        _new_validator(canonical_json(schema))
    except jsonschema_rs.ValidationError as error:
        where = "/".join(str(part) for part in error.instance_path)
        reason = " ".join(error.message.split(": ValueError: ")[0].split())[:300]
        return f"'{where}': {reason}" if where else reason
    except _TooLargeError as error:
        return str(error)
    except (ValueError, RecursionError):
        return "it is nested too deeply"
    return None


def schema_is_usable(schema: JsonObject) -> bool:
    """Whether `schema_problems` can check anything against `schema`."""
    return _validator(canonical_json(schema)) is not None


@lru_cache(maxsize=1024)
def _validator(schema_text: str) -> jsonschema_rs.Validator | None:
    try:
        return _new_validator(schema_text)
    except (ValueError, RecursionError):  # its ValidationError is a ValueError
        return None


class _TooLargeError(ValueError):
    """Compiling the schema could take all memory."""


def _new_validator(schema_text: str) -> jsonschema_rs.Validator:
    excess = schema_excess(json.loads(schema_text))
    if excess is not None:
        raise _TooLargeError(excess)
    return jsonschema_rs.validator_for(
        schema_text,  # JSON text is read as such by the library: one parse, and a hashable key
        retriever=_refuse_retrieval,
        pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000),
    )


def _refuse_retrieval(uri: str) -> JsonValue:
    raise ValueError(f"schemas are not fetched: {uri}")


def cut_text(text: str, limit_bytes: int, *, kept: str) -> str:
    """`text` within `limit_bytes` of UTF-8, a notice of what is missing included.

    `kept` says where the whole of it is, for the reader of the notice.
    """
    data = text.encode("utf-8", "replace")
    if len(data) <= limit_bytes:
        return text
    notice = f"\n[cut: {len(data)} bytes in all, {kept}]"
    room = max(0, limit_bytes - len(notice.encode()))
    return data[:room].decode("utf-8", "ignore") + notice


def text_content(text: str) -> str:
    """The JSON text of an MCP `content` array with one text part."""
    return canonical_json([{"type": "text", "text": text}])


def readable_content(output: str, structured: str | None) -> str:
    """The JSON text of the content array that a model reads of a result: `structured` where `output` has nothing."""
    return output if structured is None or output != "[]" else text_content(structured)


def bounded_result(result: ToolResult, limit_bytes: int) -> ToolResult:
    """`result`, or where it is longer than the journal takes, its beginning as text and a notice.

    A structured result that only repeats the text does not count.
    """
    size = _size(result.content)
    if size + _size(result.structured or "") <= limit_bytes or (size <= limit_bytes and _is_mirrored(result)):
        return result
    room = limit_bytes
    while True:
        text = cut_text(result.text, room, kept=ANSWER_CUT)
        content = text_content(text)
        size = _size(content)
        if size <= limit_bytes or room == 0:
            return ToolResult(content, text, result.is_error, None, result.status)
        room = min(room * limit_bytes // size, room - 1)  # JSON escapes take room too


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _is_mirrored(result: ToolResult) -> bool:
    """Whether the structured result is what the text says: as JSON, or as the one `result` that SDKs make of a text."""
    try:
        structured: object = json.loads(result.structured or "null")
        return structured == {"result": result.text} or structured == json.loads(result.text)
    except (ValueError, RecursionError):
        return False
