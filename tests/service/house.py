"""A whole service over twins, in one process."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from orchestrator.core.items import TextInput
from orchestrator.core.request import IntegrationRequest, Limits
from orchestrator.core.stream import StreamEvent
from orchestrator.core.tools import ToolDefinition
from orchestrator.ports import IntegrationCatalog, ResponseStore
from orchestrator.service.callers import Caller
from orchestrator.service.chats import ChatRequest, ChatService
from orchestrator.service.instances import InstancePolicy, InstanceService
from orchestrator.service.live_runs import LiveRun
from orchestrator.service.models import ModelService
from orchestrator.service.quotas import Quotas
from orchestrator.service.runs import RunService
from orchestrator.service.server_callbacks import ServerPolicies
from orchestrator.testing import (
    SCRIPTED_MODEL,
    FakeCatalog,
    FakeServer,
    FakeTool,
    MemoryStore,
    MemoryTokenStore,
    ScriptedEngine,
    ToolFunction,
)

LOCAL = Caller()


@dataclass
class Service:
    """The services, and the twins behind them."""

    chats: ChatService
    runs: RunService
    store: ResponseStore
    instances: InstanceService
    catalog: FakeCatalog

    async def chat(self, text: str = "hello", *integrations: IntegrationRequest, **changes: object) -> LiveRun:
        """Start a chat with the scripted model."""
        request = ChatRequest(SCRIPTED_MODEL, (TextInput(text),), integrations=integrations, **changes)  # pyright: ignore[reportArgumentType] - field names are the tests' own
        return await self.chats.start(request, LOCAL)


@asynccontextmanager
async def service(
    engine: ScriptedEngine,
    servers: Mapping[str, FakeServer] | None = None,
    *,
    store: ResponseStore | None = None,
    max_concurrent_runs: int = 8,
    run_timeout_seconds: float = 30,
    limits: Limits | None = None,
    policy: InstancePolicy | None = None,
    policies: ServerPolicies | None = None,
    catalog: IntegrationCatalog | None = None,
) -> AsyncGenerator[Service]:
    """The services over these twins; leaving it ends what still runs."""
    store = store or MemoryStore()
    async with anyio.create_task_group() as tasks:
        quotas = Quotas(MemoryTokenStore())
        runs = RunService(store, "holder", tasks, max_concurrent_runs)
        models = ModelService([engine])
        fakes = FakeCatalog(servers)
        instances = InstanceService(models, policy or InstancePolicy())
        chats = ChatService(
            models=models,
            instances=instances,
            catalog=catalog or fakes,
            store=store,
            runs=runs,
            quotas=quotas,
            holder="holder",
            limits=limits or Limits(),
            run_timeout_seconds=run_timeout_seconds,
            approval_timeout_seconds=86_400,
            policies=policies or ServerPolicies(),
        )
        try:
            yield Service(chats, runs, store, instances, fakes)
        finally:
            await runs.close(5)
            tasks.cancel_scope.cancel()


async def events_of(run: LiveRun) -> list[StreamEvent]:
    """The whole stream of a run."""
    return [event async for _, event in run.events()]


def fake_tool(name: str, function: ToolFunction) -> FakeTool:
    """A tool that takes any object."""
    return FakeTool(ToolDefinition(name, f"{name}.", {"type": "object"}), function)
