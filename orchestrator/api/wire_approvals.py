"""The body of a decision about calls that wait for approval, as it is on the wire. An extension."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire_requests import MOST_ITEMS, MOST_SERVERS, IntegrationEntry, Name


class ApprovalEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """What is decided about one call."""

    call_id: Name
    decision: Literal["approve", "deny"]
    reason: Annotated[str, Meta(max_length=4096, description="Of a denial; the model is told.")] | UnsetType = UNSET
    arguments: (
        Annotated[
            dict[str, Any],
            Meta(description="Of an approval: what the tool is called with instead of the model's arguments."),
        ]
        | UnsetType
    ) = UNSET


class ApprovalsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/responses/{response_id}/approvals`."""

    approvals: Annotated[
        list[ApprovalEntry],
        Meta(max_length=MOST_ITEMS, description="None: the response goes on, where everything is decided already."),
    ]
    integrations: (
        Annotated[
            list[IntegrationEntry],
            Meta(
                max_length=MOST_SERVERS,
                description="The chat's ephemeral servers that had `headers` or a query in their address, once more: "
                "these are not kept. Nothing else of them can be changed.",
            ),
        ]
        | UnsetType
    ) = UNSET
    stream: Annotated[bool, Meta(description="Answer as server-sent events.")] = False
