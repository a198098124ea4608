"""The store against its twin, over random sequences of everything that can be asked of it."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import URL

from tests.store.store_machine import StoreMachine
from tests.store.stores import emptied, sqlite_address

pytest_plugins = ("tests.store.databases",)

EXAMPLES = int(os.environ.get("ORCHESTRATOR_TEST_SEQUENCES", "15"))
STEPS = 40


@pytest.mark.timeout(600 + 4 * EXAMPLES)  # it takes seconds; to make a failure small can take minutes
def test_a_store_in_sqlite_and_its_twin_cannot_be_told_apart(sqlite_template: Path) -> None:
    memory_disk = Path("/dev/shm")

    def fresh(closing: ExitStack) -> str:
        parent = memory_disk if memory_disk.is_dir() else None
        folder = closing.enter_context(tempfile.TemporaryDirectory(dir=parent))
        return sqlite_address(Path(shutil.copy(sqlite_template, folder)))

    cannot_be_told_apart(fresh)


@pytest.mark.timeout(600 + 4 * EXAMPLES)
def test_a_store_in_postgres_and_its_twin_cannot_be_told_apart(migrated_postgres: URL) -> None:
    cannot_be_told_apart(lambda _: asyncio.run(emptied(migrated_postgres)))


def cannot_be_told_apart(fresh: Callable[[ExitStack], str]) -> None:
    with start_blocking_portal() as portal:

        class Machine(StoreMachine):
            pass

        Machine.portal, Machine.fresh = portal, staticmethod(fresh)
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )
