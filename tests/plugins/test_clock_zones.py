from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from clock_mcp.errors import ClockError
from clock_mcp.zones import Zone, ZoneMatch, find_zone, format_offset, search_zones, zone_names
from hypothesis import given
from hypothesis import strategies as st

SUMMER = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("  America/New York ", "America/New_York"),
        ("Tokyo", "Asia/Tokyo"),
        ("new york", "America/New_York"),
        ("São Paulo", "America/Sao_Paulo"),
        ("Buenos Aires", "America/Argentina/Buenos_Aires"),
        ("Louisville", "America/Kentucky/Louisville"),
        ("France", "Europe/Paris"),
        ("utc", "UTC"),
        ("EST", "EST"),
        ("Etc/GMT+5", "Etc/GMT+5"),
    ],
)
def test_a_zone_is_found_by_name_city_or_country_in_any_spelling(text: str, name: str) -> None:
    assert find_zone(text) == Zone(name, ZoneInfo(name))


def test_every_name_of_the_database_finds_its_own_zone() -> None:
    assert [find_zone(name) for name in zone_names()] == [Zone(name, ZoneInfo(name)) for name in zone_names()]


@pytest.mark.parametrize(
    ("text", "name", "offset"),
    [
        ("UTC+2", "UTC+02:00", timedelta(hours=2)),
        ("+05:30", "UTC+05:30", timedelta(hours=5, minutes=30)),
        ("gmt-0330", "UTC-03:30", -timedelta(hours=3, minutes=30)),
        ("UTC-12", "UTC-12:00", -timedelta(hours=12)),
        ("UTC+14:00", "UTC+14:00", timedelta(hours=14)),
    ],
)
def test_a_fixed_offset_is_a_zone(text: str, name: str, offset: timedelta) -> None:
    assert find_zone(text) == Zone(name, timezone(offset))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Europe/Berln",
            "Unknown time zone 'Europe/Berln'. Did you mean Europe/Berlin or Europe/Dublin or Europe/Belfast?",
        ),
        ("Tokio", "Unknown time zone 'Tokio'. Did you mean Asia/Tokyo?"),
        ("Germany", "Unknown time zone 'Germany'. Did you mean Europe/Berlin or Europe/Busingen?"),
        ("Eastern", "Unknown time zone 'Eastern'. Did you mean Canada/Eastern or US/Eastern?"),
        ("qqqq", "Unknown time zone 'qqqq'. Use a name such as Europe/Berlin; list_time_zones finds them."),
        (" ", "The time zone is empty. Use a name such as Europe/Berlin."),
        ("UTC+15", "The offset 'UTC+15' does not exist: offsets go from UTC-14:00 to UTC+14:00."),
        ("+05:75", "The offset '+05:75' does not exist: offsets go from UTC-14:00 to UTC+14:00."),
        (
            "../../etc/passwd",
            "Unknown time zone '../../etc/passwd'. Use a name such as Europe/Berlin; list_time_zones finds them.",
        ),
        ("x" * 70, f"Unknown time zone '{'x' * 64}…'. Use a name such as Europe/Berlin; list_time_zones finds them."),
    ],
)
def test_an_unknown_zone_is_refused_with_names_that_exist(text: str, message: str) -> None:
    with pytest.raises(ClockError) as raised:
        find_zone(text)
    assert str(raised.value) == message


@given(st.text(max_size=80))
def test_any_text_is_answered_by_a_zone_or_by_the_clocks_own_error(text: str) -> None:
    try:
        zone = find_zone(text)
    except ClockError as error:
        assert str(error).endswith((".", "?"))
    else:
        assert find_zone(zone.name) == zone


@pytest.mark.parametrize(
    ("search", "matches"),
    [
        (
            "germany",
            [
                ZoneMatch("Europe/Berlin", "UTC+02:00", "CEST", "Germany"),
                ZoneMatch("Europe/Busingen", "UTC+02:00", "CEST", "Germany"),
            ],
        ),
        ("sao paulo", [ZoneMatch("America/Sao_Paulo", "UTC-03:00", "-03", "Brazil")]),
        (
            "asia +05:45",
            [
                ZoneMatch("Asia/Kathmandu", "UTC+05:45", "+0545", "Nepal"),
                ZoneMatch("Asia/Katmandu", "UTC+05:45", "+0545", ""),
            ],
        ),
        (
            "UTC+12:45",
            [
                ZoneMatch("Pacific/Chatham", "UTC+12:45", "+1245", "New Zealand"),
                ZoneMatch("NZ-CHAT", "UTC+12:45", "+1245", ""),
            ],
        ),
        ("atlantis", []),
    ],
)
def test_a_search_finds_zones_by_place_abbreviation_and_offset_with_the_names_in_use_first(
    search: str, matches: list[ZoneMatch]
) -> None:
    assert search_zones(search, SUMMER) == matches


def test_a_search_for_an_abbreviation_finds_the_zones_that_use_it_now() -> None:
    summer = {match.name for match in search_zones("CEST", SUMMER)}
    winter = {match.name for match in search_zones("CEST", datetime(2026, 1, 1, tzinfo=UTC))}
    assert ("Europe/Berlin" in summer, winter) == (True, set())


def test_an_empty_search_finds_every_zone() -> None:
    assert sorted(match.name for match in search_zones("", SUMMER)) == list(zone_names())


def test_an_offset_with_seconds_shows_them() -> None:
    assert format_offset(datetime(1890, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))) == "UTC+00:53:28"
