from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from clock_mcp.errors import ClockError
from clock_mcp.moments import Conversion, Moment, convert_time, current_time, read_time
from clock_mcp.zones import Zone, find_zone, zone_names
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, 23, 30, 5, 999_999, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda instant: instant.replace(second=0, microsecond=0)
)
ZONES = st.sampled_from(zone_names()).map(find_zone)


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "2026-03-01 23:30:05 UTC (Sunday, UTC+00:00)"),
        ("Asia/Tokyo", "2026-03-02 08:30:05 Asia/Tokyo (Monday, UTC+09:00)"),
        ("America/New_York", "2026-03-01 18:30:05 America/New_York (Sunday, UTC-05:00)"),
        ("+05:45", "2026-03-02 05:15:05 UTC+05:45 (Monday, UTC+05:45)"),
    ],
)
def test_the_current_time_is_what_the_clocks_of_the_zone_show(zone: str, text: str) -> None:
    assert current_time(find_zone(zone), NOW).text() == text


def test_daylight_saving_time_is_told() -> None:
    berlin = find_zone("Europe/Berlin")
    winter, summer = current_time(berlin, NOW), current_time(berlin, NOW + timedelta(days=120))
    assert [(moment.is_dst, moment.utc_offset) for moment in (winter, summer)] == [
        (False, "UTC+01:00"),
        (True, "UTC+02:00"),
    ]


@pytest.mark.parametrize(
    ("time", "source", "target", "text"),
    [
        ("14:30", "Europe/Berlin", "Asia/Tokyo", "2026-03-02 22:30 Asia/Tokyo (Monday, UTC+09:00)"),
        ("2026-07-01 14:30", "Europe/Berlin", "Asia/Tokyo", "2026-07-01 21:30 Asia/Tokyo (Wednesday, UTC+09:00)"),
        (
            "2026-12-31T22:00:01",
            "America/New_York",
            "Europe/London",
            "2027-01-01 03:00:01 Europe/London (Friday, UTC+00:00)",
        ),
        ("today 9pm", "UTC", "Asia/Kathmandu", "2026-03-02 02:45 Asia/Kathmandu (Monday, UTC+05:45)"),
    ],
)
def test_a_time_is_converted_by_the_rules_of_its_day(time: str, source: str, target: str, text: str) -> None:
    assert convert_time(time, find_zone(source), find_zone(target), NOW).text() == text


@pytest.mark.parametrize(
    ("time", "zone", "message"),
    [
        (
            "2026-03-29 02:30",
            "Europe/Berlin",
            "02:30 on 2026-03-29 does not exist in Europe/Berlin: the clocks go forward. Use 01:30 or 03:30.",
        ),
        (
            "2026-10-04 02:15",
            "Australia/Lord_Howe",
            "02:15 on 2026-10-04 does not exist in Australia/Lord_Howe: the clocks go forward. Use 01:45 or 02:45.",
        ),
        (
            "2011-12-30 12:00",
            "Pacific/Apia",
            "12:00 on 2011-12-30 does not exist in Pacific/Apia: the clocks go forward. Use 2011-12-29 12:00 or 2011-12-31 12:00.",
        ),
    ],
)
def test_a_time_that_the_clocks_skip_is_refused_with_the_times_around_it(time: str, zone: str, message: str) -> None:
    with pytest.raises(ClockError) as raised:
        convert_time(time, find_zone(zone), find_zone("UTC"), NOW)
    assert str(raised.value) == message


def test_a_time_that_happens_twice_is_answered_twice() -> None:
    conversion = convert_time("2026-10-25 02:30", find_zone("Europe/Berlin"), find_zone("UTC"), NOW)
    assert conversion == Conversion(
        Moment("Europe/Berlin", datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))),
        Moment("UTC", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        Moment("UTC", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    )
    assert conversion.text() == (
        "2026-10-25 00:30 UTC (Sunday, UTC+00:00); 02:30 happens twice that day in Europe/Berlin,"
        " the second is 2026-10-25 01:30 UTC (Sunday, UTC+00:00)"
    )


@given(INSTANTS, ZONES, ZONES)
def test_a_time_converted_there_and_back_is_the_same_instant(instant: datetime, here: Zone, there: Zone) -> None:
    away = _answers(instant, here, there)
    assert instant in away
    assert instant in [answer for other in away for answer in _answers(other, there, here)]


@given(INSTANTS, ZONES)
def test_a_clock_time_is_refused_exactly_when_no_instant_shows_it(instant: datetime, zone: Zone) -> None:
    naive = instant.replace(tzinfo=None)
    around = (naive.replace(tzinfo=UTC) + timedelta(minutes=15 * step) for step in range(-26 * 4, 26 * 4 + 1))
    offsets = {moment.astimezone(zone.rules).utcoffset() or timedelta(0) for moment in around}
    showing = {naive.replace(tzinfo=UTC) - offset for offset in offsets}
    showing = {moment for moment in showing if moment.astimezone(zone.rules).replace(tzinfo=None) == naive}
    try:
        conversion = convert_time(f"{naive:%Y-%m-%d %H:%M}", zone, find_zone("UTC"), NOW)
    except ClockError:
        assert showing == set()
    else:
        assert {moment.local for moment in (conversion.target, conversion.again) if moment} == showing


def _answers(instant: datetime, source: Zone, target: Zone) -> list[datetime]:
    conversion = convert_time(f"{instant.astimezone(source.rules):%Y-%m-%d %H:%M:%S}", source, target, NOW)
    return [moment.local.astimezone(UTC) for moment in (conversion.target, conversion.again) if moment is not None]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("14:30", datetime(2026, 3, 1, 14, 30)),
        ("7:05:09", datetime(2026, 3, 1, 7, 5, 9)),
        ("12 am", datetime(2026, 3, 1, 0, 0)),
        ("12:30pm", datetime(2026, 3, 1, 12, 30)),
        ("2:30 p.m.", datetime(2026, 3, 1, 14, 30)),
        ("2026-01-02 2:30 PM", datetime(2026, 1, 2, 14, 30)),
        ("2026-01-02T03:04", datetime(2026, 1, 2, 3, 4)),
        ("Tomorrow 09:00", datetime(2026, 3, 2, 9, 0)),
    ],
)
def test_a_time_is_read_in_the_forms_that_people_write(text: str, read: datetime) -> None:
    assert read_time(text, NOW.date()) == read


FORM = "Write the time as HH:MM, for example 14:30, or as 2026-03-29 14:30."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"'' is not a time. {FORM}"),
        ("soon", f"'soon' is not a time. {FORM}"),
        ("14", f"'14' is not a time. {FORM}"),
        ("14:30Z", f"'14:30Z' is not a time. {FORM}"),
        ("24:00", f"'24:00' is not a time: it goes from 00:00 to 23:59. {FORM}"),
        ("13:00 pm", f"'13:00 pm' is not a time: with am and pm the hour goes from 1 to 12. {FORM}"),
        ("2026-02-30 10:00", "'2026-02-30' is not a date: February 2026 has 28 days."),
    ],
)
def test_what_is_no_time_is_refused_with_the_form_of_one(text: str, message: str) -> None:
    with pytest.raises(ClockError) as raised:
        read_time(text, NOW.date())
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("time", "zone"), [("0001-01-01 00:30", "Asia/Tokyo"), ("9999-12-31 23:30", "America/New_York")]
)
def test_a_conversion_that_leaves_the_calendar_is_refused(time: str, zone: str) -> None:
    with pytest.raises(ClockError, match="outside the years 1 to 9999"):
        convert_time(time, find_zone(zone), find_zone("UTC"), NOW)
