"""Moments of others."""

from datetime import UTC, datetime

import pytest

from orchestrator.core.moments import in_utc


def test_a_moment_is_the_same_one_in_utc_and_one_without_a_zone_is_in_it() -> None:
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    for text in ("2030-01-01T12:00:00", "2030-01-01T12:00:00Z", "2030-01-01T14:00:00+02:00"):
        moment = in_utc(datetime.fromisoformat(text))
        assert (moment, moment.tzinfo) == (noon, UTC)


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+10:00"]
)
def test_a_moment_that_utc_has_no_year_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="years 1 to 9999"):
        in_utc(datetime.fromisoformat(text))
