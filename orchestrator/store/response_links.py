"""The links of a chain of responses: what a response was asked, whom it continues, and what it ended with. Pure.

They are hashed as the links of calls are (`audit_links.py`), in chains of their own. What people and models
write is in a link only as a salted digest; each item of it by the digest of its text, so that to prove a
response nobody holds more than one of its texts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from orchestrator.core.json_types import canonical_json
from orchestrator.core.storable_text import storable
from orchestrator.store.audit_links import argument_text, moment_text
from orchestrator.store.rows import content_digest

ResponseLinkKind: TypeAlias = Literal["opened", "ended"]
KINDS: Final[tuple[ResponseLinkKind, ...]] = ("opened", "ended")

SALTS: Final = {"opened": "input_salt", "ended": "output_salt"}
"""Which column of the response has the salt of a link's content."""


def opened_facts(row: Mapping[str, Any], content: bytes | None) -> dict[str, Any]:
    """What the link of a response that begins commits to. `row` has the columns of the response."""
    return {
        "response_id": row["id"],
        # The row of a parent may be removed: the child keeps its id.
        "previous_response_id": row["previous_response_id"] or row["removed_parent_id"],
        "forked_from": row["forked_from"],
        "forked_position": row["forked_position"],
        "forked_rest": row["forked_rest"],
        "replay_of": row["replay_of"],
        "token_id": row["token_id"],
        "model": storable(row["model_key"]),
        "created_at": moment_text(row["created_at"]),
        "content": None if content is None else content.hex(),
    }


def ended_facts(row: Mapping[str, Any], content: bytes | None) -> dict[str, Any]:
    """What the link of a response that is over commits to."""
    return {
        "response_id": row["id"],
        "status": row["status"],
        # Why it is incomplete is one of a few words of ours; why it was cancelled is content.
        "reason": row["ending_reason"] if row["status"] == "incomplete" else None,
        "error": row["error_kind"],
        "ended_at": moment_text(row["ended_at"]),
        "content": None if content is None else content.hex(),
    }


def opened_content(row: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """The content of a response that begins; `items` are the rows of its input, in order."""
    said = [
        [item["position"], item["type"], _digest(item), argument_text(item["origin"]), argument_text(item["details"])]
        for item in items
    ]
    return {
        "system_prompt": _text(row["system_prompt"]),
        "parameters": argument_text(row["parameters"]),
        "input": canonical_json([*said]) if said else None,
    }


def ended_content(row: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """The content of a response that is over; `items` are the rows of its output, in order."""
    written = [[item["position"], item["turn"], item["type"], _digest(item), item["call_id"]] for item in items]
    return {
        "output": canonical_json([*written]) if written else None,
        "cancel_reason": _text(row["ending_reason"]) if row["status"] == "cancelled" else None,
        "error_message": _text(row["error_message"]),
        "error_param": _text(row["error_param"]),
    }


FACTS: Final[Mapping[str, Callable[[Mapping[str, Any], bytes | None], dict[str, Any]]]] = {
    "opened": opened_facts,
    "ended": ended_facts,
}
CONTENTS: Final[Mapping[str, Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], dict[str, str | None]]]] = {
    "opened": opened_content,
    "ended": ended_content,
}
"""What a link commits to, by its kind: itself, and as a digest."""


def _digest(item: Mapping[str, Any]) -> str | None:
    """The digest of an item's text, which is that of its blob where the text is long."""
    text: str | None = item["content"]
    return item.get("blob_digest") if text is None else content_digest(text)


def _text(value: str | None) -> str | None:
    return None if value is None else storable(value)
