"""Logins of plugins, encrypted, in a database."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from orchestrator.ports import OAuthCredential, UnreadableCredentialError
from orchestrator.store.database import Database
from orchestrator.store.encryption import MissingKeyError, Sealer
from orchestrator.store.tables import oauth_credentials as table


class SqlOAuthCredentialStore:
    """`OAuthCredentialStore` in SQLite or Postgres."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def read_credential(self, key: str) -> OAuthCredential | None:
        def work(connection: Connection) -> RowMapping | None:
            return connection.execute(select(table).where(table.c.key == key)).mappings().one_or_none()

        row = await self._database.read(work)
        if row is None:
            return None
        plugin_id: str = row["plugin_id"]
        try:
            content = self._sealer.open(row["sealed"], row["encryption_key_id"], key)
        except MissingKeyError as error:
            message = (
                f"The login of '{plugin_id}' cannot be read: {error}. Bring that key back, "
                f"or log in again: orchestrator plugins login {plugin_id}"
            )
            raise UnreadableCredentialError(message) from None
        return OAuthCredential(key, plugin_id, content, row["revision"], row["updated_at"])

    async def write_credential(
        self, key: str, plugin_id: str, content: bytes, at: datetime, *, replaces: int | None
    ) -> int | None:
        sealed, sealed_with = self._sealer.seal(content, key)

        def work(connection: Connection) -> int | None:
            there = connection.execute(select(table.c.revision).where(table.c.key == key).with_for_update())
            revision: int | None = there.scalar_one_or_none()
            if replaces is not None and revision != replaces:
                return None
            values = {
                "plugin_id": plugin_id,
                "sealed": sealed,
                "encryption_key_id": sealed_with,
                "revision": (revision or 0) + 1,
                "claimed_by": None,
                "claimed_until": None,
                "updated_at": at,
            }
            if revision is None:
                connection.execute(insert(table), {"key": key, **values})
            else:
                connection.execute(update(table).where(table.c.key == key).values(values))
            return (revision or 0) + 1

        return await self._database.write(work)

    async def delete_credentials(self, plugin_id: str) -> int:
        def work(connection: Connection) -> int:
            return connection.execute(delete(table).where(table.c.plugin_id == plugin_id)).rowcount

        return await self._database.write(work)

    async def list_credentials(self) -> Sequence[tuple[str, datetime]]:
        def work(connection: Connection) -> list[tuple[str, datetime]]:
            found = connection.execute(select(table.c.plugin_id, table.c.updated_at))
            return sorted((row.plugin_id, row.updated_at) for row in found)

        return await self._database.read(work)

    async def claim_credential(self, key: str, holder: str, now: datetime, until: datetime) -> bool:
        def work(connection: Connection) -> bool:
            free = table.c.claimed_by.is_(None) | (table.c.claimed_until < now)
            mine = update(table).where((table.c.key == key) & free)
            return connection.execute(mine.values(claimed_by=holder, claimed_until=until)).rowcount == 1

        return await self._database.write(work)

    async def release_credential(self, key: str, holder: str) -> None:
        def work(connection: Connection) -> None:
            mine = update(table).where((table.c.key == key) & (table.c.claimed_by == holder))
            connection.execute(mine.values(claimed_by=None, claimed_until=None))

        await self._database.write(work)
