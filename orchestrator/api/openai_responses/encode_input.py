"""What a response was asked, as items that can be listed and referred to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from orchestrator.api.openai_responses.encode_items import NO_SERVER, content_of, text_of
from orchestrator.api.openai_responses.history import COMPACTED
from orchestrator.api.openai_responses.item_ids import ItemId, call_id_of, call_item_id, input_item_id
from orchestrator.api.openai_responses.wire_response import (
    FunctionCallItem,
    FunctionOutputItem,
    McpApprovalResponseItem,
    McpCallItem,
    McpExecutionError,
    MessageContent,
    MessageItem,
    ReasoningContent,
    ReasoningItem,
    ResponseItem,
    SentImageContent,
    SentTextContent,
    TextContent,
)
from orchestrator.core.approvals import Approve, Deny
from orchestrator.core.items import (
    FunctionCall,
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    InvalidToolCall,
    Message,
    OutputItem,
    Reasoning,
    ReasoningInput,
    TextInput,
    ToolCall,
)
from orchestrator.core.json_types import canonical_json
from orchestrator.core.tools import text_content
from orchestrator.ports import StoredResponse
from orchestrator.service.retelling import StoredTelling

_UNSAID: Final = ("mcpl", "mcpr", "mcpa")
"""What servers offer, and what was asked and answered about calls, is not said to the model: the calls themselves say it."""


@dataclass(frozen=True, slots=True)
class StoredInput:
    """An item of the input as it is listed, and what of the request it stands for."""

    item: ResponseItem
    said: tuple[InputItem, ...]


def stored_input(response: StoredResponse) -> list[StoredInput]:
    """The items of the input, in order; the parts of one message are one item."""
    groups: list[tuple[int, list[InputItem]]] = []
    for place, said in enumerate(response.input):
        if groups and _belongs(said, groups[-1][1][0]):
            groups[-1][1].append(said)
        else:
            groups.append((place, [said]))
    return [StoredInput(_item(response.id, place, said), tuple(said)) for place, said in groups]


def told_decisions(telling: StoredTelling, call_ids: frozenset[str]) -> list[ResponseItem]:
    """What was decided about these calls of a response, as the input of the one that goes on from it."""
    response_id = telling.response.id
    told: list[ResponseItem] = []
    for call in telling.calls:
        if call.call_id in call_ids and call.decision is not None:
            decision = call.decision.decision
            item_id, asked = (call_item_id(kind, response_id, call.call_id) for kind in ("mcpa", "mcpr"))
            reason = decision.reason if isinstance(decision, Deny) else None
            told.append(McpApprovalResponseItem(item_id, asked, isinstance(decision, Approve), reason))
    return told


def _belongs(said: InputItem, first: InputItem) -> bool:
    """Whether it is a part of the message that `first` begins, or what came of that call."""
    if isinstance(first, FunctionCallInput) and isinstance(said, FunctionOutput):
        return first.of_server and first.call_id == said.call_id
    speaker = _speaker(said)
    return speaker is not None and speaker == _speaker(first) and not _begins(said)


def _speaker(said: InputItem) -> str | None:
    """Who says it in a message; None for what is no part of one."""
    if isinstance(said, ImageInput):
        return "user"
    return said.speaker if isinstance(said, TextInput) else None


def _begins(said: InputItem) -> bool:
    return isinstance(said, TextInput | ImageInput) and said.begins


def _item(response_id: str, place: int, said: Sequence[InputItem]) -> ResponseItem:
    first = said[0]
    match first:
        case TextInput(speaker=speaker):
            content = [_part(part) for part in said]
            return MessageItem(input_item_id("msg", response_id, place), speaker, "completed", content)
        case ImageInput():
            content = [_part(part) for part in said]
            return MessageItem(input_item_id("msg", response_id, place), "user", "completed", content)
        case ReasoningInput(text):
            item_id = input_item_id("rs", response_id, place)
            return ReasoningItem(item_id, [], [ReasoningContent(text)], "completed")
        case FunctionCallInput(of_server=True):
            return _mcp_call(response_id, place, first, said[1] if len(said) > 1 else None)
        case FunctionCallInput(call_id, name, arguments):
            return FunctionCallItem(input_item_id("fc", response_id, place), call_id, name, arguments, "completed")
        case FunctionOutput(call_id, output):
            item_id = input_item_id("fco", response_id, place)
            return FunctionOutputItem(item_id, call_id, _told_output(content_of(output)), "completed")


def _mcp_call(response_id: str, place: int, call: FunctionCallInput, result: InputItem | None) -> McpCallItem:
    item = McpCallItem(
        input_item_id("mcp", response_id, place), call.server or NO_SERVER, call.name, call.arguments, "incomplete"
    )
    if not isinstance(result, FunctionOutput):
        return item
    content = content_of(result.output)
    if result.is_error:
        return msgspec.structs.replace(item, status="failed", error=McpExecutionError(content))
    return msgspec.structs.replace(item, status="completed", output=text_of(content))


def _part(part: InputItem) -> MessageContent:
    if isinstance(part, ImageInput):
        return SentImageContent(part.data_url)
    assert isinstance(part, TextInput)  # a message holds nothing else
    return TextContent(part.content) if part.speaker == "assistant" else SentTextContent(part.content)


def _told_output(content: Sequence[Any]) -> str | list[SentTextContent | SentImageContent]:
    if len(content) < 2 and not any(part.get("type") == "image" for part in content):
        return text_of(content)
    told: list[SentTextContent | SentImageContent] = []
    for part in content:
        if part.get("type") == "image":
            told.append(SentImageContent(f"data:{part.get('mimeType')};base64,{part.get('data')}"))
        else:
            told.append(SentTextContent(text_of([part])))
    return told


def referred(response: StoredResponse, item_id: ItemId, text: str) -> tuple[InputItem, ...] | None:
    """What the item of this id is as a part of a later input; None where the response has none such."""
    if item_id.of_input:
        found = next((entry.said for entry in stored_input(response) if entry.item.id == text), None)
        return None if found is None else tuple(map(_within, found))
    items = [entry.item for entry in response.output]
    if item_id.kind in ("msg", "rs"):
        texts = [item for item in items if isinstance(item, Message | Reasoning)]
        place = int(item_id.place) if item_id.place.isdigit() else len(texts)
        return _as_input(texts[place]) if place < len(texts) else None
    if item_id.kind in _UNSAID:
        return ()
    if item_id.kind == "cmp":
        text = "\n".join(item.content for item in items if isinstance(item, Message))
        return (TextInput(COMPACTED.format(text=text), begins=True),)
    call_id = call_id_of(item_id)
    found = (item for item in items if not isinstance(item, Message | Reasoning) and item.call_id == call_id)
    call = next(found, None)
    return None if call is None else _as_input(call)


def _within(said: InputItem) -> InputItem:
    """It as a part of another input, which says itself what heads it."""
    return replace(said, heads=False) if isinstance(said, TextInput) else said


def _as_input(item: OutputItem) -> tuple[InputItem, ...]:
    match item:
        case Message(content):
            return (TextInput(content, speaker="assistant", begins=True),)
        case Reasoning(content):
            return (ReasoningInput(content, begins=True),)
        case FunctionCall(call_id, name, arguments):
            return (FunctionCallInput(call_id, name, arguments),)
        case ToolCall():
            call = FunctionCallInput(item.call_id, item.tool, canonical_json(item.arguments), of_server=True)
            return call, FunctionOutput(item.call_id, item.output, item.is_error, of_server=True)
        case InvalidToolCall():
            call = FunctionCallInput(item.call_id, item.tool_name, canonical_json(item.arguments or {}), of_server=True)
            output = text_content(item.reason)
            return call, FunctionOutput(item.call_id, output, is_error=True, of_server=True)
