"""How tests are shared out: together what belongs together, and alone, at the end, what wants to be alone."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WRITES = """
import os, time, pathlib, pytest
@pytest.mark.parametrize("number", range(4))
def test_it(number):
    time.sleep(0.02)
    with open({log!r}, "a") as log:
        log.write("{name} " + os.environ.get("PYTEST_XDIST_WORKER", "") + "\\n")
"""
FILES = (
    "tests/api/test_a.py",
    "tests/api/test_b.py",
    "tests/client_programs/test_c.py",
    "tests/client_programs/test_d.py",
    "tests/timing/test_a.py",
    "tests/zoo/test_z.py",
)


def test_files_and_folders_stay_together_and_what_measures_times_comes_last(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(WRITES.format(log=str(log), name=name))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.shared_out", "-p", "no:cacheprovider"]
    command += ["--numprocesses=2", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = [tuple(line.split(" ")) for line in log.read_text().splitlines()]
    assert sorted(name for name, _ in ran) == sorted(4 * FILES)
    assert [name for name, _ in ran[-4:]] == ["tests/timing/test_a.py"] * 4
    workers = {name: {worker for it, worker in ran if it == name} for name in FILES}
    assert {len(own) for own in workers.values()} == {1}
    assert workers["tests/client_programs/test_c.py"] == workers["tests/client_programs/test_d.py"]
    assert len({worker for _, worker in ran}) == 2
