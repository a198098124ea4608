"""Items and their parts as clients send them: what is said, what was said before, and what became of calls.

They are what the service itself answers with, too, so that a client can send back what it was given.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire_requests import MOST_ITEMS

MOST_IN_CHAT: Final = 65_536
"""Items of a whole chat, which a client may send anew with every turn; `MAX_INPUT_ITEMS` says how many are taken."""
ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]
McpCallStatus: TypeAlias = Literal["in_progress", "completed", "incomplete", "calling", "failed"]
ItemId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
CallId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
FunctionName: TypeAlias = Annotated[
    str,
    Meta(pattern="^[A-Za-z0-9_-]{1,64}$", extra={"says": "1 to 64 letters, digits, '_' or '-'"}),
]
ServerLabel: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
Anything: TypeAlias = Annotated[list[Any], Meta(max_length=MOST_ITEMS)]


class SentText(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="input_text"):
    """A text that somebody says to the model."""

    text: str


class SentImage(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="input_image"):
    """A picture, for models that see."""

    image_url: (
        Annotated[
            str,
            Meta(description="`data:image/…;base64,…` of a PNG, JPEG, GIF or WebP picture. Addresses are not fetched."),
        ]
        | UnsetType
    ) = UNSET
    file_id: str | UnsetType = UNSET
    detail: (
        Annotated[
            Literal["low", "high", "auto", "original"],
            Meta(description="Accepted; the engine decides how closely a picture is looked at."),
        ]
        | UnsetType
    ) = UNSET


class SentFile(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="input_file"):
    """A file whose text the model reads."""

    filename: Annotated[str, Meta(max_length=512)] | UnsetType = UNSET
    file_data: Annotated[str, Meta(description="Base64, or a `data:` URL; a text in UTF-8.")] | UnsetType = UNSET
    file_url: str | UnsetType = UNSET
    file_id: str | UnsetType = UNSET
    detail: (
        Annotated[Literal["low", "high", "auto"], Meta(description="Accepted; of a text there is one reading.")]
        | UnsetType
    ) = UNSET


class SaidText(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="output_text"):
    """A text that a model said."""

    text: str
    annotations: Anything | UnsetType = UNSET
    logprobs: Anything | UnsetType = UNSET


class SaidRefusal(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="refusal"):
    """What a model said instead of an answer."""

    refusal: str


class PlainPart(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """A text; another name of `input_text` and `output_text`."""

    text: str


class SummaryPart(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="summary_text"):
    """A piece of a summary of reasoning."""

    text: str


class ReasoningPart(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="reasoning_text"):
    """A piece of reasoning."""

    text: str


SentPart: TypeAlias = SentText | SentImage | SentFile | SaidText | SaidRefusal | PlainPart
OutputPart: TypeAlias = SentText | SentImage | SentFile
Role: TypeAlias = Literal["user", "assistant", "system", "developer"]


class SentMessage(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="message"):
    """What somebody said. `type` may be left out."""

    role: Role
    content: str | Annotated[list[SentPart], Meta(max_length=MOST_ITEMS)]
    id: ItemId | UnsetType = UNSET
    status: ItemStatus | UnsetType = UNSET
    phase: Literal["commentary", "final_answer"] | UnsetType = UNSET


class SentFunctionCall(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="function_call"):
    """A call of a function of the client's that a model asked for."""

    call_id: CallId
    name: FunctionName
    arguments: Annotated[str, Meta(description="JSON text of an object.")]
    id: ItemId | UnsetType = UNSET
    status: ItemStatus | UnsetType = UNSET
    namespace: str | UnsetType = UNSET
    caller: dict[str, Any] | UnsetType = UNSET


class SentFunctionOutput(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="function_call_output"):
    """What a function of the client's answered."""

    call_id: CallId
    output: str | Annotated[list[OutputPart], Meta(max_length=MOST_ITEMS)]
    id: ItemId | UnsetType = UNSET
    status: ItemStatus | UnsetType = UNSET
    name: str | UnsetType = UNSET
    namespace: str | UnsetType = UNSET
    caller: dict[str, Any] | UnsetType = UNSET


class SentReasoning(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="reasoning"):
    """What a model reasoned before."""

    summary: Annotated[list[SummaryPart], Meta(max_length=MOST_ITEMS)] | UnsetType = UNSET
    content: Annotated[list[ReasoningPart | PlainPart], Meta(max_length=MOST_ITEMS)] | UnsetType = UNSET
    encrypted_content: str | UnsetType = UNSET
    id: ItemId | UnsetType = UNSET
    status: ItemStatus | UnsetType = UNSET


class SentReference(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="item_reference"):
    """An item that is stored. `type` may be left out."""

    id: ItemId


class SentMcpTools(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="mcp_list_tools"):
    """What a server offered before. Accepted and not needed: the servers of the request are asked anew."""

    server_label: ServerLabel
    tools: Anything
    id: ItemId | UnsetType = UNSET
    error: Any = UNSET


class SentMcpCall(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="mcp_call"):
    """A call of a server's tool that was made before, with what came of it."""

    server_label: ServerLabel
    name: str
    arguments: str
    id: ItemId | UnsetType = UNSET
    output: str | UnsetType = UNSET
    error: Any = UNSET
    status: McpCallStatus | UnsetType = UNSET
    approval_request_id: str | UnsetType = UNSET


class SentApprovalRequest(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="mcp_approval_request"
):
    """A call that somebody was asked about."""

    id: ItemId
    server_label: ServerLabel
    name: str
    arguments: str


class SentApproval(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="mcp_approval_response"):
    """What somebody decided about a call."""

    approval_request_id: ItemId
    approve: bool
    reason: Annotated[str, Meta(description="Why not; told to the model.")] | UnsetType = UNSET
    id: ItemId | UnsetType = UNSET


class SentCompaction(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="compaction"):
    """What `POST /v1/responses/compact` made of what was said before."""

    encrypted_content: str
    id: ItemId | UnsetType = UNSET
    created_by: str | UnsetType = UNSET


SentItem: TypeAlias = (
    SentMessage
    | SentFunctionCall
    | SentFunctionOutput
    | SentReasoning
    | SentReference
    | SentMcpTools
    | SentMcpCall
    | SentApprovalRequest
    | SentApproval
    | SentCompaction
)
SentInput: TypeAlias = Annotated[
    str | Annotated[list[SentItem], Meta(max_length=MOST_IN_CHAT)],
    Meta(description="What the user says: a text, or items in the order in which they happened."),
]
