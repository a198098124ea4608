"""What a chat has of the chain that it continues: its system prompt, what heads it, its pictures."""

from collections.abc import Sequence

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ImageInput, InputItem, TextInput, heads_of
from orchestrator.core.models import Model
from orchestrator.core.prompt import Past, PastResponse, latest_heads
from orchestrator.ports import Chain, ResponseStore
from orchestrator.service.chat_request import ChatRequest


async def prompt_in_force(chat: ChatRequest, chain: Chain, store: ResponseStore, owner: str) -> str | None:
    """The system prompt of the chat, where it says none that of what it continues."""
    if chat.system_prompt is not None or not chat.inherits or chat.previous_response_id is None:
        return chat.system_prompt
    return chain.system_prompt or await store.inherited_prompt(chat.previous_response_id, owner)


def without_heads_before(chat: ChatRequest, chain: Chain) -> tuple[InputItem, ...]:
    """The input of a whole chat: where its system says nothing, what it said before does not count any more."""
    silent = not heads_of(chat.input) and latest_heads(chain.responses)
    return (TextInput("", speaker="system", heads=True), *chat.input) if silent else chat.input


def check_sight(model: Model, history: Sequence[Past]) -> None:
    """As for new pictures: what results of tools have is described, what users show is not left out in silence.

    Raises:
        OrchestratorError: `invalid_value` on `input`.
    """
    pasts = (past for past in history if isinstance(past, PastResponse))
    if not model.vision and any(isinstance(item, ImageInput) for past in pasts for item in past.input):
        message = (
            f"'{model.key}' does not see images, and the chat that goes on has some: use a model that sees them, or begin "
            "another chat."
        )
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="input")
