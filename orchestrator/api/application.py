"""The HTTP application: all routes, the error handlers, and the edge around them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
from orchestrator.api.metrics import metrics_route
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
from orchestrator.api.services import Services
from orchestrator.api.sse import KEEP_ALIVE_SECONDS
from orchestrator.api.strict_lmstudio.chat import strict_chat_route
from orchestrator.api.strict_lmstudio.layer import StrictLayer
from orchestrator.api.strict_lmstudio.requests import check_load
from orchestrator.api.thread_dialect import Dialect
from orchestrator.api.threads import thread_routes
from orchestrator.api.tokens import token_routes
from orchestrator.api.tool_calls import tool_call_routes
from orchestrator.core.errors import OrchestratorError


async def always_ready() -> None:
    """For who has nothing to wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """How the API behaves.

    `host` is the address that it will listen on, `allowed_hosts` are further names by which clients
    may address it, `cors_origins` the exact origins whose pages may use it. `why_not_ready` is asked
    by `GET /health`. `usual_dialect` is that of chats whose fields do not show one.
    `strict_lmstudio` makes LM Studio's routes answer as it was recorded, without extensions.
    """

    usual_dialect: Dialect = "responses"
    strict_lmstudio: bool = False
    require_authentication: bool = False
    host: str = "127.0.0.1"
    allowed_hosts: Sequence[str] = ()
    cors_origins: Sequence[str] = ()
    limits: RequestLimits = field(default_factory=RequestLimits)
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    why_not_ready: WhyNotReady = always_ready
    health_warnings: Warnings = tuple


def create_api(services: Services, options: ApiOptions) -> litestar.Litestar:
    """The ASGI application."""
    services.metrics.watch(services.runs, services.instances, services.models)
    authenticator = Authenticator(services.tokens, services.quotas, options.require_authentication)
    app = litestar.Litestar(
        route_handlers=[
            *_native_routes(services, options, authenticator),
            *_graph_routes(services, options, authenticator),
            *_foreign_routes(services, options, authenticator),
            *_model_routes(services, options, authenticator),
            *_plugin_routes(services, options, authenticator),
            *token_routes(services.tokens, authenticator, max_body_bytes=options.limits.body_bytes),
            *tool_call_routes(services.audit, authenticator),
            metrics_route(services.metrics, authenticator),
            health_route(options.why_not_ready, options.health_warnings),
            *(() if options.strict_lmstudio else schema_routes()),  # they describe our routes, not LM Studio's
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
        request_max_body_size=options.limits.body_bytes,
    )
    lowered = frozenset(name.lower() for name in options.allowed_hosts)
    policy = OriginPolicy(options.host, lowered, frozenset(origin.lower() for origin in options.cors_origins))
    # Middleware of the framework runs behind its router; what holds for unknown routes too must stand before it.
    handler = StrictLayer(app.asgi_handler) if options.strict_lmstudio else app.asgi_handler
    app.asgi_handler = Edge(handler, policy, options.limits, services.metrics.request_answered)
    return app


def _native_routes(services: Services, options: ApiOptions, authenticator: Authenticator) -> list[Any]:
    """Chats in LM Studio's dialects, and what is said to one that runs or waits."""
    size, keep_alive = options.limits.body_bytes, options.keep_alive_seconds
    if options.strict_lmstudio:
        chat = strict_chat_route(
            services.chats, services.models, authenticator, max_body_bytes=size, keep_alive_seconds=keep_alive
        )
    else:
        chat = chat_route(
            services.chats,
            services.threads,
            authenticator,
            usual_dialect=options.usual_dialect,
            max_body_bytes=size,
            keep_alive_seconds=keep_alive,
        )
    return [
        chat,
        approval_route(services.approvals, authenticator, max_body_bytes=size, keep_alive_seconds=keep_alive),
        *elicitation_routes(services.chats, authenticator, max_body_bytes=size),
    ]


def _graph_routes(services: Services, options: ApiOptions, authenticator: Authenticator) -> list[Any]:
    """Stored responses, their threads and their branches."""
    size, keep_alive = options.limits.body_bytes, options.keep_alive_seconds
    return [
        *response_routes(services.graph, services.tellings, authenticator, keep_alive_seconds=keep_alive),
        *thread_routes(services.threads, authenticator, max_body_bytes=size),
        fork_route(services.forks, authenticator, max_body_bytes=size, keep_alive_seconds=keep_alive),
        *branch_routes(
            services.branches,
            services.replays,
            services.chain_replays,
            authenticator,
            max_body_bytes=size,
            keep_alive_seconds=keep_alive,
        ),
    ]


def _foreign_routes(services: Services, options: ApiOptions, authenticator: Authenticator) -> list[Any]:
    """The dialects of OpenAI and of Anthropic."""
    size, keep_alive = options.limits.body_bytes, options.keep_alive_seconds
    responses = ResponsesEdge(
        services.chats,
        services.approvals,
        services.graph,
        services.tellings,
        services.threads,
        authenticator,
        max_body_bytes=size,
        keep_alive_seconds=keep_alive,
    )
    return [
        *openai_response_routes(responses),
        *conversation_routes(ConversationsEdge(services.conversations, responses)),
        *compaction_routes(CompactionEdge(responses, services.prompt_costs)),
        *openai_chat_routes(services.chats, authenticator, max_body_bytes=size, keep_alive_seconds=keep_alive),
        *message_routes(
            services.chats,
            services.prompt_costs,
            MessageOpener(services.audit, services.tellings),
            authenticator,
            max_body_bytes=size,
            keep_alive_seconds=keep_alive,
        ),
    ]


def _model_routes(services: Services, options: ApiOptions, authenticator: Authenticator) -> list[Any]:
    """Models: listed, loaded, downloaded, and asked for vectors."""
    size = options.limits.body_bytes
    check = check_load if options.strict_lmstudio else None
    return [
        models_route(services.models, authenticator),
        *model_entry_routes(services.models, authenticator),
        *loading_routes(services.instances, authenticator, max_body_bytes=size, check_load=check),
        *download_routes(services.downloads, authenticator, max_body_bytes=size),
        embeddings_route(services.embeddings, authenticator, max_body_bytes=size),
    ]


def _plugin_routes(services: Services, options: ApiOptions, authenticator: Authenticator) -> list[Any]:
    """Plugins, without a chat."""
    size, keep_alive = options.limits.body_bytes, options.keep_alive_seconds
    return [
        *plugin_routes(services.plugins, authenticator),
        *definition_routes(services.plugins, authenticator, max_body_bytes=size),
        direct_call_route(services.calls, authenticator, max_body_bytes=size, keep_alive_seconds=keep_alive),
        *material_routes(services.materials, authenticator, max_body_bytes=size),
        check_route(services.checks, authenticator, max_body_bytes=size),
    ]


def _answer_nobody(request: HttpRequest, error: ClientGoneError) -> litestar.Response[bytes]:
    return litestar.Response(b"", status_code=CLIENT_GONE, media_type=litestar.MediaType.TEXT)
