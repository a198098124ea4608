"""Installs the servers and says how they are started. What is there already is used as it is.

To lock them anew: `uv pip compile` with the flags of `setup/locks.py`, for `python-mcp-2.txt` with
`mcp-server-time mcp-server-git mcp-server-fetch mcp>=2`, for `python-mcp-1.txt` with
`mcp-server-sqlite mcp-server-calculator mcp-proxy mcp<2`; for the Node servers
`npm install --package-lock-only --omit-lockfile-registry-resolved=true`, without the `funding` that
npm writes into the lock.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

from setup.environment import digest, install_uv, uv_environ
from setup.project import Project, run

ROOT: Final = Path(__file__).resolve().parent.parent.parent
HERE: Final = Path(__file__).resolve().parent
CACHE: Final = ROOT / ".cache" / "servers"
NODE_FILES: Final = (HERE / "package.json", HERE / "package-lock.json")
PYTHON_SERVERS: Final = {
    "mcp-server-time": "python-mcp-2",
    "mcp-server-git": "python-mcp-2",
    "mcp-server-fetch": "python-mcp-2",
    "mcp-server-sqlite": "python-mcp-1",
    "mcp-server-calculator": "python-mcp-1",
    "mcp-proxy": "python-mcp-1",
}
"""Each with the lock that it is in: some have not come to the second version of the SDK."""

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")


class NodeMissingError(Exception):
    """There is no Node.js here: the servers that need it cannot run."""


class BrowserMissingError(Exception):
    """There is no Chromium here, and none could be installed."""


def python_server(name: str) -> str:
    """The program of a server that is written in Python.

    Raises:
        SetupError: it cannot be installed.
    """
    return str(python_environment(HERE / f"{PYTHON_SERVERS[name]}.txt") / "bin" / name)


def python_environment(lock: Path) -> Path:
    """The folder of an environment that has what a lock names.

    Raises:
        SetupError: it cannot be installed.
    """

    def install(folder: Path) -> None:
        uv, environ = install_uv(Project(ROOT)), uv_environ()
        run([uv, "venv", "--quiet", "--python", sys.executable, folder], ROOT, environ)
        python = folder / "bin" / "python"
        run([uv, "pip", "install", "--python", python, "--require-hashes", "-r", lock], ROOT, environ)

    return _installed(lock.stem, digest(lock), install)


def node_server(name: str) -> list[str]:
    """The command of a server that npm installs, such as `mcp-server-everything`.

    Raises:
        NodeMissingError: there is no Node.js.
        SetupError: it cannot be installed.
    """
    return node_program("node", NODE_FILES, name)


def node_program(kind: str, files: tuple[Path, Path], name: str) -> list[str]:
    """The command of a program of the packages that `files`, a package.json and its lock, name.

    Raises:
        NodeMissingError: there is no Node.js.
        SetupError: they cannot be installed.
    """
    node, folder = node_environment(kind, files)
    return [node, str(folder / "node_modules" / ".bin" / name)]


def node_environment(kind: str, files: tuple[Path, Path]) -> tuple[str, Path]:
    """Node.js, and the folder of the packages that `files`, a package.json and its lock, name.

    Raises:
        NodeMissingError: there is no Node.js.
        SetupError: they cannot be installed.
    """
    node, npm = _node_tool("node"), _node_tool("npm")

    def install(folder: Path) -> None:
        folder.mkdir()
        for file in files:
            shutil.copy(file, folder)
        flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        environ = {**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
        run([npm, "ci", *flags], folder, environ)

    return node, _installed(kind, digest(*files), install)


def _node_tool(name: str) -> str:
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


@lru_cache(maxsize=1)
def chromium() -> str:
    """The path of a Chromium; where it is missing and we may, the system's packages are asked for it once.

    Raises:
        BrowserMissingError: there is none.
    """
    found = _browser()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        CACHE.mkdir(parents=True, exist_ok=True)
        with _alone(CACHE / "chromium.lock"):
            if _browser() is None:
                _apt("update")
                _apt("install", "-y", "--no-install-recommends", "chromium")
        found = _browser()
    if found is None:
        raise BrowserMissingError("there is no Chromium, and it could not be installed (apt-get install chromium)")
    return found


def _browser() -> str | None:
    return next((path for path in map(shutil.which, BROWSERS) if path is not None), None)


def _apt(*arguments: str) -> None:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "-qq", *arguments], env=environ, capture_output=True, timeout=240)
