"""How much of each prompt the engine has to process again: a chain of 20 requests, each with a tool call.

    python benchmarks/prefix.py

The embedded engine with the demo model, through the chat service; the tool is a stand-in. `new` is the ideal: the
tokens that stood neither in the prompt of the turn before nor in what the model wrote after it.
"""

import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass

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
from orchestrator.ports import GenerationChunk
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


@dataclass(frozen=True, slots=True)
class Turn:
    """One model turn: what it was asked, and what the engine counted."""

    request: Generate
    counters: Counters


class RecordedEngine(LlamaCppEngine):
    """The embedded engine; `turns` are those that it has finished."""

    turns: list[Turn]

    async def generate(
        self, model: Model, instance_id: str, request: Generate
    ) -> AsyncGenerator[GenerationChunk, None]:
        async for chunk in super().generate(model, instance_id, request):
            if isinstance(chunk, GenerationFinished):
                self.turns.append(Turn(request, chunk.counters))
            yield chunk


async def tell_time(arguments: JsonObject) -> str:
    """The stand-in for a clock."""
    return f"12:{len(str(arguments)):02}"


async def chain(requests: int) -> list[Turn]:
    """The turns of a chain of `requests` requests, each of which calls the tool once."""
    clock = FakeServer(
        (FakeTool(ToolDefinition("get_time", "Get the current time in a time zone", SCHEMA), tell_time),)
    )
    store = MemoryStore()
    turns: list[Turn] = []
    async with anyio.create_task_group() as tasks:
        engine = RecordedEngine(None, tasks)
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
        )
        previous: str | None = None
        for number in range(requests):
            request = ChatRequest(
                "demo/tiny-tools",
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


def main() -> int:
    turns = anyio.run(chain, REQUESTS)
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
