"""The body of a branch inside a response, as it is on the wire. An extension."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire_requests import (
    LARGEST_INT,
    LARGEST_SEED,
    MOST_ITEMS,
    MOST_SERVERS,
    Count,
    Fraction,
    InputEntry,
    IntegrationEntry,
    Name,
)


class ForkAt(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the branch begins: at a call, or after so many output items."""

    call_id: Name | UnsetType = UNSET
    position: Annotated[int, Meta(ge=0, le=LARGEST_INT)] | UnsetType = UNSET


class ForkOutput(Struct, frozen=True, forbid_unknown_fields=True):
    """What the branch takes the tool to have said."""

    text: str
    is_error: bool = False


class ForkBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/responses/{response_id}/fork`."""

    at: Annotated[ForkAt, Meta(description="Absent: the end.")] | UnsetType = UNSET
    arguments: Annotated[dict[str, Any], Meta(description="The call runs with these.")] | UnsetType = UNSET
    output: Annotated[ForkOutput, Meta(description="The call does not run and has this result.")] | UnsetType = UNSET
    input: (
        Annotated[
            str | Annotated[list[InputEntry], Meta(max_length=MOST_ITEMS)],
            Meta(description="At the position 0 instead of the old input, at the end after it."),
        ]
        | UnsetType
    ) = UNSET
    integrations: (
        Annotated[
            list[IntegrationEntry],
            Meta(max_length=MOST_SERVERS, description="Instead of those of the response; absent: the same."),
        ]
        | UnsetType
    ) = UNSET
    stream: bool = False
    model: Name | UnsetType = UNSET
    system_prompt: str | UnsetType = UNSET
    temperature: Fraction | UnsetType = UNSET
    top_p: Fraction | UnsetType = UNSET
    min_p: Fraction | UnsetType = UNSET
    top_k: Annotated[int, Meta(ge=0, le=LARGEST_INT)] | UnsetType = UNSET
    repeat_penalty: Annotated[float, Meta(gt=0, le=1000)] | UnsetType = UNSET
    seed: Annotated[int, Meta(ge=0, le=LARGEST_SEED)] | UnsetType = UNSET
    max_output_tokens: Count | UnsetType = UNSET
    max_turns: Count | UnsetType = UNSET
    reasoning: Literal["off", "low", "medium", "high", "on"] | UnsetType = UNSET
