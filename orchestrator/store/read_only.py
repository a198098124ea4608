"""Reading evidence that cannot be written: SQLite files on read-only media.

SQLite opens no file in its write-ahead mode where it cannot write beside it, and told that the file never changes it
would pass over the log beside it, with what was committed last. So a copy of both is read, and removed again.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio.to_thread

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.store.database import Database, database_url
from orchestrator.store.migrate import open_as_it_is

COPIED: Final = "the database is read-only: a copy of it was read"
COPIED_WITH_LOG: Final = "the database is read-only: a copy of it and of its log (-wal) was read"


def is_read_only(url: str) -> bool:
    """Whether the database is an SQLite file that cannot be written, or in a folder in which nothing can."""
    parsed = database_url(url)
    if parsed.drivername != "sqlite":
        return False
    path = Path(parsed.database or "")
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK))


@asynccontextmanager
async def evidence(url: str) -> AsyncGenerator[tuple[Database, str | None]]:
    """The database as it is, and what is to be said of how it was opened.

    Raises:
        OrchestratorError: `store_error`: as `open_as_it_is`, or there is no room for a copy.
    """
    if not is_read_only(url):
        database, note, folder = await open_as_it_is(url), None, None
    else:
        folder = await anyio.to_thread.run_sync(tempfile.mkdtemp)
        try:
            copy, note = await anyio.to_thread.run_sync(_copied, Path(database_url(url).database or ""), Path(folder))
            database = await open_as_it_is(f"sqlite+aiosqlite:///{copy}")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    try:
        yield database, note
    finally:
        await database.aclose()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _copied(path: Path, folder: Path) -> tuple[Path, str]:
    copy, log = folder / "evidence.db", path.with_name(path.name + "-wal")
    try:
        shutil.copyfile(path, copy)
        if not log.exists():
            return copy, COPIED
        shutil.copyfile(log, copy.with_name(copy.name + "-wal"))
    except OSError as error:
        message = f"The database is read-only, and cannot be copied to {folder}: {error.strerror}."
        raise OrchestratorError(ErrorKind.STORE_ERROR, message) from None
    return copy, COPIED_WITH_LOG
