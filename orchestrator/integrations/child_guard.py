"""Sees to it that no MCP server outlives the service, however that ends: also by `kill -9`.

The kernel could end a child with its parent, but only the child itself, and wrappers such as `npx` and `uvx` start
others. So a shell waits beside the service for the end of a pipe that only the service holds, and then ends everything
that bears the service's mark. Where somebody ends that too, the next start does it.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio.to_thread
import structlog

from orchestrator.integrations import orphans
from orchestrator.integrations.orphans import end_marked

log = structlog.stdlib.get_logger(__name__)

_WAIT: Final = 'trap "" HUP INT TERM; if read -r _; then exit 0; fi; exec "$0" "$@"'
"""A line says that all is in order; the end of the input without one, that the service is gone."""
_LEAVE_SECONDS: Final = 2.0


def unguarded_mark() -> str:
    """A mark for a server of nobody's guard: what it leaves behind is found at its end, and not after a `kill -9`."""
    return f"/{os.urandom(16).hex()}"


class ChildGuard:
    """The marks of one service's servers, and the watch over them; `close` it when the servers have ended.

    `holder` names this process among all that ever ran, `is_dead` tells whether such a name's process is known to be
    gone. What services left behind that had the same `folder` is swept up, nothing of others.
    """

    def __init__(self, folder: Path, holder: str, is_dead: Callable[[str], bool]) -> None:
        self._folder = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
        self._is_dead = is_dead
        self._mark = f"{self._folder}/{holder}/{os.urandom(16).hex()}"
        self._watch: subprocess.Popen[bytes] | None = None
        self._closed = False

    def new_mark(self) -> str:
        """A mark for one server, which is watched over from now on."""
        if not self._closed and (self._watch is None or self._watch.poll() is not None):
            self._close_input()
            self._watch = self._start_watch()
        return f"{self._mark}/{os.urandom(4).hex()}"

    async def sweep(self) -> None:
        """End what services that are gone have left behind. Takes some seconds at most, milliseconds where nothing is."""
        ended = await anyio.to_thread.run_sync(end_marked, self._is_left_behind)
        if ended:
            log.warning("processes of MCP servers had outlived their service, and were ended", processes=list(ended))

    async def close(self) -> None:
        """The servers have been ended: end what is left all the same, and the watch."""
        self._closed = True
        if self._watch is None:
            return
        ended = await anyio.to_thread.run_sync(end_marked, self._is_ours)
        if ended:
            log.warning("processes of MCP servers were still there at the end, and were ended", processes=list(ended))
        if self._watch.stdin is not None:
            with suppress(OSError):
                self._watch.stdin.write(b"\n")
        self._close_input()
        await anyio.to_thread.run_sync(self._wait_for_watch)

    def _is_ours(self, mark: str) -> bool:
        return mark.startswith(self._mark)

    def _is_left_behind(self, mark: str) -> bool:
        folder, _, rest = mark.partition("/")
        holder = rest.rpartition("/")[0].rpartition("/")[0]
        return folder == self._folder and self._is_dead(holder)

    def _start_watch(self) -> subprocess.Popen[bytes] | None:
        program = [sys.executable, "-I", orphans.__file__, self._mark]
        try:
            return subprocess.Popen(
                ["/bin/sh", "-c", _WAIT, *program],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.defpath},
                start_new_session=True,  # what is meant for the service's group must not reach it
            )
        except OSError as error:
            log.warning("nothing would end the MCP servers if the service were killed", reason=str(error))
            return None

    def _close_input(self) -> None:
        if self._watch is not None and self._watch.stdin is not None:
            with suppress(OSError):
                self._watch.stdin.close()

    def _wait_for_watch(self) -> None:
        assert self._watch is not None
        try:
            self._watch.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._watch.kill()
            self._watch.wait()
