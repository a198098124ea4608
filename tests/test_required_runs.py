"""Who names an Ollama to test with is not told that all is well when nothing ran against it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNS = "@pytest.mark.ollama\ndef test_real(): pass\n"
SKIPS = "@pytest.mark.ollama\ndef test_real_too(): pytest.skip('none here')\n"
OTHER = "def test_other(): pass\n"
COMPLAINT = "ORCHESTRATOR_TEST_OLLAMA is set, and none of the 1 tests that want it ran"


def session(folder: Path, tests: str, named: str | None, processes: int) -> tuple[int, bool]:
    """The exit status of such a session over so many processes (0: its own), and whether it complained."""
    (folder / "test_it.py").write_text(f"import pytest\n{tests}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.required_runs", "-p", "no:cacheprovider"]
    command += [
        f"--numprocesses={processes}",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(folder),
        str(folder),
    ]
    environ = {name: value for name, value in os.environ.items() if name != "ORCHESTRATOR_TEST_OLLAMA"}
    environ |= {} if named is None else {"ORCHESTRATOR_TEST_OLLAMA": named}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    return done.returncode, COMPLAINT in done.stdout


@pytest.mark.parametrize(
    ("tests", "named", "processes", "told"),
    [
        (SKIPS + OTHER, "/an/ollama", 0, (1, True)),
        (SKIPS + OTHER, "/an/ollama", 1, (1, True)),
        (SKIPS + RUNS, "/an/ollama", 1, (0, False)),
        (OTHER, "/an/ollama", 0, (0, False)),
        (SKIPS + OTHER, None, 0, (0, False)),
    ],
)
def test_a_session_that_skips_all_that_wants_the_named_ollama_fails(
    tmp_path: Path, tests: str, named: str | None, processes: int, told: tuple[int, bool]
) -> None:
    assert session(tmp_path, tests, named, processes) == told
