"""`POST /v1/embeddings` on the wire, as OpenAI speaks it: https://platform.openai.com/docs/api-reference/embeddings."""

from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from orchestrator.api.wire_requests import Count, Name

MOST_TEXTS: Final = 2048

Text: TypeAlias = Annotated[str, Meta(min_length=1)]


class EmbeddingsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/embeddings`."""

    model: Annotated[Name, Meta(description="An embedding model's key, `engine::key`, or the id of a loaded instance.")]
    input: Annotated[
        Text | Annotated[list[Text], Meta(min_length=1, max_length=MOST_TEXTS)],
        Meta(description="A text, or several. Arrays of tokens are not taken: no engine here reads them."),
    ]
    encoding_format: (
        Annotated[
            Literal["float", "base64"],
            Meta(
                description="`base64` is the vector's 32-bit floats, little-endian, as clients of OpenAI ask for them."
            ),
        ]
        | None
    ) = None
    dimensions: (
        Annotated[Count, Meta(description="Only the length that the model's vectors have; they are not shortened.")]
        | None
    ) = None
    user: Annotated[Any, Meta(description="Taken and not used.")] = None


class EmbeddingObject(Struct, frozen=True):
    """One vector; `index` is the place of its text in `input`."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Struct, frozen=True):
    """What was read; 0 where the engine does not count."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(Struct, frozen=True):
    """The answer to `POST /v1/embeddings`."""

    object: Literal["list"]
    data: list[EmbeddingObject]
    model: str
    usage: EmbeddingUsage
