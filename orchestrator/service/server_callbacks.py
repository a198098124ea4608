"""What the servers of a run may ask of it: the user's answer, or the use of its model, each by policy."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import anyio

from orchestrator.core import inputs as i
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ProviderInfo
from orchestrator.core.server_requests import (
    CANCELLED,
    Elicitation,
    ElicitationAnswer,
    SamplingReply,
    SamplingRequest,
    ServerPolicy,
    checked_answer,
    consent_to_sample,
)
from orchestrator.service.ids import new_elicitation_id


@dataclass(frozen=True, slots=True)
class ServerPolicies:
    """What servers may ask for. `elicitation_seconds` is how long the user has for an answer.

    `sampling_max_tokens` bounds what the model writes for a server at once, `sampling_max_requests` how
    often it does so in a run, and `elicitation_max_requests` how often the user is asked in a run.
    """

    elicitation: Literal["off", "ask"] = "off"
    elicitation_seconds: float = 300.0
    elicitation_max_requests: int = 32
    sampling: ServerPolicy = "off"
    sampling_max_tokens: int = 1024
    sampling_max_requests: int = 8


NO_POLICIES: Final = ServerPolicies()


@dataclass(frozen=True, slots=True)
class PendingElicitation:
    """A question that waits for its answer."""

    id: str
    call_id: str
    provider: ProviderInfo
    asked: Elicitation
    seconds: float


@dataclass(slots=True)
class _Waiting:
    question: PendingElicitation
    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: ElicitationAnswer = CANCELLED


class ServerCallbacks:
    """`RunCallbacks` of one run. `report` tells the run, `generate` lets its model write.

    `interactive` says whether somebody hears the questions; where nobody does, none waits.
    """

    def __init__(
        self,
        policies: ServerPolicies,
        report: Callable[[i.WorkInput], None],
        generate: Callable[[SamplingRequest], Awaitable[SamplingReply]],
        *,
        interactive: bool,
    ) -> None:
        self._policies = policies
        self._report = report
        self._generate = generate
        self._interactive = interactive
        self._waiting: dict[str, _Waiting] = {}
        self._asked = 0
        self._sampled = 0

    @property
    def pending(self) -> tuple[PendingElicitation, ...]:
        """The questions that wait, oldest first."""
        return tuple(waiting.question for waiting in self._waiting.values())

    def answer(self, elicitation_id: str, answer: ElicitationAnswer) -> None:
        """The user answers.

        Raises:
            OrchestratorError: `elicitation_not_found`, or `invalid_value` on `content`.
        """
        waiting = self._waiting.get(elicitation_id)
        if waiting is None or waiting.answered.is_set():
            message = "There is no such elicitation, or it is settled already."
            raise OrchestratorError(ErrorKind.ELICITATION_NOT_FOUND, message, param="elicitation_id")
        checked = checked_answer(waiting.question.asked, answer)
        if isinstance(checked, str):
            raise OrchestratorError(ErrorKind.INVALID_VALUE, f'"content" cannot be used: {checked}.', param="content")
        waiting.answer = checked
        waiting.answered.set()

    async def elicit(self, provider: ProviderInfo, call_id: str | None, asked: Elicitation) -> ElicitationAnswer:
        if self._policies.elicitation == "off":
            raise _refused("the user cannot be asked (setting ELICITATION; never in a direct call)")
        return await self._ask(provider, call_id, asked)

    async def sample(self, provider: ProviderInfo, call_id: str | None, asked: SamplingRequest) -> SamplingReply:
        policies = self._policies
        if policies.sampling == "off" or call_id is None:
            raise _refused("servers may not use the model here (setting SAMPLING; never in a direct call)")
        if self._sampled >= policies.sampling_max_requests:
            raise _refused(f"servers have used the model {self._sampled} times in this run, which is the limit")
        self._sampled += 1
        if policies.sampling == "ask":
            answer = await self._ask(provider, call_id, consent_to_sample(asked))
            if answer.action != "accept":
                raise _refused("the user did not agree that the server uses the model")
        reply = await self._generate(asked)
        self._report(i.ModelSampled(call_id, provider, reply))
        return reply

    async def _ask(self, provider: ProviderInfo, call_id: str | None, asked: Elicitation) -> ElicitationAnswer:
        if not self._interactive or call_id is None or self._asked >= self._policies.elicitation_max_requests:
            return CANCELLED
        self._asked += 1
        seconds = self._policies.elicitation_seconds
        question = PendingElicitation(new_elicitation_id(), call_id, provider, asked, seconds)
        waiting = self._waiting[question.id] = _Waiting(question)
        self._report(i.UserAsked(question.id, call_id, provider, asked, seconds))
        try:
            with anyio.move_on_after(seconds):
                await waiting.answered.wait()
        finally:
            del self._waiting[question.id]
        self._report(i.UserAnswered(question.id, waiting.answer.action))
        return waiting.answer


def _refused(why: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.PERMISSION_DENIED, why)
