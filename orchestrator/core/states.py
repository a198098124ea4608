"""The states of a run, and which may follow which."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from orchestrator.core import stream as s
from orchestrator.core.response import Close, Ending
from orchestrator.core.turn import TurnAssembly


@dataclass(frozen=True, slots=True)
class Idle:
    """Not begun."""


@dataclass(frozen=True, slots=True)
class Resolving:
    """The integrations are being connected."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The new node is being written down."""


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is being made ready; `announced` says that the client was told of a load."""

    announced: bool = False


@dataclass(frozen=True, slots=True)
class Generating:
    """The model writes a turn."""

    turn: TurnAssembly


@dataclass(frozen=True, slots=True)
class CallingTools:
    """The calls of a turn are being journaled, then run.

    `open` are those without a recorded outcome, `waiting` those that nobody has approved yet,
    `pending` is said once they are journaled.
    """

    journaled: bool
    open: frozenset[str]
    waiting: frozenset[str] = frozenset()
    pending: tuple[s.StreamEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class AwaitingApproval:
    """Only calls that wait for approval are left: the run is being put away."""


@dataclass(frozen=True, slots=True)
class Saving:
    """The end is being written down; `pending` is said once it is, before `chat.end`."""

    ending: Ending
    pending: tuple[s.StreamEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """Over, or put away. `announced` is False where the request failed before `chat.start`."""

    ending: Close
    announced: bool


RunState: TypeAlias = (
    Idle | Resolving | Opening | Loading | Generating | CallingTools | AwaitingApproval | Saving | Ended
)

TRANSITIONS: Final[Mapping[str, frozenset[str]]] = {
    "Idle": frozenset({"Resolving", "Ended"}),
    "Resolving": frozenset({"Opening", "Ended"}),
    "Opening": frozenset({"Loading", "Saving", "Ended"}),
    "Loading": frozenset({"Loading", "Generating", "CallingTools", "AwaitingApproval", "Saving"}),
    "Generating": frozenset({"Generating", "CallingTools", "Saving"}),
    "CallingTools": frozenset({"CallingTools", "AwaitingApproval", "Generating", "Saving"}),
    "AwaitingApproval": frozenset({"AwaitingApproval", "Saving", "Ended"}),
    "Saving": frozenset({"Saving", "Ended"}),
    "Ended": frozenset({"Ended"}),
}
"""Which state may follow which; a state that stands in its own row has inputs that leave it as it is."""
