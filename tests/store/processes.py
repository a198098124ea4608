"""Other processes that use the same database."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def writer_process(*arguments: str) -> AsyncGenerator[tuple[Process, AsyncGenerator[str]]]:
    """`tests.store.writer_process` and the words it says; killed at the end where it still runs."""
    command = [sys.executable, "-m", "tests.store.writer_process", *arguments]
    async with await anyio.open_process(command, cwd=ROOT, stderr=None) as process:
        try:
            yield process, _words(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _words(process: Process) -> AsyncGenerator[str]:
    assert process.stdout is not None
    rest = ""
    async for text in TextReceiveStream(process.stdout):
        *words, rest = (rest + text).split("\n")
        for word in words:
            yield word
