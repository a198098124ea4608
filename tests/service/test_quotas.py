"""What a token may use up."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import TokenLimits
from orchestrator.service.callers import Caller
from orchestrator.service.leases import LEASE_SECONDS
from orchestrator.service.quotas import NO_TICKET, Quotas, Ticket
from orchestrator.testing import MemoryTokenStore

pytestmark = pytest.mark.anyio

EVENING = datetime(2030, 1, 1, 23, 0, tzinfo=UTC)


def caller(**limits: int) -> Caller:
    return Caller("ada", "abcd1234", frozenset({"chat"}), TokenLimits(**limits))


class Clock:
    """A monotonic clock, and the time of day."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def today(self) -> datetime:
        return EVENING + timedelta(seconds=self.now)


async def refused(quotas: Quotas, who: Caller) -> float | None:
    try:
        await quotas.count_request(who)
    except OrchestratorError as error:
        assert error.info.kind is ErrorKind.RATE_LIMITED
        return error.retry_after_seconds
    return None


async def admitted(
    quotas: Quotas, who: Caller, asked: int | None = None, *, written: int = 0, generates: bool = True
) -> Ticket:
    async with quotas.admitted(who, asked, written=written, generates=generates) as ticket:
        return ticket


@pytest.mark.parametrize("own", [True, False])
async def test_requests_are_counted_over_any_sixty_seconds_and_refused_ones_are_not(own: bool) -> None:
    clock = Clock()
    who = caller(requests_per_minute=2) if own else caller()
    quotas = Quotas(MemoryTokenStore(), requests_per_minute=None if own else 2, clock=clock, now=clock.today)
    told: list[float | None] = []
    for clock.now in (0.0, 20.0, 30.0, 59.0, 60.0, 61.0, 80.0):
        told.append(await refused(quotas, who))
    assert told == [None, None, 30.0, 1.0, None, 19.0, None]


async def test_each_account_has_its_own_count_and_who_has_no_limit_has_none() -> None:
    clock = Clock()
    quotas = Quotas(MemoryTokenStore(), clock=clock, now=clock.today)
    limited = caller(requests_per_minute=1)
    other = Caller("ada", "efgh5678", limits=TokenLimits(requests_per_minute=1))
    rotated = Caller("ada", "ijkl9012", limits=TokenLimits(requests_per_minute=1), account="abcd1234")
    assert [await refused(quotas, who) for who in (limited, other, limited, rotated)] == [None, None, 60.0, 60.0]
    assert [await refused(quotas, Caller()) for _ in range(100)] == [None] * 100
    assert [await refused(quotas, caller()) for _ in range(100)] == [None] * 100


async def test_a_run_gets_what_it_asks_for_or_what_is_left_of_the_day_until_it_is_settled() -> None:
    quotas = Quotas(MemoryTokenStore(), now=lambda: EVENING)
    who = caller(output_tokens_per_day=100)
    first, second = [await admitted(quotas, who, asked) for asked in (10, None)]
    assert (first.output_tokens, second.output_tokens) == (10, 90)
    with pytest.raises(OrchestratorError, match="kept for its runs under way") as raised:
        await admitted(quotas, who, 5)
    assert raised.value.retry_after_seconds == 1
    await quotas.settle(second, 60)
    assert (await admitted(quotas, who, 1000)).output_tokens == 30
    await quotas.settle(first, 0)
    assert (await admitted(quotas, who)).output_tokens == 10
    assert (await admitted(quotas, caller(), 1000)).output_tokens == 1000
    assert (await admitted(quotas, Caller())).output_tokens is None


async def test_what_was_written_before_a_run_was_taken_up_is_counted_once() -> None:
    store = MemoryTokenStore()
    quotas, who = Quotas(store, now=lambda: EVENING), caller(output_tokens_per_day=100)
    first = await admitted(quotas, who, 200)
    await quotas.settle(first, 40)
    again = await admitted(quotas, who, 200, written=40)
    assert again.output_tokens == 100
    await quotas.settle(again, 90)
    assert await store.spent("abcd1234", EVENING.date()) == 90


async def test_runs_at_once_are_limited_and_a_call_needs_nothing_of_the_day() -> None:
    quotas = Quotas(MemoryTokenStore(), now=lambda: EVENING)
    who = caller(concurrent_runs=2, output_tokens_per_day=100)
    chat = await admitted(quotas, who)
    async with quotas.admitted(who, None, generates=False) as call:
        assert call.output_tokens is None
    with pytest.raises(OrchestratorError, match="at once with this API token: 2 run already"):
        await admitted(quotas, who, generates=False)
    for ticket in (chat, call):
        await quotas.settle(ticket, 0)
    assert (await admitted(quotas, who)).output_tokens == 100


async def test_what_raises_gives_back_what_it_was_admitted_with() -> None:
    quotas, who = Quotas(MemoryTokenStore(), now=lambda: EVENING), caller(concurrent_runs=1)
    with pytest.raises(ValueError, match="no model"):
        async with quotas.admitted(who, None):
            raise ValueError("no model")
    await admitted(quotas, who)


async def test_a_run_of_a_process_that_died_counts_until_its_lease_is_over() -> None:
    clock = Clock()
    quotas, who = Quotas(MemoryTokenStore(), now=clock.today), caller(output_tokens_per_day=100)
    ticket = await admitted(quotas, who)
    clock.now = LEASE_SECONDS - 1
    await quotas.renew([ticket, NO_TICKET])
    clock.now = 2 * LEASE_SECONDS - 2
    with pytest.raises(OrchestratorError, match="kept for its runs under way"):
        await admitted(quotas, who)
    clock.now = 2 * LEASE_SECONDS
    assert (await admitted(quotas, who)).output_tokens == 100


async def test_who_has_used_up_the_day_waits_for_the_next() -> None:
    quotas = Quotas(MemoryTokenStore(), now=lambda: EVENING)
    who = caller(output_tokens_per_day=100)
    await quotas.settle(await admitted(quotas, who), 101)
    with pytest.raises(OrchestratorError, match="has used up its 100 output tokens") as raised:
        await admitted(quotas, who)
    assert raised.value.info.kind is ErrorKind.RATE_LIMITED
    assert raised.value.retry_after_seconds == 3600


class BrokenStore(MemoryTokenStore):
    async def settle_run(self, claim_id: str | None, account: str, day: object, output_tokens: int) -> None:
        raise OrchestratorError(ErrorKind.STORE_ERROR, "The disk is full.")


async def test_a_store_that_fails_costs_the_count_and_nothing_else() -> None:
    await Quotas(BrokenStore()).settle(Ticket(account="abcd1234"), 5)
