"""The clock's tools: each reads its arguments, asks the logic, and writes the answer down."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Literal, assert_never

from mcp_types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, Field

from clock_mcp import __version__
from clock_mcp.dates import CalendarDay, Step, between, move, read_date
from clock_mcp.errors import ClockError
from clock_mcp.moments import Moment, convert_time, current_time
from clock_mcp.tool_server import PlainToolServer, ToolEntry, answer
from clock_mcp.zones import Zone, find_zone, search_zones

INSTRUCTIONS = "Tells the time in any time zone, converts times and reckons with dates. Dates are written YYYY-MM-DD."
# What a reply can hold and a small model still read.
MOST_ZONES = 20

ZoneName = Annotated[str, Field(description="A time zone such as Europe/Berlin, a city, or an offset such as UTC+2")]
DateText = Annotated[str, Field(description="YYYY-MM-DD, or today, tomorrow, yesterday")]
TimeText = Annotated[str, Field(description="HH:MM, or YYYY-MM-DD HH:MM; without a date it is today")]
Unit = Literal["days", "weeks", "months", "years", "business_days"]

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


class TimeAnswer(BaseModel):
    """A moment as a time zone shows it."""

    timezone: str
    datetime: str
    weekday: str
    utc_offset: str
    is_dst: bool


class ConversionAnswer(BaseModel):
    """A time in two zones; `again` is the second answer when the source zone has that time twice."""

    source: TimeAnswer
    target: TimeAnswer
    again: TimeAnswer | None


class DateAnswer(BaseModel):
    """A date."""

    date: str
    weekday: str


class DistanceAnswer(BaseModel):
    """What lies between two dates, the first day counted and the last not."""

    start: str
    end: str
    days: int
    business_days: int


class CalendarAnswer(BaseModel):
    """A date's place in the calendar."""

    date: str
    weekday: str
    iso_week: str
    day_of_year: int
    days_in_month: int
    leap_year: bool


class ZoneAnswer(BaseModel):
    """A time zone with its present offset."""

    name: str
    utc_offset: str
    abbreviation: str
    country: str


class ZonesAnswer(BaseModel):
    """The first time zones that match, and how many do."""

    found: int
    zones: list[ZoneAnswer]


def create_server(now: Callable[[], datetime], home: Zone) -> PlainToolServer:
    """The clock as an MCP server. `now` gives aware datetimes; `home` is the zone of "today", and of the time where none is asked for."""
    tools = ClockTools(now, home)
    # The order counts: a small model leans to some places in the list.
    entries = (
        ToolEntry(tools.get_current_time, "Current time", "Get the current time and date in a time zone", READ_ONLY),
        ToolEntry(tools.list_time_zones, "Time zones", "List time zone names that match a search", READ_ONLY),
        ToolEntry(tools.get_weekday, "Weekday", "Weekday, ISO week and day of the year of a date", READ_ONLY),
        ToolEntry(tools.date_add, "Add to a date", "Add a number of days, weeks, months or years to a date", READ_ONLY),
        ToolEntry(tools.convert_time, "Convert a time", "Convert a time from one time zone to another", READ_ONLY),
        ToolEntry(tools.days_between, "Days between dates", "Number of days between two dates", READ_ONLY),
    )
    return PlainToolServer(
        "clock-mcp", title="Clock", version=__version__, instructions=INSTRUCTIONS, entries=entries, expected=ClockError
    )


class ClockTools:
    """The tools by their names on the wire."""

    def __init__(self, now: Callable[[], datetime], home: Zone) -> None:
        self._now = now
        self._home = home

    async def get_current_time(self, timezone: ZoneName = "") -> Annotated[CallToolResult, TimeAnswer]:
        """What time it is in `timezone`, or at home where it is empty."""
        moment = current_time(find_zone(timezone) if timezone.strip() else self._home, self._now())
        return answer(moment.text(), _time_answer(moment))

    async def convert_time(
        self, source_timezone: ZoneName, time: TimeText, target_timezone: ZoneName
    ) -> Annotated[CallToolResult, ConversionAnswer]:
        """The clock time `time` of one zone in another."""
        conversion = convert_time(time, find_zone(source_timezone), find_zone(target_timezone), self._now())
        again = None if conversion.again is None else _time_answer(conversion.again)
        structured = ConversionAnswer(
            source=_time_answer(conversion.source), target=_time_answer(conversion.target), again=again
        )
        return answer(conversion.text(), structured)

    async def date_add(
        self,
        date: DateText,
        number: Annotated[int, Field(description="How many to add; a negative number goes back")],
        unit: Unit = "days",
    ) -> Annotated[CallToolResult, DateAnswer]:
        """`date` moved by a number of units."""
        reached = CalendarDay(move(read_date(date, self._today()), _step(number, unit)))
        return answer(reached.short(), DateAnswer(date=reached.day.isoformat(), weekday=reached.weekday))

    async def days_between(self, start: DateText, end: DateText) -> Annotated[CallToolResult, DistanceAnswer]:
        """How many days and business days lie between two dates."""
        today = self._today()
        first, last = read_date(start, today), read_date(end, today)
        distance = between(first, last)
        structured = DistanceAnswer(
            start=first.isoformat(), end=last.isoformat(), days=distance.days, business_days=distance.business_days
        )
        return answer(distance.text(), structured)

    async def get_weekday(self, date: DateText = "today") -> Annotated[CallToolResult, CalendarAnswer]:
        """The place of `date` in its week and year."""
        day = CalendarDay(read_date(date, self._today()))
        structured = CalendarAnswer(
            date=day.day.isoformat(),
            weekday=day.weekday,
            iso_week=day.iso_week,
            day_of_year=day.day_of_year,
            days_in_month=day.days_in_month,
            leap_year=day.leap_year,
        )
        return answer(day.text(), structured)

    async def list_time_zones(
        self, search: Annotated[str, Field(description="A city, country, abbreviation or offset")] = ""
    ) -> Annotated[CallToolResult, ZonesAnswer]:
        """The zones that have the words of `search` in their name, country, abbreviation or offset."""
        matches = search_zones(search, self._now())
        if not matches:
            raise ClockError(
                f"No time zone matches '{search[:40]}'. Search for a city, a country, or an offset such as UTC+02:00."
            )
        shown = matches[:MOST_ZONES]
        lines = [f"{match.name} ({match.utc_offset})" for match in shown]
        if len(shown) < len(matches):
            lines.append(f"and {len(matches) - len(shown)} more: search for a city or a country to see fewer")
        zones = [
            ZoneAnswer(
                name=match.name, utc_offset=match.utc_offset, abbreviation=match.abbreviation, country=match.country
            )
            for match in shown
        ]
        return answer("\n".join(lines), ZonesAnswer(found=len(matches), zones=zones))

    def _today(self) -> date:
        return current_time(self._home, self._now()).local.date()


def _step(number: int, unit: Unit) -> Step:
    match unit:
        case "days":
            return Step(days=number)
        case "weeks":
            return Step(weeks=number)
        case "months":
            return Step(months=number)
        case "years":
            return Step(years=number)
        case "business_days":
            return Step(business_days=number)
        case _:
            assert_never(unit)


def _time_answer(moment: Moment) -> TimeAnswer:
    return TimeAnswer(
        timezone=moment.zone,
        datetime=moment.local.isoformat(),
        weekday=moment.weekday,
        utc_offset=moment.utc_offset,
        is_dst=moment.is_dst,
    )
