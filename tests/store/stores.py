"""A store, opened: what the tests' fixtures hand out."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, NullPool
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.ports import DefinitionStore, ResponseStore, TokenStore
from orchestrator.ports.audit import AuditStore
from orchestrator.store.audit import SqlAuditStore
from orchestrator.store.database import open_database
from orchestrator.store.definitions import SqlDefinitionStore
from orchestrator.store.encryption import Sealer
from orchestrator.store.responses import SqlResponseStore
from orchestrator.store.tables import metadata
from orchestrator.store.tokens import SqlTokenStore

TEST_KEY = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Stores:
    """One place to keep things in, seen through its ports."""

    responses: ResponseStore
    tokens: TokenStore
    audit: AuditStore
    definitions: DefinitionStore


@asynccontextmanager
async def open_stores(url: str) -> AsyncGenerator[Stores]:
    """The stores of a migrated database, closed afterwards."""
    database = await open_database(url)
    try:
        sealer = Sealer([TEST_KEY], Path("unused"))
        tokens = SqlTokenStore(database, sealer)
        yield Stores(
            SqlResponseStore(database, sealer=sealer), tokens, SqlAuditStore(database), SqlDefinitionStore(database)
        )
    finally:
        await database.aclose()


def sqlite_address(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


async def emptied(url: URL) -> str:
    """The address of this migrated Postgres database, with nothing in it any more."""
    await postgres_command(url, f"TRUNCATE {', '.join(metadata.tables)}")
    return as_text(url)


async def postgres_command(url: URL, command: str) -> None:
    """Run one statement, outside any transaction."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.exec_driver_sql(command)


def as_text(url: URL) -> str:
    """The whole URL, with its password."""
    return url.render_as_string(hide_password=False)
