"""Whether a file is another one than it was, without reading it."""

from pathlib import Path
from typing import TypeAlias

FileVersion: TypeAlias = tuple[int, int, int] | None
"""What tells a version of a file from another; None where there is no file."""


def file_version(path: Path) -> FileVersion:
    """The version that is there now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
