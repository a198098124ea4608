"""The programs, each with a client that others wrote, and how they are run.

To lock the clients anew: `uv pip compile` with the flags of `setup/locks.py` and
`openai anthropic openai-agents pydantic-ai-slim[openai,anthropic,mcp] langchain-openai` for `python-clients.txt`;
for the JavaScript ones `npm install --save-exact --package-lock-only --omit-lockfile-registry-resolved=true`.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.client_programs.running import Place
from tests.servers.install import python_environment

HERE: Final = Path(__file__).resolve().parent
PYTHON_LOCK: Final = HERE / "python-clients.txt"
PROGRAM_SECONDS: Final = 100
FEATURES: Final = ("text", "streaming", "tools", "MCP", "errors", "cancelling")


@dataclass(frozen=True, slots=True)
class Program:
    """A client, by the name that people know it by, what it is written in, and the dialects that it speaks here."""

    client: str
    language: Literal["Python", "JavaScript"]
    file: str
    dialects: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.client} ({self.language})"

    def run(self, place: Place) -> dict[str, Any]:
        """What it saw, by dialect and feature.

        Raises:
            SetupError: its environment cannot be installed.
        """
        command = [*self._command(), place.argument, *self.dialects]
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, env=environ)
        if done.returncode != 0:
            raise RuntimeError(f"{self.file} ended with {done.returncode}: {done.stderr[-3000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def _command(self) -> list[str]:
        return [str(python_environment(PYTHON_LOCK) / "bin" / "python"), str(HERE / "python" / self.file)]


PROGRAMS: Final = (
    Program("openai", "Python", "openai_responses.py", ("responses",)),
    Program("openai", "Python", "openai_chat.py", ("chat/completions",)),
    Program("anthropic", "Python", "anthropic_messages.py", ("messages",)),
    Program("openai-agents", "Python", "openai_agents.py", ("responses", "chat/completions")),
    Program("pydantic-ai", "Python", "pydantic_agents.py", ("responses", "chat/completions", "messages")),
    Program("langchain-openai", "Python", "langchain_models.py", ("responses", "chat/completions")),
)
