"""What `python3 setup` decides before it runs anything: digests, sources, what is there already."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from setup import environment
from setup.environment import LOCKS, STATE, install, install_uv, lock_digest, uv_settings
from setup.project import Project, SetupError, running_python

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(NAME.findall((ROOT / "setup" / f"{name}.txt").read_text()))


# ---- the lock files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["uv", "build", "runtime", "dev"])
def test_a_lock_has_a_hash_for_everything_and_no_address_of_anything(name: str) -> None:
    text = (ROOT / "setup" / f"{name}.txt").read_text()
    assert "://" not in text
    assert "--index" not in text and "--find-links" not in text
    entries = re.split(NAME, text)[3::3]
    assert entries and all("--hash=sha256:" in entry for entry in entries)


def test_the_locks_agree_with_each_other() -> None:
    dev = pins("dev")
    assert pins("runtime").items() <= dev.items()
    assert pins("build").items() <= dev.items()


# ---- pip's sources ----------------------------------------------------------------------------------------


def test_pips_sources_become_uvs(tmp_path: Path) -> None:
    config = "\n".join(
        (
            "global.index-url='http://weak.example'",
            "global.timeout='60'",
            "install.extra-index-url='http://a.example\\nhttp://b.example'",
            f":env:.find-links='{tmp_path} {tmp_path}/none http://links.example'",
            ":env:.index-url='http://strong.example'",
            ":env:.cert='/c.pem'",
        )
    )
    assert uv_settings(config, {}) == {
        "UV_DEFAULT_INDEX": "http://strong.example",
        "UV_INDEX": "http://a.example http://b.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{tmp_path},http://links.example",
        "SSL_CERT_FILE": "/c.pem",
    }


def test_what_uv_was_told_itself_it_keeps() -> None:
    config = "global.index-url='http://pip.example'\nglobal.cert='/c.pem'"
    assert uv_settings(config, {"UV_DEFAULT_INDEX": "http://uv.example"}) == {"SSL_CERT_FILE": "/c.pem"}


def test_without_settings_of_pip_there_is_nothing_to_tell() -> None:
    assert uv_settings("", {}) == {}


# ---- what is installed, and what is left alone ------------------------------------------------------------


@dataclass
class Machine:
    """A checkout on which every command is written down instead of run."""

    project: Project
    commands: list[list[str]] = field(default_factory=list[list[str]])
    fails_at: str | None = None

    def run(self, command: Sequence[str | Path], cwd: Path, environ: object, stdin: str = "") -> str:
        words = [str(part) for part in command]
        if self.fails_at is not None and self.fails_at in words:
            raise SetupError("it broke")
        self.commands.append(words)
        if "venv" in words:
            self.project.python.parent.mkdir(parents=True, exist_ok=True)
            self.project.python.unlink(missing_ok=True)
            self.project.python.symlink_to(sys.executable)
            (self.project.venv / STATE).unlink(missing_ok=True)
        if "--target" in words:
            (self.project.uv_folder / "bin").mkdir(parents=True)
            (self.project.uv_folder / "bin" / "uv").touch()
        return "Installed 7 packages in 1ms"

    def did(self) -> list[str]:
        """The steps since the last time."""
        commands, self.commands = self.commands, []
        return [self._step(command) for command in commands]

    @staticmethod
    def _step(command: list[str]) -> str:
        if "--target" in command:
            return "uv"
        if "--editable" in command:
            return "project"
        return (
            command[1]
            if command[1] == "venv"
            else f"{command[2]} {' '.join(Path(p).stem for p in command if p.endswith('.txt'))}"
        )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "setup").mkdir()
    for name in ("uv", "build", "runtime", "dev"):
        (tmp_path / "setup" / f"{name}.txt").write_text(name)
    (tmp_path / "pyproject.toml").write_text("[project]")
    machine = Machine(Project(tmp_path))
    monkeypatch.setattr(environment, "run", machine.run)
    monkeypatch.setattr(environment, "python_with_pip", lambda: "python3")
    monkeypatch.setattr(environment, "uv_environ", dict[str, str])
    return machine


def test_a_fresh_checkout_gets_everything_and_a_second_run_does_nothing(machine: Machine) -> None:
    install(machine.project, "runtime")
    assert machine.did() == ["uv", "venv", "install runtime build", "project"]
    install(machine.project, "runtime")
    assert machine.did() == []


def test_the_demo_after_the_tests_takes_nothing_away_and_the_tests_after_the_demo_add(machine: Machine) -> None:
    install(machine.project, "runtime")
    machine.did()
    install(machine.project, "dev")
    assert machine.did() == ["sync dev build", "project"]
    install(machine.project, "runtime")
    assert machine.did() == []
    install(machine.project, "dev")
    assert machine.did() == []


def change_runtime_lock(project: Project) -> None:
    (project.locks / "runtime.txt").write_text("new")


def change_dev_lock(project: Project) -> None:
    (project.locks / "dev.txt").write_text("new")


def change_uv_lock(project: Project) -> None:
    (project.locks / "uv.txt").write_text("new")


def change_metadata(project: Project) -> None:
    (project.root / "pyproject.toml").write_text("new")


def change_python(project: Project) -> None:
    state = json.loads((project.venv / STATE).read_text())
    (project.venv / STATE).write_text(json.dumps(state | {"python": "3.11.0 /elsewhere/python3"}))


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        (change_runtime_lock, ["install runtime build", "project"]),
        (change_dev_lock, []),
        (change_metadata, ["project"]),
        (change_python, ["venv", "install runtime build", "project"]),
        (change_uv_lock, []),
    ],
)
def test_what_changed_is_done_again_and_nothing_else(
    machine: Machine, change: Callable[[Project], None], steps: list[str]
) -> None:
    install(machine.project, "runtime")
    machine.did()
    change(machine.project)
    install(machine.project, "runtime")
    assert machine.did() == steps


def test_a_changed_lock_of_uv_brings_another_uv_when_it_is_next_needed(machine: Machine) -> None:
    install_uv(machine.project)
    change_uv_lock(machine.project)
    install_uv(machine.project)
    assert machine.did() == ["uv", "uv"]


@pytest.mark.parametrize("step", ["--target", "venv", "--require-hashes", "--editable"])
def test_a_run_that_was_cut_off_is_taken_up_by_the_next(machine: Machine, step: str) -> None:
    machine.fails_at = step
    with pytest.raises(SetupError):
        install(machine.project, "dev")
    before = machine.did()
    machine.fails_at = None
    install(machine.project, "dev")
    after = machine.did()
    assert [*before, *after][-2:] == ["sync dev build", "project"]
    install(machine.project, "dev")
    assert machine.did() == []


def test_the_state_names_what_was_installed(machine: Machine) -> None:
    install(machine.project, "dev")
    state = json.loads((machine.project.venv / STATE).read_text())
    assert state == {
        "dev": lock_digest(machine.project, "dev"),
        "runtime": lock_digest(machine.project, "runtime"),
        "project": environment.digest(machine.project.root / "pyproject.toml"),
        "python": running_python(),
    }


@pytest.mark.parametrize("content", ["", "[]", '{"dev": 1}', "{"])
def test_a_state_that_cannot_be_read_is_no_state(machine: Machine, content: str) -> None:
    install(machine.project, "runtime")
    machine.did()
    (machine.project.venv / STATE).write_text(content)
    install(machine.project, "runtime")
    assert machine.did()[-2:] == ["install runtime build", "project"]


def test_an_environment_that_does_not_run_is_made_again(machine: Machine) -> None:
    machine.project.python.parent.mkdir(parents=True)
    machine.project.python.write_text("no program")
    install(machine.project, "runtime")
    assert machine.did() == ["uv", "venv", "install runtime build", "project"]


def test_an_environment_of_somebody_elses_making_is_used_when_its_python_is_the_same(machine: Machine) -> None:
    machine.project.python.parent.mkdir(parents=True)
    machine.project.python.symlink_to(sys.executable)
    install(machine.project, "runtime")
    assert machine.did() == ["uv", "install runtime build", "project"]


def test_without_pip_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.sys, "executable", "/bin/false")
    monkeypatch.setattr(environment.sys, "_base_executable", "/bin/false", raising=False)
    with pytest.raises(SetupError, match=r"^/bin/false has no pip, which is needed to fetch uv\. Install it"):
        environment.python_with_pip()


def test_every_profile_brings_what_builds_the_project() -> None:
    assert all("build.txt" in files for files in LOCKS.values())
