"""Errors as OpenAI's clients know them: every key is always there."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

OpenAIErrorType: TypeAlias = Literal["invalid_request_error", "rate_limit_error", "server_error"]


class OpenAIError(Struct, frozen=True):
    """What went wrong."""

    message: Annotated[str, Meta(description="For the person who reads it.")]
    type: OpenAIErrorType
    param: Annotated[str | None, Meta(description="The field's path, such as `tools.0.server_url`.")]
    code: Annotated[str | None, Meta(description="For the program that reads it.")]


class OpenAIErrorEnvelope(Struct, frozen=True):
    """The body of every answer under `/v1` that is not a success."""

    error: OpenAIError
