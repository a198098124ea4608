"""Comparing branches and running responses again, as it is on the wire. All of it is an extension."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from orchestrator.api.wire import ChatReply, ProviderInfo, Status
from orchestrator.api.wire_requests import MOST_ITEMS, MOST_SERVERS, IntegrationEntry, Name
from orchestrator.core.comparison import ItemKind, Standing
from orchestrator.core.replay_report import DifferenceKind, NotRunReason


class ChangeEntry(Struct, frozen=True):
    """A value that is not the same on both sides."""

    field: Annotated[str, Meta(description="Its path, such as `arguments.city`, `output` or `parameters.temperature`.")]
    a: Annotated[
        Any, Meta(description="Absent: this side does not have it. A long text is cut to 2,000 characters.")
    ] = UNSET
    b: Any = UNSET


class ItemEntry(Struct, frozen=True, kw_only=True):
    """An item, and the one that stands for it on the other side; positions count from 0 in `input` or `output`."""

    status: Standing
    type: ItemKind
    position_a: int | UnsetType = UNSET
    position_b: int | UnsetType = UNSET
    call_id_a: str | UnsetType = UNSET
    call_id_b: str | UnsetType = UNSET
    tool: str | UnsetType = UNSET
    provider_info: ProviderInfo | UnsetType = UNSET
    shared: Annotated[bool, Meta(description="One and the same: a branch has it of the response that it left.")]
    changes: list[ChangeEntry]


class ComparedToolEntry(Struct, frozen=True, kw_only=True):
    """A tool that was not offered alike."""

    status: Standing
    tool: str
    provider_info: ProviderInfo
    definition_digest_a: str | UnsetType = UNSET
    definition_digest_b: str | UnsetType = UNSET


class ComparedResponseEntry(Struct, frozen=True, kw_only=True):
    """A response of one branch, and the one in its place on the other."""

    status: Standing
    a: Annotated[str | None, Meta(description="The id of the response; null: the branch has none in this place.")]
    b: str | None
    changes: Annotated[list[ChangeEntry], Meta(description="Of its model, system prompt, settings and end.")]
    tools: Annotated[
        list[ComparedToolEntry], Meta(description="What was offered differently; equal ones are left out.")
    ]
    input: list[ItemEntry]
    output: list[ItemEntry]


class DiffReply(Struct, frozen=True, kw_only=True):
    """Two branches beside each other."""

    a: str
    b: str
    equal: bool
    common_ancestor: Annotated[
        str | None,
        Meta(description="The last response that both branches have, or the one that they left inside it."),
    ]
    shared_responses: Annotated[
        int, Meta(description="How many whole ones they have in common; these are not compared.")
    ]
    shared_items: (
        Annotated[
            int,
            Meta(
                description="Where a branch left `common_ancestor` inside it: how many of its output items both have."
            ),
        ]
        | UnsetType
    ) = UNSET
    responses: list[ComparedResponseEntry]


class _Replayed(Struct, frozen=True, forbid_unknown_fields=True):
    """What one response and a chain of them are run again with."""

    tools: Annotated[
        Literal["live", "stored"],
        Meta(
            description="`live`: the model's turns come from the store and the tools run. "
            "`stored`: the tools' answers come from the store and the model writes."
        ),
    ] = "live"
    allow_tools: (
        Annotated[
            list[Name],
            Meta(
                max_length=MOST_ITEMS,
                description="Tools that run though they are not annotated read-only, such as `mcp/files/write_file`.",
            ),
        ]
        | UnsetType
    ) = UNSET
    model: Annotated[Name, Meta(description="Another model; only with `tools` `stored`.")] | UnsetType = UNSET
    integrations: (
        Annotated[
            list[IntegrationEntry],
            Meta(
                max_length=MOST_SERVERS, description="Ephemeral servers whose header values or query are needed again."
            ),
        ]
        | UnsetType
    ) = UNSET


class ReplayBody(_Replayed, frozen=True):
    """The body of `POST /api/v1/responses/{response_id}/replay`; it may be empty: `{}`."""

    stream: bool = False


class ChainReplayBody(_Replayed, frozen=True, rename={"first": "from"}):
    """The body of `POST /api/v1/responses/{response_id}/chain/replay`; it may be empty: `{}`."""

    first: Annotated[
        Name, Meta(description="The first response of the chain that is run again: its id, or `root`.")
    ] = "root"


class DifferenceEntry(Struct, frozen=True, kw_only=True):
    """Something that came out otherwise than in the original (`a`)."""

    type: DifferenceKind
    tool: str | UnsetType = UNSET
    provider_info: ProviderInfo | UnsetType = UNSET
    position_a: int | UnsetType = UNSET
    position_b: int | UnsetType = UNSET
    changes: list[ChangeEntry]


class NotRunEntry(Struct, frozen=True, kw_only=True):
    """A call of the replay that reached no server."""

    call_id: str
    position: int
    tool: str
    provider_info: ProviderInfo
    reason: NotRunReason


class ReplayReportReply(Struct, frozen=True, kw_only=True):
    """What a replay found."""

    response_id: str
    replay_of: str
    tools: Literal["live", "stored"]
    status: Status
    equal: bool
    differences: list[DifferenceEntry]
    not_run: list[NotRunEntry]


class ChainReplayReply(Struct, frozen=True, kw_only=True):
    """What the replay of a chain found."""

    response_id: Annotated[str, Meta(description="The last replay: the end of the new chain.")]
    equal: bool
    reports: Annotated[list[ReplayReportReply], Meta(description="Of each response that was run again, in order.")]
    left: Annotated[
        list[str], Meta(description="The responses that were not run again, because the replay before them failed.")
    ]
    reason: Annotated[str, Meta(description="Why it failed.")] | UnsetType = UNSET


class ReplayReply(ChatReply, frozen=True, kw_only=True):
    """The reply of the replay, and what it found."""

    report: ReplayReportReply
