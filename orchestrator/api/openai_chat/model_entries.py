"""`GET /v1/models` and `GET /v1/models/{model_id}`."""

from typing import Final

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from orchestrator.api.anthropic_messages.model_entries import anthropic_model, anthropic_models
from orchestrator.api.auth import Authenticator
from orchestrator.api.errors import HttpRequest, answer_of
from orchestrator.api.openai_chat import wire_replies as w
from orchestrator.api.replies import json_reply
from orchestrator.api.request_ids import MODEL_ENTRIES_PATH, is_anthropic
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.models import Model
from orchestrator.service.models import ModelService

MODEL_LIST_PATH: Final = MODEL_ENTRIES_PATH
MODEL_PATH: Final = "/v1/models/{model_id:path}"


def model_entry_routes(models: ModelService, authenticator: Authenticator) -> list[HTTPRouteHandler]:
    """The routes; the clients of two dialects ask here."""

    async def known(request: HttpRequest) -> list[Model]:
        caller = await authenticator.caller(request)
        caller.require("models.read", "The API token has no permission to list models.")
        return await models.models()

    @get(MODEL_LIST_PATH)
    async def list_entries(request: HttpRequest) -> ASGIResponse:
        found = await known(request)
        if is_anthropic(request.scope):
            return json_reply(anthropic_models(found, request))
        return json_reply(w.ModelEntries("list", [_entry(model.key, model) for model in found]))

    @get(MODEL_PATH)
    async def get_entry(request: HttpRequest, model_id: FromPath[str]) -> ASGIResponse:
        wanted = model_id.removeprefix("/")
        for model in await known(request):
            instances = (instance.id for instance in model.loaded_instances)
            if wanted in (model.key, f"{model.engine}::{model.key}", *instances):
                if is_anthropic(request.scope):
                    return json_reply(anthropic_model(wanted, model))
                return json_reply(_entry(wanted, model))
        info = ErrorInfo(ErrorKind.UNKNOWN_MODEL, f"The model '{wanted[:200]}' does not exist.", "model")
        return answer_of(request, info).as_asgi()

    return [list_entries, get_entry]


def _entry(id: str, model: Model) -> w.ModelEntry:
    created = 0 if model.modified_at is None else int(model.modified_at.timestamp())
    return w.ModelEntry(id, "model", created, model.publisher)
