"""The parts of the service, made as the settings have them; `app.py` puts them together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio.abc
import structlog

from orchestrator.core.redaction import Redaction
from orchestrator.core.request import Limits
from orchestrator.engines.llama_cpp.engine import LlamaCppEngine
from orchestrator.engines.ollama.engine import OllamaEngine
from orchestrator.engines.openai_compatible.engine import OpenAICompatibleEngine, Timeouts
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.mcp_config import McpConfigFiles, config_layers
from orchestrator.integrations.network_policy import HostRules, NetworkPolicy
from orchestrator.integrations.oauth.logins import OAuthLogins
from orchestrator.integrations.plugins import ChainLimits
from orchestrator.integrations.server_requests import ClientFeatures
from orchestrator.ports import DefinitionGuard, OAuthCredentialStore
from orchestrator.service.instances import InstancePolicy
from orchestrator.service.retention import RetentionPolicy
from orchestrator.service.server_callbacks import ServerPolicies
from orchestrator.settings import Settings
from orchestrator.store.audit import SqlAuditStore
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.database import Database
from orchestrator.store.definitions import SqlDefinitionStore
from orchestrator.store.encryption import Sealer
from orchestrator.store.graph import SqlResponseGraph
from orchestrator.store.jobs import SqlJobStore
from orchestrator.store.oauth_credentials import SqlOAuthCredentialStore
from orchestrator.store.responses import SqlResponseStore
from orchestrator.store.threads import SqlThreadStore
from orchestrator.store.tokens import SqlTokenStore

REMOTE: Final = "openai_compatible"
OLLAMA_KEEPS_SECONDS: Final = 300
"""What Ollama is told again and again of what was loaded; `service/instances.py` decides when it goes."""

log = structlog.stdlib.get_logger(__name__)


def engines_of(
    settings: Settings, tasks: anyio.abc.TaskGroup
) -> list[LlamaCppEngine | OllamaEngine | OpenAICompatibleEngine]:
    """Every engine, in the order in which a bare model key is looked up: the default one first."""
    first, silence = settings.engine_first_token_timeout, settings.engine_silence_timeout
    models_dir, *more_dirs = settings.models_dir
    embedded = LlamaCppEngine(
        models_dir, tasks, silence_seconds=silence, first_token_seconds=first, more_dirs=more_dirs
    )
    ollama = OllamaEngine(
        settings.ollama_host,
        silence_seconds=silence,
        first_token_seconds=first,
        keep_alive=OLLAMA_KEEPS_SECONDS,
        parallel=max(1, settings.ollama_num_parallel),
        supervised=settings.start_ollama,
    )
    tasks.start_soon(ollama.keep)
    keys, slots = settings.openai_compatible_api_key, settings.openai_compatible_parallel
    offers = settings.openai_compatible_reasoning
    remote = [
        OpenAICompatibleEngine(
            url,
            keys[index] if index < len(keys) else None,
            name=REMOTE if index == 0 else f"{REMOTE}:{index + 1}",  # as the second instance of a model is called
            timeouts=Timeouts(first_token=first, silence=silence),
            parallel=slots[index] if index < len(slots) else slots[0],
            reasoning=offers[index] if index < len(offers) else (),
        )
        for index, url in enumerate(settings.openai_compatible_url)
    ]
    engines = [ollama, embedded, *remote]
    return sorted(engines, key=lambda engine: engine.name.partition(":")[0] != settings.default_engine)


def run_limits(settings: Settings) -> Limits:
    """What bounds a run."""
    return Limits(
        max_turns=settings.max_turns,
        max_identical_calls=settings.max_identical_calls,
        max_tool_output_bytes=settings.max_tool_output_bytes,
        max_tool_output_model_bytes=settings.max_tool_output_model_bytes,
        max_tools=settings.max_tools,
        warn_tools=settings.warn_tools,
        warn_tool_tokens=settings.warn_tool_tokens,
        raw_results=settings.raw_tool_results,
    )


def mcp_catalog(
    settings: Settings,
    files: McpConfigFiles,
    credentials: OAuthCredentialStore,
    tasks: anyio.abc.TaskGroup,
    guard: DefinitionGuard,
    redaction: Redaction,
    new_mark: Callable[[], str],
) -> McpCatalog:
    """The MCP servers, with everything that a run may ask of them."""
    config = files.load()
    for error in config.errors:
        log.error("a file of plugins cannot be used: none of its plugins is installed", reason=error.info.message)
    for warning in config.warnings:
        log.warning("mcp.json", warning=warning)
    policy = network_policy(settings)
    return McpCatalog(
        config,
        policy=policy,
        connect_timeout=settings.connect_timeout,
        tool_timeout=settings.tool_timeout,
        tool_timeout_cap=settings.tool_timeout_cap,
        features=ClientFeatures(
            # Who has to be asked whether the model may be used is asked in the same way.
            elicitation=settings.elicitation != "off",
            sampling=settings.sampling != "off",
            roots=settings.roots,
        ),
        allow_plugins=settings.allow_plugins,
        allow_ephemeral_mcp=settings.allow_ephemeral_mcp,
        task_group=tasks,
        chains=ChainLimits(settings.chain_session_idle, settings.max_chain_sessions),
        files=files,
        logins=OAuthLogins(credentials, policy, tasks),
        guard=guard,
        redaction=redaction,
        new_mark=new_mark,
        one_owner=not settings.require_authentication,
    )


def plugin_files(settings: Settings) -> McpConfigFiles:
    """The `mcp.json` files, in the order in which they count."""
    return McpConfigFiles(
        config_layers(
            settings.mcp_user_config,
            settings.mcp_config,
            settings.mcp_config_added,
            project_required=settings.mcp_config_given,
        )
    )


def network_policy(settings: Settings) -> NetworkPolicy:
    """Which addresses servers that requests bring along may have."""
    return NetworkPolicy(
        allow=HostRules.parse(settings.ephemeral_allow, setting="EPHEMERAL_ALLOW"),
        deny=HostRules.parse(settings.ephemeral_deny, setting="EPHEMERAL_DENY"),
        # Who listens here only and asks nobody who they are serves this machine; all else may be others behind a proxy.
        allow_loopback=settings.on_loopback and not settings.require_authentication and not settings.allowed_hosts,
    )


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept, all of it in one database."""

    responses: SqlResponseStore
    graph: SqlResponseGraph
    threads: SqlThreadStore
    audit: SqlAuditStore
    tokens: SqlTokenStore
    definitions: SqlDefinitionStore
    logins: SqlOAuthCredentialStore
    jobs: SqlJobStore


def stores_of(database: Database, sealer: Sealer) -> Stores:
    """Every store over one database; those of the graph forget together what is deleted."""
    memory = ChainMemory()
    return Stores(
        responses=SqlResponseStore(database, memory, sealer),
        graph=SqlResponseGraph(database, memory),
        threads=SqlThreadStore(database, memory),
        audit=SqlAuditStore(database),
        tokens=SqlTokenStore(database, sealer),
        definitions=SqlDefinitionStore(database),
        logins=SqlOAuthCredentialStore(database, sealer),
        jobs=SqlJobStore(database),
    )


def retention_policy(settings: Settings) -> RetentionPolicy:
    """How long responses are kept."""
    return RetentionPolicy(
        days=settings.retention_days,
        max_responses=settings.retention_max_responses,
        keep_skeleton=settings.retention_keep_skeleton,
    )


def instance_policy(settings: Settings) -> InstancePolicy:
    """When models are loaded, and when they go."""
    return InstancePolicy(
        jit_loading=settings.jit_loading,
        ttl_seconds=settings.model_ttl,
        auto_evict=settings.auto_evict,
        keep_only_last=settings.keep_only_last,
        max_queued=settings.max_queued,
    )


def server_policies(settings: Settings) -> ServerPolicies:
    """What servers may ask for while they are called."""
    return ServerPolicies(
        elicitation=settings.elicitation,
        elicitation_seconds=settings.elicitation_timeout,
        sampling=settings.sampling,
        sampling_max_tokens=settings.sampling_max_tokens,
        sampling_max_requests=settings.sampling_max_requests,
    )
