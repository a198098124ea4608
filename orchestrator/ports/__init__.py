"""The ports: what the services need of the world, said once, implemented by adapters and twins.

Each port has one contract suite in `tests/contract/` that runs over its twin and its adapters.
"""

from orchestrator.ports.approvals import CallDecision, StoredRun, SuspendedRunStore, Suspension
from orchestrator.ports.definitions import (
    ChangeOutcome,
    DefinitionChange,
    DefinitionGuard,
    DefinitionStore,
    PinnedDefinition,
)
from orchestrator.ports.downloads import Downloader, JobStore
from orchestrator.ports.engines import (
    CallBegun,
    Embeddings,
    Engine,
    EngineTraits,
    GenerationChunk,
    LoadStep,
    TokenCounter,
)
from orchestrator.ports.integrations import CallWatch, IntegrationCatalog, IntegrationSession, RunCallbacks, RunScope
from orchestrator.ports.oauth import OAuthCredential, OAuthCredentialStore, UnreadableCredentialError
from orchestrator.ports.plugins import (
    IntegrationFailedError,
    PluginFailure,
    PluginFile,
    PluginFiles,
    PluginHost,
    PluginLogLine,
    PluginProcess,
    PluginPrompt,
    PluginResource,
    PluginScope,
    PluginStart,
    PluginState,
    PluginStatus,
    PluginTransport,
    ServerFacts,
)
from orchestrator.ports.responses import Chain, ForkPoint, JournaledCall, NewResponse, ResponseStore, StoredResponse
from orchestrator.ports.tokens import Token, TokenLimits, TokenStore

__all__ = [
    "CallBegun",
    "CallDecision",
    "CallWatch",
    "Chain",
    "ChangeOutcome",
    "DefinitionChange",
    "DefinitionGuard",
    "DefinitionStore",
    "Downloader",
    "Embeddings",
    "Engine",
    "EngineTraits",
    "ForkPoint",
    "GenerationChunk",
    "IntegrationCatalog",
    "IntegrationFailedError",
    "IntegrationSession",
    "JobStore",
    "JournaledCall",
    "LoadStep",
    "NewResponse",
    "OAuthCredential",
    "OAuthCredentialStore",
    "PinnedDefinition",
    "PluginFailure",
    "PluginFile",
    "PluginFiles",
    "PluginHost",
    "PluginLogLine",
    "PluginProcess",
    "PluginPrompt",
    "PluginResource",
    "PluginScope",
    "PluginStart",
    "PluginState",
    "PluginStatus",
    "PluginTransport",
    "ResponseStore",
    "RunCallbacks",
    "RunScope",
    "ServerFacts",
    "StoredResponse",
    "StoredRun",
    "SuspendedRunStore",
    "Suspension",
    "Token",
    "TokenCounter",
    "TokenLimits",
    "TokenStore",
    "UnreadableCredentialError",
]
