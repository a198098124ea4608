"""The ids of items: made of the id of their response, so that whoever has one finds the response again."""

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

RESPONSE: Final = "resp_"
_ITEM: Final = re.compile(r"(msg|rs|fc|fco|mcp|mcpr|mcpa|mcpl|cmp)_([0-9a-f]{48})_(i?)([0-9a-z]{1,24})")

ItemKind: TypeAlias = Literal["msg", "rs", "fc", "fco", "mcp", "mcpr", "mcpa", "mcpl", "cmp"]


@dataclass(frozen=True, slots=True)
class ItemId:
    """What an id says: of which response, whether of its input, and which of its items of that kind.

    `place` counts texts for messages and reasoning, servers for their lists, items for input; for calls it is the
    part of their call id that is no prefix.
    """

    kind: str
    response_id: str
    place: str
    of_input: bool = False


def item_id(kind: ItemKind, response_id: str, place: int | str) -> str:
    """The id of an item of the output."""
    return f"{kind}_{response_id.removeprefix(RESPONSE)}_{place}"


def input_item_id(kind: ItemKind, response_id: str, place: int) -> str:
    """The id of an item of the input."""
    return item_id(kind, response_id, f"i{place}")


def call_item_id(kind: ItemKind, response_id: str, call_id: str) -> str:
    """The id of an item that is about a call."""
    return item_id(kind, response_id, call_id.removeprefix("call_"))


def parse_item_id(text: str) -> ItemId | None:
    """What `text` says, None where no response of ours has such an item."""
    found = _ITEM.fullmatch(text)
    return None if found is None else ItemId(found[1], RESPONSE + found[2], found[4], of_input=found[3] == "i")


def call_id_of(item: ItemId) -> str:
    """The id of the call that an item is about."""
    return f"call_{item.place}"
