"""What a replay found: every difference from the response that it ran again, in a few words each. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from orchestrator.core.comparison import MISSING, Change, ItemComparison, ResponseComparison, ToolComparison
from orchestrator.core.items import ProviderInfo
from orchestrator.core.response import ResponseStatus

DifferenceKind: TypeAlias = Literal[
    "arguments",
    "result",
    "error",
    "text",
    "call_added",
    "call_removed",
    "definition",
    "tool_missing",
    "tool_added",
    "status",
]
NotRunReason: TypeAlias = Literal[
    "tools_stored", "not_read_only", "needs_approval", "not_run_before", "edited_before", "redacted", "nothing_stored"
]


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference: `a` is the place of the item in the original, `b` that in the replay, each from 0.

    `changes` say what it was and what it is.
    """

    kind: DifferenceKind
    changes: tuple[Change, ...]
    a: int | None = None
    b: int | None = None
    tool: str | None = None
    provider: ProviderInfo | None = None


@dataclass(frozen=True, slots=True)
class NotRun:
    """A call of the replay that reached no server, and why; unless `nothing_stored` it has its stored answer."""

    call_id: str
    position: int
    tool: str
    provider: ProviderInfo
    reason: NotRunReason


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A replay beside its original."""

    response_id: str
    replay_of: str
    tools: Literal["live", "stored"]
    status: ResponseStatus
    differences: tuple[Difference, ...]
    not_run: tuple[NotRun, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether everything came out as before."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class ChainReplayReport:
    """The replays of responses that continue one another, the oldest first, each beside its original.

    `left` are the originals that were not run again, because the replay before them failed for `reason`.
    """

    reports: tuple[ReplayReport, ...]
    left: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def equal(self) -> bool:
        """Whether everything was run again and came out as before."""
        return not self.left and all(report.equal for report in self.reports)


def differences(compared: ResponseComparison) -> tuple[Difference, ...]:
    """What a comparison of the original with its replay says: first of the tools, then item by item, then of the end.

    The model and the settings are no differences: whoever replays chooses them.
    """
    ends = [change for change in compared.changes if change.field in _ENDS]
    return (
        *(_tool(tool) for tool in compared.tools),
        *(found for item in compared.output for found in _of_item(item)),
        *([Difference("status", tuple(ends))] if ends else []),
    )


_ENDS: Final = ("status", "incomplete_reason", "stop_sequence", "error")
_TOOLS: Final[dict[str, DifferenceKind]] = {
    "changed": "definition",
    "removed": "tool_missing",
    "added": "tool_added",
}


def _tool(tool: ToolComparison) -> Difference:
    changes = (Change("definition_digest", tool.a or MISSING, tool.b or MISSING),)
    return Difference(_TOOLS[tool.standing], changes, tool=tool.tool, provider=tool.provider)


def _of_item(item: ItemComparison) -> Iterator[Difference]:
    blank = Difference("text", item.changes, item.a, item.b, item.tool, item.provider)
    if item.standing == "equal":
        return
    if item.kind in ("message", "reasoning"):
        yield blank
    elif item.standing != "changed":
        yield replace(blank, kind="call_added" if item.standing == "added" else "call_removed")
    else:
        yield from _of_call(blank)


def _of_call(blank: Difference) -> Iterator[Difference]:
    asked = [change for change in blank.changes if change.field.partition(".")[0] == "arguments"]
    answered = [change for change in blank.changes if change not in asked]
    if any(change.field == "type" for change in answered):  # it was not run at all, or now it was
        yield replace(blank, kind="error")
        return
    if asked:
        yield replace(blank, kind="arguments", changes=tuple(asked))
    if answered:
        failed = any(change.field in ("is_error", "reason") for change in answered)
        yield replace(blank, kind="error" if failed else "result", changes=tuple(answered))
