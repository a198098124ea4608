"""The HTTP application over twins, asked in process, and over a real server where that makes the difference."""

import re
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import httpx
import litestar
import uvicorn

from orchestrator.api.application import ApiOptions, create_api
from orchestrator.api.limits import RequestLimits
from orchestrator.api.metrics import Metrics
from orchestrator.api.services import Services
from orchestrator.core.drift import DriftPolicy
from orchestrator.core.redaction import NOTHING, Redaction
from orchestrator.core.request import Limits
from orchestrator.core.tools import ToolDefinition
from orchestrator.ports import DefinitionStore, IntegrationCatalog, PluginHost, PluginStatus
from orchestrator.service.approvals import ApprovalService
from orchestrator.service.audit import AuditService
from orchestrator.service.branches import BranchService
from orchestrator.service.chain_replays import ChainReplayService
from orchestrator.service.chats import ChatService
from orchestrator.service.conversations import ConversationService
from orchestrator.service.definition_pins import DefinitionPins
from orchestrator.service.direct_calls import DirectCallService
from orchestrator.service.download_claims import DownloadClaimService
from orchestrator.service.downloads import DownloadService
from orchestrator.service.embeddings import EmbeddingService
from orchestrator.service.forks import ForkService
from orchestrator.service.graph import GraphService
from orchestrator.service.instances import InstancePolicy, InstanceService
from orchestrator.service.integration_checks import IntegrationCheckService
from orchestrator.service.models import ModelService
from orchestrator.service.plugin_materials import PluginMaterialService
from orchestrator.service.plugins import PluginService
from orchestrator.service.prompt_costs import PromptCostService
from orchestrator.service.quotas import Quotas
from orchestrator.service.redacting_store import RedactingStore
from orchestrator.service.replays import ReplayService
from orchestrator.service.retelling import TellingService
from orchestrator.service.runs import RunService
from orchestrator.service.threads import ThreadService
from orchestrator.service.token_costs import TokenCostService
from orchestrator.service.tokens import TokenService
from orchestrator.testing import (
    SCRIPTED_MODEL,
    FakeCatalog,
    FakeServer,
    FakeTool,
    MemoryJobStore,
    MemoryStore,
    MemoryTokenStore,
    Say,
    ScriptedDownloader,
    ScriptedEngine,
    ToolFunction,
)
from orchestrator.testing_audit import MemoryAudit
from orchestrator.testing_definitions import MemoryDefinitionStore
from orchestrator.testing_graph import MemoryGraph
from orchestrator.testing_plugins import FakePluginHost

BASE_URL = "http://127.0.0.1:1234"
CHAT = "/api/v1/chat"


@dataclass
class House:
    """The application, a client of it, and what stands behind it."""

    app: litestar.Litestar
    client: httpx.AsyncClient
    store: MemoryStore
    graph: MemoryGraph
    tokens: TokenService
    runs: RunService
    instances: InstanceService
    engine: ScriptedEngine
    downloader: ScriptedDownloader

    async def chat(self, **body: Any) -> httpx.Response:
        """Ask the scripted model for something; None leaves a field out."""
        return await self.client.post(CHAT, json=chat_body(**body))

    async def generating(self, generations: int) -> None:
        """Wait until the engine is at work on this many."""
        with anyio.fail_after(5):
            while self.engine.open_generations != generations:
                await anyio.lowlevel.checkpoint()


def chat_body(**changes: Any) -> dict[str, Any]:
    """A body for the scripted model; None leaves a field out."""
    body = {"model": SCRIPTED_MODEL, "input": "hello", **changes}
    return {name: value for name, value in body.items() if value is not None}


@asynccontextmanager
async def house(
    engine: ScriptedEngine | None = None,
    servers: Mapping[str, FakeServer] | None = None,
    *,
    store: MemoryStore | None = None,
    catalog: IntegrationCatalog | None = None,
    host: PluginHost | None = None,
    definitions: DefinitionStore | None = None,
    drift_policy: DriftPolicy = "warn",
    max_concurrent_runs: int = 8,
    limits: Limits | None = None,
    policy: InstancePolicy | None = None,
    redaction: Redaction = NOTHING,
    request_limits: RequestLimits | None = None,
    max_body_bytes: int | None = None,
    requests_per_minute: int | None = None,
    approval_timeout_seconds: float = 86_400,
    **options: Any,
) -> AsyncGenerator[House]:
    """The application over these twins; `options` are those of `ApiOptions`."""
    kept = store or MemoryStore()
    responses = RedactingStore(kept, redaction, lambda _: redaction)
    engine = engine or ScriptedEngine([[Say("Hi.")]])
    models = ModelService([engine])
    token_store = MemoryTokenStore()
    tokens, quotas = TokenService(token_store), Quotas(token_store, requests_per_minute=requests_per_minute)
    async with anyio.create_task_group() as tasks:
        metrics = Metrics()
        runs = RunService(responses, "holder", tasks, max_concurrent_runs, metrics.run_ended, quotas)
        audit = MemoryAudit(kept)
        instances = InstanceService(models, policy or InstancePolicy())
        catalog = catalog or FakeCatalog(servers)
        chats = ChatService(
            models=models,
            instances=instances,
            catalog=catalog,
            store=responses,
            runs=runs,
            quotas=quotas,
            holder="holder",
            limits=limits or Limits(),
            run_timeout_seconds=30,
            approval_timeout_seconds=approval_timeout_seconds,
        )
        pins = DefinitionPins(definitions or MemoryDefinitionStore(), drift_policy)
        costs = TokenCostService(instances)
        plugins = PluginService(host or _host_of(servers or {}), pins, costs)
        calls = DirectCallService(
            plugins=plugins,
            catalog=catalog,
            store=responses,
            runs=runs,
            quotas=quotas,
            holder="holder",
            limits=limits or Limits(),
            run_timeout_seconds=30,
            approval_timeout_seconds=approval_timeout_seconds,
        )
        checks = IntegrationCheckService(catalog, costs, limits or Limits())
        downloader = ScriptedDownloader()
        jobs = MemoryJobStore()
        downloads = DownloadService([downloader], jobs, "holder", tasks)
        graph = MemoryGraph(kept)
        threads = ThreadService(graph, graph, keep_skeleton=True)
        readers = GraphService(graph, responses, runs, keep_skeleton=True)
        branches, replays = BranchService(readers, graph, responses), ReplayService(chats, responses, catalog)
        services = Services(
            chats=chats,
            approvals=ApprovalService(chats, runs, responses),
            graph=readers,
            tellings=TellingService(readers, responses, runs),
            forks=ForkService(chats, responses),
            branches=branches,
            replays=replays,
            chain_replays=ChainReplayService(replays, branches, graph, responses),
            threads=threads,
            conversations=ConversationService(threads, responses, "holder"),
            prompt_costs=PromptCostService(models, responses, checks),
            models=models,
            instances=instances,
            embeddings=EmbeddingService(models, instances, 30),
            runs=runs,
            downloads=DownloadClaimService(downloads, jobs),
            audit=AuditService(audit),
            plugins=plugins,
            calls=calls,
            materials=PluginMaterialService(
                plugins=plugins, catalog=catalog, store=responses, limits=limits or Limits()
            ),
            checks=checks,
            metrics=metrics,
            tokens=tokens,
            quotas=quotas,
        )
        sizes = request_limits or RequestLimits()
        if max_body_bytes is not None:
            sizes = replace(sizes, body_bytes=max_body_bytes)
        app = create_api(services, ApiOptions(limits=sizes, **options))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # pyright: ignore[reportArgumentType] - two libraries' words for ASGI
        try:
            async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
                yield House(app, client, kept, graph, tokens, runs, instances, engine, downloader)
        finally:
            await downloads.close(5)
            await runs.close(5)
            tasks.cancel_scope.cancel()


def _host_of(servers: Mapping[str, FakeServer]) -> FakePluginHost:
    """The fake servers that are plugins, running."""
    return FakePluginHost(
        [
            PluginStatus(
                name,
                "mcp.json",
                "running",
                withheld=server.withheld,
                tools=tuple(tool.definition for tool in server.tools),
            )
            for name, server in servers.items()
            if name.startswith("mcp/")
        ]
    )


@asynccontextmanager
async def served(app: litestar.Litestar) -> AsyncGenerator[httpx.AsyncClient]:
    """The application behind a real server on a free port of the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, access_log=False)  # pyright: ignore[reportArgumentType] - two libraries' words for ASGI
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listening])
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                yield client
            server.should_exit = True


def fake_tool(name: str, function: ToolFunction, schema: dict[str, Any] | None = None) -> FakeTool:
    """A tool that takes any object, or what `schema` says."""
    return FakeTool(ToolDefinition(name, f"{name}.", schema or {"type": "object"}), function)


def plain(text: str) -> str:
    """`text` with its random ids and its times made equal."""
    text = re.sub(r"resp_[0-9a-f]{48}", "resp_R", text)
    text = re.sub(r"call_[0-9a-f]{24}", "call_C", text)
    return re.sub(r'"duration_ms":\d+', '"duration_ms":0', text)
