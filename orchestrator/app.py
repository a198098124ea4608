"""The composition root: the only place that wires adapters to ports."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import structlog

from orchestrator.api.application import ApiOptions, create_api
from orchestrator.api.limits import RequestLimits
from orchestrator.api.metrics import Metrics
from orchestrator.api.services import Services
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.redaction import Redaction
from orchestrator.engines.llama_cpp.hugging_face import HuggingFaceDownloader
from orchestrator.engines.ollama.client import OllamaClient
from orchestrator.engines.ollama.pull import OllamaDownloader
from orchestrator.engines.ollama.supervised import SupervisedOllama
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.child_guard import ChildGuard
from orchestrator.integrations.mcp_config import ConfigLayer, McpConfigFiles
from orchestrator.integrations.mcp_config_watch import ConfigWatcher
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
from orchestrator.service.leases import is_dead, this_holder
from orchestrator.service.models import ModelService
from orchestrator.service.plugin_materials import PluginMaterialService
from orchestrator.service.plugins import PluginService
from orchestrator.service.prompt_costs import PromptCostService
from orchestrator.service.quotas import Quotas
from orchestrator.service.redacting_store import RedactingStore
from orchestrator.service.replays import ReplayService
from orchestrator.service.retelling import TellingService
from orchestrator.service.retention import RetentionService
from orchestrator.service.runs import RunService
from orchestrator.service.threads import ThreadService
from orchestrator.service.token_costs import TokenCostService
from orchestrator.service.tokens import TokenService
from orchestrator.settings import Settings
from orchestrator.store.database import open_database
from orchestrator.store.encryption import Sealer
from orchestrator.store.migrate import prepare
from orchestrator.wiring import (
    engines_of,
    instance_policy,
    mcp_catalog,
    network_policy,
    plugin_files,
    retention_policy,
    run_limits,
    server_policies,
    stores_of,
)

CLOSE_SECONDS = 5.0
OLLAMA = "ollama"
UNUSED_PLUGIN_FILE = "a file of plugins cannot be used as it is: GET /api/v1/plugins and the log say which, and why"

AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

log = structlog.stdlib.get_logger(__name__)


def create_app(settings: Settings) -> AsgiApp:
    """The service as an ASGI application: its parts are opened at the lifespan's start and closed at its end.

    The lifespan raises `OrchestratorError` where a part cannot be opened; the message says what to do.
    """
    opened: list[AsgiApp] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await opened[0](scope, receive, send)
            return
        await receive()  # lifespan.startup
        async with open_app(settings) as api:
            opened.append(api)
            await send({"type": "lifespan.startup.complete"})
            await receive()  # lifespan.shutdown
        await send({"type": "lifespan.shutdown.complete"})

    return app


class Application:
    """The opened service: an ASGI application that can be drained before it is closed."""

    def __init__(self, api: AsgiApp, runs: RunService) -> None:
        self._api = api
        self._runs = runs

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        await self._api(scope, receive, send)

    async def drain(self, seconds: float) -> None:
        """Take no more chats, let those that run go on for `seconds`, then end them while their clients listen."""
        await self._runs.drain(seconds)


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncGenerator[Application]:
    """Open the database, the engines and the plugins, and put the API in front of them.

    Everything that runs beside a request lives in one task group, which this context owns. Leaving
    it ends the runs in flight as cancelled, saved, then closes connections and worker processes.

    Raises:
        OrchestratorError: a part cannot be opened.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    await prepare(settings.database_url)
    async with contextlib.AsyncExitStack() as closing, anyio.create_task_group() as tasks:
        if settings.start_ollama:
            log_path = settings.data_dir / "ollama.log"
            slots = max(1, settings.ollama_num_parallel)
            ollama = SupervisedOllama(settings.ollama_binary, settings.ollama_host, log_path, parallel=slots)
            await ollama.start(tasks)
        database = await open_database(settings.database_url)
        closing.push_async_callback(database.aclose)
        stores = stores_of(database, Sealer(settings.encryption_key, settings.encryption_key_file))
        graph, tokens = stores.graph, stores.tokens
        retention = RetentionService(graph, retention_policy(settings))
        engines = engines_of(settings, tasks)
        files = plugin_files(settings)
        pins = DefinitionPins(stores.definitions, settings.drift_policy)
        redaction = Redaction(settings.redact_patterns, settings.redact_paths)
        holder = this_holder()
        children = ChildGuard(settings.data_dir, holder, is_dead)
        closing.push_async_callback(children.close)
        await children.sweep()
        catalog = mcp_catalog(settings, files, stores.logins, tasks, pins, redaction, children.new_mark)
        store = RedactingStore(stores.responses, redaction, catalog.redaction)
        metrics = Metrics()
        quotas = Quotas(tokens, requests_per_minute=settings.requests_per_minute)
        runs = RunService(store, holder, tasks, settings.max_concurrent_runs, metrics.run_ended, quotas)
        audit = AuditService(stores.audit)
        downloaders = (
            HuggingFaceDownloader(settings.models_dir[0]),
            OllamaDownloader(settings.ollama_host, settings.ollama_registries),
        )
        optional = frozenset[str]() if settings.expects_ollama else frozenset({OLLAMA})
        models = ModelService(engines, optional=optional, tasks=tasks)
        downloads = DownloadService(
            downloaders,
            stores.jobs,
            holder,
            tasks,
            history_days=settings.download_history_days,
            is_installed=models.has,
            on_installed=models.forget,
            optional=optional,
        )
        instances = InstanceService(models, instance_policy(settings))
        limits = run_limits(settings)
        costs = TokenCostService(instances)
        plugins = PluginService(catalog.host, pins, costs)
        policies = server_policies(settings)
        calls = DirectCallService(
            plugins=plugins,
            catalog=catalog,
            store=store,
            runs=runs,
            quotas=quotas,
            holder=holder,
            limits=limits,
            run_timeout_seconds=settings.run_timeout,
            approval_timeout_seconds=settings.approval_timeout,
            policies=policies,
        )
        chats = ChatService(
            models=models,
            instances=instances,
            catalog=catalog,
            store=store,
            runs=runs,
            quotas=quotas,
            holder=holder,
            limits=limits,
            run_timeout_seconds=settings.run_timeout,
            approval_timeout_seconds=settings.approval_timeout,
            policies=policies,
        )
        approvals = ApprovalService(chats, runs, store)

        async def why_not_ready() -> str | None:
            try:
                await store.holders_in_progress()
            except OrchestratorError as error:
                return error.info.message
            return None

        await runs.recover()
        await downloads.recover()
        tasks.start_soon(models.run)
        tasks.start_soon(runs.keep_leases)
        tasks.start_soon(audit.keep_checkpoints)
        tasks.start_soon(approvals.keep)
        tasks.start_soon(runs.heed_cancels, graph.cancels_requested)
        tasks.start_soon(runs.heed_tokens, tokens.find_ended)
        tasks.start_soon(retention.keep)
        tasks.start_soon(downloads.keep)
        tasks.start_soon(instances.run)
        tasks.start_soon(ConfigWatcher(files, lambda: catalog.reload(files.config)).run)
        catalog.start_plugins()
        checks = IntegrationCheckService(catalog, costs, limits)
        keep_skeleton = settings.retention_keep_skeleton
        threads = ThreadService(stores.threads, graph, keep_skeleton=keep_skeleton)
        readers = GraphService(graph, store, runs, keep_skeleton=keep_skeleton)
        branches, replays = BranchService(readers, graph, store), ReplayService(chats, store, catalog)
        services = Services(
            chats=chats,
            approvals=approvals,
            graph=readers,
            tellings=TellingService(readers, store, runs),
            threads=threads,
            conversations=ConversationService(threads, store, holder),
            forks=ForkService(chats, store),
            branches=branches,
            replays=replays,
            chain_replays=ChainReplayService(replays, branches, graph, store),
            models=models,
            instances=instances,
            embeddings=EmbeddingService(models, instances, settings.run_timeout),
            runs=runs,
            downloads=DownloadClaimService(downloads, stores.jobs),
            audit=audit,
            plugins=plugins,
            calls=calls,
            materials=PluginMaterialService(plugins=plugins, catalog=catalog, store=store, limits=limits),
            checks=checks,
            prompt_costs=PromptCostService(models, store, checks),
            metrics=metrics,
            tokens=TokenService(tokens),
            quotas=quotas,
        )
        options = replace(
            api_options(settings),
            why_not_ready=why_not_ready,
            health_warnings=lambda: (UNUSED_PLUGIN_FILE,) if files.config.errors else (),
        )
        try:
            yield Application(create_api(services, options), runs)
        finally:
            with anyio.CancelScope(shield=True):
                await downloads.close(CLOSE_SECONDS)
                await runs.close(CLOSE_SECONDS)
                await catalog.aclose()
                for engine in engines:
                    await engine.aclose()
            tasks.cancel_scope.cancel()


def api_options(settings: Settings) -> ApiOptions:
    """How the API behaves, as far as settings say it."""
    return ApiOptions(
        usual_dialect=settings.chat_dialect,
        strict_lmstudio=settings.strict_lmstudio,
        require_authentication=settings.require_authentication,
        host=settings.host,
        allowed_hosts=settings.allowed_hosts,
        cors_origins=settings.cors_origins,
        limits=request_limits(settings),
    )


def request_limits(settings: Settings) -> RequestLimits:
    """How much of a request is taken, and how long its client may take."""
    return RequestLimits(
        body_bytes=settings.max_body_bytes,
        url_bytes=settings.max_url_bytes,
        headers=settings.max_headers,
        header_bytes=settings.max_header_bytes,
        head_seconds=settings.head_timeout,
        body_seconds=settings.body_timeout,
        stall_seconds=settings.client_stall_timeout,
        json_depth=settings.max_json_depth,
        json_values=settings.max_json_values,
        input_items=settings.max_input_items,
        integrations=settings.max_integrations,
        metadata_keys=settings.max_metadata_keys,
    )


@asynccontextmanager
async def open_checks(
    settings: Settings, files: Sequence[Path] | None = None
) -> AsyncGenerator[tuple[IntegrationCheckService, tuple[str, ...], tuple[str, ...]]]:
    """Dry runs without a service: no database, so that nothing is pinned, and no engine, so that costs are estimates.

    Of the plugins in `files`, else in those of the settings; with the ids of those that are not disabled, and what
    is wrong with files that are not in use.

    Raises:
        OrchestratorError: a file cannot be used.
    """
    named = None if files is None else McpConfigFiles([ConfigLayer(path.absolute(), "flag", True) for path in files])
    read = named or plugin_files(settings)
    config = read.load()
    async with contextlib.AsyncExitStack() as closing, anyio.create_task_group() as tasks:
        children = ChildGuard(settings.data_dir, this_holder(), is_dead)
        closing.push_async_callback(children.close)
        catalog = McpCatalog(
            config,
            policy=replace(network_policy(settings), allow_loopback=True),  # who types the command is at this machine
            connect_timeout=settings.connect_timeout,
            tool_timeout=settings.tool_timeout,
            allow_plugins=True,
            allow_ephemeral_mcp=True,
            task_group=tasks,
            files=read,
            new_mark=children.new_mark,
        )
        try:
            costs = TokenCostService(InstanceService(ModelService([]), InstancePolicy()))
            installed = tuple(plugin.id for plugin in config.plugins if not plugin.disabled)
            problems = tuple(error.info.message for error in config.errors)
            yield IntegrationCheckService(catalog, costs, run_limits(settings)), installed, problems
        finally:
            with anyio.CancelScope(shield=True):
                await catalog.aclose()
            tasks.cancel_scope.cancel()


async def look_at_ollama(settings: Settings, seconds: float) -> tuple[str, int]:
    """The address of the Ollama of the settings, and how many models it lists.

    Raises:
        OrchestratorError: `engine_unavailable`; a `NobodyThereError` where nothing listens.
    """
    times = dict.fromkeys(("connect_seconds", "answer_seconds", "load_seconds", "silence_seconds"), seconds)
    client = OllamaClient(settings.ollama_host, **times)
    try:
        return client.peer.address, len(await client.tags())
    finally:
        await client.aclose()
