"""Dates without times: reading them, moving them, counting between them. `today` is an argument.

Business days are Monday to Friday; no holidays are known here.
"""

import re
from calendar import isleap, monthrange
from dataclasses import dataclass
from datetime import date, timedelta

from clock_mcp.errors import ClockError

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WORDS = {"today": 0, "now": 0, "tomorrow": 1, "yesterday": -1}
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Step:
    """How far to move a date: years and months first, then weeks and days, then business days."""

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    business_days: int = 0


@dataclass(frozen=True, slots=True)
class Distance:
    """What lies between two dates; the first day counts and the last does not. Negative when the end comes first."""

    days: int
    business_days: int

    def text(self) -> str:
        """The distance in words."""
        return f"{_count(self.days, 'day')} ({_count(self.business_days, 'business day')})"


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """A date with its place in the calendar."""

    day: date

    @property
    def weekday(self) -> str:
        """The English name of the day."""
        return WEEKDAYS[self.day.weekday()]

    @property
    def iso_week(self) -> str:
        """The week as ISO 8601 numbers it, "2026-W09": in the first and last days of a year it may belong to another year."""
        year, week, _ = self.day.isocalendar()
        return f"{year:04}-W{week:02}"

    @property
    def day_of_year(self) -> int:
        """1 on the first of January."""
        return self.day.timetuple().tm_yday

    @property
    def days_in_month(self) -> int:
        """The length of the month."""
        return monthrange(self.day.year, self.day.month)[1]

    @property
    def leap_year(self) -> bool:
        """Whether the year has a 29th of February."""
        return isleap(self.day.year)

    def short(self) -> str:
        """The date and its weekday."""
        return f"{self.day.isoformat()} ({self.weekday})"

    def text(self) -> str:
        """The date and its place in week and year, in one line."""
        length = "366, a leap year" if self.leap_year else "365"
        return f"{self.short()}, ISO week {self.iso_week}, day {self.day_of_year} of {length}"


def read_date(text: str, today: date) -> date:
    """The date that `text` writes: 2026-03-01, today, tomorrow or yesterday.

    Raises:
        ClockError: `text` is no date.
    """
    word = text.strip().lower()
    if word in _WORDS:
        return move(today, Step(days=_WORDS[word]))
    match = _DATE.fullmatch(word)
    if match is None:
        raise ClockError(f"'{text[:40]}' is not a date. Write it as YYYY-MM-DD, for example 2026-03-01, or as today.")
    year, month, day = (int(group) for group in match.groups())
    if year < 1 or not 1 <= month <= 12:
        raise ClockError(f"'{word}' is not a date: the month goes from 1 to 12 and the year from 1 to 9999.")
    length = monthrange(year, month)[1]
    if not 1 <= day <= length:
        raise ClockError(f"'{word}' is not a date: {MONTHS[month - 1]} {year} has {length} days.")
    return date(year, month, day)


def move(day: date, step: Step) -> date:
    """`day` moved by `step`. A day that the month reached does not have becomes its last day: 2026-01-31 and a month is 2026-02-28.

    Raises:
        ClockError: the result is outside the years 1 to 9999.
    """
    try:
        moved = _add_months(day, step.years * 12 + step.months)
        moved += timedelta(weeks=step.weeks, days=step.days)
        return _add_business_days(moved, step.business_days)
    except (OverflowError, ValueError):
        raise ClockError("The result is outside the years 1 to 9999. Use a smaller number.") from None


def between(start: date, end: date) -> Distance:
    """The days and business days from `start` to `end`."""
    if end < start:
        back = between(end, start)
        return Distance(-back.days, -back.business_days)
    days = (end - start).days
    weeks, rest = divmod(days, 7)
    worked = sum((start.weekday() + offset) % 7 < 5 for offset in range(rest))
    return Distance(days, weeks * 5 + worked)


def _add_months(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    month += 1
    if not 1 <= year <= 9999:
        raise OverflowError
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def _add_business_days(day: date, count: int) -> date:
    if count == 0:
        return day
    forward = count > 0
    weekday = day.weekday()
    if weekday > 4:
        # From a weekend the first step reaches the weekday next to it.
        day += timedelta(days=4 - weekday if forward else 7 - weekday)
        weekday = 4 if forward else 0
    weeks, rest = divmod(abs(count), 5)
    over_weekend = weekday + rest > 4 if forward else weekday - rest < 0
    days = weeks * 7 + rest + (2 if over_weekend else 0)
    return day + timedelta(days=days if forward else -days)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
