"""Whether a load fits into memory, by an estimate that errs on the side of trying.

What is refused here would certainly not fit; what is let through may still fail in the worker, which says why.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.engines.llama_cpp.catalogue import InstalledModel
from orchestrator.engines.llama_cpp.load_plan import LoadPlan

PROCESS_BYTES: Final = 64 * 1024 * 1024
"""Python, llama.cpp and its buffers in a worker; 70 to 90 MiB were measured beside a model of 2 MiB."""
LOGIT_BYTES: Final = 4
CAUTION: Final = 1.5
"""How much more than reckoned must be there for a load that nothing makes room for: the estimate is rather too low."""
UNLIMITED: Final = 2**60
"""cgroups write a number near 2**63 where there is no limit."""
PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")


def needed_bytes(installed: InstalledModel, plan: LoadPlan) -> int:
    """What the instance takes: its files, the cache of keys and values of each slot, and the room to compute in."""
    cache = installed.cache_bytes_per_token * plan.context_length * plan.slots
    compute = plan.batch * installed.vocabulary * LOGIT_BYTES
    return (installed.model.size_bytes or 0) + installed.mmproj_bytes + cache + compute + PROCESS_BYTES


def check_memory(installed: InstalledModel, plan: LoadPlan, given_back_bytes: int) -> None:
    """Refuse a load that main memory has no room for. Blocks on small files of the system: call it from a thread.

    Raises:
        OrchestratorError: `insufficient_resources`, with both numbers.
    """
    available = available_bytes()
    if available is None:
        return
    needed, there = needed_bytes(installed, plan), available + given_back_bytes
    if needed <= there:
        return
    message = (
        f"{installed.model.key} with {plan.slots} x {plan.context_length} tokens of context needs about "
        f"{_gib(needed)}, and {_gib(there)} of memory are available."
    )
    raise OrchestratorError(ErrorKind.INSUFFICIENT_RESOURCES, message)


def has_room(installed: InstalledModel, plan: LoadPlan) -> bool:
    """Whether it fits beside everything that is loaded, also where it takes more than was reckoned. Blocks, as above."""
    available = available_bytes()
    return available is not None and needed_bytes(installed, plan) * CAUTION <= available


def available_bytes(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """The least of what the system has left and what each control group of ours may still take; None if nobody tells."""
    amounts = [amount for amount in (_system(proc), *_groups(proc, cgroups)) if amount is not None]
    return min(amounts, default=None)


def _system(proc: Path) -> int | None:
    for line in _text(proc / "meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable" and rest.split()[:1] and rest.split()[0].isdigit():
            return int(rest.split()[0]) * 1024
    return None


def _groups(proc: Path, cgroups: Path) -> Iterator[int | None]:
    """Version 2 (`0::/path`) and version 1 (`N:memory:/path`); the limits of all parents count as well."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            names, top = ("memory.max", "memory.current", "inactive_file"), cgroups
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            top = cgroups / "memory"
        else:
            continue
        folder = top / path.lstrip("/")
        yield _left(folder, *names)
        for parent in folder.parents:
            if not parent.is_relative_to(top):
                break
            yield _left(parent, *names)


def _left(folder: Path, limit_name: str, usage_name: str, reclaimable_name: str) -> int | None:
    limit, usage = _text(folder / limit_name).strip(), _text(folder / usage_name).strip()
    if not (limit.isdigit() and usage.isdigit()) or int(limit) >= UNLIMITED:
        return None
    reclaimable = 0  # the page cache counts as usage, and goes when memory is asked for
    for line in _text(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == reclaimable_name and value.strip().isdigit():
            reclaimable = int(value)
    return max(0, int(limit) - int(usage) + reclaimable)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
