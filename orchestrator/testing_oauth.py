"""The twin of `OAuthCredentialStore`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.ports import OAuthCredential


@dataclass(slots=True)
class _Row:
    credential: OAuthCredential
    claimed_by: str | None = None
    claimed_until: datetime | None = None


class MemoryOAuthCredentialStore:
    """`OAuthCredentialStore` without a database, and so without encryption."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}

    async def read_credential(self, key: str) -> OAuthCredential | None:
        row = self._rows.get(key)
        return None if row is None else row.credential

    async def write_credential(
        self, key: str, plugin_id: str, content: bytes, at: datetime, *, replaces: int | None
    ) -> int | None:
        row = self._rows.get(key)
        revision = None if row is None else row.credential.revision
        if replaces is not None and revision != replaces:
            return None
        following = (revision or 0) + 1
        self._rows[key] = _Row(OAuthCredential(key, plugin_id, content, following, at))
        return following

    async def delete_credentials(self, plugin_id: str) -> int:
        gone = [key for key, row in self._rows.items() if row.credential.plugin_id == plugin_id]
        for key in gone:
            del self._rows[key]
        return len(gone)

    async def list_credentials(self) -> Sequence[tuple[str, datetime]]:
        return sorted((row.credential.plugin_id, row.credential.updated_at) for row in self._rows.values())

    async def claim_credential(self, key: str, holder: str, now: datetime, until: datetime) -> bool:
        row = self._rows.get(key)
        if row is None or (row.claimed_until is not None and row.claimed_until >= now):
            return False
        row.claimed_by, row.claimed_until = holder, until
        return True

    async def release_credential(self, key: str, holder: str) -> None:
        row = self._rows.get(key)
        if row is not None and row.claimed_by == holder:
            row.claimed_by = row.claimed_until = None
