"""Does a link prove its row? The judgement of one link, wherever it was read from. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.store import audit_links as links
from orchestrator.store.audit_readable import UNREADABLE

REMOVED: Final = "the journal has no such call any more: its row was removed"
NOT_DECIDED: Final = "the chain has a decision about it, and there is none any more"
UNKNOWN: Final = "it is a link of a kind that this version does not know: {}"
DECISION: Final = "the reason or the arguments of the decision about it are not those that were chained"
NOT_SETTLED: Final = "the journal says that it is not settled, the chain has its outcome"
CHANGED: Final = "its row in the journal, or this link, is not what was chained"
ARGUMENTS: Final = "its arguments are not those that were chained"
OUTPUT: Final = "its output is not the one that was chained"
ADDED: Final = "it has content, although the chain says that none was kept"
UNSALTED: Final = "its content has lost the salt that proves it"
NOT_READ: Final = "its row in the journal, or this link, has what cannot be read, and so is not what was chained"


@dataclass(frozen=True, slots=True)
class ChainLink:
    """A link as it stands in the chain."""

    owner: str
    sequence: int
    kind: str
    call_id: str
    content_digest: bytes | None
    previous: bytes
    hash: bytes


def link_problem(link: ChainLink, call: Mapping[str, Any] | None) -> str | None:
    """What is wrong with `link`, seen beside its call's row.

    `call` has the columns of the journal: texts as they were written, `arguments` as their canonical
    text, and `the_owner`. Any value may be of any type.
    """
    try:
        return _link_problem(link, call)
    except UNREADABLE:
        return NOT_READ


def _link_problem(link: ChainLink, call: Mapping[str, Any] | None) -> str | None:
    if call is None:
        return REMOVED
    if call["the_owner"] != link.owner:
        return CHANGED
    if link.kind not in links.FACTS:
        return UNKNOWN.format(link.kind)
    if link.kind == "settled" and call["settled_at"] is None:
        return NOT_SETTLED
    if link.kind == "decided" and call["decided_at"] is None:
        return NOT_DECIDED
    facts = links.FACTS[link.kind](call, link.content_digest)
    if links.link_hash(link.owner, link.sequence, link.previous, link.kind, facts) != link.hash:
        return CHANGED
    return _content_problem(link, call)


def _content_problem(link: ChainLink, call: Mapping[str, Any]) -> str | None:
    salt = call[SALTS[link.kind]]
    if link.kind == "journaled":
        content = links.journaled_content(call, call["arguments"])
        wrong = ARGUMENTS
    elif link.kind == "decided":
        content = links.decided_content(call, call["decision_arguments"])
        wrong = DECISION
    else:
        content = links.settled_content(call)
        wrong = OUTPUT
    if salt is not None:
        return wrong if link.content_digest != links.salted_digest(salt, content) else None
    # Without a salt there is nothing to prove: deleted, or never kept.
    if any(content.values()):
        return ADDED if link.content_digest is None else UNSALTED
    return None


def is_erased(link: ChainLink, call: Mapping[str, Any]) -> bool:
    """Whether the content that `link` has a digest of is gone."""
    return call[SALTS[link.kind]] is None and link.content_digest is not None


SALTS: Final = {"journaled": "arguments_salt", "decided": "decision_salt", "settled": "output_salt"}
