from datetime import UTC, datetime
from typing import Any

import pytest
from clock_mcp.server import create_server
from clock_mcp.zones import find_zone
from mcp import Client

from tests.plugins.plugin_processes import over_http, over_stdio, text_of

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 2, 28, 23, 30, tzinfo=UTC)
BERLIN = {
    "timezone": "Europe/Berlin",
    "datetime": "2026-03-01T00:30:00+01:00",
    "weekday": "Sunday",
    "utc_offset": "UTC+01:00",
    "is_dst": False,
}
TOKYO = {
    "timezone": "Asia/Tokyo",
    "datetime": "2026-03-01T08:30:00+09:00",
    "weekday": "Sunday",
    "utc_offset": "UTC+09:00",
    "is_dst": False,
}


def clock(home: str = "UTC") -> Client:
    return Client(create_server(lambda: NOW, find_zone(home)))


@pytest.mark.parametrize(
    ("tool", "arguments", "text", "structured"),
    [
        (
            "get_current_time",
            {"timezone": "Europe/Berlin"},
            "2026-03-01 00:30 Europe/Berlin (Sunday, UTC+01:00)",
            BERLIN,
        ),
        ("get_current_time", {"timezone": "tokyo"}, "2026-03-01 08:30 Asia/Tokyo (Sunday, UTC+09:00)", TOKYO),
        (
            "convert_time",
            {"source_timezone": "Europe/Berlin", "time": "2026-03-01 00:30", "target_timezone": "Asia/Tokyo"},
            "2026-03-01 08:30 Asia/Tokyo (Sunday, UTC+09:00)",
            {"source": BERLIN, "target": TOKYO, "again": None},
        ),
        (
            "date_add",
            {"date": "2026-01-31", "number": 45},
            "2026-03-17 (Tuesday)",
            {"date": "2026-03-17", "weekday": "Tuesday"},
        ),
        (
            "date_add",
            {"date": "today", "number": -28, "unit": "days"},
            "2026-01-31 (Saturday)",
            {"date": "2026-01-31", "weekday": "Saturday"},
        ),
        (
            "date_add",
            {"date": "2026-03-06", "number": 2, "unit": "weeks"},
            "2026-03-20 (Friday)",
            {"date": "2026-03-20", "weekday": "Friday"},
        ),
        (
            "date_add",
            {"date": "2026-01-31", "number": 1, "unit": "months"},
            "2026-02-28 (Saturday)",
            {"date": "2026-02-28", "weekday": "Saturday"},
        ),
        (
            "date_add",
            {"date": "2024-02-29", "number": -1, "unit": "years"},
            "2023-02-28 (Tuesday)",
            {"date": "2023-02-28", "weekday": "Tuesday"},
        ),
        (
            "date_add",
            {"date": "2026-03-06", "number": 1, "unit": "business_days"},
            "2026-03-09 (Monday)",
            {"date": "2026-03-09", "weekday": "Monday"},
        ),
        (
            "days_between",
            {"start": "2026-01-01", "end": "2026-03-01"},
            "59 days (42 business days)",
            {"start": "2026-01-01", "end": "2026-03-01", "days": 59, "business_days": 42},
        ),
        (
            "get_weekday",
            {"date": "2024-02-29"},
            "2024-02-29 (Thursday), ISO week 2024-W09, day 60 of 366, a leap year",
            {
                "date": "2024-02-29",
                "weekday": "Thursday",
                "iso_week": "2024-W09",
                "day_of_year": 60,
                "days_in_month": 29,
                "leap_year": True,
            },
        ),
        (
            "list_time_zones",
            {"search": "japan"},
            "Asia/Tokyo (UTC+09:00)\nJapan (UTC+09:00)",
            {
                "found": 2,
                "zones": [
                    {"name": "Asia/Tokyo", "utc_offset": "UTC+09:00", "abbreviation": "JST", "country": "Japan"},
                    {"name": "Japan", "utc_offset": "UTC+09:00", "abbreviation": "JST", "country": ""},
                ],
            },
        ),
    ],
)
async def test_a_tool_answers_in_one_short_text_and_in_structure(
    tool: str, arguments: dict[str, Any], text: str, structured: dict[str, Any]
) -> None:
    async with clock() as client:
        result = await client.call_tool(tool, arguments)
    assert (text_of(result), result.structured_content, result.is_error) == (text, structured, False)


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        (
            "get_current_time",
            {"timezone": "Europe/Berln"},
            "Error: Unknown time zone 'Europe/Berln'. Did you mean Europe/Berlin or Europe/Dublin or Europe/Belfast?",
        ),
        ("get_current_time", {"tz": "Asia/Tokyo"}, "Error: get_current_time has no argument 'tz'. It takes timezone."),
        (
            "get_current_time",
            {"timezone": 7},
            "Error: timezone should be a valid string. get_current_time takes timezone.",
        ),
        ("days_between", {"start": "2026-01-01"}, "Error: end is missing. days_between takes start, end."),
        (
            "days_between",
            {"start": "2026-01-01", "end": "later"},
            "Error: 'later' is not a date. Write it as YYYY-MM-DD, for example 2026-03-01, or as today.",
        ),
        (
            "date_add",
            {"date": "2026-01-31", "number": 1.5},
            "Error: number should be a valid integer, got a number with a fractional part. date_add takes date, number, unit.",
        ),
        (
            "date_add",
            {"date": "2026-01-31", "number": 1, "unit": "hours"},
            "Error: unit should be 'days', 'weeks', 'months', 'years' or 'business_days'. date_add takes date, number, unit.",
        ),
        (
            "date_add",
            {"date": "2026-01-31", "number": 10**20, "unit": "years"},
            "Error: The result is outside the years 1 to 9999. Use a smaller number.",
        ),
        (
            "list_time_zones",
            {"search": "atlantis"},
            "Error: No time zone matches 'atlantis'. Search for a city, a country, or an offset such as UTC+02:00.",
        ),
        (
            "tell_fortune",
            {},
            "Error: there is no tool 'tell_fortune'. The tools are get_current_time, list_time_zones, get_weekday, date_add,"
            " convert_time, days_between.",
        ),
    ],
)
async def test_a_call_that_does_not_fit_is_a_failed_result_that_says_what_to_do(
    tool: str, arguments: dict[str, Any], text: str
) -> None:
    async with clock() as client:
        result = await client.call_tool(tool, arguments)
    assert (text_of(result), result.structured_content, result.is_error) == (text, None, True)


async def test_without_a_zone_the_time_and_today_are_those_at_home() -> None:
    async with clock("Asia/Tokyo") as client:
        texts = [text_of(await client.call_tool(tool, {})) for tool in ("get_current_time", "get_weekday")]
    assert texts == [
        "2026-03-01 08:30 Asia/Tokyo (Sunday, UTC+09:00)",
        "2026-03-01 (Sunday), ISO week 2026-W09, day 60 of 365",
    ]


async def test_a_long_list_of_zones_is_cut_and_says_so() -> None:
    async with clock() as client:
        result = await client.call_tool("list_time_zones", {})
    assert result.structured_content is not None
    assert len(result.structured_content["zones"]) == 20
    more = result.structured_content["found"] - 20
    assert text_of(result).splitlines()[20:] == [f"and {more} more: search for a city or a country to see fewer"]


async def test_every_tool_is_marked_as_one_that_only_reads_and_reaches_nothing_outside() -> None:
    async with clock() as client:
        tools = (await client.list_tools()).tools
    marks = {
        tool.name: tool.annotations and tool.annotations.model_dump(by_alias=True, exclude_none=True) for tool in tools
    }
    only_reads = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}
    assert marks == dict.fromkeys(
        ("get_current_time", "list_time_zones", "get_weekday", "date_add", "convert_time", "days_between"), only_reads
    )


async def test_the_installed_command_serves_over_stdio() -> None:
    async with over_stdio("clock-mcp", "--timezone", "tokyo") as client:
        result = await client.call_tool("get_current_time", {})
        failed = await client.call_tool("get_current_time", {"timezone": "Nowhere/City"})
    assert "Asia/Tokyo" in text_of(result)
    assert (failed.is_error, text_of(failed)[:40]) == (True, "Error: Unknown time zone 'Nowhere/City'.")


async def test_a_client_of_an_earlier_protocol_is_served_over_stdio() -> None:
    async with over_stdio("clock-mcp", mode="legacy") as client:
        result = await client.call_tool("date_add", {"date": "2026-01-31", "number": 1, "unit": "months"})
    assert (text_of(result), result.is_error) == ("2026-02-28 (Saturday)", False)


async def test_the_installed_command_serves_many_clients_over_http_and_ends_with_a_signal() -> None:
    async with over_http("clock-mcp") as url, Client(url) as one, Client(url, mode="legacy") as other:
        answers = [
            text_of(await client.call_tool("days_between", {"start": "2026-01-01", "end": "2026-01-02"}))
            for client in (one, other)
        ]
        assert answers == ["1 day (1 business day)"] * 2
