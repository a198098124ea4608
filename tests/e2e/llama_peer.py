"""A llama-server of its own, for tests in which the service speaks to a stranger: `python -m tests.e2e.llama_peer KEY SLOTS`.

It prints its address and the id of the process that generates, and ends when its standard input does.
"""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread

from orchestrator.engines.llama_cpp.catalogue import BUNDLED, Catalogue
from orchestrator.engines.llama_cpp.launch import Launch
from orchestrator.engines.llama_cpp.process import WorkerProcess


@dataclass(frozen=True, slots=True)
class LlamaPeer:
    """A running one. `url` includes `/v1`."""

    url: str
    pid: int


@contextmanager
def llama_peer(key: str, slots: int = 4) -> Generator[LlamaPeer]:
    """A server with the demo model that wants `key`."""
    command = [sys.executable, "-m", "tests.e2e.llama_peer", key, str(slots)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        address, pid = process.stdout.readline().split()
        yield LlamaPeer(f"{address}/v1", int(pid))
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


async def _main(key: str, slots: str) -> None:
    demo = Catalogue(None, BUNDLED).scan()["demo/tiny-tools"]
    launch = Launch(
        model_path=str(demo.path),
        context_length=2048,
        slots=int(slots),
        batch=256,
        threads=1,
        cache_mib=64,
        api_key=key,
        parent=os.getpid(),
    )
    worker = WorkerProcess("peer", launch, lambda progress: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await worker.settled.wait()
        sys.stdout.write(f"{worker.address} {worker.pid}\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.read)
        worker.stop()


if __name__ == "__main__":
    anyio.run(_main, sys.argv[1], sys.argv[2])
