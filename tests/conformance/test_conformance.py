"""MCP's official conformance suite over our client: every scenario that a revision of the protocol requires."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.servers.install import ROOT, NodeMissingError, node_program

HERE: Final = Path(__file__).resolve().parent
FILES: Final = (HERE / "package.json", HERE / "package-lock.json")
TIMEOUT_MS: Final = 120_000

# The first test of a fresh checkout installs the suite.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def suite() -> list[str]:
    try:
        return node_program("conformance", FILES, "conformance")
    except NodeMissingError as error:
        pytest.skip(f"the conformance suite needs Node.js: {error}")


def required(suite: list[str], revision: str) -> list[str]:
    """The scenarios that clients have to pass."""
    package = Path(suite[1]).parent.parent / "@modelcontextprotocol" / "conformance"
    text = (package / "requirements" / f"{revision}.yaml").read_text()
    section = re.search(r"^client:\n((?:  - .*\n)+)", text, re.MULTILINE)
    assert section is not None
    return [line.removeprefix("  - ").strip() for line in section[1].splitlines()]


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_every_scenario_that_the_revision_requires_passes(suite: list[str], revision: str, tmp_path: Path) -> None:
    done = _run(suite, tmp_path, "--requirements", revision)
    summary = done.stdout.rpartition("=== SUITE SUMMARY ===")[2]
    results = {name: mark for mark, name in re.findall(r"^([✓✗]) (\S+):", summary, re.MULTILINE)}
    assert set(results) >= set(required(suite, revision)), done.stdout + done.stderr
    # The suite runs all of them at once: one that found no time beside thirty others is tried alone.
    failing = [
        name
        for name in required(suite, revision)
        if results[name] != "✓"
        and "OVERALL: PASSED" not in _run(suite, tmp_path, "--scenario", name, "--spec-version", revision).stdout
    ]
    assert not failing, "\n".join(_report(tmp_path, name) for name in failing)


def _run(suite: list[str], folder: Path, *what: str) -> subprocess.CompletedProcess[str]:
    command = [*suite, "client", "--command", f"{sys.executable} -m tests.conformance.driver", *what]
    path = f"{Path(suite[0]).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return subprocess.run(
        [*command, "--timeout", str(TIMEOUT_MS), "-o", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
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
