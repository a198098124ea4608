"""Runs every check and every test, and names what failed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from setup.audit import audit, tell
from setup.project import Project, say

ANSI = re.compile(r"\x1b\[[0-9;]*m")
SUMMARY = re.compile(r"\d+ (passed|failed|skipped|errors?|deselected|xfailed)\b.* in [0-9.]+s|no tests ran in [0-9.]+s")
TAIL_BYTES = 4096
SETTINGS_PREFIX = "ORCHESTRATOR_"
TESTS_PREFIX = "ORCHESTRATOR_TEST_"
"""What the tests are told: `ORCHESTRATOR_TEST_OLLAMA`, `ORCHESTRATOR_TEST_POSTGRES_URL` and their kin."""

ALL_DEMANDED = {"ORCHESTRATOR_TEST_CLIENTS": "all"}
"""What a run of everything does not leave out: without the clients of others it would prove no page of dialects."""


@dataclass(frozen=True)
class Check:
    """A command of the environment; its failure is reported under `name`."""

    name: str
    command: tuple[str, ...]


CHECKS = (
    Check("basedpyright", ("basedpyright",)),
    Check("ruff check", ("ruff", "check")),
    Check("ruff format --check", ("ruff", "format", "--check")),
    Check("lint-imports", ("lint-imports", "--no-logo")),
)
"""The longest first: they run beside one another."""

# The core's tests cover it by themselves, without those that draw what they try: chance must not decide, and measuring
# all the other tests took a quarter of their time.
CORE_TESTS = Check("tests of core", ("coverage", "run", "-m", "pytest", "-q", "-m", "not hypothesis", "tests/core"))
COVERAGE = Check("coverage of core", ("coverage", "report", "--include=orchestrator/core/*", "--fail-under=100"))
TESTS = Check("pytest", ("pytest", "-q"))
MOST_WORKERS = 8


def run_checks(project: Project, pytest_arguments: Sequence[str], cores: int | None = None) -> int:
    """Everything that CI wants to know; with `pytest_arguments` only those tests, in one process.

    Returns the exit status. The last line that is printed is pytest's own closing line.
    """
    environ = clean_environ(os.environ)
    cores = cores or os.cpu_count() or 1
    if not pytest_arguments:
        environ |= ALL_DEMANDED
    failed = [] if pytest_arguments else list(_failed_checks(project, environ, cores))
    arguments = pytest_arguments or (f"--numprocesses={min(cores, MOST_WORKERS)}", "--inline-snapshot=disable")
    say(TESTS.name)
    status, closing = _run_tests(Check(TESTS.name, (*TESTS.command, *arguments)), project, environ)
    if status != 0:
        failed.append(f"{TESTS.name} (status {status})")
    say(f"FAILED: {', '.join(failed)}" if failed else "all checks and tests passed")
    print(closing, flush=True)
    return 1 if failed else 0


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Without the user's own settings of the product: the tests are about the defaults. What is said to the tests stays."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(SETTINGS_PREFIX) or name.startswith(TESTS_PREFIX)
    }


def closing_line(output: str) -> str | None:
    """The last line of pytest that counts the tests, without colour and rules; None where there is none."""
    lines = (ANSI.sub("", line).strip("= \r") for line in reversed(output.splitlines()))
    return next((line for line in lines if SUMMARY.search(line)), None)


def _command(check: Check, project: Project) -> list[str | Path]:
    return [project.script(check.command[0]), *check.command[1:]]


def _failed_checks(project: Project, environ: Mapping[str, str], cores: int) -> Iterator[str]:
    """Run what is no test of the whole, as much at once as there are cores; the names of what failed."""

    def run(*checks: Check) -> list[subprocess.CompletedProcess[bytes]]:
        return [
            subprocess.run(
                _command(check, project),
                cwd=project.root,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for check in checks
        ]

    with ThreadPoolExecutor(cores) as pool:
        ways = [*((check,) for check in CHECKS), (CORE_TESTS, COVERAGE)]
        running = [pool.submit(run, *way) for way in ways]
        audited = pool.submit(audit, project, environ)
        for way, results in zip(ways, running, strict=True):
            for check, done in zip(way, results.result(), strict=True):
                say(check.name)
                sys.stdout.buffer.write(done.stdout)
                sys.stdout.buffer.flush()
                if done.returncode != 0:
                    yield check.name
        # Told, not failed: what is published tomorrow must not break the checkout of today. A release it stops.
        say("audit")
        tell(audited.result())


def _run_tests(check: Check, project: Project, environ: Mapping[str, str]) -> tuple[int, str]:
    """Pass pytest's output on as it comes, and keep its end."""
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    tail = b""
    with subprocess.Popen(
        [*_command(check, project), *colour],
        cwd=project.root,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as process:
        assert process.stdout is not None
        while chunk := process.stdout.read(65536):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            tail = (tail + chunk)[-TAIL_BYTES:]
    closing = closing_line(tail.decode("utf-8", "replace"))
    return process.returncode, closing or f"pytest ended with status {process.returncode} and counted no tests"
