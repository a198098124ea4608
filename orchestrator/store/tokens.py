"""API tokens, in a database."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from orchestrator.ports import Token
from orchestrator.store import rows
from orchestrator.store.database import Database
from orchestrator.store.tables import tokens


class SqlTokenStore:
    """`TokenStore` in SQLite or Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_token(self, token: Token, secret_digest: bytes) -> None:
        def work(connection: Connection) -> None:
            connection.execute(insert(tokens), rows.token_row(token, secret_digest))

        await self._database.write(work)

    async def find_token(self, token_id: str) -> tuple[Token, bytes] | None:
        def work(connection: Connection) -> tuple[Token, bytes] | None:
            row = connection.execute(select(tokens).where(tokens.c.id == token_id)).mappings().one_or_none()
            return None if row is None else (rows.token(row), row["secret_digest"])

        return await self._database.read(work)

    async def list_tokens(self) -> Sequence[Token]:
        """Every token, revoked ones too, in the order in which they were made."""

        def work(connection: Connection) -> list[Token]:
            found = connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))
            return [rows.token(row) for row in found.mappings()]

        return await self._database.read(work)

    async def revoke_token(self, token_id: str, at: datetime) -> bool:
        def work(connection: Connection) -> bool:
            unrevoked = (tokens.c.id == token_id) & tokens.c.revoked_at.is_(None)
            return connection.execute(update(tokens).where(unrevoked).values(revoked_at=at)).rowcount == 1

        return await self._database.write(work)
