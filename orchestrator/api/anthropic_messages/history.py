"""Messages of a request as input items."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import assert_never

from msgspec import UnsetType

from orchestrator.api.anthropic_messages.documents import document_items, picture
from orchestrator.api.anthropic_messages.encode import written
from orchestrator.api.anthropic_messages.ids import call_id_of
from orchestrator.api.anthropic_messages.wire_requests import (
    ContentParam,
    DocumentBlockParam,
    ImageBlockParam,
    McpToolResultBlockParam,
    McpToolUseBlockParam,
    MessageParam,
    RedactedThinkingBlockParam,
    TextBlockParam,
    ThinkingBlockParam,
    ToolResultBlockParam,
    ToolUseBlockParam,
)
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import (
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    ReasoningInput,
    Speaker,
    TextInput,
)
from orchestrator.core.json_types import JsonValue, canonical_json
from orchestrator.core.prompt import side_of
from orchestrator.core.tools import text_content


def input_items(messages: Sequence[MessageParam], *, paused: bool = False) -> tuple[InputItem, ...]:
    """What is said in `messages`; what one side says in a row is one message, its results before what is said with them.

    Raises:
        OrchestratorError: `invalid_value` with the path of a block that does not belong where it is.
    """
    found: list[InputItem] = []
    called: frozenset[str] | None = None
    for role, side in groupby(enumerate(messages), key=lambda pair: pair[1].role):
        said: list[InputItem] = []
        for index, message in side:
            more = _said(message, f"messages.{index}.content", called)
            said += _apart(more, assistant=role == "assistant") if said else more
        if role == "user":
            said.sort(key=lambda item: not isinstance(item, FunctionOutput))
        if role == "user" and found and side_of(found[-1]) == "user":  # all that came between was cut off
            said = _apart(said, assistant=False)
        called = frozenset(item.call_id for item in said if isinstance(item, FunctionCallInput))
        found += said
    if messages and messages[-1].role != "user" and not paused:
        message = (
            '"messages" must end with a message of the user, or with one that paused after a call of a server: other texts '
            "that a model has begun are not gone on with."
        )
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=f"messages.{len(messages) - 1}.role")
    if not paused and not any(not isinstance(item, TextInput) or item.content for item in found):
        raise OrchestratorError(ErrorKind.INVALID_VALUE, '"messages" must not be empty.', param="messages")
    return tuple(found)


def _apart(said: list[InputItem], *, assistant: bool) -> list[InputItem]:
    """`said` as what follows another message of the same side: one of its own, or with a gap where the assistant goes on."""
    first = next((item for item in said if isinstance(item, TextInput | ImageInput)), None)
    if first is None:
        return said
    place = said.index(first)
    if not assistant:
        return [*said[:place], replace(first, begins=True), *said[place + 1 :]]
    if place == 0 and isinstance(first, TextInput):
        return [replace(first, content="\n\n" + first.content), *said[1:]]
    return said


def _said(message: MessageParam, path: str, called: frozenset[str] | None) -> list[InputItem]:
    """The items of a message; `called` are the calls of the one before it, None where it is the first."""
    content = [TextBlockParam(message.content)] if isinstance(message.content, str) else message.content
    said: list[InputItem] = []
    for place, block in enumerate(content):
        if isinstance(block, ToolResultBlockParam) and called is not None:
            _check_result(block, called, f"{path}.{place}.tool_use_id")
        said += _items(block, message.role, f"{path}.{place}")
    return said


def _check_result(block: ToolResultBlockParam, called: frozenset[str], path: str) -> None:
    if call_id_of(block.tool_use_id) not in called:
        message = f"\"{path}\" must be the id of a 'tool_use' in the message before this one."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=path)


def _items(block: ContentParam, role: Speaker, path: str) -> tuple[InputItem, ...]:
    match block:
        case TextBlockParam(text):
            return (TextInput(text, speaker=role),)
        case ImageBlockParam():
            _check_role(role, "user", block, path)
            return (ImageInput(picture(block, path)),)
        case DocumentBlockParam():
            _check_role(role, "user", block, path)
            return document_items(block, path)
        case ToolResultBlockParam():
            _check_role(role, "user", block, path)
            output = _output(block.content, f"{path}.content")
            return (FunctionOutput(call_id_of(block.tool_use_id), output, block.is_error),)
        case ThinkingBlockParam(thinking):
            _check_role(role, "assistant", block, path)
            return (ReasoningInput(thinking),) if thinking else ()
        case RedactedThinkingBlockParam():
            _check_role(role, "assistant", block, path)
            return ()
        case ToolUseBlockParam():
            _check_role(role, "assistant", block, path)
            return (FunctionCallInput(call_id_of(block.id), block.name, written(block.input)),)
        case McpToolUseBlockParam():
            _check_role(role, "assistant", block, path)
            arguments = canonical_json(block.input)
            return (FunctionCallInput(call_id_of(block.id), block.name, arguments, of_server=True),)
        case McpToolResultBlockParam():
            _check_role(role, "assistant", block, path)
            output = _output(block.content, f"{path}.content")
            return (FunctionOutput(call_id_of(block.tool_use_id), output, block.is_error, of_server=True),)
        case _:
            assert_never(block)


def _check_role(role: Speaker, wanted: Speaker, block: ContentParam, path: str) -> None:
    if role != wanted:
        kind = block.__struct_config__.tag
        message = f"\"{path}\" is a '{kind}', which only a message of the role '{wanted}' can have."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=path)


def _output(
    content: str | Sequence[TextBlockParam | ImageBlockParam | DocumentBlockParam] | UnsetType, path: str
) -> str:
    """The JSON text of a content array, as MCP has it."""
    if isinstance(content, UnsetType):
        return "[]"
    if isinstance(content, str):
        return text_content(content)
    parts: list[JsonValue] = []
    for index, block in enumerate(content):
        for item in _items(block, "user", f"{path}.{index}"):
            if isinstance(item, TextInput):
                parts.append({"type": "text", "text": item.content})
            elif isinstance(item, ImageInput):
                head, _, data = item.data_url.partition(";base64,")
                parts.append({"type": "image", "data": data, "mimeType": head.removeprefix("data:")})
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
