"""What processes and their descendants use: memory and processor time."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """Summed over a process tree: `memory_bytes` is resident memory, so that pages they share count more than once.

    `cpu_seconds` includes children that have ended and were waited for.
    """

    processes: int
    memory_bytes: int
    cpu_seconds: float


def measure(roots: Iterable[int]) -> Mapping[int, ProcessUse]:
    """What each of the processes `roots`, its descendants and its process group use now; those gone are left out.

    Reads the list of processes once, whatever the number of roots: some milliseconds.
    """
    wanted = frozenset(roots)
    if not wanted:
        return {}
    parents: dict[int, int] = {}
    groups: dict[int, int] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            parents[process.pid] = process.ppid()
            groups[process.pid] = os.getpgid(process.pid)
    found: dict[int, list[int]] = {root: [] for root in wanted if root in parents}
    for pid in parents:
        root = _root(pid, wanted, parents, groups)
        if root in found:
            found[root].append(pid)
    return {root: _use(members) for root, members in found.items()}


def _root(pid: int, wanted: frozenset[int], parents: Mapping[int, int], groups: Mapping[int, int]) -> int | None:
    step: int | None = pid
    for _ in range(len(parents)):
        if step is None:
            break
        if step in wanted:
            return step
        step = parents.get(step)
    # Whose parent has ended belongs to nobody any more, but still to the group.
    group = groups.get(pid)
    return group if group in wanted else None


def _use(members: Iterable[int]) -> ProcessUse:
    processes, memory, seconds = 0, 0, 0.0
    for pid in members:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                memory += process.memory_info().rss
                seconds += times.user + times.system
                seconds += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            processes += 1
    return ProcessUse(processes, memory, round(seconds, 3))
