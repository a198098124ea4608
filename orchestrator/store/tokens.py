"""API tokens, in a database."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, select, update

from orchestrator.ports import Token
from orchestrator.store import rows
from orchestrator.store.database import Database
from orchestrator.store.tables import tokens


class SqlTokenStore:
    """`TokenStore` in SQLite or Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_token(self, token: Token, secret_digest: bytes) -> None:
        async with self._database.write() as connection:
            await connection.execute(insert(tokens), rows.token_row(token, secret_digest))

    async def find_token(self, token_id: str) -> tuple[Token, bytes] | None:
        async with self._database.read() as connection:
            found = await connection.execute(select(tokens).where(tokens.c.id == token_id))
            row = found.mappings().one_or_none()
            return None if row is None else (rows.token(row), row["secret_digest"])

    async def list_tokens(self) -> Sequence[Token]:
        """Every token, revoked ones too, in the order in which they were made."""
        async with self._database.read() as connection:
            found = await connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))
            return [rows.token(row) for row in found.mappings()]

    async def revoke_token(self, token_id: str, at: datetime) -> bool:
        async with self._database.write() as connection:
            result = await connection.execute(
                update(tokens).where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None)).values(revoked_at=at)
            )
            return result.rowcount == 1
