"""Many ids in one value: to render and parse a placeholder for each takes longer than to look them up."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, any_, bindparam, func, select


def is_listed(dialect: str, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Whether `column` is one of the ids that are given as the parameter `name`, made by `id_list`."""
    if dialect == "sqlite":
        given = func.json_each(bindparam(name, type_=Text)).table_valued("value")
        return column.in_(select(given.c.value))
    return column == any_(bindparam(name, type_=ARRAY(Text)))


def id_list(dialect: str, ids: Sequence[str]) -> object:
    """The ids as that parameter takes them."""
    return json.dumps(ids) if dialect == "sqlite" else list(ids)
