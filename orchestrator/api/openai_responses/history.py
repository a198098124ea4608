"""What was said, and what became of calls, as the service takes it."""

from collections.abc import Mapping, Sequence
from typing import Final, assert_never

import msgspec
from msgspec import UnsetType

from orchestrator.api.openai_responses.encode_items import json_text, unsealed
from orchestrator.api.openai_responses.files import file_text, sent_picture
from orchestrator.api.openai_responses.item_ids import call_id_of, parse_item_id
from orchestrator.api.openai_responses.wire_items import (
    PlainPart,
    SaidRefusal,
    SaidText,
    SentApproval,
    SentApprovalRequest,
    SentCompaction,
    SentFile,
    SentFunctionCall,
    SentFunctionOutput,
    SentImage,
    SentInput,
    SentItem,
    SentMcpCall,
    SentMcpTools,
    SentMessage,
    SentPart,
    SentReasoning,
    SentReference,
    SentText,
)
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import (
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    ReasoningInput,
    TextInput,
)

COMPACTED_HEAD: Final = "[what was said before, in short]"
COMPACTED: Final = COMPACTED_HEAD + "\n{text}\n[end of what was said before]"

References = Mapping[str, Sequence[InputItem]]
"""What items that are stored stand for, by their ids."""


def input_items(said: SentInput, references: References, first: int = 0) -> tuple[InputItem, ...]:
    """The items of a request in the service's words, from the item `first` on.

    What servers offered before, and what was asked and answered about their calls, is not said to the model again:
    the calls themselves say it.

    Raises:
        OrchestratorError: `invalid_value` with its path, or `unsupported_parameter` for a file that is somewhere else.
    """
    if isinstance(said, str):
        return (TextInput(said, begins=True),)
    found: list[InputItem] = []
    for place, item in enumerate(said[first:], first):
        found += _told(item, f"input.{place}", references, in_turn=_is_of_model(found))
    return tuple(found)


def _is_of_model(found: Sequence[InputItem]) -> bool:
    """Whether the last item is of a turn of the model that may go on."""
    last = found[-1] if found else None
    return isinstance(last, ReasoningInput | FunctionCallInput) or (
        isinstance(last, TextInput) and last.speaker == "assistant"
    )


def _told(item: SentItem, path: str, references: References, *, in_turn: bool) -> Sequence[InputItem]:
    match item:
        case SentMessage():
            return _message(item, path, goes_on=in_turn)
        case SentFunctionCall(call_id=call_id, name=name, arguments=arguments):
            return [FunctionCallInput(call_id, name, arguments, begins=not in_turn)]
        case SentFunctionOutput(call_id=call_id, output=output):
            return [FunctionOutput(call_id, _output(output, f"{path}.output"))]
        case SentReasoning():
            text = _reasoning(item)
            return [ReasoningInput(text, begins=True)] if text else []
        case SentReference(item_id):
            return references[item_id]
        case SentMcpCall():
            return _mcp_call(item, path, in_turn=in_turn)
        case SentCompaction(encrypted_content=sealed):
            text = unsealed(sealed)
            if text is None:
                raise _wrong(f"{path}.encrypted_content", "is not what POST /v1/responses/compact answered")
            return [TextInput(COMPACTED.format(text=text), begins=True)]
        case SentMcpTools() | SentApprovalRequest() | SentApproval():
            return []
        case _:
            assert_never(item)


def _message(item: SentMessage, path: str, *, goes_on: bool) -> list[InputItem]:
    parts = [SentText(item.content)] if isinstance(item.content, str) else item.content
    found: list[InputItem] = []
    for place, part in enumerate(parts):
        where = f"{path}.content.{place}"
        begins = not found and not (item.role == "assistant" and goes_on)
        if isinstance(part, SentImage):
            if item.role != "user":
                raise _wrong(where, "is a picture, and only users show pictures")
            found.append(ImageInput(picture(part, where), begins=begins))
        else:
            found.append(TextInput(text_of_part(part, where), speaker=item.role, begins=begins))
    return found


def text_of_part(part: SentPart, path: str) -> str:
    """The text of a part that is no picture.

    Raises:
        OrchestratorError: it is a file of which there is no text.
    """
    match part:
        case SentText(text) | SaidText(text=text) | PlainPart(text):
            return text
        case SaidRefusal(refusal):
            return refusal
        case SentFile():
            return _file(part, path)
        case SentImage():
            raise _wrong(path, "is a picture, where only texts can be")
        case _:
            assert_never(part)


def picture(part: SentImage, path: str) -> str:
    """The picture as a `data:` URL.

    Raises:
        OrchestratorError: it is somewhere else, or it is none.
    """
    if isinstance(part.image_url, UnsetType):
        if not isinstance(part.file_id, UnsetType):
            message = f'"{path}.file_id" names a file, and files are not kept here: send it as "image_url".'
            raise OrchestratorError(ErrorKind.UNSUPPORTED_PARAMETER, message, param=f"{path}.file_id")
        raise OrchestratorError(
            ErrorKind.MISSING_REQUIRED_PARAMETER, f'"{path}.image_url" is required', param=f"{path}.image_url"
        )
    return sent_picture(part.image_url, f"{path}.image_url")


def _file(part: SentFile, path: str) -> str:
    for name in ("file_id", "file_url"):
        if not isinstance(getattr(part, name), UnsetType):
            message = f'"{path}.{name}" is somewhere else, and nothing is fetched: send it as "file_data".'
            raise OrchestratorError(ErrorKind.UNSUPPORTED_PARAMETER, message, param=f"{path}.{name}")
    if isinstance(part.file_data, UnsetType):
        raise OrchestratorError(
            ErrorKind.MISSING_REQUIRED_PARAMETER, f'"{path}.file_data" is required', param=f"{path}.file_data"
        )
    name = "file" if isinstance(part.filename, UnsetType) else part.filename
    text = file_text(part.file_data, f"{path}.file_data")
    return f"[file {name}]\n{text}\n[end of file {name}]"


def _output(output: str | Sequence[SentText | SentImage | SentFile], path: str) -> str:
    """The JSON text of a content array, as MCP has it."""
    parts = [SentText(output)] if isinstance(output, str) else output
    content: list[dict[str, str]] = []
    for place, part in enumerate(parts):
        where = f"{path}.{place}"
        if isinstance(part, SentImage):
            head, _, data = picture(part, where).partition(";base64,")
            content.append({"type": "image", "data": data, "mimeType": head.removeprefix("data:")})
        else:
            content.append({"type": "text", "text": text_of_part(part, where)})
    return msgspec.json.encode(content).decode()


def _reasoning(item: SentReasoning) -> str:
    for parts in (item.content, item.summary):
        if not isinstance(parts, UnsetType) and parts:
            return "".join(part.text for part in parts)
    return "" if isinstance(item.encrypted_content, UnsetType) else unsealed(item.encrypted_content) or ""


def _mcp_call(item: SentMcpCall, path: str, *, in_turn: bool) -> Sequence[InputItem]:
    known = None if isinstance(item.id, UnsetType) else parse_item_id(item.id)
    call_id = f"call_{path.rpartition('.')[2]}" if known is None else call_id_of(known)
    failed = not isinstance(item.error, UnsetType)
    text = ("" if isinstance(item.output, UnsetType) else item.output) or (
        json_text({"error": item.error}) if failed else ""
    )
    content = msgspec.json.encode([{"type": "text", "text": text}]).decode()
    return [
        FunctionCallInput(
            call_id, item.name, item.arguments, begins=not in_turn, of_server=True, server=item.server_label
        ),
        FunctionOutput(call_id, content, is_error=failed, of_server=True),
    ]


def _wrong(path: str, problem: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f'"{path}" {problem}.', param=path)
