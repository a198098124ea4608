"""Clock times in time zones: what time it is there, and one zone's time as another's.

`now` is an argument, an aware datetime. A clock time that a zone skips (clocks go forward) is refused with the times around it;
one that happens twice (clocks go back) is answered with both.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from clock_mcp.dates import WEEKDAYS, read_date
from clock_mcp.errors import ClockError
from clock_mcp.zones import Zone, format_offset

_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?\s*([ap])?\.?(?:m\.?)?", re.ASCII | re.IGNORECASE)
_DATE_AND_CLOCK = re.compile(r"(?<=\d)T(?=\d)", re.IGNORECASE)
_FORM = "Write the time as HH:MM, for example 14:30, or as 2026-03-29 14:30."


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant as the clocks of a zone show it."""

    zone: str
    local: datetime

    @property
    def weekday(self) -> str:
        """The English name of the day."""
        return WEEKDAYS[self.local.weekday()]

    @property
    def utc_offset(self) -> str:
        """The offset at this instant, as "UTC+02:00"."""
        return format_offset(self.local)

    @property
    def is_dst(self) -> bool:
        """Whether daylight saving time is in force."""
        return bool(self.local.dst())

    def text(self) -> str:
        """The moment in one line, with seconds where there are any."""
        clock = self.local.strftime("%H:%M:%S").removesuffix(":00")
        return f"{self.local.date().isoformat()} {clock} {self.zone} ({self.weekday}, {self.utc_offset})"


@dataclass(frozen=True, slots=True)
class Conversion:
    """A clock time of one zone as another's; `again` is the second answer when the time happens twice in the source zone."""

    source: Moment
    target: Moment
    again: Moment | None

    def text(self) -> str:
        """The target's time in one line, and the second one where there are two."""
        if self.again is None:
            return self.target.text()
        clock = self.source.local.strftime("%H:%M")
        return f"{self.target.text()}; {clock} happens twice that day in {self.source.zone}, the second is {self.again.text()}"


def current_time(zone: Zone, now: datetime) -> Moment:
    """What the clocks of `zone` show at `now`, to the second."""
    return _moment(now.replace(microsecond=0), zone)


def convert_time(text: str, source: Zone, target: Zone, now: datetime) -> Conversion:
    """The clock time `text` of `source` as clocks of `target` show it.

    A time without a date is one of the day that `source` has at `now`.

    Raises:
        ClockError: `text` is no time, or `source` skips it on that day.
    """
    naive = read_time(text, current_time(source, now).local.date())
    first = naive.replace(tzinfo=source.rules, fold=0)
    second = naive.replace(tzinfo=source.rules, fold=1)
    if first.utcoffset() == second.utcoffset():
        return Conversion(_moment(first, source), _moment(first, target), None)
    after, before = _moment(first, source), _moment(second, source)
    if after.local.replace(tzinfo=None) != naive:
        earlier, later = (_clock_or_day(moment, naive) for moment in (before, after))
        raise ClockError(
            f"{naive:%H:%M} on {naive.date().isoformat()} does not exist in {source.name}: the clocks go forward. Use {earlier} or {later}."
        )
    return Conversion(_moment(first, source), _moment(first, target), _moment(second, target))


def read_time(text: str, today: date) -> datetime:
    """The date and clock time that `text` writes, without a zone; the date is `today` where it gives none.

    Raises:
        ClockError: `text` is no time.
    """
    words = _DATE_AND_CLOCK.sub(" ", text).split(maxsplit=1)
    if len(words) == 2 and not words[1][:1].isalpha():
        day, clock = read_date(words[0], today), words[1]
    else:
        day, clock = today, text.strip()
    match = _CLOCK.fullmatch(clock)
    if match is None:
        raise ClockError(f"'{text[:40]}' is not a time. {_FORM}")
    hour, minute, second, half = match.groups()
    if minute is None and half is None:
        raise ClockError(f"'{text[:40]}' is not a time. {_FORM}")
    return datetime.combine(day, _clock_time(int(hour), int(minute or 0), int(second or 0), half, text))


def _clock_time(hour: int, minute: int, second: int, half: str | None, text: str) -> time:
    if half is not None:
        if not 1 <= hour <= 12:
            raise ClockError(f"'{text[:40]}' is not a time: with am and pm the hour goes from 1 to 12. {_FORM}")
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ClockError(f"'{text[:40]}' is not a time: it goes from 00:00 to 23:59. {_FORM}")
    return time(hour, minute, second)


def _moment(instant: datetime, zone: Zone) -> Moment:
    try:
        # By way of UTC: a datetime that is in the zone already would come back as it is, a skipped time included.
        return Moment(zone.name, instant.astimezone(UTC).astimezone(zone.rules))
    except OverflowError:
        raise ClockError("That time is outside the years 1 to 9999.") from None


def _clock_or_day(moment: Moment, asked: datetime) -> str:
    """How to name a neighbour of a skipped time: by its clock time, and by its date where that differs."""
    local = moment.local
    clock = f"{local:%H:%M}"
    return clock if local.date() == asked.date() else f"{local.date().isoformat()} {clock}"
