"""MCP's official conformance suite over our client: every scenario that a revision of the protocol requires."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.servers.install import ROOT, NodeMissingError, node_program

HERE: Final = Path(__file__).resolve().parent
FILES: Final = (HERE / "package.json", HERE / "package-lock.json")
TIMEOUT_MS: Final = 120_000
SCORED: Final = {"2025-11-25": 18, "2026-07-28": 32}
"""How many scenarios count for clients, by revision: said here too, so that none is lost unnoticed."""

# The first test of a fresh checkout installs the suite.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def suite() -> list[str]:
    try:
        return node_program("conformance", FILES, "conformance")
    except NodeMissingError as error:
        pytest.skip(f"the conformance suite needs Node.js: {error}")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The command of our client, which is ready."""
    path = tmp_path_factory.mktemp("c") / "ready"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.ready", path], cwd=ROOT, start_new_session=True
    )
    try:
        for _ in range(600):
            if path.exists():
                break
            with suppress(subprocess.TimeoutExpired):
                raise RuntimeError(f"the client ended with {process.wait(0.1)}")
        yield f"{sys.executable} -S -I {HERE / 'ask.py'} {path}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # what hangs still is among its children
        process.wait()


def required(suite: list[str], revision: str) -> list[str]:
    """The scenarios that count for clients, and that they have to pass."""
    package = Path(suite[1]).parent.parent / "@modelcontextprotocol" / "conformance"
    text = (package / "requirements" / f"{revision}.yaml").read_text()
    section = re.search(r"^client:\n((?:  - .*\n)+)", text, re.MULTILINE)
    assert section is not None
    return [line.removeprefix("  - ").strip() for line in section[1].splitlines()]


@pytest.mark.parametrize(("revision", "scored"), SCORED.items())
def test_every_scenario_that_counts_passes(
    suite: list[str], client: str, revision: str, scored: int, tmp_path: Path
) -> None:
    done = _run(suite, client, tmp_path, revision)
    summary = done.stdout.rpartition("=== SUITE SUMMARY ===")[2]
    results = {name: mark for mark, name in re.findall(r"^([✓✗]) (\S+):", summary, re.MULTILINE)}
    names = required(suite, revision)
    assert (len(names), len(set(names))) == (scored, scored)
    assert set(results) >= set(names), done.stdout + done.stderr
    failing = [name for name in names if results[name] != "✓"]
    assert not failing, "\n".join(_report(tmp_path, name) for name in failing)


def _run(suite: list[str], client: str, folder: Path, revision: str) -> subprocess.CompletedProcess[str]:
    command = [*suite, "client", "--command", client, "--requirements", revision]
    path = f"{Path(suite[0]).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return subprocess.run(
        [*command, "--timeout", str(TIMEOUT_MS), "-o", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        errors="replace",
    )


def _report(folder: Path, name: str) -> str:
    """What a failing scenario said, and what our client did."""
    lines = [f"=== {name}"]
    for run in sorted(folder.glob(f"{name}-*")):
        for file in ("checks.json", "stdout.txt", "stderr.txt"):
            if (run / file).exists():
                lines += [f"--- {file}", (run / file).read_text(errors="replace")[-4000:]]
    return "\n".join(lines)
