"""Installs the servers and says how they are started. What is there already is used as it is.

To lock them anew: `uv pip compile` for the Python server with the flags of `setup/locks.py`; for the
Node servers `npm install --package-lock-only --omit-lockfile-registry-resolved=true`.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from setup.environment import digest, install_uv, uv_environ
from setup.project import Project, run

ROOT: Final = Path(__file__).resolve().parent.parent.parent
HERE: Final = Path(__file__).resolve().parent
CACHE: Final = ROOT / ".cache" / "servers"
TIME_LOCK: Final = HERE / "mcp-server-time.txt"
NODE_FILES: Final = (HERE / "package.json", HERE / "package-lock.json")


class NodeMissingError(Exception):
    """There is no Node.js here: the servers that need it cannot run."""


def time_server() -> Path:
    """The program of `mcp-server-time`, in an environment of its own.

    Raises:
        SetupError: it cannot be installed.
    """

    def install(folder: Path) -> None:
        uv, environ = install_uv(Project(ROOT)), uv_environ()
        run([uv, "venv", "--quiet", "--python", sys.executable, folder], ROOT, environ)
        python = folder / "bin" / "python"
        run([uv, "pip", "install", "--python", python, "--require-hashes", "-r", TIME_LOCK], ROOT, environ)

    return _installed("python", digest(TIME_LOCK), install) / "bin" / "mcp-server-time"


def node_server(name: str) -> list[str]:
    """The command of a server that npm installs, such as `mcp-server-everything`.

    Raises:
        NodeMissingError: there is no Node.js.
        SetupError: it cannot be installed.
    """
    node, npm = _node_program("node"), _node_program("npm")

    def install(folder: Path) -> None:
        folder.mkdir()
        for file in NODE_FILES:
            shutil.copy(file, folder)
        flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        environ = {**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
        run([npm, "ci", *flags], folder, environ)

    return [node, str(_installed("node", digest(*NODE_FILES), install) / "node_modules" / ".bin" / name)]


def _node_program(name: str) -> str:
    """Ours first: it is the version that the lock was made with.

    Raises:
        NodeMissingError: there is none.
    """
    ours = Path(sys.executable).parent / name
    found = str(ours) if ours.exists() else shutil.which(name)
    if found is None or subprocess.run([found, "--version"], capture_output=True).returncode != 0:
        raise NodeMissingError(f"there is no {name} in this environment or on the PATH")
    return found


def _installed(kind: str, version: str, install: Callable[[Path], None]) -> Path:
    """The folder of what `install` makes, made once for each version; several test runs wait for one another."""
    folder = CACHE / f"{kind}-{version[:16]}"
    done = folder / ".installed"
    CACHE.mkdir(parents=True, exist_ok=True)
    with _alone(CACHE / f"{kind}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            install(folder)
            done.touch()
    return folder


@contextmanager
def _alone(file: Path) -> Generator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
