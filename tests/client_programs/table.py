"""Writes `orchestrator/DIALECTS.md`: runs the tests with the clients, and puts down what passed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tests.client_programs.conftest import Proof
from tests.client_programs.programs import FEATURES, NODE_FILES, PROGRAMS, PYTHON_LOCK, Program

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PAGE: Final = ROOT / "orchestrator" / "DIALECTS.md"
COMMAND: Final = "python -m tests.client_programs.table"
WRITE: Final = "ORCHESTRATOR_WRITE_DIALECTS"
PATHS: Final = {
    "responses": "/v1/responses",
    "chat/completions": "/v1/chat/completions",
    "messages": "/v1/messages",
}
HEAD: Final = f"""<!-- Made by `{COMMAND}` from the tests that passed; change `tests/client_programs` instead. -->

# Dialects and their clients

Programs with clients that others wrote talk to a running service with the demo model and a real MCP server. What is
below passed. The clients are locked with hashes beside the programs, in `tests/client_programs`.

* **text**: a reply in one piece.
* **streaming**: the same reply in pieces, put together by the client.
* **tools**: the model calls a function that the client runs, and uses its result.
* **MCP**: the model calls a tool of an MCP server. The service runs it; where it says *own*, the client connects to the
  server itself and offers its tools as functions. Over `/v1/chat/completions` the service's way is `integrations`, an
  extension.
* **errors**: a model that is not there is the client's own "not found".
* **cancelling**: the client leaves a stream in the middle, and the one place of the model is free for its next request.
"""


def dialect_page(passed: Collection[Proof]) -> str:
    """The page, of the proofs that passed."""
    first = [f"| dialect | {' | '.join(FEATURES)} |", f"| --- |{' --- |' * len(FEATURES)}"]
    for dialect, path in PATHS.items():
        counts = [len({client for at, client, one in passed if (at, one) == (dialect, it)}) for it in FEATURES]
        cells = [f"{count} clients" if count != 1 else "1 client" for count in counts]
        first.append(f"| `{path}` | {' | '.join(cells)} |")
    second = [
        f"| dialect | client | version | {' | '.join(FEATURES)} |",
        f"| --- | --- | --- |{' --- |' * len(FEATURES)}",
    ]
    second += [
        f"| `{path}` | {program.label} | {_version(program)} | {' | '.join(_cells(program, dialect, passed))} |"
        for dialect, path in PATHS.items()
        for program in PROGRAMS
        if dialect in program.dialects
    ]
    return "\n".join([HEAD, "## Dialects\n", *first, "", "## Clients\n", *second, ""])


def _cells(program: Program, dialect: str, passed: Collection[Proof]) -> list[str]:
    said = {it: "yes" if (dialect, program.label, it) in passed else "no" for it in FEATURES}
    if said["MCP"] == "yes" and dialect in program.own_mcp:
        said["MCP"] = "own"
    return list(said.values())


def _version(program: Program) -> str:
    """As it is locked."""
    names = program.client.split(", ")
    if program.language == "JavaScript":
        locked = json.loads(NODE_FILES[1].read_text("utf-8"))["packages"]
        return ", ".join(locked[f"node_modules/{name}"]["version"] for name in names)
    lock = PYTHON_LOCK.read_text("utf-8")
    return ", ".join(re.findall(rf"^{re.escape(name)}(?:-slim)?==(\S+)", lock, re.MULTILINE)[0] for name in names)


if __name__ == "__main__":
    command = [sys.executable, "-m", "pytest", "-q", str(Path(__file__).parent)]
    sys.exit(subprocess.run(command, cwd=ROOT, env={**os.environ, WRITE: "1"}).returncode)
