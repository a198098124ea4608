"""What llama.cpp can compute on here, asked once, in a process of its own."""

import functools
import os
import subprocess
import sys
from typing import Final

import anyio

from orchestrator.engines.llama_cpp.process import worker_environment

PROBE_SECONDS: Final = 20.0


async def has_gpu() -> bool:
    """Whether llama.cpp finds a GPU; False where it cannot be asked."""
    return await anyio.to_thread.run_sync(_has_gpu)


@functools.cache
def _has_gpu() -> bool:
    # Native code and GPU drivers stay out of the service's process; the answer does not change while it runs.
    command = [sys.executable, "-P", "-m", "orchestrator.engines.llama_cpp.worker", "--devices"]
    try:
        asked = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            env=worker_environment(os.environ),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"gpu" in asked.stdout.split()
