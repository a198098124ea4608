"""Errors as Anthropic's clients know them."""

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

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


class AnthropicErrorDetails(Struct, frozen=True):
    """What clients act on, of errors about threads: they send the whole history then."""

    error_code: Literal["thread_not_found", "thread_continue_in_flight", "thread_unsupported_request"]


class AnthropicError(Struct, frozen=True):
    """What went wrong."""

    type: AnthropicErrorType
    message: Annotated[str, Meta(description="For the person who reads it; it names the field.")]
    details: AnthropicErrorDetails | UnsetType = UNSET


class AnthropicErrorEnvelope(Struct, frozen=True, tag_field="type", tag="error"):
    """The body of every answer below `/v1/messages` that is not a success."""

    error: AnthropicError
    request_id: Annotated[str, Meta(description="That of the header `request-id` too.")]
