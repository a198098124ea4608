"""Vectors of texts: the same instances, queues and loads as chats have, without a run."""

from collections.abc import Sequence

import anyio

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.models import Model
from orchestrator.ports import Embeddings
from orchestrator.service.callers import Caller
from orchestrator.service.instances import InstanceService
from orchestrator.service.models import ModelChoice, ModelService


class EmbeddingService:
    """The one way to vectors, for every dialect. `timeout_seconds` bounds one request, its load and its wait included."""

    def __init__(self, models: ModelService, instances: InstanceService, timeout_seconds: float) -> None:
        self._models = models
        self._instances = instances
        self._timeout_seconds = timeout_seconds

    async def embed(self, key: str, texts: Sequence[str], caller: Caller) -> tuple[Model, Embeddings]:
        """The model that `key` names, and one vector of it for each of `texts`.

        Raises:
            OrchestratorError: `permission_denied`, `unknown_model`, `invalid_value` on `model` where it does not embed,
                `rate_limited` where its queue is full, or as `Engine.load` and `Engine.embed`.
        """
        caller.require("chat", "The API token has no permission to use models.")
        choice = await self._models.find(key)
        _check_embeds(choice)
        place = self._instances.choose(choice, None)
        try:
            with anyio.fail_after(self._timeout_seconds):
                async with (
                    self._instances.use(choice, place.instance_id, None, None, lambda _: None) as (instance, _),
                    self._instances.slot(instance, caller.owner, lambda _: None, place),
                ):
                    return choice.model, await instance.engine.embed(choice.model, instance.id, texts)
        except TimeoutError:
            message = f"The vectors were not there within {self._timeout_seconds:g} s (RUN_TIMEOUT)."
            raise OrchestratorError(ErrorKind.ENGINE_ERROR, message) from None
        finally:
            place.leave()


def _check_embeds(choice: ModelChoice) -> None:
    """Before anything is loaded for it. An engine that does not load cannot tell which of its models embed."""
    knows = choice.engine.traits.loads
    if not choice.engine.traits.embeds or (knows and choice.model.type != "embedding"):
        message = f"'{choice.model.key}' is no embedding model: it makes no vectors."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
