"""Moments of others: in whatever zone they were written, one in UTC comes of them."""

from datetime import UTC, datetime


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; one without a zone is in UTC already.

    Raises:
        ValueError: in UTC it lies before the year 1 or after the year 9999.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the moment is not within the years 1 to 9999 of UTC") from None
