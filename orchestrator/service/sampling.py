"""Lets a run's model write something for a server, on the instance that the run uses."""

from contextlib import aclosing

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import GenerationFinished, TextArrived
from orchestrator.core.items import ImageInput
from orchestrator.core.prompt import PromptMessage, SystemMessage, UserMessage
from orchestrator.core.request import Sampling
from orchestrator.core.server_requests import SamplingReply, SamplingRequest
from orchestrator.service.instances import Instance


async def sample(instance: Instance, asked: SamplingRequest, max_tokens: int) -> SamplingReply:
    """What the model writes, without tools, in at most `max_tokens` tokens and no more than `asked` wants.

    Raises:
        OrchestratorError: the model cannot, or the engine failed.
    """
    if not instance.model.vision and any(_has_image(message) for message in asked.messages):
        raise OrchestratorError(ErrorKind.INVALID_VALUE, f"'{instance.model.key}' does not see images")
    messages: list[PromptMessage] = [] if asked.system_prompt is None else [SystemMessage(asked.system_prompt)]
    temperature = None if asked.temperature is None else min(max(asked.temperature, 0.0), 1.0)
    budget = max(1, min(asked.max_tokens, max_tokens))
    request = Generate(
        1, (*messages, *asked.messages), (), Sampling(temperature=temperature, stop=asked.stop[:8]), None, budget
    )
    said: list[str] = []
    finished: GenerationFinished | None = None
    async with aclosing(instance.engine.generate(instance.model, instance.id, request)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, TextArrived):
                said.append(chunk.text)
            elif isinstance(chunk, GenerationFinished):
                finished = chunk
    cut = finished is not None and finished.reason == "length"
    tokens = None if finished is None else finished.counters.output_tokens
    return SamplingReply("".join(said), instance.model.key, "maxTokens" if cut else "endTurn", tokens)


def _has_image(message: PromptMessage) -> bool:
    return isinstance(message, UserMessage) and any(isinstance(part, ImageInput) for part in message.parts)
