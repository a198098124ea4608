"""The links of the audit chain: what each commits to, and how it is hashed. Pure.

A link is `sha256(JCS(entry))`, where JCS is the canonical JSON of RFC 8785 and the entry holds the
facts of one event in the life of a call together with the hash of the owner's link before it. Content
(arguments, output) is in it only as a salted digest, so that it can be deleted, salt and all, without
breaking the chain or letting anybody guess short values.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
import rfc8785

from orchestrator.core.json_types import JsonValue, canonical_json
from orchestrator.core.storable_text import storable

LinkKind: TypeAlias = Literal["journaled", "decided", "settled"]
KINDS: Final[tuple[LinkKind, ...]] = ("journaled", "decided", "settled")

VERSION: Final = 1
SALT_BYTES: Final = 16
NO_LINK: Final = bytes(32)
"""What stands for the link before the first one."""

SERVICE: Final = "@service"
"""The chain of what happens to the journal as a whole: checkpoints of the owners' heads, readings, deletions."""

SERVER: Final = ("server_address", "server_name", "server_version")
"""The columns that say which server was called."""

# For texts, whole numbers, booleans and null under ASCII keys this writes what RFC 8785 asks for; a
# test holds it against the reference. It is 30 times as fast.
_FLAT: Final = msgspec.json.Encoder(order="sorted")


def link_hash(owner: str, sequence: int, previous: bytes, kind: str, facts: Mapping[str, Any]) -> bytes:
    """The hash of a link. `facts` are texts, whole numbers, booleans and None, by ASCII names."""
    entry = {
        "version": VERSION,
        "owner": storable(owner),
        "sequence": sequence,
        "previous": previous.hex(),
        "kind": kind,
        **facts,
    }
    return hashlib.sha256(_FLAT.encode(entry)).digest()


def salted_digest(salt: bytes, content: Mapping[str, str | None]) -> bytes:
    """What a link says of content: only who has the salt can tell whether some content is the one."""
    return hashlib.sha256(salt + _FLAT.encode(content)).digest()


def argument_text(arguments: JsonValue) -> str | None:
    """`arguments` as the digest has them: RFC 8785, or the house's canonical text where that has no word for them."""
    if arguments is None:
        return None
    try:
        return (_FLAT.encode(arguments) if _is_plain(arguments) else rfc8785.dumps(arguments)).decode()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        # Whole numbers beyond 2^53 and lone surrogates are no I-JSON; models write them all the same.
        return storable(canonical_json(arguments))


_MOST_EXACT: Final = 2**53
"""Beyond it a whole number is none that every reader of JSON has exactly: RFC 8785 has no word for it."""


_MOST_LEVELS: Final = 16


def _is_plain(value: JsonValue, level: int = 0) -> bool:
    """Whether nothing is in `value` but what the fast encoder writes as RFC 8785 asks for; not where it is deep."""
    if level > _MOST_LEVELS:
        return False
    match value:
        case dict():
            return all(name.isascii() and _is_plain(inner, level + 1) for name, inner in value.items())
        case list():
            return all(_is_plain(inner, level + 1) for inner in value)
        case bool() | str() | None:
            return True
        case int():
            return -_MOST_EXACT < value < _MOST_EXACT
        case float():
            return False


def journaled_facts(row: Mapping[str, Any], content: bytes | None) -> dict[str, Any]:
    """What the link of a journaled call commits to. `row` has the columns of the journal."""
    known = row["tool"] is not None
    # Left out where it is not known, so that what was chained before it was written down is proved as it was.
    server = {name: storable(row[name]) for name in SERVER if row.get(name) is not None}
    return {
        **server,
        "call_id": row["call_id"],
        "response_id": row["response_id"],
        "position": row["position"],
        "turn": row["turn"],
        "token_id": row["token_id"],
        "model": storable(row["model_key"]),
        # A name that the model invented is content, and goes when that is deleted.
        "model_name": storable(row["model_name"]) if known else None,
        "tool": _text(row["tool"]),
        "provider_type": row["provider_type"],
        "provider_name": _text(row["provider_name"]),
        "definition_digest": row["definition_digest"],
        "created_at": moment_text(row["created_at"]),
        "content": None if content is None else content.hex(),
    }


def settled_facts(row: Mapping[str, Any], content: bytes | None) -> dict[str, Any]:
    """What the link of a settled call commits to."""
    return {
        "call_id": row["call_id"],
        "status": row["status"],
        "is_error": bool(row["is_error"]),
        "duration_ms": row["duration_ms"],
        "settled_at": moment_text(row["settled_at"]),
        "content": None if content is None else content.hex(),
    }


def decided_facts(row: Mapping[str, Any], content: bytes | None) -> dict[str, Any]:
    """What the link of a decision about a call commits to; nobody decided where the time for it was over."""
    return {
        "call_id": row["call_id"],
        "decision": row["decision"],
        "decided_by": row["decided_by"],
        "token_id": row["decided_token_id"],
        "decided_at": moment_text(row["decided_at"]),
        "content": None if content is None else content.hex(),
    }


def journaled_content(row: Mapping[str, Any], arguments: str | None) -> dict[str, str | None]:
    """The content of a journaled call; `arguments` are the canonical text that `argument_text` makes."""
    return {
        "arguments": arguments,
        "arguments_text": _text(row["arguments_text"]),
        "model_name": storable(row["model_name"]) if row["tool"] is None else None,
        "reason": _text(row["reason"]),
    }


def decided_content(row: Mapping[str, Any], arguments: str | None) -> dict[str, str | None]:
    """The content of a decision: why a call was denied, or the arguments with which it runs instead of the model's."""
    return {"arguments": arguments, "reason": _text(row["decision_reason"])}


def settled_content(row: Mapping[str, Any]) -> dict[str, str | None]:
    """The content of a settled call."""
    return {"output": _text(row["output"]), "structured": _text(row["structured"]), "shown": _text(row["shown"])}


FACTS: Final[Mapping[str, Callable[[Mapping[str, Any], bytes | None], dict[str, Any]]]] = {
    "journaled": journaled_facts,
    "decided": decided_facts,
    "settled": settled_facts,
}
"""What a link commits to, by its kind."""


def event_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the link of an event of the service commits to."""
    return {
        "at": moment_text(row["at"]),
        "actor": storable(row["actor"]),
        "token_id": row["token_id"],
        "details": storable(row["details"]),
    }


def moment_text(moment: datetime | str) -> str:
    """A moment in UTC to the microsecond, `2026-03-01T12:00:00.123456Z`; a text is one from an SQLite file, or this.

    Raises:
        ValueError: it is another text.
    """
    if isinstance(moment, str):
        if moment[10:11] + moment[26:] not in (" ", "TZ"):
            raise ValueError("a moment is written in another way")
        return f"{moment[:10]}T{moment[11:26]}Z"
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def _text(value: str | None) -> str | None:
    return None if value is None else storable(value)
