"""Takes out of a server's list the tools that cannot be used, so that one of them takes no other down. Pure."""

import json
from typing import Any, Final, cast

from mcp_types import Tool
from pydantic import ValidationError

from orchestrator.core.schema_bounds import schema_excess

LONGEST_NAME: Final = 256
MAX_SCHEMA_BYTES: Final = 1024 * 1024
"""Of one schema as JSON: the model reads all of it in every turn."""


def usable_tools(listed: list[Any]) -> tuple[list[Any], tuple[str, ...]]:
    """The tools of `listed` that can be used, and of each other one a sentence that names it and says why not."""
    usable: list[Any] = []
    problems: list[str] = []
    for place, tool in enumerate(listed):
        problem = _problem(tool)
        if problem is None:
            usable.append(tool)
        else:
            problems.append(f"the tool {_shown_name(tool, place)} is withheld: {problem}")
    return usable, tuple(problems)


def _shown_name(tool: object, place: int) -> str:
    name = cast("dict[str, object]", tool).get("name") if isinstance(tool, dict) else None
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[:80]) if isinstance(name, str) else ""
    return f"'{shown}'" if shown else f"at place {place + 1}"


def _problem(tool: object) -> str | None:
    if not isinstance(tool, dict):
        return "it is not an object"
    known = cast("dict[str, Any]", tool)
    name = known.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        return f"its name is not printable text of 1 to {LONGEST_NAME} characters"
    for key, needed in (("inputSchema", True), ("outputSchema", False)):
        schema = known.get(key)
        if schema is None and not needed:
            continue
        if schema is None:
            return f"it has no {key}"
        if not isinstance(schema, dict):
            return f"its {key} is not an object"
        excess = schema_excess(cast("dict[str, Any]", schema))
        if excess is not None:
            return f"its {key} cannot be used: {excess}"
        if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
            return f"its {key} cannot be used: it has more than {MAX_SCHEMA_BYTES} bytes"
    if known["inputSchema"].get("type", "object") != "object":
        return "its inputSchema is not that of an object"
    return _unreadable(known)


def _unreadable(tool: dict[str, Any]) -> str | None:
    try:
        Tool.model_validate(tool, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"it does not follow the protocol ({'.'.join(str(part) for part in first['loc'])}: {first['msg']})"
    return None
