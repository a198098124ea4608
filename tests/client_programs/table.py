"""Writes `orchestrator/DIALECTS.md`: runs the tests with the clients, and puts down what passed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.client_programs.conftest import Proof
from tests.client_programs.dialects import DIALECTS, FEATURES, Dialect
from tests.client_programs.programs import NODE_FILES, PROGRAMS, PYTHON_LOCK, Program

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PAGE: Final = ROOT / "orchestrator" / "DIALECTS.md"
COMMAND: Final = "python -m tests.client_programs.table"
WRITE: Final = "ORCHESTRATOR_WRITE_DIALECTS"
NONE: Final = "—"
HEAD: Final = f"""<!-- Made by `{COMMAND}` from the tests that passed; change `tests/client_programs` instead. -->

# Dialects and their clients

Programs with clients that others wrote talk to a running service with the demo model and a real MCP server; pictures,
reasoning, counts and vectors, which that model cannot give, come from a scripted engine behind the same service. What says
*yes* passed, *no* did not, and {NONE} is what the dialect, or the client in that dialect, has no word for. The clients are
locked with hashes beside the programs, in `tests/client_programs`.
"""
NATIVE: Final = """LM Studio's own libraries for Python and JavaScript speak WebSockets, not its REST API: its route is asked with a plain HTTP
client, which stands for every client of that API."""


def dialect_page(passed: Collection[Proof]) -> str:
    """The page, of the proofs that passed."""
    parts = [HEAD, "\n".join(f"* **{name}**: {meaning}" for name, meaning in FEATURES.items()), "", "## Dialects\n"]
    parts += ["How many clients do what in a dialect, of those that were asked to speak it.\n", *_overview(passed)]
    for name, dialect in DIALECTS.items():
        parts += ["", f"## {_title(dialect)}\n", *_clients_of(name, dialect, passed)]
    return "\n".join([*parts, ""])


def _overview(passed: Collection[Proof]) -> list[str]:
    rows = [["feature", *(_title(dialect) for dialect in DIALECTS.values())]]
    for feature in FEATURES:
        cells = [_count(name, dialect, feature, passed) for name, dialect in DIALECTS.items()]
        rows.append([feature, *cells])
    return _table(rows)


def _count(name: str, dialect: Dialect, feature: str, passed: Collection[Proof]) -> str:
    if feature not in dialect.features:
        return NONE
    count = len({client for at, client, one in passed if (at, one) == (name, feature)})
    return f"{count} of {len(_speakers(name))}"


def _clients_of(name: str, dialect: Dialect, passed: Collection[Proof]) -> list[str]:
    """A table with a column for each client, and why it has no word for something."""
    programs = _speakers(name)
    rows = [["", *(f"{program.label} {_version(program)}" for program in programs)]]
    rows += [[feature, *(_cell(one, name, feature, passed) for one in programs)] for feature in dialect.features]
    missing = [
        f"* {NONE} {feature}, {program.label}: it {why}."
        for program in programs
        for (at, feature), why in program.without.items()
        if at == name
    ]
    about = [NATIVE, ""] if name == "native" else []
    return [*about, *_table(rows), *([""] if missing else []), *missing]


def _cell(program: Program, dialect: str, feature: str, passed: Collection[Proof]) -> str:
    if (dialect, feature) in program.without:
        return NONE
    if (dialect, program.label, feature) not in passed:
        return "no"
    return "own" if feature == "MCP" and dialect in program.own_mcp else "yes"


def _speakers(dialect: str) -> list[Program]:
    return [program for program in PROGRAMS if dialect in program.dialects]


def _title(dialect: Dialect) -> str:
    return f"`{dialect.path}`{dialect.about and f' {dialect.about}'}"


def _table(rows: Sequence[Iterable[str]]) -> list[str]:
    head, *others = [f"| {' | '.join(row)} |" for row in rows]
    return [head, f"|{' --- |' * (head.count('|') - 1)}", *others]


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
