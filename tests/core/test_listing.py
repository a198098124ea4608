"""The order in which responses are listed."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.listing import first_number, listing_number

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2250, 1, 1), timezones=st.just(UTC))
TICK = timedelta(microseconds=1)


@given(MOMENTS, st.text(), st.text())
def test_who_began_later_stands_later_whatever_the_ids(at: datetime, one: str, other: str) -> None:
    earlier, later = listing_number(at, one), listing_number(at + TICK, other)
    assert first_number(at) <= earlier < first_number(at + TICK) <= later < 2**63


@given(MOMENTS, st.text())
def test_a_place_never_changes(at: datetime, response_id: str) -> None:
    assert listing_number(at, response_id) == listing_number(at, response_id)


def test_a_moment_that_no_number_has_gets_the_nearest_one() -> None:
    first, last = (first_number(datetime(year, 1, 1, tzinfo=UTC)) for year in (1, 9999))
    assert first == 0
    assert first_number(datetime(2250, 1, 1, tzinfo=UTC)) < last < 2**63


def test_who_began_a_moment_later_stands_later() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    first, second = listing_number(at, "resp_2"), listing_number(at + TICK, "resp_1")
    assert first_number(at) <= first < first_number(at + TICK) <= second
