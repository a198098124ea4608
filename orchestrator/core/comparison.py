"""Two branches of the graph, compared item by item: what is equal, changed, added, removed, and how. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import zip_longest
from typing import Final, Literal, TypeAlias, assert_never

from orchestrator.core.alignment import Pair, align
from orchestrator.core.items import (
    ClientProvider,
    FunctionCall,
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    InvalidToolCall,
    Message,
    OutputItem,
    ProviderInfo,
    Reasoning,
    ReasoningInput,
    TextInput,
    ToolCall,
    origin_of,
)
from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json, parse_object
from orchestrator.core.placed import CallStatus
from orchestrator.core.reading import SERVICE
from orchestrator.core.tools import ToolKey, provider_label, tool_key

Standing: TypeAlias = Literal["equal", "changed", "added", "removed"]
ItemKind: TypeAlias = Literal[
    "text",
    "image",
    "message",
    "reasoning",
    "tool_call",
    "invalid_tool_call",
    "function_call",
    "function_call_output",
]

SHOWN: Final = 2_000
"""Characters of a text that are shown of a change, from a little before the first difference on."""

BEFORE: Final = 200
"""Characters before the first difference."""

_EQUAL: Final = 3
"""The likeness of items that are equal."""


class Missing(Enum):
    """What stands in the place of a value that one side does not have."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
Value: TypeAlias = JsonValue | Literal[Missing.MISSING]


@dataclass(frozen=True, slots=True)
class Change:
    """A value that is not the same on both sides, by its path, such as `arguments.city`; long texts as `SHOWN` says."""

    field: str
    a: Value
    b: Value


@dataclass(frozen=True, slots=True)
class ItemComparison:
    """An item of one side and the one that stands for it on the other; positions count from 0.

    `shared` says that it is one and the same: a branch has it of the response that it left.
    """

    standing: Standing
    kind: ItemKind
    a: int | None
    b: int | None
    changes: tuple[Change, ...] = ()
    tool: str | None = None
    provider: ProviderInfo | None = None
    call_a: str | None = None
    call_b: str | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class ToolComparison:
    """A tool that was offered, and its definitions by digest; None where one side does not offer it."""

    standing: Standing
    tool: str
    provider: ProviderInfo
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class ComparedTool:
    """A tool as one side offers it."""

    tool: str
    provider: ProviderInfo
    digest: str


@dataclass(frozen=True, slots=True)
class BranchNode:
    """What is compared of a response. `forked_from` is whom it left inside it, and how many items it has of that one.

    `facts` are the values of the whole, such as its model and how it ended; `statuses` say of calls, by id, how
    they came to their results, where that is to be compared.
    """

    id: str
    facts: Mapping[str, JsonValue]
    parameters: JsonObject
    input: tuple[InputItem, ...]
    output: tuple[OutputItem, ...]
    tools: tuple[ComparedTool, ...] = ()
    forked_from: tuple[str, int] | None = None
    statuses: Mapping[str, CallStatus] = field(default_factory=dict[str, CallStatus])


@dataclass(frozen=True, slots=True)
class ResponseComparison:
    """A response of one branch, and the one in its place on the other; equal tools are left out."""

    standing: Standing
    a: str | None
    b: str | None
    changes: tuple[Change, ...] = ()
    tools: tuple[ToolComparison, ...] = ()
    input: tuple[ItemComparison, ...] = ()
    output: tuple[ItemComparison, ...] = ()


def compare_branches(a: Sequence[BranchNode], b: Sequence[BranchNode]) -> tuple[ResponseComparison, ...]:
    """What comes after the last common ancestor of two branches: their responses, each with the one in its place."""
    return tuple(compare_responses(one, other) for one, other in zip_longest(a, b))


def compare_responses(a: BranchNode | None, b: BranchNode | None) -> ResponseComparison:
    """Two responses; one that stands alone is `added` or `removed`, with all that is in it."""
    changes = (
        *_member_changes("", a.facts if a else {}, b.facts if b else {}),
        *_member_changes("parameters", a.parameters if a else {}, b.parameters if b else {}),
    )
    shared = _shared(a, b)
    said = _items([_input_item(item) for item in a.input] if a else [], [_input_item(i) for i in b.input] if b else [])
    written = _items(
        [_output_item(item, a.statuses) for item in a.output] if a else [],
        [_output_item(item, b.statuses) for item in b.output] if b else [],
        shared,
    )
    tools = _tools(a.tools if a else (), b.tools if b else ())
    standing: Standing = "equal"
    if a is None or b is None:
        standing = "added" if a is None else "removed"
    elif changes or tools or any(item.standing != "equal" for item in (*said, *written)):
        standing = "changed"
    return ResponseComparison(standing, a and a.id, b and b.id, changes, tools, said, written)


# ---- items ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Item:
    """An item reduced to what counts; `name` tells calls of different tools apart. `text` and `asked` are canonical."""

    kind: ItemKind
    values: Mapping[str, JsonValue]
    text: str
    name: str = ""
    provider: ProviderInfo | None = None
    call_id: str | None = None
    asked: str = ""


def _input_item(item: InputItem) -> _Item:
    origin = origin_of(item)
    match item:
        case TextInput(content, _, speaker):
            values: dict[str, JsonValue] = {"content": content, "speaker": speaker}
            kind: ItemKind = "text"
        case ImageInput(data_url):
            digest = hashlib.sha256(data_url.encode("utf-8", "surrogatepass")).hexdigest()
            values, kind = {"digest": f"sha256:{digest}"}, "image"
        case ReasoningInput(content):
            return _text_item("reasoning", {"content": content})
        case FunctionCallInput(call_id, name, arguments):
            return _function_item(call_id, name, arguments)
        case FunctionOutput(call_id, output, is_error):
            values = {"call_id": call_id, "output": output, "is_error": is_error}
            return _text_item("function_call_output", values)
        case _:
            assert_never(item)
    if origin is not None:
        values["origin"] = f"{origin.kind} {origin.name} of {provider_label(origin.provider)}"
    return _text_item(kind, values)


def _function_item(call_id: str, name: str, arguments: str) -> _Item:
    said = parse_object(arguments)
    values: dict[str, JsonValue] = {"arguments": arguments if said is None else said}
    text = canonical_json(values)
    return _Item("function_call", values, text, name, ClientProvider(), call_id, canonical_json(values["arguments"]))


def _text_item(kind: ItemKind, values: dict[str, JsonValue]) -> _Item:
    return _Item(kind, values, canonical_json(values))


def _output_item(item: OutputItem, statuses: Mapping[str, CallStatus]) -> _Item:
    match item:
        case Message(content):
            return _text_item("message", {"content": content})
        case Reasoning(content):
            return _text_item("reasoning", {"content": content})
        case ToolCall():
            values: dict[str, JsonValue] = {
                "arguments": _asked(item),
                "output": item.output,
                "is_error": item.is_error,
            }
            if item.structured is not None:
                values["structured_output"] = item.structured
            name, kind = item.tool, "tool_call"
        case InvalidToolCall():
            values = {"arguments": item.arguments, "reason": item.reason}
            name, kind = item.tool_name, "invalid_tool_call"
        case FunctionCall(call_id, name, arguments):
            return _function_item(call_id, name, arguments)
        case _:
            assert_never(item)
    asked = canonical_json(values["arguments"])
    if item.call_id in statuses:
        values["status"] = statuses[item.call_id]
    return _Item(kind, values, canonical_json(values), name, item.provider, item.call_id, asked)


def _asked(call: ToolCall) -> JsonObject:
    """Without the id by which the tool that reads on knows an earlier call: every response has ids of its own."""
    own = call.provider == SERVICE
    return {name: value for name, value in call.arguments.items() if not own or name != "call_id"}


def _likeness(one: _Item, other: _Item) -> int:
    """How well one stands for the other, 0 for not at all."""
    calls = one.call_id is not None and other.call_id is not None
    if one.name != other.name or not (calls or one.kind == other.kind):
        return 0
    if one.provider is not None and other.provider is not None and one.provider != other.provider:
        return 0
    if one.kind == other.kind and one.text == other.text:
        return _EQUAL
    return 2 if calls and one.asked == other.asked else 1


def _items(a: Sequence[_Item], b: Sequence[_Item], shared: int | None = None) -> tuple[ItemComparison, ...]:
    pairs = align(a, b, _likeness, _EQUAL) if shared is None else _forked(a, b, shared)
    return tuple(
        _compared(None if x is None else (x, a[x]), None if y is None else (y, b[y]), shared or 0) for x, y in pairs
    )


def _forked(a: Sequence[_Item], b: Sequence[_Item], shared: int) -> list[Pair]:
    """The pairs of a branch and what it left: where it left, one item is put in the place of the other."""
    kept = min(shared, len(a), len(b))
    place = kept < min(len(a), len(b)) and _likeness(a[kept], b[kept]) > 0
    start = kept + place
    rest = align(a[start:], b[start:], _likeness, _EQUAL)
    return [
        *((same, same) for same in range(start)),
        *((None if x is None else x + start, None if y is None else y + start) for x, y in rest),
    ]


def _compared(one: tuple[int, _Item] | None, other: tuple[int, _Item] | None, shared: int) -> ItemComparison:
    x, first = one or (None, None)
    y, second = other or (None, None)
    item = second or first
    assert item is not None
    changes = _member_changes("", first.values if first else {}, second.values if second else {})
    if first and second and first.kind != second.kind:
        changes.insert(0, Change("type", first.kind, second.kind))
    standing: Standing = "changed" if changes else "equal"
    if first is None or second is None:
        standing = "added" if first is None else "removed"
    # A call has one id: where both have it, it is the same one.
    is_same = first is not None and second is not None and first.call_id is not None and first.call_id == second.call_id
    return ItemComparison(
        standing,
        item.kind,
        x,
        y,
        tuple(changes),
        item.name or None,
        item.provider or (first.provider if first else None),
        first.call_id if first else None,
        second.call_id if second else None,
        shared=is_same or (x is not None and x == y and x < shared),
    )


def _shared(a: BranchNode | None, b: BranchNode | None) -> int | None:
    """How many items are one and the same on both sides; None where neither is a branch of the other, nor both of one."""
    if a is None or b is None:
        return None
    for one, other in ((a, b), (b, a)):
        if one.forked_from is not None and one.forked_from[0] == other.id:
            return one.forked_from[1]
    if a.forked_from is not None and b.forked_from is not None and a.forked_from[0] == b.forked_from[0]:
        return min(a.forked_from[1], b.forked_from[1])
    return None


# ---- tools and values -------------------------------------------------------------------------


def _tools(a: Sequence[ComparedTool], b: Sequence[ComparedTool]) -> tuple[ToolComparison, ...]:
    def by_key(tools: Sequence[ComparedTool]) -> dict[ToolKey, ComparedTool]:
        return {tool_key(tool.provider, tool.tool): tool for tool in tools}

    first, second = by_key(a), by_key(b)
    found: list[ToolComparison] = []
    for key, tool in (first | second).items():
        one, other = first.get(key), second.get(key)
        if one and other and one.digest == other.digest:
            continue
        standing: Standing = "changed" if one and other else "removed" if one else "added"
        found.append(ToolComparison(standing, tool.tool, tool.provider, one and one.digest, other and other.digest))
    return tuple(found)


def _changes(path: str, a: Value, b: Value) -> list[Change]:
    """Where two values differ: objects member by member, anything else as a whole."""
    if isinstance(a, dict) and isinstance(b, dict):
        return _member_changes(path, a, b)
    if not isinstance(a, Missing) and not isinstance(b, Missing) and canonical_json(a) == canonical_json(b):
        return []
    return [Change(path, *_shown(a, b))]


def _member_changes(path: str, a: Mapping[str, JsonValue], b: Mapping[str, JsonValue]) -> list[Change]:
    changes: list[Change] = []
    for name in dict.fromkeys((*a, *b)):
        inner = f"{path}.{name}" if path else name
        changes += _changes(inner, a.get(name, MISSING), b.get(name, MISSING))
    return changes


def _shown(a: Value, b: Value) -> tuple[Value, Value]:
    """Both, long texts cut to where they begin to differ."""
    start = 0
    if isinstance(a, str) and isinstance(b, str):
        same = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        start = max(0, same - BEFORE) if max(len(a), len(b)) > SHOWN else 0
    return _cut(a, start), _cut(b, start)


def _cut(value: Value, start: int) -> Value:
    if not isinstance(value, str) or (start == 0 and len(value) <= SHOWN):
        return value
    end = start + SHOWN
    return ("…" if start else "") + value[start:end] + ("…" if end < len(value) else "")
