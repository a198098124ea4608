"""Notices that a file of plugins has changed, come or gone, and has it read again."""

from collections.abc import Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Final

import anyio
import structlog
import watchfiles

from orchestrator.integrations.mcp_config import McpConfigFiles

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS: Final = 2.0
"""How often the files are looked at anyway: file systems of networks and some containers tell of no change."""
SETTLE_SECONDS: Final = 0.1
"""How long a file must stay as it is before it is read: editors write in several steps, or replace it."""
_MOST_SETTLING: Final = 20


class ConfigWatcher:
    """Calls `changed` after every change of `files` that took effect, and tells the log of those that did not."""

    def __init__(self, files: McpConfigFiles, changed: Callable[[], None]) -> None:
        self._files = files
        self._changed = changed

    async def run(self) -> None:
        """Watch until cancelled."""
        self._files.watched = True
        try:
            self._reload()  # what changed between the start and now
            while True:
                folders = _folders(self._files.watched_paths)
                problem = await self._watch(folders)
                if isinstance(problem, FileNotFoundError):
                    await anyio.sleep(SETTLE_SECONDS)  # a folder has just gone
                elif problem is not None:
                    log.warning(
                        "changes of mcp.json are looked for from time to time: the system does not tell of them",
                        reason=str(problem),
                    )
                    await self._poll()
        finally:
            self._files.watched = False

    async def _watch(self, folders: frozenset[Path]) -> Exception | None:
        """Look whenever something happens in `folders`, until other ones are to be watched, or they cannot be."""
        stop = anyio.Event()
        problem: Exception | None = None
        async with anyio.create_task_group() as tasks:
            # The thread that waits is not cancelled with us: it must be told.
            tasks.start_soon(_set_when_cancelled, stop)
            changes = watchfiles.awatch(  # pyright: ignore[reportUnknownMemberType]  one kind of event is of an extra
                *sorted(folders),
                watch_filter=None,
                debounce=400,
                step=100,
                stop_event=stop,
                rust_timeout=int(LOOK_SECONDS * 1000),
                yield_on_timeout=True,
                recursive=False,
                ignore_permission_denied=True,
            )
            try:
                async with aclosing(changes):
                    async for _ in changes:
                        await self._look()
                        if _folders(self._files.watched_paths) != folders:
                            break  # a folder has appeared or gone, or a link leads elsewhere
            except (OSError, RuntimeError) as error:  # such as too few handles for watching
                problem = error
            tasks.cancel_scope.cancel()
        return problem

    async def _poll(self) -> None:
        while True:
            await anyio.sleep(LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        if not self._files.has_changed():
            return
        found = self._files.versions()
        for _ in range(_MOST_SETTLING):
            await anyio.sleep(SETTLE_SECONDS)
            again = self._files.versions()
            if again == found:
                break
            found = again
        self._reload()

    def _reload(self) -> None:
        good = False
        for path in self._files.reload():
            error = self._files.error(path)
            if error is None:
                good = True
            else:
                log.error("mcp.json cannot be used; what it last said still counts", reason=error.info.message)
        if good:
            self._changed()


async def _set_when_cancelled(event: anyio.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        event.set()


def _folders(paths: Iterable[Path]) -> frozenset[Path]:
    """Where changes of the files show: their folders, and those of what they are links to, or the nearest there is."""
    places = {place for path in paths for place in (path.parent, _target(path).parent)}
    return frozenset(next((up for up in (place, *place.parents) if up.is_dir()), Path("/")) for place in places)


def _target(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a link that leads to itself
        return path
