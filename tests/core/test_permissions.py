"""Permissions as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.permissions import (
    ALL_TOOLS,
    PERMISSIONS,
    allows,
    permission_problem,
    plugin_tools,
    tool_is_granted,
)


@pytest.mark.parametrize(
    "text", [*PERMISSIONS, "plugins:mcp/clock", "plugins:mcp/*", "plugins:mcp/notes/read_*", "plugins:mcp/a/b/c"]
)
def test_these_are_permissions(text: str) -> None:
    assert permission_problem(text) is None


@pytest.mark.parametrize("text", ["", "fly", "Chat", "chat ", "models", "plugin:mcp/clock"])
def test_a_word_that_is_no_permission_is_told_which_there_are(text: str) -> None:
    known = "chat, models.read, models.manage, plugins, ephemeral_mcp, audit.read, audit.read_all, admin"
    expected = f"There is no permission '{text}', only: {known}, and 'plugins:mcp/LABEL/TOOL'."
    assert permission_problem(text) == expected


@pytest.mark.parametrize("text", ["plugins:", "plugins:clock", "plugins:mcp/", "plugins:mcp", "plugins:mcp/clock/"])
def test_a_grant_that_names_no_plugin_is_told_how_one_is_written(text: str) -> None:
    problem = permission_problem(text)
    assert problem is not None and problem.startswith(f"'{text}' names no plugin. Write 'plugins:mcp/LABEL'")


def test_admin_may_do_everything_and_others_what_they_hold() -> None:
    assert all(allows({"admin"}, permission) for permission in PERMISSIONS)
    for held in set(PERMISSIONS) - {"admin"}:
        assert [permission for permission in PERMISSIONS if allows({held}, permission)] == [held]
    assert [permission for permission in PERMISSIONS if allows({"plugins:mcp/clock"}, permission)] == ["plugins"]
    assert not any(allows((), permission) for permission in PERMISSIONS)


@pytest.mark.parametrize(
    ("held", "plugin", "tools"),
    [
        ({"admin"}, "mcp/clock", ALL_TOOLS),
        ({"plugins"}, "mcp/clock", ALL_TOOLS),
        ({"chat", "ephemeral_mcp"}, "mcp/clock", ()),
        ({"plugins:mcp/clock"}, "mcp/clock", ALL_TOOLS),
        ({"plugins:mcp/clock"}, "mcp/clocks", ()),
        ({"plugins:mcp/My_Notes"}, "mcp/my-notes", ALL_TOOLS),
        ({"plugins:mcp/clock"}, "MCP/Clock", ALL_TOOLS),
        ({"plugins:mcp/*"}, "mcp/anything", ALL_TOOLS),
        ({"plugins:mcp/notes/read_*"}, "mcp/notes", ("read_*",)),
        ({"plugins:mcp/notes/read_*", "plugins:mcp/no*/list"}, "mcp/notes", ("list", "read_*")),
        ({"plugins:mcp/notes/read_*", "plugins:mcp/notes"}, "mcp/notes", ALL_TOOLS),
        ({"plugins:mcp/notes/a/b"}, "mcp/notes", ("a/b",)),
    ],
)
def test_a_grant_is_of_a_plugin_and_of_tools(held: set[str], plugin: str, tools: tuple[str, ...]) -> None:
    assert plugin_tools(held, plugin) == tools


def test_a_tool_is_granted_by_its_own_name_or_by_a_pattern_and_its_case_counts() -> None:
    assert [tool_is_granted(("read_*", "list"), tool) for tool in ("read_note", "list", "lists", "Read_note")] == [
        True,
        True,
        False,
        False,
    ]
    assert not tool_is_granted((), "read_note")


@given(st.sets(st.sampled_from([*PERMISSIONS, "plugins:mcp/a", "plugins:mcp/b/x*"])), st.text())
def test_more_permissions_never_allow_less(held: set[str], tool: str) -> None:
    for more in PERMISSIONS:
        for plugin in ("mcp/a", "mcp/b"):
            before, after = plugin_tools(held, plugin), plugin_tools(held | {more}, plugin)
            assert not tool_is_granted(before, tool) or tool_is_granted(after, tool)
