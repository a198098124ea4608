"""Time zones by name: the way people and models write them, to the rules of the tz database.

A zone is found by its tz name in any case ("europe/berlin"), by its city ("Tokyo", "New York", "Sao Paulo"), by a country
that has one zone ("France"), or by a fixed offset ("UTC+2", "+05:30"). Nothing here reads a clock.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from clock_mcp.errors import ClockError

# Longer input is no name of anything, and comparing it with every name would cost time.
LONGEST_NAME = 64
# Kiritimati is the furthest ahead of UTC, at 14 hours.
WIDEST_OFFSET = timedelta(hours=14)

_OFFSET = re.compile(r"(?:utc|gmt)?([+-])(\d{1,2})(?::?(\d{2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone: the name to show and the rules to reckon with."""

    name: str
    rules: tzinfo


@dataclass(frozen=True, slots=True)
class ZoneMatch:
    """A zone that a search found, with its offset from UTC at the moment of the search."""

    name: str
    utc_offset: str
    abbreviation: str
    country: str


@cache
def zone_names() -> tuple[str, ...]:
    """Every name in the tz database, sorted."""
    return tuple(sorted((files("tzdata") / "zones").read_text("utf-8").split()))


@cache
def zone_countries() -> dict[str, str]:
    """The country of each zone that the tz database places in one, by zone name."""
    tables = files("tzdata") / "zoneinfo"
    countries = dict(_rows((tables / "iso3166.tab").read_text("utf-8"), (0, 1)))
    return {name: countries[code] for code, name in _rows((tables / "zone.tab").read_text("utf-8"), (0, 2))}


def find_zone(text: str) -> Zone:
    """The zone that `text` names.

    Raises:
        ClockError: no zone has this name, or several do; the message offers names that exist.
    """
    key = _key(text)
    if len(key) <= LONGEST_NAME:
        name = (
            _names_by_key().get(key) or _only(_names_by_city().get(key, ())) or _only(_names_by_country().get(key, ()))
        )
        if name is not None:
            return Zone(name, ZoneInfo(name))
        fixed = _fixed_offset(key)
        if fixed is not None:
            return fixed
    raise ClockError(_unknown(text, key))


def search_zones(search: str, now: datetime) -> list[ZoneMatch]:
    """The zones with every word of `search` in their name or country, or as their abbreviation or offset at `now`.

    The names in use come first, then the old spellings, each sorted.
    """
    words = [_fold(word) for word in search.replace("_", " ").split()]
    matches: list[ZoneMatch] = []
    for name in zone_names():
        local = now.astimezone(ZoneInfo(name))
        country = zone_countries().get(name, "")
        match = ZoneMatch(name, format_offset(local), local.tzname() or "", country)
        places = _fold(f"{name.replace('_', ' ')} {country}")
        exact = {_fold(match.abbreviation), _fold(match.utc_offset), _fold(match.utc_offset.removeprefix("UTC"))}
        if all(word in places or word in exact for word in words):
            matches.append(match)
    return sorted(matches, key=lambda match: not match.country)


def format_offset(moment: datetime) -> str:
    """The offset of an aware datetime as "UTC+02:00"; with seconds where it has them, as local mean times do."""
    offset = moment.utcoffset() or timedelta(0)
    sign = "-" if offset < timedelta(0) else "+"
    minutes, seconds = divmod(abs(int(offset.total_seconds())), 60)
    return f"UTC{sign}{minutes // 60:02}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")


def _fixed_offset(key: str) -> Zone | None:
    match = _OFFSET.fullmatch(key)
    if match is None:
        return None
    sign, hours, minutes = match.groups(default="0")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    if offset > WIDEST_OFFSET or int(minutes) > 59:
        raise ClockError(f"The offset '{key.upper()}' does not exist: offsets go from UTC-14:00 to UTC+14:00.")
    rules = timezone(-offset if sign == "-" else offset)
    return Zone(format_offset(datetime(2000, 1, 1, tzinfo=rules)), rules)


def _unknown(text: str, key: str) -> str:
    shown = text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME] + "…"
    if not key:
        return "The time zone is empty. Use a name such as Europe/Berlin."
    names = _suggestions(key) if len(key) <= LONGEST_NAME else []
    if not names:
        return f"Unknown time zone '{shown}'. Use a name such as Europe/Berlin; list_time_zones finds them."
    return f"Unknown time zone '{shown}'. Did you mean {' or '.join(names)}?"


def _suggestions(key: str) -> list[str]:
    ambiguous = _names_by_city().get(key) or _names_by_country().get(key)
    if ambiguous:
        return list(ambiguous[:5])
    keys = {**_names_by_key(), **{city: names[0] for city, names in _names_by_city().items()}}
    close = [keys[match] for match in difflib.get_close_matches(key, keys, n=3, cutoff=0.7)]
    within = [name for folded, name in _names_by_key().items() if len(key) >= 4 and key in folded]
    return list(dict.fromkeys(close + within))[:3]


@cache
def _names_by_key() -> dict[str, str]:
    return {_key(name): name for name in zone_names()}


@cache
def _names_by_city() -> dict[str, tuple[str, ...]]:
    cities: dict[str, list[str]] = {}
    for name in zone_names():
        cities.setdefault(_key(name.rsplit("/", 1)[-1]), []).append(name)
    # Old spellings stay in the database beside the present ones; only the present ones are in the table of places.
    return {city: _present(names) for city, names in cities.items()}


@cache
def _names_by_country() -> dict[str, tuple[str, ...]]:
    countries: dict[str, list[str]] = {}
    for name, country in zone_countries().items():
        countries.setdefault(_key(country), []).append(name)
    return {country: tuple(names) for country, names in countries.items()}


def _present(names: list[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in zone_countries()) or tuple(names)


def _only(names: tuple[str, ...]) -> str | None:
    return names[0] if len(names) == 1 else None


def _key(text: str) -> str:
    return "_".join(_fold(text).replace("_", " ").split())


def _fold(text: str) -> str:
    """Lower case, without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _rows(table: str, columns: tuple[int, int]) -> Iterable[tuple[str, str]]:
    for line in table.splitlines():
        if line and not line.startswith("#"):
            cells = line.split("\t")
            yield cells[columns[0]], cells[columns[1]]
