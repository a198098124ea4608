from datetime import date, timedelta

import pytest
from clock_mcp.dates import CalendarDay, Distance, Step, between, move, read_date
from clock_mcp.errors import ClockError
from hypothesis import assume, given
from hypothesis import strategies as st

TODAY = date(2026, 3, 1)
DAYS = st.dates(date(1900, 1, 1), date(2200, 12, 31))
COUNTS = st.integers(-2000, 2000)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-03-01", date(2026, 3, 1)),
        (" 2026-3-1 ", date(2026, 3, 1)),
        ("0001-01-01", date(1, 1, 1)),
        ("2024-02-29", date(2024, 2, 29)),
        ("today", date(2026, 3, 1)),
        ("Tomorrow", date(2026, 3, 2)),
        ("YESTERDAY", date(2026, 2, 28)),
        ("now", date(2026, 3, 1)),
    ],
)
def test_a_date_is_read(text: str, day: date) -> None:
    assert read_date(text, TODAY) == day


FORM = "Write it as YYYY-MM-DD, for example 2026-03-01, or as today."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"'' is not a date. {FORM}"),
        ("03/01/2026", f"'03/01/2026' is not a date. {FORM}"),
        ("2026-03-01T10:00", f"'2026-03-01T10:00' is not a date. {FORM}"),
        ("२०२६-०३-०१", f"'२०२६-०३-०१' is not a date. {FORM}"),
        ("2026-13-01", "'2026-13-01' is not a date: the month goes from 1 to 12 and the year from 1 to 9999."),
        ("0000-01-01", "'0000-01-01' is not a date: the month goes from 1 to 12 and the year from 1 to 9999."),
        ("2026-02-30", "'2026-02-30' is not a date: February 2026 has 28 days."),
        ("2024-02-30", "'2024-02-30' is not a date: February 2024 has 29 days."),
        ("2026-04-00", "'2026-04-00' is not a date: April 2026 has 30 days."),
    ],
)
def test_what_is_no_date_is_refused_with_what_would_be_one(text: str, message: str) -> None:
    with pytest.raises(ClockError) as raised:
        read_date(text, TODAY)
    assert str(raised.value) == message


@given(st.dates())
def test_a_date_that_is_written_is_read_back(day: date) -> None:
    assert read_date(day.isoformat(), TODAY) == day


@pytest.mark.parametrize(
    ("day", "step", "reached"),
    [
        (date(2026, 1, 31), Step(months=1), date(2026, 2, 28)),
        (date(2024, 1, 31), Step(months=1), date(2024, 2, 29)),
        (date(2024, 2, 29), Step(years=1), date(2025, 2, 28)),
        (date(2024, 2, 29), Step(years=4), date(2028, 2, 29)),
        (date(2026, 3, 31), Step(months=-1), date(2026, 2, 28)),
        (date(2026, 1, 15), Step(months=-13), date(2024, 12, 15)),
        (date(2026, 12, 28), Step(days=7), date(2027, 1, 4)),
        (date(2026, 1, 31), Step(years=1, months=1, weeks=1, days=1), date(2027, 3, 8)),
        (date(2026, 3, 6), Step(business_days=1), date(2026, 3, 9)),
        (date(2026, 3, 7), Step(business_days=1), date(2026, 3, 9)),
        (date(2026, 3, 8), Step(business_days=-1), date(2026, 3, 6)),
        (date(2026, 3, 9), Step(business_days=-1), date(2026, 3, 6)),
        (date(2026, 3, 2), Step(business_days=10), date(2026, 3, 16)),
        (date(2026, 3, 7), Step(), date(2026, 3, 7)),
    ],
)
def test_a_date_moves_by_the_calendar(day: date, step: Step, reached: date) -> None:
    assert move(day, step) == reached


@given(DAYS, COUNTS, COUNTS)
def test_days_and_weeks_added_and_taken_away_lead_back(day: date, days: int, weeks: int) -> None:
    assert move(move(day, Step(days=days, weeks=weeks)), Step(days=-days, weeks=-weeks)) == day


@given(DAYS, COUNTS)
def test_months_added_and_taken_away_lead_back_or_to_the_end_of_the_shorter_month(day: date, months: int) -> None:
    there = move(day, Step(months=months))
    back = move(there, Step(months=-months))
    assert (back.year, back.month, back.day) == (day.year, day.month, min(day.day, there.day))


@given(DAYS, st.integers(-150, 150))
def test_a_year_is_twelve_months(day: date, years: int) -> None:
    assert move(day, Step(years=years)) == move(day, Step(months=12 * years))


@given(DAYS, st.integers(-400, 400))
def test_business_days_are_counted_one_weekday_at_a_time(day: date, count: int) -> None:
    walked = day
    for _ in range(abs(count)):
        walked += timedelta(days=1 if count > 0 else -1)
        while walked.weekday() > 4:
            walked += timedelta(days=1 if count > 0 else -1)
    assert move(day, Step(business_days=count)) == walked


@given(DAYS, COUNTS)
def test_business_days_added_to_a_weekday_are_the_ones_between(day: date, count: int) -> None:
    assume(day.weekday() < 5)
    assert between(day, move(day, Step(business_days=count))).business_days == count


@given(DAYS, st.integers(0, 800))
def test_days_between_are_those_that_a_calendar_shows(start: date, days: int) -> None:
    passed = [start + timedelta(days=offset) for offset in range(days)]
    assert between(start, start + timedelta(days=days)) == Distance(days, sum(day.weekday() < 5 for day in passed))


@given(DAYS, DAYS)
def test_the_way_back_is_as_long_as_the_way_there(start: date, end: date) -> None:
    there, back = between(start, end), between(end, start)
    assert (back.days, back.business_days) == (-there.days, -there.business_days)


@pytest.mark.parametrize(
    "step",
    [
        Step(years=8000),
        Step(years=-3000),
        Step(months=10**30),
        Step(days=10**30),
        Step(weeks=-(10**9)),
        Step(business_days=10**12),
    ],
)
def test_a_date_outside_the_calendar_is_refused(step: Step) -> None:
    with pytest.raises(ClockError) as raised:
        move(TODAY, step)
    assert str(raised.value) == "The result is outside the years 1 to 9999. Use a smaller number."


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (date(2026, 1, 1), date(2026, 3, 1), "59 days (42 business days)"),
        (date(2026, 3, 1), date(2026, 1, 1), "-59 days (-42 business days)"),
        (date(2026, 3, 2), date(2026, 3, 3), "1 day (1 business day)"),
        (date(2026, 3, 7), date(2026, 3, 7), "0 days (0 business days)"),
    ],
)
def test_a_distance_reads_as_a_person_would_say_it(start: date, end: date, text: str) -> None:
    assert between(start, end).text() == text


@pytest.mark.parametrize(
    ("day", "text"),
    [
        (date(2026, 3, 1), "2026-03-01 (Sunday), ISO week 2026-W09, day 60 of 365"),
        (date(2024, 12, 31), "2024-12-31 (Tuesday), ISO week 2025-W01, day 366 of 366, a leap year"),
        (date(2021, 1, 1), "2021-01-01 (Friday), ISO week 2020-W53, day 1 of 365"),
        (date(1900, 2, 28), "1900-02-28 (Wednesday), ISO week 1900-W09, day 59 of 365"),
        (date(2000, 2, 29), "2000-02-29 (Tuesday), ISO week 2000-W09, day 60 of 366, a leap year"),
    ],
)
def test_a_day_tells_its_place_in_week_and_year(day: date, text: str) -> None:
    assert CalendarDay(day).text() == text


def test_a_month_tells_its_length() -> None:
    assert [CalendarDay(date(2024, month, 1)).days_in_month for month in (1, 2, 4)] == [31, 29, 30]
