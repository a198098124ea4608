"""Changes the text of an `mcp.json` and leaves the rest of it as it was: comments, order, indents. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Final, cast

from orchestrator.core.json_types import JsonObject
from orchestrator.integrations.mcp_json import PLUGIN_PREFIX, SERVERS_KEYS, normal_plugin_id
from orchestrator.integrations.mcp_json_text import (
    Member,
    after_blank,
    members_of,
    plain_json,
    read_json,
    without_comments,
)

_INDENT: Final = "  "


class EditProblem(Exception):
    """The text is not an `mcp.json` that can be changed; the message says why."""


def same_label(one: str, other: str) -> bool:
    """Whether both labels name the same plugin."""
    return normal_plugin_id(PLUGIN_PREFIX + one) == normal_plugin_id(PLUGIN_PREFIX + other)


def installed(text: str) -> dict[str, object]:
    """The entries that the text has, by label; an empty text has none.

    Raises:
        EditProblem: it is not the text of an `mcp.json`.
    """
    if not text.strip():
        return {}
    try:
        document = read_json(text)
    except ValueError as error:
        raise EditProblem(f"it is not valid JSON ({error})") from None
    if not isinstance(document, dict):
        raise EditProblem("it must hold a JSON object")
    found: dict[str, object] = {}
    for key in SERVERS_KEYS:
        servers: object = cast(dict[str, object], document).get(key, {})
        if not isinstance(servers, dict):
            raise EditProblem(f"'{key}' must be an object")
        found.update(cast(dict[str, object], servers))
    return found


def with_servers(text: str, entries: Mapping[str, JsonObject]) -> str:
    """`text` with these entries, each in the place of the one of the same label, or after the others.

    Raises:
        EditProblem: it is not the text of an `mcp.json`.
    """
    if not text.strip():
        return json.dumps({"mcpServers": dict(entries)}, indent=2, ensure_ascii=False) + "\n"
    for label, entry in entries.items():
        known = next((other for other in installed(text) if same_label(label, other)), None)
        text = _with_server(text, label, entry, known)
    return text


def without_servers(text: str, labels: Iterable[str]) -> str:
    """`text` without the entries of these labels.

    Raises:
        EditProblem: it is not the text of an `mcp.json`.
    """
    for label in labels:
        for known in [other for other in installed(text) if same_label(label, other)]:
            container = _container_of(text, known)
            text = _removed(text, members_of(text, container.value_start), known)
    return text


def _with_server(text: str, label: str, entry: JsonObject, known: str | None) -> str:
    if known is not None:
        members = members_of(text, _container_of(text, known).value_start)
        member = next(found for found in members if found.key == known)
        indent = _indent_at(text, member.start)
        return (
            text[: member.start]
            + f"{json.dumps(label, ensure_ascii=False)}: {_rendered(entry, indent)}"
            + text[member.end :]
        )
    root = _root(text)
    members = members_of(text, root)
    containers = {member.key: member for member in members}
    container = next((containers[key] for key in SERVERS_KEYS if key in containers), None)
    if container is None:
        return _inserted(text, root, SERVERS_KEYS[0], {label: entry})
    return _inserted(text, container.value_start, label, entry)


def _root(text: str) -> int:
    installed(text)
    return after_blank(plain_json(text), 0)


def _container_of(text: str, label: str) -> Member:
    for member in members_of(text, _root(text)):
        if member.key in SERVERS_KEYS and any(one.key == label for one in members_of(text, member.value_start)):
            return member
    raise EditProblem(f"there is no server '{label}'")


def _end_of(text: str, start: int) -> int:
    """Where the object that begins at `start` is closed."""
    members = members_of(text, start)
    return after_blank(plain_json(text), members[-1].end if members else start + 1)


def _inserted(text: str, start: int, key: str, value: JsonObject) -> str:
    members = members_of(text, start)
    close = _end_of(text, start)
    outer = _indent_at(text, start)
    indent = _indent_at(text, members[-1].start) if members else outer + _INDENT
    if members and not _starts_its_line(text, members[-1].start):
        indent = outer + _INDENT
    member = f"{json.dumps(key, ensure_ascii=False)}: {_rendered(value, indent)}"
    if not members:
        return f"{text[: start + 1]}{text[start + 1 : close].rstrip()}\n{indent}{member}\n{outer}{text[close:]}"
    last = members[-1].end
    comma = without_comments(text)[last:close].find(",")
    head = text[:last] + ("," if comma < 0 else "")
    return f"{head}{text[last:close].rstrip()}\n{indent}{member}\n{outer}{text[close:]}"


def _removed(text: str, members: list[Member], label: str) -> str:
    place = next(index for index, member in enumerate(members) if member.key == label)
    member = members[place]
    bare = without_comments(text)
    start, end = member.start, member.end
    following = after_blank(bare, end)
    if bare[following] == ",":
        end = following + 1
    elif place > 0:
        # The last one: the comma before it goes as well.
        comma = bare.rfind(",", members[place - 1].end, start)
        text = text[:comma] + text[comma + 1 :]
        start, end = start - 1, end - 1
    line_start = text.rfind("\n", 0, start)
    line_end = text.find("\n", end)
    if line_start >= 0 and line_end >= 0 and not text[line_start:start].strip() and not text[end:line_end].strip():
        return text[:line_start] + text[line_end:]
    return text[:start].rstrip(" ") + text[end:]


def _starts_its_line(text: str, place: int) -> bool:
    return not text[text.rfind("\n", 0, place) + 1 : place].strip()


def _indent_at(text: str, place: int) -> str:
    line = text[text.rfind("\n", 0, place) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _rendered(value: JsonObject, indent: str) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", f"\n{indent}")
