"""Offers of those tools alone that say of themselves that they change nothing, or of the others."""

from dataclasses import replace

import pytest

from orchestrator.core import commands as c
from orchestrator.core import inputs as i
from orchestrator.core.request import PluginRequest
from orchestrator.core.tools import ToolAnnotations
from tests.core.dialogue import ADD, PING, Dialogue, asked, opened

LOOK = replace(PING, name="look", annotations=ToolAnnotations(read_only=True))
WRITE = replace(PING, name="write", annotations=ToolAnnotations(read_only=False))


@pytest.mark.parametrize(
    ("wanted", "names"),
    [(None, ["look", "write", "add"]), (True, ["look"]), (False, ["write", "add"])],
)
def test_a_tool_without_the_hint_is_not_read_only(wanted: bool | None, names: list[str]) -> None:
    d = Dialogue(asked(integrations=(PluginRequest("mcp/clock", read_only=wanted),)))
    d.feed(i.Start())
    opening = d.feed(opened(LOOK, WRITE, ADD))[0]
    assert isinstance(opening, c.OpenResponse)
    assert [tool.name for tool in opening.offered] == names
