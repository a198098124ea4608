"""A file that comes in pieces: kept across processes, hashed as it grows, and whole only when its digest is right.

It lies as `<sha256>.part` in the folder `.downloads` beside where it will go, and becomes `<sha256>.whole` when it is
complete and checked. One process at a time has it.
"""

import errno
import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import anyio.to_thread

from orchestrator.core.errors import ErrorKind, OrchestratorError

FOLDER: Final = ".downloads"
READ_BYTES: Final = 8 * 1024 * 1024


class PartFile:
    """An open part of `size` bytes at the end; a context manager, which takes the file and lets go of it.

    Every method works in a thread and may be cancelled between two of its steps.

    Raises:
        OrchestratorError: `engine_error` on entering, where another process has the file.
        OSError: the disk's own.
    """

    def __init__(self, folder: Path, sha256: str, size: int) -> None:
        self.size = size
        self.length = 0
        self._sha256 = sha256
        self._path = folder / f"{sha256}.part"
        self._whole = folder / f"{sha256}.whole"
        self._hash = hashlib.sha256()
        self._fd = -1

    async def __aenter__(self) -> "PartFile":
        try:
            await anyio.to_thread.run_sync(self._open)
            while await anyio.to_thread.run_sync(self._read_on):
                pass
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    async def append(self, data: bytes) -> None:
        """Add `data` at the end."""
        await anyio.to_thread.run_sync(self._append, data)

    async def begin_anew(self) -> None:
        """Forget everything that is there."""
        await anyio.to_thread.run_sync(self._truncate)

    async def complete(self) -> None:
        """Check the digest and call the file whole; one whose digest is wrong is removed.

        Raises:
            OrchestratorError: `engine_error`: it is not what was promised.
        """
        await anyio.to_thread.run_sync(self._complete)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"Another process downloads into {self._path.parent} already."
            raise OrchestratorError(ErrorKind.ENGINE_ERROR, message) from None
        if os.fstat(self._fd).st_size > self.size:
            os.ftruncate(self._fd, 0)

    def _read_on(self) -> bool:
        """Hash a piece of what an earlier process left; whether there may be more."""
        data = os.read(self._fd, READ_BYTES)
        self._hash.update(data)
        self.length += len(data)
        return bool(data)

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = os.write(self._fd, rest)
            # Counted as they are written: what is hashed is exactly what is in the file, whatever fails next.
            self._hash.update(rest[:written])
            self.length += written
            rest = rest[written:]

    def _truncate(self) -> None:
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash, self.length = hashlib.sha256(), 0

    def _complete(self) -> None:
        found = self._hash.hexdigest()
        if found != self._sha256 or self.length != self.size:
            self._path.unlink(missing_ok=True)
            message = f"What came has the SHA-256 {found}, not {self._sha256}: it was removed. Try again."
            raise OrchestratorError(ErrorKind.ENGINE_ERROR, message)
        os.fsync(self._fd)
        self._path.rename(self._whole)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def bytes_there(folder: Path, sha256: str, size: int) -> int:
    """How much of a file is there already."""
    for suffix, most in (("whole", size), ("part", size)):
        with suppress(OSError):
            found = (folder / f"{sha256}.{suffix}").stat().st_size
            return found if found <= most else 0
    return 0


def is_whole(folder: Path, sha256: str, size: int) -> bool:
    """Whether it is complete and checked."""
    path = folder / f"{sha256}.whole"
    return path.is_file() and path.stat().st_size == size


def place(folder: Path, sha256: str, target: Path) -> None:
    """Move a whole file to `target`, atomically, and remember beside it which one it is."""
    recorded_digest(folder, target.name).write_text(sha256, "ascii")
    (folder / f"{sha256}.whole").replace(target)
    for changed in (target.parent, folder):
        fd = os.open(changed, os.O_RDONLY)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that has no such thing for folders
                raise
        finally:
            os.close(fd)


def is_placed(folder: Path, sha256: str, size: int, target: Path) -> bool:
    """Whether `target` is that file: its size, and its digest where it was placed from here.

    A file that somebody else put there is not read as a whole for this: its name and its size must do.
    """
    try:
        if target.stat().st_size != size:
            return False
        return recorded_digest(folder, target.name).read_text("ascii") == sha256
    except FileNotFoundError:
        return target.exists()
    except OSError:
        return False


def discard(folder: Path, sha256: str) -> None:
    """Remove what is there, unless a process has it right now."""
    with suppress(OSError):
        fd = os.open(folder / f"{sha256}.part", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / f"{sha256}.part").unlink(missing_ok=True)
        finally:
            os.close(fd)
    with suppress(OSError):
        (folder / f"{sha256}.whole").unlink()


def recorded_digest(folder: Path, name: str) -> Path:
    """Where the digest of a placed file is kept."""
    return folder / f"{name}.sha256"
