"""The programs, each with a client that others wrote, and how they are run.

To lock the clients anew: `uv pip compile` with the flags of `setup/locks.py` and
`openai anthropic openai-agents pydantic-ai-slim[openai,anthropic,mcp] langchain-openai` for `python-clients.txt`;
for the JavaScript ones `npm install --save-exact --package-lock-only --omit-lockfile-registry-resolved=true`.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

from tests.client_programs.dialects import DIALECTS
from tests.client_programs.running import Place
from tests.servers.install import node_environment, python_environment

HERE: Final = Path(__file__).resolve().parent
PYTHON_LOCK: Final = HERE / "python-clients.txt"
NODE_FILES: Final = (HERE / "javascript" / "package.json", HERE / "javascript" / "package-lock.json")
PROGRAM_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Program:
    """A client, by the name that people know it by, what it is written in, and the dialects that it speaks here.

    In those of `own_mcp` it connects to MCP servers itself. `without` says which features of a dialect it has no word for.
    """

    client: str
    language: Literal["Python", "JavaScript"]
    file: str
    dialects: tuple[str, ...]
    own_mcp: tuple[str, ...] = ()
    without: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str], hash=False)

    @property
    def label(self) -> str:
        return f"{self.client} ({self.language})"

    def features(self, dialect: str) -> tuple[str, ...]:
        """What it is asked to do in a dialect."""
        return tuple(one for one in DIALECTS[dialect].features if (dialect, one) not in self.without)

    def word(self, dialect: str) -> str:
        """The word that it says to nobody else, nor in another dialect."""
        return f"{_word(self)}{self.dialects.index(dialect)}"

    def run(self, place: Place) -> dict[str, Any]:
        """What it saw, by dialect and feature.

        Raises:
            SetupError, NodeMissingError: its environment cannot be installed.
        """
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        asked = json.dumps({dialect: self.features(dialect) for dialect in self.dialects})
        with self._command() as command:
            done = subprocess.run(
                [*command, place.argument(client=self.client, word=_word(self)), asked],
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


def _word(program: Program) -> str:
    return "kiwi" + "abcdefghijklmnopqrstuvwxyz"[PROGRAMS.index(program)]


PROGRAMS: Final = (
    Program("openai", "Python", "openai_responses.py", ("responses", "embeddings", "models")),
    Program("openai", "Python", "openai_chat.py", ("chat/completions",)),
    Program("anthropic", "Python", "anthropic_messages.py", ("messages", "models")),
    Program(
        "openai-agents",
        "Python",
        "openai_agents.py",
        ("responses", "chat/completions"),
        ("chat/completions",),
        {("responses", "token counting"): "has no call for it"},
    ),
    Program(
        "pydantic-ai",
        "Python",
        "pydantic_agents.py",
        ("responses", "chat/completions", "messages", "embeddings"),
        ("chat/completions",),
        {("responses", "approvals"): "never asks for approval of a server's tool"},
    ),
    Program(
        "langchain-openai",
        "Python",
        "langchain_models.py",
        ("responses", "chat/completions", "embeddings"),
        without={
            ("responses", "token counting"): "counts with a tokenizer of OpenAI's models",
            ("chat/completions", "reasoning"): "drops `reasoning_content`",
        },
    ),
    Program("openai", "JavaScript", "openai.mjs", ("responses", "chat/completions", "embeddings", "models")),
    Program(
        "ai, @ai-sdk/openai",
        "JavaScript",
        "ai.mjs",
        ("responses", "embeddings"),
        without={("responses", "token counting"): "has no call for it"},
    ),
    Program("ai, @ai-sdk/openai-compatible", "JavaScript", "ai.mjs", ("chat/completions", "embeddings")),
    Program("httpx", "Python", "lmstudio_rest.py", ("native", "thread")),
)
