"""Ends what MCP servers leave behind: processes that bear a mark of ours in their environment, and what those started.

Every server's process gets a mark that nobody can guess, and whatever it starts inherits it, in whatever group or
session, whoever its parent is by then. A process without the mark is never touched.

This file is also a program of its own, `orphans.py MARK`, which imports nothing of ours: it is run when the service
is gone, and perhaps its folder too.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import psutil

MARK_VARIABLE: Final = "CHILD_OF_ORCHESTRATOR"  # not of the settings, which an own command inside a server reads
PATIENCE_SECONDS: Final = 2.0
"""How long a process may take to notice by itself that its input has ended."""
_TERMINATE_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.02
_ROUNDS: Final = 5
"""Who starts processes while they are ended is looked for again; each round kills what it finds."""


def marked(is_ours: Callable[[str], bool]) -> list[psutil.Process]:
    """The processes whose mark `is_ours` knows, and all of their descendants; of this user, and not this process."""
    parents: dict[int, list[psutil.Process]] = {}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            parents.setdefault(process.ppid(), []).append(process)
            if process.uids().real == os.getuid() and is_ours(process.environ().get(MARK_VARIABLE, "")):
                found.append(process)
    known = {process.pid for process in found} | {os.getpid()}
    for process in found:  # grows: programs may have written over their environment
        started = [child for child in parents.get(process.pid, ()) if child.pid not in known]
        known.update(child.pid for child in started)
        found += started
    return [process for process in found if process.pid != os.getpid()]


def end_marked(is_ours: Callable[[str], bool], *, patience: float = 0.0) -> tuple[str, ...]:
    """Wait `patience` seconds, terminate, wait 1 s, kill; returns the names and pids of those that had to be ended.

    Takes `patience` and some seconds at most. A pid that was given to another process meanwhile is left alone.
    """
    known = marked(is_ours)
    if known and patience:
        _wait(known, patience)
        known += marked(is_ours)
    ended: dict[int, str] = {}
    for step in range(_ROUNDS):
        left = _alive(known)
        if not left:
            break
        for process in left:
            with suppress(psutil.Error, OSError):
                ended.setdefault(process.pid, f"{process.name()} ({process.pid})")
                (process.kill if step else process.terminate)()
        _wait(left, _TERMINATE_SECONDS)
        # Whose parent is gone by now, and bears no mark itself, only those before know.
        known = list({*known, *marked(is_ours)})
    return tuple(ended.values())


def _wait(processes: Iterable[psutil.Process], seconds: float) -> None:
    # Asked, not waited for: of our own children, somebody else wants the exit status.
    until = time.monotonic() + seconds
    while _alive(processes) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)


def _alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run: a zombie waits for its parent, and for nothing of ours."""
    left: list[psutil.Process] = []
    for process in set(processes):
        with suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
    return left


def main(mark: str) -> None:
    """End everything whose mark begins with `mark`; what looks at its input has time to go by itself."""
    end_marked(lambda found: found.startswith(mark), patience=PATIENCE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
