"""Pictures and documents that a request brings.

Only texts are read. To take the text out of a PDF is to run a large parser over what strangers made, with all that such a file
can do to it: that is for whoever sends it, or for a tool.
"""

from typing import assert_never

from msgspec import UnsetType

from orchestrator.api.anthropic_messages.wire_requests import (
    Base64Source,
    ContentSource,
    DocumentBlockParam,
    FetchedSource,
    FileSource,
    ImageBlockParam,
    KeptSource,
    TextBlockParam,
    TextSource,
)
from orchestrator.api.chat_request import check_image
from orchestrator.core.content import data_url
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ImageInput, TextInput


def document_items(block: DocumentBlockParam, path: str) -> tuple[TextInput | ImageInput, ...]:
    """What a document says, between lines that name it.

    Raises:
        OrchestratorError: `invalid_value` on `source` where it is no text, or on `citations` where some are wanted.
    """
    if block.citations.enabled:
        raise _wrong(f"{path}.citations.enabled", "must be false: no model here tells where its words are from")
    name = "document" if isinstance(block.title, UnsetType) else f"document {block.title}"
    head = f"[{name}]" if isinstance(block.context, UnsetType) else f"[{name}]\n{block.context}"
    end = f"[end of {name}]"
    match block.source:
        case TextSource(text):
            return (TextInput(f"{head}\n{text}\n{end}"),)
        case ContentSource():
            content = block.source.content
            if isinstance(content, str):
                return (TextInput(f"{head}\n{content}\n{end}"),)
            inner = [_item(part, f"{path}.source.content.{index}") for index, part in enumerate(content)]
            return (TextInput(head), *inner, TextInput(end))
        case FileSource():
            raise _wrong(f"{path}.source", "is a file of which no text is taken here: send its text, as 'type': 'text'")
        case FetchedSource():
            raise _wrong(
                f"{path}.source", "is somewhere else, and nothing is fetched: send its text, as 'type': 'text'"
            )
        case KeptSource():
            raise _wrong(
                f"{path}.source", "names a file, and files are not kept here: send its text, as 'type': 'text'"
            )
        case _:
            assert_never(block.source)


def _item(part: TextBlockParam | ImageBlockParam, path: str) -> TextInput | ImageInput:
    return TextInput(part.text) if isinstance(part, TextBlockParam) else ImageInput(picture(part, path))


def picture(block: ImageBlockParam, path: str) -> str:
    """The `data:` URL of a picture.

    Raises:
        OrchestratorError: `invalid_value` with its path where it is none, or somewhere else.
    """
    source = block.source
    if isinstance(source, Base64Source):
        url = data_url(source.media_type, source.data)
        check_image(url, f"{path}.source.data")
        return url
    if not source.url.lower().startswith("data:"):
        message = f'"{path}.source.url" must be a data: URL: no picture is fetched for a request. Send it as base64.'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=f"{path}.source.url")
    check_image(source.url, f"{path}.source.url")
    return source.url


def _wrong(path: str, problem: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f'"{path}" {problem}.', param=path)
