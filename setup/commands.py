"""The commands of `python3 setup`."""

import argparse
import fcntl
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from setup.audit import audit, tell
from setup.checks import clean_environ, run_checks
from setup.environment import install
from setup.locks import lock
from setup.project import Project, SetupError, say
from setup.release import release

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    try:
        return _run(arguments)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        print(flush=True)
        say("interrupted; the next run takes it up")
        return 130


def _run(arguments: Sequence[str]) -> int:
    parsed, rest = _parser().parse_known_args(arguments)
    if rest and parsed.command not in ("demo", "test"):
        _parser().error(f"unexpected: {' '.join(rest)}")
    rest = [part for part in rest if part != "--"]
    project = Project(ROOT)
    with _alone():
        match parsed.command:
            case "lock":
                lock(project, parsed.upgrade)
            case "demo":
                install(project, "runtime")
            case _:
                install(project, "dev")
    match parsed.command:
        case "demo":
            say("starting the service")
            os.chdir(project.root)
            os.execv(project.script("orchestrator"), ["orchestrator", "demo", *rest])
        case "test":
            return run_checks(project, rest)
        case "audit":
            found = audit(project, clean_environ(os.environ))
            tell(found)
            return 1 if found.findings else 0
        case "release":
            release(project, Path(parsed.folder).absolute(), without_audit=parsed.without_audit)
            return 0
        case _:
            say("done")
            return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python3 setup", description="Everything is made inside the checkout: .uv, .venv.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "demo", add_help=False, help="install what the service needs, start it and let the demo model call a tool"
    )
    commands.add_parser("test", add_help=False, help="install what development needs and run all checks and tests")
    commands.add_parser("install", help="install what development needs, run nothing")
    commands.add_parser("audit", help="look up what is locked in the registry's advisories")
    releasing = commands.add_parser("release", help="build the wheel of the last commit, with its bill of materials")
    releasing.add_argument("--folder", default="dist", help="where the files go (dist)")
    releasing.add_argument("--without-audit", action="store_true", help="release what could not all be looked up")
    locking = commands.add_parser("lock", help="recompute the lock files from pyproject.toml")
    locking.add_argument("--upgrade", action="store_true", help="take the newest versions of everything")
    return parser


@contextmanager
def _alone() -> Generator[None]:
    """One setup at a time in a checkout: the lock is on this very file, so that nothing is left behind."""
    with open(__file__, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another setup is at work in this folder; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
