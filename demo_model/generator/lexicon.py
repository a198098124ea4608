"""The words that the generator draws from: its own lists, and three that come with the machine or the tokenizer."""

import json
import re
import tomllib
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pydoc_data import topics
from typing import Any, Final

from demo_model.files import TOKENIZER

_CATALOGUE: Final = Path(__file__).parent / "catalogue"


def read_catalogue(name: str) -> dict[str, Any]:
    """One of the TOML files beside this module."""
    return tomllib.loads((_CATALOGUE / name).read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All the words of one run. The order of each list is part of what a seed means."""

    cities: tuple[str, ...]
    continents: tuple[str, ...]
    names: tuple[str, ...]
    colors: tuple[str, ...]
    words: tuple[str, ...]
    extensions: tuple[str, ...]
    directories: tuple[str, ...]
    top_level_domains: tuple[str, ...]
    nouns: tuple[str, ...]
    verbs: Mapping[str, tuple[str, ...]]
    documentation: tuple[str, ...]
    pieces: tuple[str, ...]
    zones: tuple[str, ...]


def documentation_words() -> tuple[str, ...]:
    """Ordinary English and technical words of the documentation that comes with Python: they vary with its version."""
    text = " ".join(topics.topics.values())
    return tuple(sorted(word for word in set(re.findall(r"[A-Za-z]{2,12}", text)) if not word.isupper()))


def vocabulary_pieces(tokenizer: Path = TOKENIZER) -> tuple[str, ...]:
    """The tokenizer's pieces of letters, so that every one of them occurs in values to copy; a few where there is no tokenizer yet."""
    if not tokenizer.exists():
        return ("th", "er", "in", "on", "an", "re")
    vocabulary: dict[str, int] = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    return tuple(piece for piece in vocabulary if piece.isascii() and piece.isalpha() and len(piece) > 1)


def time_zones() -> tuple[str, ...]:
    """The IANA names `Area/Place` that this machine knows."""
    names = zoneinfo.available_timezones()
    return tuple(sorted(name for name in names if "/" in name and name[0].isupper() and name[:3] not in ("Etc", "Sys")))


def lexicon_of(documentation: tuple[str, ...], pieces: tuple[str, ...], zones: tuple[str, ...]) -> Lexicon:
    """The catalogue's words together with the given ones."""
    catalogue = read_catalogue("words.toml")
    verbs: dict[str, list[str]] = catalogue.pop("verbs")
    lists = {name: tuple(text.split()) for name, text in catalogue.items()}
    lists["cities"] = tuple(city.replace("_", " ") for city in lists["cities"])
    return Lexicon(
        **lists,
        verbs={verb: tuple(words) for verb, words in verbs.items()},
        documentation=documentation,
        pieces=pieces,
        zones=zones,
    )


@cache
def installed_lexicon() -> Lexicon:
    """The lexicon of this machine: its Python's documentation, its time zones, the tokenizer beside the recipe."""
    return lexicon_of(documentation_words(), vocabulary_pieces(), time_zones())
