"""Kinds of parameters: their JSON type, the names they go by, how a value is made, how a sentence leads up to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from demo_model.generator.values import Values

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of parameter. `bare`: the value may stand in a sentence without quotes."""

    json_type: str
    names: tuple[str, ...]
    value: Callable[[Values], Json]
    prepositions: tuple[str, ...] = ()
    bare: bool = True


def _city(values: Values) -> str:
    return values.dice.choice(values.lexicon.cities) if values.dice.chance(0.8) else values.name()


def _word(values: Values) -> str:
    return values.dice.choice(values.lexicon.colors) if values.dice.chance(0.2) else values.word()


def _time(values: Values) -> str:
    return values.timestamp() if values.dice.chance(0.6) else values.clock_time()


def _flag(values: Values) -> bool:
    return values.dice.chance(0.6)


def _choice(values: Values) -> Json:
    raise ValueError(f"{values!r} cannot make the value of an enum: the parameter lists its choices")


def _kind(
    json_type: str, names: str, value: Callable[[Values], Json], prepositions: str = "", *, bare: bool = True
) -> Kind:
    """`prepositions` are separated by commas; one of them may be empty."""
    return Kind(json_type, tuple(names.split()), value, tuple(prepositions.split(",")) if prepositions else (), bare)


# The kinds that random tools have. Their order matters: the keys of made-up results are drawn from it.
GENERAL_KINDS: Final[Mapping[str, Kind]] = {
    "path": _kind(
        "string",
        "path file file_path filename filePath source target directory dir folder location",
        Values.path,
        ",at,from,in",
    ),
    "url": _kind("string", "url link address website uri endpoint", Values.url, ",at,from"),
    "city": _kind("string", "city location place town destination origin", _city, "in,for,of,near"),
    "tz": _kind("string", "timezone tz zone time_zone", Values.time_zone, "in,for"),
    "query": _kind(
        "string", "query q search term keyword keywords pattern question topic", Values.phrase, "for,about,", bare=False
    ),
    "text": _kind(
        "string",
        "text message content body input value note title comment description subject summary prompt data",
        Values.text,
        ",with,saying",
        bare=False,
    ),
    "name": _kind(
        "string",
        "name user username person owner author recipient to contact assignee customer",
        Values.name,
        "for,of,to,named,by",
    ),
    "id": _kind(
        "string",
        "id user_id task_id ticket_id order_id itemId key token ref code sku hash session uuid",
        Values.identifier,
        ",with id,number,for",
    ),
    "word": _kind(
        "string",
        "language branch repo repo_path project channel unit format mode status category type tag label color symbol currency model from_unit group table level kind theme lang",
        _word,
        ",in,for,to,on",
    ),
    "date": _kind("string", "date day start_date end_date when since until due", Values.date, "on,for,from"),
    "int": _kind(
        "integer",
        "count limit n page size x y a b number num amount port year age seconds minutes index offset max_results depth width height quantity line head tail num1 num2 first second value",
        Values.integer,
        ",with,for,of",
    ),
    "num": _kind(
        "number",
        "a b x y amount price value temperature lat lon latitude longitude ratio rate weight distance left right number scale num1 num2 base factor",
        Values.number,
        ",of,with,for",
    ),
    "bool": _kind(
        "boolean",
        "verbose recursive force dry_run enabled active all hidden strict public sorted reverse exact overwrite urgent include_hidden fullPage cached",
        _flag,
    ),
    "strs": _kind(
        "array",
        "tags names items paths labels words values files ids topics cities users keywords colors fields",
        Values.strings,
        ",with,for",
    ),
    "ints": _kind("array", "numbers values ids nums data points scores list sizes xs items", Values.numbers, ",of,for"),
    "host": _kind("string", "domain host hostname server site name target", Values.host, ",for,of,at"),
    "mail": _kind("string", "email to address recipient mail user from_address", Values.mail, ",to,for"),
    "dot": _kind(
        "string",
        "file name module version package image key service filename setting",
        Values.dotted_name,
        ",for,of,named",
    ),
    "dt": _kind(
        "string", "start end time timestamp when since until at start_time created_after", _time, "at,for,from"
    ),
    "enum": _kind(
        "string", "unit units mode format order sort state priority direction type level severity scope", _choice, "in,"
    ),
}

# The kinds that only well-known tools have; their parameters bring their own names.
KINDS: Final[Mapping[str, Kind]] = {
    **GENERAL_KINDS,
    "hm": Kind("string", (), Values.clock_time),
    "few": Kind("integer", (), Values.few),
    "shift": Kind("integer", (), Values.days_to_shift),
    "glob": Kind("string", (), Values.glob),
    "topic": Kind("string", (), Values.topic),
    "sym": Kind("string", (), Values.ticker),
    "expr": Kind("string", (), Values.expression),
    "sql": Kind("string", (), Values.sql),
    "phone": Kind("string", (), Values.phone),
}

# How often a random tool has a parameter of each kind: by repetition.
FREQUENCY: Final = (
    "path path url city tz query query text text name name id id word word word date int int int num num bool strs ints enum "
    "host mail dot dot dt"
).split()
