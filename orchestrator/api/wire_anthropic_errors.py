"""Errors as Anthropic's clients know them."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

AnthropicErrorType: TypeAlias = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
]


class AnthropicError(Struct, frozen=True):
    """What went wrong."""

    type: AnthropicErrorType
    message: Annotated[str, Meta(description="For the person who reads it; it names the field.")]


class AnthropicErrorEnvelope(Struct, frozen=True, tag_field="type", tag="error"):
    """The body of every answer below `/v1/messages` that is not a success."""

    error: AnthropicError
    request_id: Annotated[str, Meta(description="That of the header `request-id` too.")]
