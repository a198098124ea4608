"""Text that llama.cpp cannot split: a run of letters so long that its tokeniser would overflow its stack."""

import re
from collections.abc import Iterator
from typing import Final

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import TextInput
from orchestrator.core.json_types import JsonValue
from orchestrator.core.prompt import AssistantMessage, UserMessage

LONGEST_RUN: Final = 200_000
"""Characters between white space or digits. Half of what the worker's stacks were seen to hold (`worker.py`)."""
MOST_COUNTED: Final = 2_000_000
"""Characters of a prompt whose tokens are counted: some seconds."""

_BREAKS: Final = re.compile(r"[\s\d]+")


def refuse_long_runs(request: Generate) -> None:
    """Refuse a prompt that would end the worker, and with it the requests of others.

    Raises:
        OrchestratorError: `exceed_context_size` on `input`.
    """
    for text in _texts(request):
        if len(text) > LONGEST_RUN and max(map(len, _BREAKS.split(text))) > LONGEST_RUN:
            message = f"The prompt has more than {LONGEST_RUN} characters in one piece, without white space or a digit."
            raise OrchestratorError(ErrorKind.EXCEED_CONTEXT_SIZE, message, param="input")


def is_long(request: Generate) -> bool:
    """Whether to count the tokens of a prompt would take long, or end the worker."""
    try:
        refuse_long_runs(request)
    except OrchestratorError:
        return True
    return sum(map(len, _texts(request))) > MOST_COUNTED


def _texts(request: Generate) -> Iterator[str]:
    for message in request.messages:
        match message:
            case UserMessage(parts):
                yield from (part.content for part in parts if isinstance(part, TextInput))
            case AssistantMessage(reasoning, content, calls):
                yield from (reasoning, content, *(call.arguments for call in calls))
            case other:
                yield other.content
    for tool in request.tools:
        yield tool.definition.description
        yield from _strings(tool.definition.input_schema)


def _strings(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
