"""`GET /api/v1/models`. Source: section 5 of the contract."""

from typing import Final

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from orchestrator.api.auth import Authenticator
from orchestrator.api.encode_models import model_info
from orchestrator.api.errors import HttpRequest
from orchestrator.api.replies import json_reply
from orchestrator.api.wire_models import ModelList
from orchestrator.service.models import ModelService

MODELS_PATH: Final = "/api/v1/models"


def models_route(models: ModelService, authenticator: Authenticator) -> HTTPRouteHandler:
    """The route."""

    @get(MODELS_PATH)
    async def list_models(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("models.read", "The API token has no permission to list models.")
        return json_reply(ModelList([model_info(model) for model in await models.models()]))

    return list_models
