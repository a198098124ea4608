"""The real engine as the evaluation sees it: xllamacpp in a child process, spoken to over its loopback HTTP."""

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from demo_model.evaluation.engine_process import ADDRESS_PREFIX, API_KEY_VARIABLE
from demo_model.files import HERE

START_SECONDS = 60.0
REQUEST_SECONDS = 120.0
LONGEST_REPLY = 256  # tokens

Message = dict[str, Any]


class EngineStartError(Exception):
    """The engine did not come up: the reason stands above, on standard error."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One assistant turn. `arguments` is text where it is not JSON; `error` is what the engine said instead of a reply."""

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[Message, ...] = ()
    error: str | None = None

    @property
    def called(self) -> str | None:
        """The name of the first tool called."""
        return self.tool_calls[0]["function"]["name"] if self.tool_calls else None

    @property
    def arguments(self) -> Any:
        """The arguments of the first call."""
        if not self.tool_calls:
            return None
        text = self.tool_calls[0]["function"]["arguments"]
        try:
            return json.loads(text)
        except ValueError:
            return text


@dataclass(slots=True)
class Speed:
    """Tokens and milliseconds of all requests so far."""

    prompt_tokens: int = 0
    prompt_ms: float = 0.0
    generated_tokens: int = 0
    generation_ms: float = 0.0

    def add(self, timings: Message) -> None:
        self.prompt_tokens += timings["prompt_n"]
        self.prompt_ms += timings["prompt_ms"]
        self.generated_tokens += timings["predicted_n"]
        self.generation_ms += timings["predicted_ms"]

    def per_second(self) -> tuple[int, int]:
        """Prompt and generated tokens per second."""
        return (
            round(1000 * self.prompt_tokens / max(self.prompt_ms, 1)),
            round(1000 * self.generated_tokens / max(self.generation_ms, 1)),
        )


@dataclass(slots=True)
class Engine:
    """A loaded model."""

    client: httpx.Client
    speed: Speed = field(default_factory=Speed)

    def chat(self, messages: Sequence[Message], tools: Sequence[Message] = (), *, thinking: bool = False) -> Reply:
        """Ask for one assistant turn at temperature 0."""
        body: Message = {
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": LONGEST_REPLY,
            "chat_template_kwargs": {"enable_thinking": thinking},
        }
        if tools:
            body["tools"] = list(tools)
        response = self.client.post("/v1/chat/completions", json=body)
        if response.is_error:
            return Reply(error=response.text)
        reply = response.json()
        self.speed.add(reply["timings"])
        message = reply["choices"][0]["message"]
        return Reply(
            content=message.get("content") or "",
            reasoning=message.get("reasoning_content") or "",
            tool_calls=tuple(message.get("tool_calls") or ()),
        )

    def tokenize(self, text: str) -> list[int]:
        """The engine's own ids of a text, control tokens included."""
        body = {"content": text, "parse_special": True, "add_special": False}
        return self.client.post("/tokenize", json=body).raise_for_status().json()["tokens"]


@contextmanager
def running_engine(model: Path) -> Generator[Engine]:
    """Load a model in a child process; the process ends with the block.

    Raises:
        EngineStartError: the model could not be loaded, or not within a minute.
    """
    api_key = secrets.token_urlsafe(24)
    process = subprocess.Popen(
        [sys.executable, "-m", "demo_model.evaluation.engine_process", str(model.resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parent,
        env={**os.environ, API_KEY_VARIABLE: api_key, "GGML_NO_BACKTRACE": "1"},
    )
    with process:
        try:
            address = _address_of(process)
            headers = {"Authorization": f"Bearer {api_key}"}
            with httpx.Client(base_url=address, headers=headers, timeout=REQUEST_SECONDS, trust_env=False) as client:
                yield Engine(client)
        finally:
            process.kill()


def _address_of(process: subprocess.Popen[str]) -> str:
    """Wait for the line that tells the address; a child that takes too long is ended, which ends its output."""
    assert process.stdout is not None
    deadline = threading.Timer(START_SECONDS, process.kill)
    deadline.start()
    try:
        for line in process.stdout:
            if line.startswith(ADDRESS_PREFIX):
                return line.removeprefix(ADDRESS_PREFIX).strip()
    finally:
        deadline.cancel()
    raise EngineStartError(f"the engine ended with status {process.wait()} before it was ready")
