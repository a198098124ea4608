"""Whom a server works for: so that one that keeps its state in files can keep owners apart."""

import hashlib
from typing import Final

LOCAL_OWNER: Final = "local"
"""Everybody, where nobody has to authenticate: such a server is told of no owner."""
OWNER_VARIABLE: Final = "ORCHESTRATOR_OWNER"


def owner_environment(owner: str | None) -> dict[str, str]:
    """What the process of a server sees of its owner: an opaque id, the same for ever; nothing where all share it."""
    if owner is None or owner == LOCAL_OWNER:
        return {}
    return {OWNER_VARIABLE: hashlib.sha256(b"owner of plugins\0" + owner.encode()).hexdigest()[:32]}
