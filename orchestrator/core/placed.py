"""The items of a response in their places: what the journal takes, and what a put-away run is made of again."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from orchestrator.core.items import ClientProvider, Message, ProviderInfo, Reasoning, ServerIdentity
from orchestrator.core.json_types import JsonObject

CallStatus: TypeAlias = Literal[
    "journaled",
    "awaiting_approval",
    "succeeded",
    "failed",
    "refused",
    "invalid",
    "abandoned",
    "edited",
    "replayed",
    "handed_over",
    "answered",
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: the one change that its journal row ever sees.

    `handed_over` is a call of a function of the client's, as far as its run is concerned: the journal waits for its result
    (`answered`), which comes with a later request.

    `output` is JSON text of a content array, `shown` the text the model is given (None: the call
    stands in no later prompt), `duration_ms` 0 for a call that never ran.
    """

    status: CallStatus
    output: str
    shown: str | None
    is_error: bool
    duration_ms: int = 0
    structured: str | None = None


HANDED_OVER: Final = Outcome("handed_over", "", None, is_error=False)
"""The client is told of the call, and runs it."""


@dataclass(frozen=True, slots=True)
class PlacedText:
    """A message or reasoning with its place in the response; positions count from 0."""

    position: int
    turn: int
    item: Message | Reasoning


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call with its place, as the journal has it.

    `model_name` is what the model wrote, `arguments_text` its arguments as it wrote them; `tool`,
    `provider` and `digest` are None where the model named no offered tool, `arguments` where they
    were no JSON object. `reason` says why an invalid call is invalid. `outcome` is None while the
    call may still run. `awaits_approval` says that it may not run before somebody approves it,
    `edited` are the arguments that whoever did put in the place of the model's. `server` is the one that
    was connected when the model asked.
    """

    position: int
    turn: int
    call_id: str
    model_name: str
    arguments_text: str
    arguments: JsonObject | None
    tool: str | None = None
    provider: ProviderInfo | None = None
    digest: str | None = None
    reason: str | None = None
    outcome: Outcome | None = None
    awaits_approval: bool = False
    edited: JsonObject | None = None
    server: ServerIdentity | None = None

    @property
    def is_of_client(self) -> bool:
        """Whether it calls a function that the client runs."""
        return isinstance(self.provider, ClientProvider)

    @property
    def is_handed_over(self) -> bool:
        """Whether it is the client's to run, or was."""
        status = None if self.outcome is None else self.outcome.status
        return self.is_of_client and status in ("handed_over", "answered")


PlacedItem: TypeAlias = PlacedText | PlacedCall
