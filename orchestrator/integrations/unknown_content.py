"""Parts of a server's answer whose type the SDK does not know; it would refuse the whole answer for one of them.

Later revisions of the protocol add types. On the way in a known part stands in for such a one, so that the others
arrive, and what reads the answer gets back what was sent. Pure.
"""

from typing import Any, Final, cast

from orchestrator.core.json_types import JsonObject, JsonValue

KNOWN_TYPES: Final = frozenset({"text", "image", "audio", "resource_link", "resource"})


class StandIn(dict[str, Any]):
    """An empty text in the place of a part; `sent` is the part. No server can send one."""

    def __init__(self, sent: JsonObject) -> None:
        super().__init__(type="text", text="")
        self.sent = sent


def admit_unknown_content(result: dict[str, Any]) -> None:
    """Let stand-ins take the places of unknown parts in `result`: of a tool's content, or of a prompt's messages."""
    content = result.get("content")
    if isinstance(content, list):
        result["content"] = [_admitted(part) for part in cast("list[Any]", content)]
    messages = result.get("messages")
    for message in cast("list[Any]", messages) if isinstance(messages, list) else ():
        if isinstance(message, dict) and "content" in message:
            known = cast("dict[str, Any]", message)
            known["content"] = _admitted(known["content"])


def as_sent(part: JsonValue) -> JsonValue:
    """The part as the server sent it."""
    return part.sent if isinstance(part, StandIn) else part


def _admitted(part: object) -> object:
    if not isinstance(part, dict):
        return part
    known = cast("JsonObject", part)
    kind = known.get("type")
    return StandIn(known) if isinstance(kind, str) and kind not in KNOWN_TYPES else known
