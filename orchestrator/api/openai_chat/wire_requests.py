"""Bodies of `/v1/chat/completions` and `/v1/completions`, as OpenAI's clients write them; null is absent.

Source: https://platform.openai.com/docs/api-reference/chat. What is marked as an extension is ours.
"""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from orchestrator.api.wire_requests import (
    LARGEST_INT,
    MOST_ITEMS,
    MOST_SERVERS,
    Count,
    Fraction,
    FunctionName,
    IntegrationEntry,
    Name,
    StopText,
)

MOST_CHOICES = 8
MOST_MESSAGES = 100_000
"""As many as a body may have values."""
MOST_PROMPTS = 128
Penalty: TypeAlias = Annotated[float, Meta(ge=-2, le=2)]
Heat: TypeAlias = Annotated[float, Meta(ge=0, le=2)]
Bias: TypeAlias = Annotated[float, Meta(ge=-100, le=100)]
Texts: TypeAlias = Annotated[list[StopText], Meta(max_length=8)]
Stop: TypeAlias = StopText | Texts
Labels: TypeAlias = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]
Seed: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Described: TypeAlias = Annotated[Any, Meta(description="Taken and not used.")]
Absent: TypeAlias = Annotated[Any, Meta(description="Not supported: anything but null is refused.")]


class TextPart(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """A piece of text."""

    text: str


class RefusalPart(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="refusal"):
    """What a model said in refusing."""

    refusal: str


class ImageUrl(Struct, frozen=True, forbid_unknown_fields=True):
    """A picture as a `data:` URL; nothing is fetched."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="image_url"):
    """A picture, for models that see."""

    image_url: ImageUrl


Parts: TypeAlias = Annotated[list[TextPart], Meta(max_length=MOST_ITEMS)]
SeenParts: TypeAlias = Annotated[list[TextPart | ImagePart], Meta(max_length=MOST_ITEMS)]
SaidParts: TypeAlias = Annotated[list[TextPart | RefusalPart], Meta(max_length=MOST_ITEMS)]


class SystemTurn(Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="system"):
    """Instructions; the first ones are the system prompt."""

    content: str | Parts
    name: Described = None


class DeveloperTurn(Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="developer"):
    """Instructions, by their newer name."""

    content: str | Parts
    name: Described = None


class UserTurn(Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="user"):
    """What the user said."""

    content: str | SeenParts
    name: (
        Annotated[
            str, Meta(max_length=256, description="Who speaks, where several do: engines are told, Ollama has no word.")
        ]
        | None
    ) = None


class CalledFunction(Struct, frozen=True, forbid_unknown_fields=True):
    """What the model called; `arguments` is JSON text."""

    name: Name
    arguments: str
    parsed_arguments: Described = None


class CallOfFunction(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """A call that the model made."""

    id: Name
    function: CalledFunction
    index: int | None = None


class AssistantTurn(Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="assistant"):
    """What the model said, as it was given."""

    content: str | SaidParts | None = None
    tool_calls: Annotated[list[CallOfFunction], Meta(max_length=MOST_ITEMS)] | None = None
    reasoning_content: Annotated[str, Meta(description="Extension.")] | None = None
    refusal: str | None = None
    name: Described = None
    annotations: Described = None
    parsed: Described = None
    audio: Absent = None
    function_call: Absent = None


class ToolTurn(Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="tool"):
    """The result of a function that the client ran."""

    content: str | Parts
    tool_call_id: Name
    name: Described = None


Turn: TypeAlias = SystemTurn | DeveloperTurn | UserTurn | AssistantTurn | ToolTurn


class OfferedFunction(Struct, frozen=True, forbid_unknown_fields=True):
    """A function of the client's. With `strict` only calls are handed over whose arguments match `parameters`."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class OfferedFunctionTool(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """A tool that the client runs."""

    function: OfferedFunction


class NamedFunction(Struct, frozen=True, forbid_unknown_fields=True):
    """A function by its name."""

    name: Name


class FunctionChoice(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """The one tool that is to be called."""

    function: NamedFunction


class AllowedFunctions(Struct, frozen=True, forbid_unknown_fields=True):
    """Which functions may be called, and whether one has to be."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[FunctionChoice], Meta(max_length=MOST_ITEMS)]


class AllowedChoice(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="allowed_tools"):
    """Only some of the functions."""

    allowed_tools: AllowedFunctions


class TextFormat(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """Any text."""


class ObjectFormat(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class NamedSchema(Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON schema that the message has to match."""

    name: Name
    schema: dict[str, Any]
    strict: bool | None = None
    description: str | None = None


class SchemaFormat(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """JSON of a schema."""

    json_schema: NamedSchema


class ChunkOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream has besides."""

    include_usage: bool | None = None
    include_obfuscation: Described = None


Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class CompletionBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/chat/completions`."""

    model: Annotated[Name, Meta(description="A model's key, `engine::key`, or the id of a loaded instance.")]
    messages: Annotated[list[Turn], Meta(min_length=1, max_length=MOST_MESSAGES, description="The whole chat so far.")]
    tools: Annotated[list[OfferedFunctionTool], Meta(max_length=MOST_ITEMS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: ChunkOptions | None = None
    response_format: TextFormat | ObjectFormat | SchemaFormat | None = None
    temperature: Heat | None = None
    top_p: Fraction | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES, description="Each choice is a response of its own.")] | None = None
    stop: Stop | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    seed: Seed | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Bias] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning_effort: Effort | None = None
    store: (
        Annotated[bool, Meta(description="Absent: true, unlike OpenAI: what is not stored is not in the audit.")] | None
    ) = None
    metadata: Labels | None = None
    modalities: list[str] | None = None
    service_tier: str | None = None
    user: Described = None
    safety_identifier: Described = None
    prompt_cache_key: Described = None
    prompt_cache_options: Described = None
    prompt_cache_retention: Described = None
    functions: Absent = None
    function_call: Absent = None
    audio: Absent = None
    prediction: Absent = None
    verbosity: Absent = None
    web_search_options: Absent = None

    integrations: (
        Annotated[
            list[IntegrationEntry],
            Meta(max_length=MOST_SERVERS, description="Extension. MCP servers whose tools run on the server."),
        ]
        | None
    ) = None
    previous_response_id: (
        Annotated[
            str,
            Meta(
                max_length=512,
                description="Extension. `messages` is what comes after this response, which may be named as `chatcmpl-…`.",
            ),
        ]
        | None
    ) = None
    max_turns: Annotated[Count, Meta(description="Extension.")] | None = None
    max_tool_calls: Annotated[Count, Meta(description="Extension.")] | None = None
    top_k: Annotated[int, Meta(ge=0, le=LARGEST_INT, description="Extension.")] | None = None
    min_p: Annotated[Fraction, Meta(description="Extension.")] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=1000, description="Extension.")] | None = None


class TextCompletionBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/completions`."""

    model: Annotated[Name, Meta(description="A model's key, `engine::key`, or the id of a loaded instance.")]
    prompt: Annotated[
        str | Annotated[list[str], Meta(min_length=1, max_length=MOST_PROMPTS)],
        Meta(description="What the model goes on with, as it is: its chat template is left out."),
    ]
    stream: bool | None = None
    stream_options: ChunkOptions | None = None
    temperature: Heat | None = None
    top_p: Fraction | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    stop: Stop | None = None
    max_tokens: Count | None = None
    seed: Seed | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Bias] | None = None
    store: Annotated[bool, Meta(description="Extension. Absent: true.")] | None = None
    user: Described = None
    logprobs: (
        Annotated[
            int, Meta(ge=0, le=20, description="How many of the likeliest tokens to tell, beside the chosen one.")
        ]
        | None
    ) = None
    best_of: Absent = None
    echo: Absent = None
    suffix: Absent = None
