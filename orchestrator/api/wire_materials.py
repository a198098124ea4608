"""Bodies of the routes for resources and prompts of plugins, as they are on the wire. Extensions, all of them."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire import ProviderInfo

_Chain: TypeAlias = (
    Annotated[str, Meta(max_length=512, description="Ask in this chain: a plugin of its scope keeps its state.")]
    | UnsetType
)


class ReadResourceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST …/resources/read`."""

    uri: Annotated[
        str,
        Meta(min_length=1, max_length=8192, description="One that is listed, or a template with its values put in."),
    ]
    previous_response_id: _Chain = UNSET


class ResourceReply(Struct, frozen=True):
    """A resource."""

    provider_info: ProviderInfo
    uri: str
    contents: Annotated[
        list[dict[str, Any]],
        Meta(
            description="As the server sent them: each has a `uri`, perhaps a `mimeType`, and `text` or `blob` (base64)."
        ),
    ]


class GetPromptBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST …/prompts/{prompt}/get`."""

    arguments: Annotated[dict[str, str], Meta(description="As the prompt lists them.")] = {}
    previous_response_id: _Chain = UNSET


class PromptMessage(Struct, frozen=True):
    """What somebody says in a prompt."""

    role: Literal["user", "assistant"]
    content: Annotated[dict[str, Any], Meta(description="As the server sent it: MCP's content, such as `text`.")]


class PromptReply(Struct, frozen=True):
    """A prompt, filled in."""

    provider_info: ProviderInfo
    prompt: str
    messages: list[PromptMessage]
