"""Paths in which a name may have a slash: servers decode `%2F` before anybody can tell it from the path's own."""

from typing import Final
from urllib.parse import unquote

from litestar.types import HTTPScope

NAMED: Final = "/api/v1/plugins/"
"""Below this stand labels of plugins, and names of tools and prompts."""


MODELS: Final = "/v1/models/"
"""Below this stand keys of models, which have slashes of their own."""


def other_than_written(scope: HTTPScope) -> bool:
    """Whether a path could be taken for another one than it is written as: it has an empty part, or hides a slash.

    A rule of a proxy for one path must not be got around by another spelling of it. Names may have `%2F` where
    they stand, and keys of models whatever slashes they like.
    """
    raw = scope["raw_path"].decode("latin-1") if "raw_path" in scope else ""
    if raw.startswith(MODELS) and not raw.startswith(f"{MODELS}/"):
        return False
    if "//" in raw:
        return True
    return "%2f" in raw.lower() and not raw.startswith(NAMED)


def keep_slashes(scope: HTTPScope) -> None:
    """Let `%2F` within a name reach the routes as `%2F`; what `%252F` is by then as well.

    `mcp%2F<label>` stays what it is: a plugin's id.
    """
    raw = scope["raw_path"].decode("latin-1") if "raw_path" in scope else ""  # not every server has it
    if "%2f" not in raw.lower() or not raw.startswith(NAMED):
        return
    rest = raw.removeprefix(NAMED)
    if rest[:6].lower() == "mcp%2f":
        rest = f"mcp/{rest[6:]}"
    parts = (unquote(part).replace("/", "%2F") for part in rest.split("/"))
    scope["path"] = NAMED + "/".join(parts)
