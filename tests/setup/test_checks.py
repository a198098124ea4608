"""The second command: it runs everything, names what failed, and ends with pytest's own count."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from setup.checks import CHECKS, clean_environ, closing_line, run_checks
from setup.commands import main
from setup.locks import build_requirements
from setup.project import Project

ROOT = Path(__file__).parents[2]
TOOLS = ("ruff", "lint-imports", "basedpyright", "coverage", "pytest")


@pytest.mark.parametrize(
    ("output", "closing"),
    [
        ("....\n12 passed in 1.50s\n", "12 passed in 1.50s"),
        ("\x1b[32m===== \x1b[1m3 passed\x1b[0m, 1 skipped in 61.20s (0:01:01) =====\x1b[0m\n", "3 passed, 1 skipped in 61.20s (0:01:01)"),
        ("1 failed, 2 passed, 1 error in 0.10s\nTask was destroyed\n", "1 failed, 2 passed, 1 error in 0.10s"),
        ("no tests ran in 0.01s", "no tests ran in 0.01s"),
        ("Segmentation fault\n", None),
        ("12 passed the gate\n", None),
    ],
)  # fmt: skip
def test_the_closing_line_is_the_last_one_that_counts_tests(output: str, closing: str | None) -> None:
    assert closing_line(output) == closing


def test_settings_of_the_user_do_not_reach_the_tests() -> None:
    assert clean_environ({"ORCHESTRATOR_PORT": "1", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_what_is_said_to_the_tests_reaches_them(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    tool(project, "pytest", 'echo "$ORCHESTRATOR_TEST_OLLAMA$ORCHESTRATOR_PORT"; echo "5 passed in 0.10s"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCHESTRATOR_TEST_OLLAMA", "/an/ollama")
        patch.setenv("ORCHESTRATOR_PORT", "1")
        assert run_checks(project, ["tests/contract"]) == 0
    assert "/an/ollama" in capfd.readouterr().out.splitlines()


def test_a_run_of_everything_demands_what_a_run_of_some_tests_may_skip(
    project: Project, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORCHESTRATOR_TEST_CLIENTS", raising=False)  # a run of everything has it
    tool(project, "pytest", 'echo "clients: $ORCHESTRATOR_TEST_CLIENTS"; echo "5 passed in 0.10s"')
    assert (run_checks(project, []), run_checks(project, ["tests/core"])) == (0, 0)
    told = [line for line in capfd.readouterr().out.splitlines() if line.startswith("clients: ")]
    assert told == ["clients: all", "clients: "]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A checkout whose tools are scripts that print their name."""
    project = Project(tmp_path)
    project.python.parent.mkdir(parents=True)
    for name in TOOLS:
        tool(project, name, 'echo "$(basename "$0") $*"')
    tool(project, "pytest", 'echo "pytest $*"; echo "5 passed in 0.10s"')
    return project


def tool(project: Project, name: str, script: str) -> None:
    project.script(name).write_text(f"#!/bin/sh\n{script}\n")
    project.script(name).chmod(0o755)


def test_every_check_runs_and_the_count_is_the_last_line(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_checks(project, [], cores=2) == 0
    lines = capfd.readouterr().out.splitlines()
    told = [line for line in lines if not line.startswith("setup: ")]
    assert told == [
        "basedpyright ",
        "ruff check",
        "ruff format --check",
        "lint-imports --no-logo",
        "coverage run -m pytest -q -m not hypothesis tests/core",
        "coverage report --include=orchestrator/core/* --fail-under=100",
        "pytest -q --numprocesses=2 --inline-snapshot=disable",
        "5 passed in 0.10s",
        "5 passed in 0.10s",
    ]
    assert lines[-2:] == ["setup: all checks and tests passed", "5 passed in 0.10s"]


def test_a_check_that_fails_is_named_and_the_others_still_run(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    tool(project, "basedpyright", "exit 1")
    tool(project, "pytest", 'echo "1 failed, 4 passed in 0.10s"; exit 1')
    assert run_checks(project, []) == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[-2:] == ["setup: FAILED: basedpyright, pytest (status 1)", "1 failed, 4 passed in 0.10s"]


def test_coverage_below_the_bound_fails(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    tool(project, "coverage", 'case "$*" in report*) exit 2;; esac')
    assert run_checks(project, []) == 1
    assert capfd.readouterr().out.splitlines()[-2:] == ["setup: FAILED: coverage of core", "5 passed in 0.10s"]


def test_a_pytest_that_dies_is_a_failure_with_a_line_of_its_own(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    tool(project, "pytest", "kill -9 $$")
    assert run_checks(project, []) == 1
    assert capfd.readouterr().out.splitlines()[-1] == "pytest ended with status -9 and counted no tests"


def test_named_tests_are_run_alone(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_checks(project, ["tests/core", "-x"]) == 0
    told = [line for line in capfd.readouterr().out.splitlines() if not line.startswith("setup: ")]
    assert told == ["pytest -q tests/core -x", "5 passed in 0.10s", "5 passed in 0.10s"]


def test_the_hooks_before_a_commit_run_the_same_checks() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    for check in CHECKS:
        assert f"name: {check.name}\n" in hooks
        assert f"entry: .venv/bin/{' '.join(check.command[:2])}" in hooks


def test_ci_runs_the_second_command_of_the_readme_to_the_letter() -> None:
    blocks = [part.partition("```")[0].strip() for part in (ROOT / "README.md").read_text().split("```sh\n")[1:]]
    assert blocks[:2] == ["python3 setup demo", "python3 setup test"]
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert ci[-1] == f"exec {blocks[1]}"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_what_builds_the_project_comes_from_its_metadata() -> None:
    assert [requirement.partition(">")[0] for requirement in build_requirements(ROOT / "pyproject.toml")] == [
        "hatchling",
        "editables",
    ]


def test_a_word_that_is_no_command_is_wrong_use(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["dance"], [], ["lock", "dance"]):
        with pytest.raises(SystemExit) as raised:
            main(arguments)
        assert raised.value.code == 2
    assert "unexpected: dance" in capfd.readouterr().err


def test_an_older_python_is_told_which_one_is_needed() -> None:
    code = (
        "import sys; sys.version_info = (3, 9, 2); import runpy; sys.argv = ['setup', 'demo']; runpy.run_path('setup')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed; this is 3.9. ")
