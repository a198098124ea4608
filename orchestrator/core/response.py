"""How a run ends, and what is reported and stored of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias, assert_never

from orchestrator.core.approvals import PendingApproval
from orchestrator.core.errors import ErrorInfo
from orchestrator.core.items import OutputItem

ResponseStatus: TypeAlias = Literal[
    "in_progress", "awaiting_approval", "completed", "incomplete", "failed", "cancelled"
]
IncompleteReason: TypeAlias = Literal[
    "max_output_tokens", "max_turns", "identical_calls", "content_filter", "deadline", "client_gone", "process_died"
]


SERVICE_STOPS: Final = "the service is stopping"
"""The reason of a `Cancelled` that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The model said what it had to say, or all up to the `stop_sequence` of the request that it had begun to write.

    None also where the engine does not tell one from the other.
    """

    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A guard, a deadline or a departure ended the run before the model did."""

    reason: IncompleteReason


@dataclass(frozen=True, slots=True)
class Failed:
    """Something that the run needs broke."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked for the end."""

    reason: str


Ending: TypeAlias = Completed | Incomplete | Failed | Cancelled


@dataclass(frozen=True, slots=True)
class Suspended:
    """The run is put away until somebody decides about `pending`; at `expires_at` silence denies."""

    pending: tuple[PendingApproval, ...]
    expires_at: datetime


Close: TypeAlias = Ending | Suspended
"""What a run leaves behind: an end, or a response that waits."""


def ending_status(ending: Close) -> ResponseStatus:
    """The word for `ending` on the wire and in the store."""
    match ending:
        case Completed():
            return "completed"
        case Incomplete():
            return "incomplete"
        case Failed():
            return "failed"
        case Cancelled():
            return "cancelled"
        case Suspended():
            return "awaiting_approval"
        case _:
            assert_never(ending)


@dataclass(frozen=True, slots=True)
class Counters:
    """What an engine counted in one generation; None is what it does not count.

    Tokens and seconds; `first_token_seconds` runs from the request to its first token,
    `decode_seconds` is the time spent making `output_tokens`.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    decode_seconds: float | None = None
    first_token_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """The counters of a whole response; a number that nobody counted is 0 and named in `unknown`.

    `total_input_tokens` and `total_cached_tokens` are of the prompts of all turns together, as far as they were counted;
    None where there was no second turn.
    """

    input_tokens: int = 0
    total_output_tokens: int = 0
    reasoning_output_tokens: int = 0
    tokens_per_second: float = 0.0
    time_to_first_token_seconds: float = 0.0
    model_load_time_seconds: float | None = None
    cached_input_tokens: int | None = None
    unknown: tuple[str, ...] = ()
    total_input_tokens: int | None = None
    total_cached_tokens: int | None = None

    @property
    def read_tokens(self) -> int:
        """The prompts of all turns."""
        return self.input_tokens if self.total_input_tokens is None else self.total_input_tokens

    @property
    def read_from_cache(self) -> int | None:
        """How much of these came from a cache; None where nobody says."""
        return self.cached_input_tokens if self.total_cached_tokens is None else self.total_cached_tokens

    @property
    def is_counted(self) -> bool:
        """Whether it says something of what was read and of what was written."""
        read = self.read_tokens > 0 or "input_tokens" not in self.unknown
        return read and (self.total_output_tokens > 0 or "total_output_tokens" not in self.unknown)


UNCOUNTED: Final = Stats(
    unknown=(
        *("input_tokens", "total_output_tokens", "reasoning_output_tokens"),
        *("tokens_per_second", "time_to_first_token_seconds"),
    )
)
"""The stats of a response of which nobody knows what it took."""


def sum_stats(turns: tuple[Counters, ...], load_seconds: float | None) -> Stats:
    """The stats of a response from the counters of its turns, in order.

    Input is the last turn's prompt; speed is all output over all decoding time, so that tool calls
    do not count against it. Without any turn everything is truly 0.
    """
    if not turns:
        return Stats(model_load_time_seconds=load_seconds)
    unknown: list[str] = []

    def known(field: str, values: list[int | None]) -> int:
        if None in values:
            unknown.append(field)
        return sum(value or 0 for value in values)

    input_tokens = known("input_tokens", [turns[-1].input_tokens])
    output_tokens = known("total_output_tokens", [turn.output_tokens for turn in turns])
    reasoning_tokens = known("reasoning_output_tokens", [turn.reasoning_tokens for turn in turns])
    timed = [turn for turn in turns if turn.output_tokens is not None and turn.decode_seconds is not None]
    seconds = sum(turn.decode_seconds or 0.0 for turn in timed)
    if len(timed) < len(turns):
        unknown.append("tokens_per_second")
    first = turns[0].first_token_seconds
    if first is None:
        unknown.append("time_to_first_token_seconds")
    return Stats(
        input_tokens=input_tokens,
        total_output_tokens=output_tokens,
        reasoning_output_tokens=reasoning_tokens,
        tokens_per_second=sum(turn.output_tokens or 0 for turn in timed) / seconds if seconds else 0.0,
        time_to_first_token_seconds=first or 0.0,
        model_load_time_seconds=load_seconds,
        cached_input_tokens=turns[-1].cached_tokens,
        unknown=tuple(unknown),
        total_input_tokens=_total([turn.input_tokens for turn in turns]),
        total_cached_tokens=_total([turn.cached_tokens for turn in turns]),
    )


def _total(counted: Sequence[int | None]) -> int | None:
    """The sum of what several turns counted; None where none did, or there are not several."""
    known = [tokens for tokens in counted if tokens is not None]
    return sum(known) if known and len(counted) > 1 else None


@dataclass(frozen=True, slots=True)
class ChatResult:
    """The JSON reply, and `chat.end.result`: two names of one thing.

    `response_id` is there only when the response is durably stored. `warnings` are about the request.
    """

    model_instance_id: str
    output: tuple[OutputItem, ...]
    stats: Stats
    ending: Close
    response_id: str | None = None
    warnings: tuple[str, ...] = ()
