"""Only what bears a mark of ours is ended, wherever it went; nothing else ever is."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from orchestrator.integrations.child_guard import ChildGuard
from orchestrator.integrations.orphans import MARK_VARIABLE, end_marked, main
from tests.integrations.harness import SCOPE, catalog_of, plugin, program
from tests.integrations.started import Started
from tests.integrations.test_leaks import nothing_left

pytestmark = pytest.mark.anyio
STAY = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint(1, flush=True)\nwhile True: time.sleep(3600)"
UNMARKED_CHILD = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {STAY!r}], env={{}}, stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


@contextmanager
def process(mark: str | None, code: str = STAY) -> Generator[tuple[psutil.Process, int]]:
    """A process with that mark and its first words, which are a number."""
    environment = {"PATH": os.environ["PATH"]} | ({} if mark is None else {MARK_VARIABLE: mark})
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as started:
        try:
            assert started.stdout is not None
            yield psutil.Process(started.pid), int(started.stdout.readline())
        finally:
            started.kill()


def is_running(one: psutil.Process) -> bool:
    return one.is_running() and one.status() != psutil.STATUS_ZOMBIE


def test_a_marked_process_is_ended_with_its_children_that_have_no_mark_and_all_others_are_left_alone() -> None:
    with process("a/b/1", UNMARKED_CHILD) as (ours, child), process("a/b/2") as (other, _), process(None) as (alien, _):
        grandchild = psutil.Process(child)
        ended = end_marked("a/b/1".__eq__)
        assert {name.rpartition("(")[2] for name in ended} == {f"{ours.pid})", f"{child})"}
        assert [is_running(one) for one in (ours, grandchild, other, alien)] == [False, False, True, True]


def test_who_goes_by_itself_in_time_is_not_ended() -> None:
    with process("a/b/1", "print(1, flush=True)\nimport time; time.sleep(0.2)") as (ours, _):
        assert end_marked("a/b/1".__eq__, patience=10) == ()
        assert not is_running(ours)


def test_the_program_ends_what_begins_with_the_mark() -> None:
    with process("a/b/1") as (ours, _), process("a/c/1") as (other, _):
        main("a/b")
        assert (is_running(ours), is_running(other)) == (False, True)


async def test_a_sweep_ends_what_dead_services_of_the_same_folder_have_left_and_nothing_of_others(
    tmp_path: Path,
) -> None:
    dead = ChildGuard(tmp_path, "dead:1", lambda _: False)
    living = ChildGuard(tmp_path, "living:2", lambda _: False)
    elsewhere = ChildGuard(tmp_path / "else", "dead:1", lambda _: False)
    marks = [guard.new_mark() for guard in (dead, living, elsewhere)]
    with process(marks[0]) as (orphan, _), process(marks[1]) as (child, _), process(marks[2]) as (other, _):
        with capture_logs() as logs:
            await ChildGuard(tmp_path, "new:3", "dead:1".__eq__).sweep()
        assert [is_running(one) for one in (orphan, child, other)] == [False, True, True]
        assert [entry["log_level"] for entry in logs] == ["warning"]
        for guard in (dead, living, elsewhere):
            await guard.close()
        assert [is_running(one) for one in (child, other)] == [False, False]


async def test_a_guard_watches_anew_when_its_watch_has_gone_and_leaves_none_behind(tmp_path: Path) -> None:
    async with nothing_left():
        ours, guard = Started(), ChildGuard(tmp_path, "us:1", lambda _: False)
        guard.new_mark()
        (watch,) = ours.all()
        guard.new_mark()
        assert ours.all() == [watch]
        watch.kill()
        while watch.status() != psutil.STATUS_ZOMBIE:
            os.sched_yield()
        guard.new_mark()
        (again,) = ours.all()
        assert again != watch
        await guard.close()
        guard.new_mark()


async def test_what_a_server_started_apart_from_itself_ends_with_it(tmp_path: Path) -> None:
    entry = program("stubborn_server.py", str(tmp_path / "pids"))
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE):
        processes = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
        assert [is_running(one) for one in processes] == [True, True, True]
    assert [is_running(one) for one in processes] == [False, False, False]
