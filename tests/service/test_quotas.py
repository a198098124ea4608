"""What a token may use up."""

from datetime import UTC, datetime

import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import TokenLimits
from orchestrator.service.callers import Caller
from orchestrator.service.quotas import Quotas
from orchestrator.testing import MemoryTokenStore

pytestmark = pytest.mark.anyio

EVENING = datetime(2030, 1, 1, 23, 0, tzinfo=UTC)


def caller(**limits: int) -> Caller:
    return Caller("ada", "abcd1234", frozenset({"chat"}), TokenLimits(**limits))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def refused(quotas: Quotas, who: Caller) -> float | None:
    try:
        quotas.count_request(who)
    except OrchestratorError as error:
        assert error.info.kind is ErrorKind.RATE_LIMITED
        return error.retry_after_seconds
    return None


async def test_requests_are_counted_over_any_sixty_seconds_and_refused_ones_are_not() -> None:
    clock = Clock()
    quotas, who = Quotas(MemoryTokenStore(), clock=clock), caller(requests_per_minute=2)
    told: list[float | None] = []
    for clock.now in (0.0, 20.0, 30.0, 59.0, 60.0, 61.0, 80.0):
        told.append(refused(quotas, who))
    assert told == [None, None, 30.0, 1.0, None, 19.0, None]


async def test_each_token_has_its_own_count_and_who_has_no_limit_has_none() -> None:
    quotas = Quotas(MemoryTokenStore(), clock=Clock())
    limited = caller(requests_per_minute=1)
    other = Caller("ada", "efgh5678", limits=TokenLimits(requests_per_minute=1))
    assert [refused(quotas, who) for who in (limited, other, limited)] == [None, None, 60.0]
    assert [refused(quotas, Caller()) for _ in range(100)] == [None] * 100
    assert [refused(quotas, caller()) for _ in range(100)] == [None] * 100


async def test_a_run_gets_what_it_asks_for_or_what_is_left_of_the_day() -> None:
    store = MemoryTokenStore()
    quotas, who = Quotas(store, clock=Clock(), now=lambda: EVENING), caller(output_tokens_per_day=100)
    assert [await quotas.output_budget(who, asked) for asked in (None, 10, 1000)] == [100, 10, 100]
    await quotas.spend("abcd1234", 70)
    assert [await quotas.output_budget(who, asked) for asked in (None, 10, 1000)] == [30, 10, 30]
    assert await quotas.output_budget(caller(), 1000) == 1000
    assert await quotas.output_budget(Caller(), None) is None


async def test_who_has_used_up_the_day_waits_for_the_next() -> None:
    quotas = Quotas(MemoryTokenStore(), clock=Clock(), now=lambda: EVENING)
    who = caller(output_tokens_per_day=100)
    await quotas.spend("abcd1234", 101)
    with pytest.raises(OrchestratorError) as raised:
        await quotas.output_budget(who, None)
    assert raised.value.info.kind is ErrorKind.RATE_LIMITED
    assert raised.value.retry_after_seconds == 3600


class BrokenStore(MemoryTokenStore):
    async def spend(self, token_id: str, day: object, output_tokens: int) -> None:
        raise OrchestratorError(ErrorKind.STORE_ERROR, "The disk is full.")


async def test_a_store_that_fails_costs_the_count_and_nothing_else() -> None:
    await Quotas(BrokenStore(), clock=Clock()).spend("abcd1234", 5)
