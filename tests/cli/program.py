"""The program `orchestrator`, run in this process or as one of its own."""

import os
import pty
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from click.testing import CliRunner, Result

from orchestrator.cli.commands import orchestrator

ROOT = Path(__file__).parents[2]
END_SECONDS = 30.0


def run(*arguments: str, stdin: str | None = None, **environ: str) -> Result:
    """One command in this process; `environ` are settings, without their prefix."""
    variables: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("ORCHESTRATOR_") or name == "LM_API_TOKEN"
    }
    variables["ORCHESTRATOR_MCP_USER_CONFIG"] = "/nonexistent/mcp.json"  # not that of whoever runs the tests
    variables |= {name if name == "LM_API_TOKEN" else f"ORCHESTRATOR_{name}": value for name, value in environ.items()}
    return CliRunner().invoke(orchestrator, arguments, input=stdin, env=variables)


def one_line(text: str) -> str:
    """`text`, which must be one line."""
    assert text.endswith("\n") and text.count("\n") == 1, text
    return text.removesuffix("\n")


@contextmanager
def started(*arguments: str, environ: Mapping[str, str]) -> Generator[Popen[str]]:
    """One command as a process of its own, ended at the latest when the block ends."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    variables["ORCHESTRATOR_MCP_USER_CONFIG"] = "/nonexistent/mcp.json"
    command = [sys.executable, "-m", "orchestrator", *arguments]
    process = Popen(command, cwd=ROOT, env=variables | dict(environ), stdout=PIPE, stderr=PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def at_terminal(*arguments: str, keys: str = "") -> tuple[int, str, str]:
    """One command whose standard input is a terminal, at which `keys` are typed: its status, output and errors."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    variables["ORCHESTRATOR_MCP_USER_CONFIG"] = "/nonexistent/mcp.json"
    keyboard, terminal = pty.openpty()
    try:
        command = [sys.executable, "-m", "orchestrator", *arguments]
        with Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdin=terminal,
            stdout=PIPE,
            stderr=PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            os.write(keyboard, keys.encode())
            try:
                out, err = process.communicate(timeout=END_SECONDS)
            finally:
                process.kill()
        return process.returncode, out, err
    finally:
        os.close(keyboard)
        os.close(terminal)
