"""Who runs what: a process names itself so that a later one can tell whether it still lives.

A response in progress carries its holder and a lease. An expired lease ends it; so does a holder
that this machine knows to be dead, which spares a restart the wait for the lease.
"""

import os
from pathlib import Path

LEASE_SECONDS = 20.0
RENEW_SECONDS = 5.0


def this_holder() -> str:
    """This process, told apart from every other one: boot, pid namespace, pid, start time."""
    return _holder(os.getpid()) or f"unknown:{os.urandom(8).hex()}:{os.getpid()}:0"


def is_dead(holder: str) -> bool:
    """Whether `holder` is known to be gone. False where this machine cannot know."""
    parts = holder.rsplit(":", 2)
    mine = this_holder().rsplit(":", 2)
    if len(parts) != 3 or parts[0] != mine[0] or not parts[1].isdigit():
        return False
    return _holder(int(parts[1])) != holder


def _holder(pid: int) -> str | None:
    """The name of the process `pid` of this machine, None where there is none or no /proc to ask."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        # The command in parentheses may hold anything: fields are counted after the last one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    return f"{boot}.{namespace}:{pid}:{fields[19]}"
