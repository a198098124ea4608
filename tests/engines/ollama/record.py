"""Records `recordings/` anew: `python -m tests.engines.ollama.record`.

It runs `test_wire.py`, and the contract of every engine, before a real Ollama.

The argument is the version, for one that was built without it: `python -m tests.engines.ollama.record v0.24.0`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from tests.engines.ollama.recordings import FOLDER, RECORD
from tests.engines.ollama.runtime import missing, real_ollama


def main(arguments: list[str]) -> int:
    """Run the tests in which exchanges are recorded; their exit status."""
    why_not = missing()
    if why_not is not None:
        sys.stderr.write(f"{why_not}\n")
        return 1
    version = arguments[0] if arguments else _version()
    shutil.rmtree(FOLDER, ignore_errors=True)
    contract = Path(__file__).parents[2] / "contract"
    tests = [Path(__file__).parent / "test_wire.py", contract / "test_engine.py", contract / "test_embeddings.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "ollama", *map(str, tests)]
    return subprocess.run(command, env={**os.environ, RECORD: version}, check=False).returncode


def _version() -> str:
    with real_ollama() as runtime:
        return httpx.get(f"{runtime.host}/api/version", trust_env=False).json()["version"]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
