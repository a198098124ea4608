"""Where things are in the checkout, and how the commands talk: one line a step, with its time."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class SetupError(Exception):
    """What stops a command; the message is for the person at the terminal."""


@dataclass(frozen=True)
class Project:
    """The folders and files that the commands read and make, all inside the checkout."""

    root: Path

    @property
    def locks(self) -> Path:
        """The lock files."""
        return self.root / "setup"

    @property
    def uv_folder(self) -> Path:
        """Where uv is put, out of everybody's way."""
        return self.root / ".uv"

    @property
    def venv(self) -> Path:
        """The environment that the product runs in."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.script("python")

    def script(self, name: str) -> Path:
        """A command that is installed in the environment."""
        return self.venv / "bin" / name


def say(text: str) -> None:
    """A line of the setup's own."""
    print(f"setup: {text}", flush=True)


def timed(what: str, work: Callable[[], str]) -> None:
    """Say what is done, do it, and say how long it took. `work` returns what there is to add, or nothing."""
    print(f"setup: {what} …", end="", flush=True)
    started = time.monotonic()
    try:
        added = work()
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f" {added + ', ' if added else ''}{time.monotonic() - started:.1f} s", flush=True)


def run(command: Sequence[str | Path], cwd: Path, environ: Mapping[str, str], stdin: str = "") -> str:
    """Run `command` and return what it printed, both streams together.

    Raises:
        SetupError: it failed; the message ends with what it printed.
    """
    done = subprocess.run(
        command, cwd=cwd, env=environ, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        shown = " ".join(str(part) for part in command[:4])
        raise SetupError(f"`{shown} …` ended with status {done.returncode}:\n{done.stdout.rstrip()}")
    return done.stdout


def running_python() -> str:
    """What the environment must be made of: the interpreter that runs this, by version and place."""
    base: str = getattr(sys, "_base_executable", None) or sys.executable
    return f"{sys.version.split()[0]} {Path(base).resolve()}"
