"""API tokens, in a database."""

import hmac
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from typing import Final

import structlog
from sqlalchemy import ColumnElement, Connection, RowMapping, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import Admission, RunClaim, Token, TokenLimits
from orchestrator.store import token_counts
from orchestrator.store.database import Database
from orchestrator.store.encryption import MissingKeyError, Sealer
from orchestrator.store.rows import Row
from orchestrator.store.tables import tokens

_CONTEXT: Final = "api token"
_FIND: Final = select(tokens).where(tokens.c.id == bindparam("token_id"))


log = structlog.stdlib.get_logger(__name__)


class SqlTokenStore:
    """`TokenStore` in SQLite or Postgres; `sealer` has the key of the digests."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def create_token(self, token: Token, secret_digest: bytes) -> None:
        row = self._row(token, secret_digest)

        def work(connection: Connection) -> None:
            valid = (tokens.c.name == token.name) & _valid(token.created_at)
            if connection.execute(select(tokens.c.id).where(valid).limit(1)).first() is not None:
                raise _name_taken(token.name)
            _insert(connection, row, token)

        await self._database.write(work)

    async def replace_token(self, old_id: str, token: Token, secret_digest: bytes, ends_at: datetime) -> bool:
        new = self._row(token, secret_digest)

        def work(connection: Connection) -> bool:
            row = connection.execute(_FIND.with_for_update(), {"token_id": old_id}).mappings().one_or_none()
            old = None if row is None else _token(row)
            if old is None or not old.is_valid(token.created_at):
                return False
            ends = ends_at if old.expires_at is None else min(ends_at, old.expires_at)
            ended = replace(old, revoked_at=ends) if ends <= token.created_at else replace(old, expires_at=ends)
            change = {"revoked_at": ended.revoked_at, "expires_at": ended.expires_at, "live_name": None}
            connection.execute(update(tokens).where(tokens.c.id == old_id).values(change))
            _insert(connection, new, token)
            return True

        return await self._database.write(work)

    async def find_token(self, token_id: str) -> Token | None:
        row = await self._find(token_id)
        return None if row is None else _token(row)

    async def match_token(self, token_id: str, secret_digest: bytes) -> Token | None:
        row = await self._find(token_id)
        if row is None:
            return None
        kept, made_with = row["secret_digest"], row["secret_key_id"]
        try:
            matches = (
                hmac.compare_digest(kept, secret_digest)
                if made_with is None
                else self._sealer.matches(kept, made_with, secret_digest, _CONTEXT)
            )
        except MissingKeyError as error:
            log.error("an API token cannot be checked", token_id=token_id, reason=str(error))
            return None
        return _token(row) if matches else None

    async def _find(self, token_id: str) -> RowMapping | None:
        def work(connection: Connection) -> RowMapping | None:
            return connection.execute(_FIND, {"token_id": token_id}).mappings().one_or_none()

        return await self._database.read(work)

    async def list_tokens(self) -> Sequence[Token]:
        def work(connection: Connection) -> list[Token]:
            found = connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))
            return [_token(row) for row in found.mappings()]

        return await self._database.read(work)

    async def revoke_token(self, token_id: str, at: datetime) -> bool:
        def work(connection: Connection) -> bool:
            unrevoked = (tokens.c.id == token_id) & tokens.c.revoked_at.is_(None)
            ended = update(tokens).where(unrevoked).values(revoked_at=at, live_name=None)
            return connection.execute(ended).rowcount == 1

        return await self._database.write(work)

    async def revoke_named(self, name: str, at: datetime) -> Sequence[Token]:
        valid = (tokens.c.name == name) & _valid(at)
        ended = update(tokens).where(valid).values(revoked_at=at, live_name=None).returning(tokens)

        def work(connection: Connection) -> list[Token]:
            found: list[Token] = []
            # Whoever rotates one of them is waited for, and the new one is not yet seen by what has waited.
            while rows := connection.execute(ended).mappings().all():
                found += map(_token, rows)
            return sorted(found, key=lambda token: (token.created_at, token.id))

        return await self._database.write(work)

    async def find_ended(self, token_ids: Sequence[str], at: datetime) -> Sequence[Token]:
        ended = select(tokens).where(tokens.c.id.in_(token_ids), ~_valid(at)).order_by(tokens.c.id)
        return await self._database.read(lambda connection: [*map(_token, connection.execute(ended).mappings())])

    async def count_request(self, account: str, allowed: int, at: datetime) -> datetime | None:
        return await self._database.write(
            lambda connection: token_counts.count_request(connection, account, allowed, at)
        )

    async def admit_run(self, claim: RunClaim, limits: TokenLimits, at: datetime) -> Admission:
        return await self._database.write(lambda connection: token_counts.admit_run(connection, claim, limits, at))

    async def renew_runs(self, claim_ids: Sequence[str], lease_until: datetime) -> None:
        await self._database.write(lambda connection: token_counts.renew_runs(connection, claim_ids, lease_until))

    async def settle_run(self, claim_id: str | None, account: str, day: date, output_tokens: int) -> None:
        await self._database.write(
            lambda connection: token_counts.settle_run(connection, claim_id, account, day, output_tokens)
        )

    async def spent(self, account: str, day: date) -> int:
        return await self._database.read(lambda connection: token_counts.spent(connection, account, day))

    def _row(self, token: Token, secret_digest: bytes) -> Row:
        digest, key_id = self._sealer.digest(secret_digest, _CONTEXT)
        return _columns(token) | {"secret_digest": digest, "secret_key_id": key_id}


def _valid(at: datetime) -> ColumnElement[bool]:
    return tokens.c.revoked_at.is_(None) & (tokens.c.expires_at.is_(None) | (tokens.c.expires_at > at))


def _insert(connection: Connection, row: Row, token: Token) -> None:
    """Of those who insert one name at once the database lets one through."""
    over = (tokens.c.live_name == token.name) & (tokens.c.expires_at <= token.created_at)
    connection.execute(update(tokens).where(over).values(live_name=None))
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    added = dialect.insert(tokens).values(row).on_conflict_do_nothing(index_elements=["live_name"])
    if connection.execute(added).rowcount != 1:
        raise _name_taken(token.name)


def _name_taken(name: str) -> OrchestratorError:
    message = f"There is a valid token called '{name}' already: revoke it, rotate it, or choose another name."
    return OrchestratorError(ErrorKind.TOKEN_CONFLICT, message, param="name")


def _columns(token: Token) -> Row:
    return {
        "id": token.id,
        "name": token.name,
        "live_name": token.name,
        "owner": token.owner,
        "permissions": sorted(token.permissions),
        "created_at": token.created_at,
        "revoked_at": token.revoked_at,
        "expires_at": token.expires_at,
        "lineage": token.lineage,
        "limits": {name: limit for name, limit in asdict(token.limits).items() if limit is not None},
    }


def _token(row: RowMapping) -> Token:
    limits: dict[str, int] = row["limits"] or {}
    return Token(
        id=row["id"],
        name=row["name"],
        owner=row["owner"],
        permissions=frozenset(row["permissions"]),
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
        expires_at=row["expires_at"],
        lineage=row["lineage"],
        limits=TokenLimits(**limits),
    )
