"""The programs, each with a client that others wrote, and how they are run.

To lock the clients anew: `uv pip compile` with the flags of `setup/locks.py` and
`openai anthropic openai-agents pydantic-ai-slim[openai,anthropic,mcp] langchain-openai` for `python-clients.txt`;
for the JavaScript ones `npm install --save-exact --package-lock-only --omit-lockfile-registry-resolved=true`.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

from tests.client_programs.running import Place
from tests.servers.install import node_environment, python_environment

HERE: Final = Path(__file__).resolve().parent
PYTHON_LOCK: Final = HERE / "python-clients.txt"
NODE_FILES: Final = (HERE / "javascript" / "package.json", HERE / "javascript" / "package-lock.json")
PROGRAM_SECONDS: Final = 300
FEATURES: Final = ("text", "streaming", "tools", "MCP", "errors", "cancelling")


@dataclass(frozen=True, slots=True)
class Program:
    """A client, by the name that people know it by, what it is written in, and the dialects that it speaks here.

    In those of `own_mcp` it connects to MCP servers itself.
    """

    client: str
    language: Literal["Python", "JavaScript"]
    file: str
    dialects: tuple[str, ...]
    own_mcp: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.client} ({self.language})"

    def run(self, place: Place) -> dict[str, Any]:
        """What it saw, by dialect and feature.

        Raises:
            SetupError, NodeMissingError: its environment cannot be installed.
        """
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with self._command() as command:
            done = subprocess.run(
                [*command, place.argument, *self.dialects],
                capture_output=True,
                text=True,
                timeout=PROGRAM_SECONDS,
                env=environ,
            )
        if done.returncode != 0:
            raise RuntimeError(f"{self.file} ended with {done.returncode}: {done.stderr[-3000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    @contextmanager
    def _command(self) -> Generator[list[str]]:
        if self.language == "Python":
            yield [str(python_environment(PYTHON_LOCK) / "bin" / "python"), str(HERE / "python" / self.file)]
            return
        node, packages = node_environment("javascript-clients", NODE_FILES)
        with TemporaryDirectory() as folder:  # Node looks for packages beside the program only
            for file in (HERE / "javascript").glob("*.mjs"):
                shutil.copy(file, folder)
            Path(folder, "node_modules").symlink_to(packages / "node_modules")
            yield [node, str(Path(folder, self.file))]


PROGRAMS: Final = (
    Program("openai", "Python", "openai_responses.py", ("responses",)),
    Program("openai", "Python", "openai_chat.py", ("chat/completions",)),
    Program("anthropic", "Python", "anthropic_messages.py", ("messages",)),
    Program("openai-agents", "Python", "openai_agents.py", ("responses", "chat/completions"), ("chat/completions",)),
    Program(
        "pydantic-ai",
        "Python",
        "pydantic_agents.py",
        ("responses", "chat/completions", "messages"),
        ("chat/completions",),
    ),
    Program("langchain-openai", "Python", "langchain_models.py", ("responses", "chat/completions")),
    Program("openai", "JavaScript", "openai.mjs", ("responses", "chat/completions")),
    Program("ai, @ai-sdk/openai", "JavaScript", "ai.mjs", ("responses",)),
    Program("ai, @ai-sdk/openai-compatible", "JavaScript", "ai.mjs", ("chat/completions",)),
)
