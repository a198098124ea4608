"""`POST /api/v1/models/load` and `/unload`. Source: section 5 of the contract."""

from collections.abc import Callable
from typing import Final

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from orchestrator.api.auth import Authenticator
from orchestrator.api.bodies import read_json_body
from orchestrator.api.decode import decode_body, decode_value, parse_json
from orchestrator.api.departures import while_connected
from orchestrator.api.encode_models import load_reply
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.api.replies import json_reply
from orchestrator.api.wire_models import LoadBody, UnloadBody, UnloadReply
from orchestrator.core.json_types import JsonValue
from orchestrator.core.models import LoadSettings
from orchestrator.service.instances import InstanceService

LOAD_PATH: Final = "/api/v1/models/load"
UNLOAD_PATH: Final = "/api/v1/models/unload"
_DENIED: Final = "The API token has no permission to load and unload models."


def loading_routes(
    instances: InstanceService,
    authenticator: Authenticator,
    *,
    max_body_bytes: int,
    check_load: Callable[[JsonValue], None] | None = None,
) -> list[HTTPRouteHandler]:
    """The routes. A client that leaves while its model is loading ends the load, unless others wait for it too.

    `check_load` may refuse the value of a load's body before it is read.
    """

    @post(LOAD_PATH, status_code=OK)
    async def load(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("models.manage", _DENIED)
        value = parse_json(await read_json_body(request, max_body_bytes))
        if check_load is not None:
            check_load(value)
        body = decode_value(value, LoadBody)
        ttl = None if body.ttl is UNSET else body.ttl
        settings = load_settings(body)
        loaded = await while_connected(request.receive, lambda: instances.load(body.model, settings, ttl))
        return json_reply(load_reply(loaded, echo_config=body.echo_load_config))

    @post(UNLOAD_PATH, status_code=OK)
    async def unload(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("models.manage", _DENIED)
        body = decode_body(await read_json_body(request, max_body_bytes), UnloadBody)
        await instances.unload(body.instance_id)
        return json_reply(UnloadReply(body.instance_id))

    return [load, unload]


def load_settings(body: LoadBody) -> LoadSettings:
    """What the load asks of the engine."""
    return LoadSettings(
        context_length=None if body.context_length is UNSET else body.context_length,
        eval_batch_size=None if body.eval_batch_size is UNSET else body.eval_batch_size,
        flash_attention=None if body.flash_attention is UNSET else body.flash_attention,
        num_experts=None if body.num_experts is UNSET else body.num_experts,
        offload_kv_cache_to_gpu=None if body.offload_kv_cache_to_gpu is UNSET else body.offload_kv_cache_to_gpu,
        parallel=None if body.parallel is UNSET else body.parallel,
    )
