"""What an API token may do: its permissions as people write them, and what follows from them.

Source: section 7 of the contract. `plugins` alone is every plugin with every tool; `plugins:mcp/notes` one
plugin, `plugins:mcp/notes/read_*` some of its tools; `*`, `?` and `[…]` stand for what they do in file names.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final, Literal, TypeAlias, cast, get_args

Permission: TypeAlias = Literal[
    "chat", "models.read", "models.manage", "plugins", "ephemeral_mcp", "audit.read", "audit.read_all", "admin"
]
PERMISSIONS: Final = cast("tuple[Permission, ...]", get_args(Permission))

ALL_TOOLS: Final = ("*",)
_PLUGIN_GRANT: Final = "plugins:"
_PLUGIN_ID: Final = "mcp/"


def permission_problem(text: str) -> str | None:
    """Why `text` is no permission, for who wrote it; None where it is one."""
    if text in PERMISSIONS:
        return None
    if not text.startswith(_PLUGIN_GRANT):
        return f"There is no permission '{text}', only: {', '.join(PERMISSIONS)}, and 'plugins:mcp/LABEL/TOOL'."
    plugin, tool = _plugin_and_tool(text)
    if not plugin.startswith(_PLUGIN_ID) or plugin == _PLUGIN_ID or not tool:
        return (
            f"'{text}' names no plugin. Write 'plugins:mcp/LABEL' for all its tools, or 'plugins:mcp/LABEL/TOOL' "
            "for one; '*' stands for anything in a label and in a tool."
        )
    return None


def allows(permissions: Iterable[str], wanted: Permission) -> bool:
    """Whether they allow `wanted`, for `plugins` of at least one plugin."""
    held = set(permissions)
    if "admin" in held or wanted in held:
        return True
    return wanted == "plugins" and any(held_one.startswith(_PLUGIN_GRANT) for held_one in held)


def plugin_tools(permissions: Iterable[str], plugin_id: str) -> tuple[str, ...]:
    """Patterns of the tools of `plugin_id` that may be called, sorted; none where the plugin may not be used."""
    held = set(permissions)
    if held & {"admin", "plugins"}:
        return ALL_TOOLS
    granted = (_plugin_and_tool(text) for text in held if text.startswith(_PLUGIN_GRANT))
    wanted = normal_label(plugin_id)
    tools = {tool for plugin, tool in granted if fnmatchcase(wanted, normal_label(plugin))}
    return ALL_TOOLS if "*" in tools else tuple(sorted(tools))


def tool_is_granted(patterns: Iterable[str], tool: str) -> bool:
    """Whether one of `patterns` is the tool's name."""
    return any(fnmatchcase(tool, pattern) for pattern in patterns)


def _plugin_and_tool(grant: str) -> tuple[str, str]:
    """The plugin's id and the tool's pattern; a tool's name may hold slashes, a label may not."""
    label, slash, tool = grant.removeprefix(_PLUGIN_GRANT).removeprefix(_PLUGIN_ID).partition("/")
    prefix = _PLUGIN_ID if grant.startswith(_PLUGIN_GRANT + _PLUGIN_ID) else ""
    return prefix + label, tool if slash else "*"


def normal_label(plugin_id: str) -> str:
    """As `mcp.json` compares labels: whatever their case, `_` and `-` alike."""
    return plugin_id.casefold().replace("_", "-")
