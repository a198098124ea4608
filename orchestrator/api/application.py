"""The HTTP application: all routes, the error handlers, and the edge around them."""

from collections.abc import Iterable
from dataclasses import replace

import litestar
from litestar.exceptions import HTTPException

from orchestrator.api.anthropic_messages.continuing import MessageOpener
from orchestrator.api.anthropic_messages.routes import message_routes
from orchestrator.api.approvals import approval_route
from orchestrator.api.auth import Authenticator
from orchestrator.api.branches import branch_routes
from orchestrator.api.chat import chat_route
from orchestrator.api.departures import ClientGoneError
from orchestrator.api.downloads import download_routes
from orchestrator.api.edge import Edge
from orchestrator.api.elicitations import elicitation_routes
from orchestrator.api.embeddings import embeddings_route
from orchestrator.api.errors import (
    CLIENT_GONE,
    HttpRequest,
    answer_http_exception,
    answer_orchestrator_error,
    answer_unexpected,
)
from orchestrator.api.forks import fork_route
from orchestrator.api.health import Warnings, WhyNotReady, health_route
from orchestrator.api.limits import RequestLimits
from orchestrator.api.loading import loading_routes
from orchestrator.api.metrics import Metrics, metrics_route
from orchestrator.api.models import models_route
from orchestrator.api.openai_chat.model_entries import model_entry_routes
from orchestrator.api.openai_chat.routes import openai_chat_routes
from orchestrator.api.openai_responses.compaction import CompactionEdge, compaction_routes
from orchestrator.api.openai_responses.conversations import ConversationsEdge, conversation_routes
from orchestrator.api.openai_responses.edge import ResponsesEdge
from orchestrator.api.openai_responses.routes import openai_response_routes
from orchestrator.api.origins import OriginPolicy
from orchestrator.api.plugins import (
    check_route,
    definition_routes,
    direct_call_route,
    material_routes,
    plugin_routes,
)
from orchestrator.api.responses import response_routes
from orchestrator.api.schema_pages import schema_routes
from orchestrator.api.sse import KEEP_ALIVE_SECONDS
from orchestrator.api.strict_lmstudio.chat import strict_chat_route
from orchestrator.api.strict_lmstudio.layer import StrictLayer
from orchestrator.api.strict_lmstudio.requests import check_load
from orchestrator.api.thread_dialect import Dialect
from orchestrator.api.threads import thread_routes
from orchestrator.api.tokens import token_routes
from orchestrator.api.tool_calls import tool_call_routes
from orchestrator.core.errors import OrchestratorError
from orchestrator.service.approvals import ApprovalService
from orchestrator.service.audit import AuditService
from orchestrator.service.branches import BranchService
from orchestrator.service.chain_replays import ChainReplayService
from orchestrator.service.chats import ChatService
from orchestrator.service.conversations import ConversationService
from orchestrator.service.direct_calls import DirectCallService
from orchestrator.service.download_claims import DownloadClaimService
from orchestrator.service.embeddings import EmbeddingService
from orchestrator.service.forks import ForkService
from orchestrator.service.graph import GraphService
from orchestrator.service.instances import InstanceService
from orchestrator.service.integration_checks import IntegrationCheckService
from orchestrator.service.models import ModelService
from orchestrator.service.plugin_materials import PluginMaterialService
from orchestrator.service.plugins import PluginService
from orchestrator.service.prompt_costs import PromptCostService
from orchestrator.service.quotas import Quotas
from orchestrator.service.replays import ReplayService
from orchestrator.service.retelling import TellingService
from orchestrator.service.runs import RunService
from orchestrator.service.threads import ThreadService
from orchestrator.service.tokens import TokenService


async def always_ready() -> None:
    """For who has nothing to wait for."""


def create_api(
    *,
    chats: ChatService,
    approvals: ApprovalService,
    graph: GraphService,
    tellings: TellingService,
    conversations: ConversationService,
    prompt_costs: PromptCostService,
    threads: ThreadService,
    forks: ForkService,
    branches: BranchService,
    replays: ReplayService,
    chain_replays: ChainReplayService,
    models: ModelService,
    instances: InstanceService,
    embeddings: EmbeddingService,
    runs: RunService,
    downloads: DownloadClaimService,
    audit: AuditService,
    plugins: PluginService,
    calls: DirectCallService,
    materials: PluginMaterialService,
    checks: IntegrationCheckService,
    metrics: Metrics,
    tokens: TokenService,
    quotas: Quotas,
    usual_dialect: Dialect = "responses",
    strict_lmstudio: bool = False,
    require_authentication: bool = False,
    host: str = "127.0.0.1",
    allowed_hosts: Iterable[str] = (),
    cors_origins: Iterable[str] = (),
    max_body_bytes: int | None = None,
    limits: RequestLimits | None = None,
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    why_not_ready: WhyNotReady = always_ready,
    health_warnings: Warnings = tuple,
) -> litestar.Litestar:
    """The ASGI application; whoever calls this opens what it is given before, and closes it after.

    `host` is the address that it will listen on, `allowed_hosts` are further names by which clients
    may address it, `cors_origins` the exact origins whose pages may use it. `why_not_ready` is asked
    by `GET /health`. `max_body_bytes` is one of the `limits`. `usual_dialect` is that of chats whose fields do not show one.
    `strict_lmstudio` makes LM Studio's routes answer as it was recorded, without extensions.
    """
    limits = limits or RequestLimits()
    if max_body_bytes is None:
        max_body_bytes = limits.body_bytes
    limits = replace(limits, body_bytes=max_body_bytes)
    metrics.watch(runs, instances, models)
    authenticator = Authenticator(tokens, quotas, require_authentication)
    responses = ResponsesEdge(
        chats,
        approvals,
        graph,
        tellings,
        threads,
        authenticator,
        max_body_bytes=max_body_bytes,
        keep_alive_seconds=keep_alive_seconds,
    )
    native_chat = (
        strict_chat_route(
            chats, models, authenticator, max_body_bytes=max_body_bytes, keep_alive_seconds=keep_alive_seconds
        )
        if strict_lmstudio
        else chat_route(
            chats,
            threads,
            authenticator,
            usual_dialect=usual_dialect,
            max_body_bytes=max_body_bytes,
            keep_alive_seconds=keep_alive_seconds,
        )
    )
    app = litestar.Litestar(
        route_handlers=[
            native_chat,
            approval_route(
                approvals, authenticator, max_body_bytes=max_body_bytes, keep_alive_seconds=keep_alive_seconds
            ),
            *response_routes(graph, tellings, authenticator, keep_alive_seconds=keep_alive_seconds),
            *thread_routes(threads, authenticator, max_body_bytes=max_body_bytes),
            *openai_response_routes(responses),
            *conversation_routes(ConversationsEdge(conversations, responses)),
            *compaction_routes(CompactionEdge(responses, prompt_costs)),
            *message_routes(
                chats,
                prompt_costs,
                MessageOpener(audit, tellings),
                authenticator,
                max_body_bytes=max_body_bytes,
                keep_alive_seconds=keep_alive_seconds,
            ),
            fork_route(forks, authenticator, max_body_bytes=max_body_bytes, keep_alive_seconds=keep_alive_seconds),
            *branch_routes(
                branches,
                replays,
                chain_replays,
                authenticator,
                max_body_bytes=max_body_bytes,
                keep_alive_seconds=keep_alive_seconds,
            ),
            *elicitation_routes(chats, authenticator, max_body_bytes=max_body_bytes),
            models_route(models, authenticator),
            *loading_routes(
                instances,
                authenticator,
                max_body_bytes=max_body_bytes,
                check_load=check_load if strict_lmstudio else None,
            ),
            *openai_chat_routes(
                chats,
                authenticator,
                max_body_bytes=max_body_bytes,
                keep_alive_seconds=keep_alive_seconds,
            ),
            *model_entry_routes(models, authenticator),
            embeddings_route(embeddings, authenticator, max_body_bytes=max_body_bytes),
            *download_routes(downloads, authenticator, max_body_bytes=max_body_bytes),
            *token_routes(tokens, authenticator, max_body_bytes=max_body_bytes),
            *tool_call_routes(audit, authenticator),
            *plugin_routes(plugins, authenticator),
            *definition_routes(plugins, authenticator, max_body_bytes=max_body_bytes),
            direct_call_route(
                calls, authenticator, max_body_bytes=max_body_bytes, keep_alive_seconds=keep_alive_seconds
            ),
            *material_routes(materials, authenticator, max_body_bytes=max_body_bytes),
            check_route(checks, authenticator, max_body_bytes=max_body_bytes),
            metrics_route(metrics, authenticator),
            health_route(why_not_ready, health_warnings),
            *(() if strict_lmstudio else schema_routes()),  # they describe our routes, not LM Studio's
        ],
        exception_handlers={
            OrchestratorError: answer_orchestrator_error,
            HTTPException: answer_http_exception,
            ClientGoneError: _answer_nobody,
            Exception: answer_unexpected,
        },
        openapi_config=None,  # ours is made from the wire structs and the error table: openapi.py
        logging_config=None,  # telemetry.py configures logging; this one would log bodies and reconfigure the root
        debug=False,
        pdb_on_exception=False,
        request_max_body_size=max_body_bytes,
    )
    lowered = frozenset(name.lower() for name in allowed_hosts)
    policy = OriginPolicy(host, lowered, frozenset(origin.lower() for origin in cors_origins))
    # Middleware of the framework runs behind its router; what holds for unknown routes too must stand before it.
    handler = StrictLayer(app.asgi_handler) if strict_lmstudio else app.asgi_handler
    app.asgi_handler = Edge(handler, policy, limits, metrics.request_answered)
    return app


def _answer_nobody(request: HttpRequest, error: ClientGoneError) -> litestar.Response[bytes]:
    return litestar.Response(b"", status_code=CLIENT_GONE, media_type=litestar.MediaType.TEXT)
