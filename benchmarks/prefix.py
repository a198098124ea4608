"""How much of each prompt the engine has to process again: a chain of 20 requests, each with a tool call.

    python benchmarks/prefix.py                     # the embedded engine with the demo model
    python benchmarks/prefix.py ollama KEY LOG      # at OLLAMA_HOST; LOG is what it writes with OLLAMA_DEBUG=1

Through the chat service; the tool is a stand-in. `new` is the ideal: the tokens that stood neither in the prompt of the
turn before nor in what the model wrote after it. Ollama tells no client what it had in its cache, but its log does.
"""

import os
import re
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import anyio

from orchestrator.core.commands import Generate
from orchestrator.core.inputs import GenerationFinished
from orchestrator.core.items import TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import Model
from orchestrator.core.request import Limits, PluginRequest, Sampling
from orchestrator.core.response import Counters
from orchestrator.core.stream import ChatEnd
from orchestrator.core.tools import ToolDefinition
from orchestrator.engines.llama_cpp.engine import LlamaCppEngine
from orchestrator.engines.ollama.engine import OllamaEngine
from orchestrator.ports import Engine, GenerationChunk
from orchestrator.service.chats import Caller, ChatRequest, ChatService
from orchestrator.service.instances import InstancePolicy, InstanceService
from orchestrator.service.models import ModelService
from orchestrator.service.quotas import Quotas
from orchestrator.service.runs import RunService
from orchestrator.testing import FakeCatalog, FakeServer, FakeTool, MemoryStore, MemoryTokenStore

REQUESTS = 20
CLOCK = "mcp/clock"
SCHEMA: JsonObject = {"type": "object", "properties": {"timezone": {"type": "string"}}, "required": ["timezone"]}
ZONES = ("Europe/Berlin", "Asia/Tokyo", "Africa/Cairo", "America/Lima", "Europe/Oslo")


Chunks: TypeAlias = AsyncGenerator[GenerationChunk, None]


@dataclass(frozen=True, slots=True)
class Turn:
    """One model turn: what it was asked, and what the engine counted."""

    request: Generate
    counters: Counters


async def noted(chunks: AsyncGenerator[GenerationChunk], request: Generate, turns: list[Turn]) -> Chunks:
    """The chunks as they come; where they end, a turn is noted."""
    async for chunk in chunks:
        if isinstance(chunk, GenerationFinished):
            turns.append(Turn(request, chunk.counters))
        yield chunk


class Embedded(LlamaCppEngine):
    """The embedded engine; `turns` are those that it has finished."""

    turns: list[Turn]

    def generate(self, model: Model, instance_id: str, request: Generate) -> Chunks:
        return noted(super().generate(model, instance_id, request), request, self.turns)


class Ollama(OllamaEngine):
    """Ollama; `turns` are those that it has finished."""

    turns: list[Turn]

    def generate(self, model: Model, instance_id: str, request: Generate) -> Chunks:
        return noted(super().generate(model, instance_id, request), request, self.turns)


async def tell_time(arguments: JsonObject) -> str:
    """The stand-in for a clock."""
    return f"12:{len(str(arguments)):02}"


async def chain(requests: int, arguments: list[str]) -> list[Turn]:
    """The turns of a chain of `requests` requests, each of which calls the tool once."""
    clock = FakeServer(
        (FakeTool(ToolDefinition("get_time", "Get the current time in a time zone", SCHEMA), tell_time),)
    )
    store = MemoryStore()
    turns: list[Turn] = []
    async with anyio.create_task_group() as tasks:
        engine: Engine
        match arguments:
            case []:
                key, engine = "demo/tiny-tools", Embedded(None, tasks)
            case ["ollama", key, _]:
                engine = Ollama(os.environ.get("OLLAMA_HOST", "127.0.0.1:11434"))
            case _:
                raise SystemExit(__doc__)
        engine.turns = turns
        models = ModelService([engine])
        runs = RunService(store, "benchmark", tasks, 4)
        chats = ChatService(
            models=models,
            instances=InstanceService(models, InstancePolicy()),
            catalog=FakeCatalog({CLOCK: clock}),
            store=store,
            runs=runs,
            quotas=Quotas(MemoryTokenStore()),
            holder="benchmark",
            limits=Limits(),
            run_timeout_seconds=60,
            approval_timeout_seconds=60,
        )
        previous: str | None = None
        for number in range(requests):
            request = ChatRequest(
                key,
                (TextInput(f"Use get_time with timezone {ZONES[number % len(ZONES)]}"),),
                integrations=(PluginRequest(CLOCK),),
                sampling=Sampling(temperature=0),
                max_output_tokens=96,
                previous_response_id=previous,
            )
            run = await chats.start(request, Caller())
            async for _, event in run.events():
                if isinstance(event, ChatEnd):
                    previous = run.response_id
        await runs.close(5)
        await engine.aclose()
    return turns


def from_the_log(turns: list[Turn], log: Path) -> list[Turn]:
    """The turns with what Ollama wrote of each: how many tokens of the prompt its cache had."""
    used = [int(one) for one in re.findall(r'msg="loading cache slot".* used=(\d+)', log.read_text("utf-8"))]
    assert len(used) >= len(turns), "the log does not tell: start Ollama with OLLAMA_DEBUG=1"
    pairs = zip(turns, used[-len(turns) :], strict=True)
    return [replace(turn, counters=replace(turn.counters, cached_tokens=cached)) for turn, cached in pairs]


def main() -> int:
    turns = anyio.run(chain, REQUESTS, sys.argv[1:])
    if len(sys.argv) > 3:
        turns = from_the_log(turns, Path(sys.argv[3]))
    sys.stdout.write("turn  prompt  cached  processed   new\n")
    known, processed_in_all, new_in_all, prompts = 0, 0, 0, 0
    for number, turn in enumerate(turns, start=1):
        prompt, cached = turn.counters.input_tokens or 0, turn.counters.cached_tokens or 0
        new = max(1, prompt - known)
        sys.stdout.write(f"{number:4}  {prompt:6}  {cached:6}  {prompt - cached:9}  {new:4}\n")
        known = prompt + (turn.counters.output_tokens or 0)
        prompts, processed_in_all, new_in_all = prompts + prompt, processed_in_all + prompt - cached, new_in_all + new
    share = 100 * (1 - processed_in_all / prompts)
    sys.stdout.write(f"\n{prompts} prompt tokens in {len(turns)} turns: {processed_in_all} processed, ")
    sys.stdout.write(f"{new_in_all} were new; {share:.1f} % came from the cache\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
