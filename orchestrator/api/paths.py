"""Paths in which a name may have a slash: servers decode `%2F` before anybody can tell it from the path's own."""

from typing import Final
from urllib.parse import unquote

from litestar.types import HTTPScope

NAMED: Final = "/api/v1/plugins/"
"""Below this stand labels of plugins, and names of tools and prompts."""


def keep_slashes(scope: HTTPScope) -> None:
    """Let `%2F` within a name reach the routes as `%2F`; what `%252F` is by then as well.

    `mcp%2F<label>` stays what it is: a plugin's id.
    """
    raw = scope["raw_path"].decode("latin-1") if "raw_path" in scope else ""  # not every server has it
    if "%2f" not in raw.lower() or not scope["path"].startswith(NAMED):
        return
    head, _, rest = raw.partition("/plugins/")
    if rest[:6].lower() == "mcp%2f":
        rest = f"mcp/{rest[6:]}"
    parts = (unquote(part).replace("/", "%2F") for part in rest.split("/"))
    scope["path"] = f"{unquote(head)}/plugins/{'/'.join(parts)}"
