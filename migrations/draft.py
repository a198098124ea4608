"""Draft the next migration from what has changed in `orchestrator/store/tables.py`.

    python migrations/draft.py "What it does"

The draft wants polishing: names, order, data to carry over, a downgrade that works on SQLite and on Postgres.
"""

import sys
import tempfile
from pathlib import Path

import anyio

from orchestrator.store import migrate


async def draft(message: str) -> None:
    """Bring a database of our own to the last revision, and write down what is missing from there."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{Path(folder) / 'draft.db'}"
        await migrate.upgrade(url)
        await migrate.draft(url, f"{int(migrate.head_revision() or 0) + 1:04}", message)


if __name__ == "__main__":
    anyio.run(draft, sys.argv[1])
