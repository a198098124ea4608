"""The files that install plugins, merged, and what becomes of an edit that is good, broken or a deletion."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.integrations.mcp_config import ConfigLayer, McpConfigFiles, config_layers
from orchestrator.integrations.mcp_json import McpConfig, McpJsonError, StdioServer, UnusableServer
from orchestrator.ports import PluginFile


def servers(*labels: str, command: str = "x") -> str:
    return json.dumps({"mcpServers": {label: {"command": command} for label in labels}})


def write(path: Path, text: str) -> None:
    """As editors do: a new file that takes the place of the old one, so that it is another version for certain."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


class Files:
    """Three layers in a folder; `flag.json` must be there."""

    def __init__(self, folder: Path) -> None:
        self.user, self.project, self.flag = folder / "user" / "mcp.json", folder / "mcp.json", folder / "flag.json"
        write(self.flag, servers("flag"))
        self.files = McpConfigFiles(
            config_layers(self.user, [self.project], [self.flag], project_required=False), environ={}
        )

    @property
    def plugins(self) -> list[tuple[str, str]]:
        return [(plugin.label, plugin.file.name) for plugin in self.files.config.plugins]

    def state(self, path: Path) -> PluginFile:
        return next(state for state in self.files.state().states if state.path == str(path))


@pytest.fixture
def world(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_layers_are_the_users_the_projects_and_those_of_flags() -> None:
    a, b, c, d = (Path(name) for name in ("/a", "/b", "/c", "/d"))
    assert config_layers(a, [b, c], [d], project_required=False) == (
        ConfigLayer(a, "user"),
        ConfigLayer(b, "project"),
        ConfigLayer(c, "project"),
        ConfigLayer(d, "flag", required=True),
    )
    assert config_layers(a, [b], [a], project_required=True) == (
        ConfigLayer(b, "project", required=True),
        ConfigLayer(a, "flag", required=True),
    )


def test_a_later_file_wins_by_label_and_each_entry_says_where_it_stands(world: Files) -> None:
    write(world.user, servers("mine", "both"))
    write(world.project, servers("BOTH", "flag"))
    world.files.load()
    assert world.plugins == [("mine", "mcp.json"), ("BOTH", "mcp.json"), ("flag", "flag.json")]
    assert world.files.config.plugins[1].file == world.project
    assert world.state(world.user).replaced == ("mcp/both",)
    assert world.state(world.project).replaced == ("mcp/flag",)
    assert world.state(world.flag).replaced == ()
    assert [state.origin for state in world.files.state().states] == ["user", "project", "flag"]


def test_a_file_that_nobody_named_may_be_missing_and_one_that_was_named_may_not(world: Files) -> None:
    world.files.load()
    assert world.plugins == [("flag", "flag.json")]
    assert not world.state(world.user).exists
    world.flag.unlink()
    with pytest.raises(McpJsonError, match=r"flag\.json: the file does not exist"):
        McpConfigFiles([ConfigLayer(world.flag, "flag", required=True)], environ={}).load()


def test_a_broken_file_is_told_at_the_start_and_takes_no_other_down(world: Files) -> None:
    write(world.user, '{\n  "mcpServers": {oops')
    write(world.project, servers("one"))
    config = world.files.load()
    assert [plugin.label for plugin in config.plugins] == ["one", "flag"]
    place = "line 2, column 18"
    told = f"{world.user}: it is not valid JSON (Expecting property name enclosed in double quotes: {place})"
    assert [error.info.message for error in config.errors] == [told]
    assert (world.state(world.user).error, world.files.state().error) == (told, told)
    write(world.user, servers("mine"))
    assert world.files.reload() == (world.user,)
    assert [label for label, _ in world.plugins] == ["mine", "one", "flag"]
    assert world.files.config.errors == ()


def test_a_file_that_was_named_on_the_command_line_is_held_to_the_letter(world: Files) -> None:
    write(world.flag, "{oops")
    with pytest.raises(McpJsonError, match=r"flag\.json: it is not valid JSON"):
        world.files.load()


def test_a_projects_file_that_was_named_must_be_there_and_may_be_broken(tmp_path: Path) -> None:
    def load() -> McpConfig:
        return McpConfigFiles([ConfigLayer(tmp_path / "mcp.json", "project", required=True)], environ={}).load()

    with pytest.raises(McpJsonError, match="does not exist"):
        load()
    (tmp_path / "mcp.json").mkdir()
    with pytest.raises(McpJsonError, match="cannot be read"):
        load()
    (tmp_path / "mcp.json").rmdir()
    write(tmp_path / "mcp.json", "{oops")
    assert len(load().errors) == 1


Edit = Callable[[Files], object]
RELOADS: list[tuple[str, Edit, list[str], list[str], str | None]] = [
    # what is done, which labels count then, which files have changed, what is wrong
    ("nothing", lambda w: None, ["one", "two", "flag"], [], None),
    ("an entry comes", lambda w: write(w.project, servers("one", "two", "new")), ["one", "two", "new", "flag"], ["mcp.json"], None),
    ("an entry goes", lambda w: write(w.project, servers("one")), ["one", "flag"], ["mcp.json"], None),
    ("written again as it was", lambda w: write(w.project, servers("one", "two")), ["one", "two", "flag"], [], None),
    ("touched", lambda w: os.utime(w.project, ns=(1, 1)), ["one", "two", "flag"], [], None),
    ("a file appears", lambda w: write(w.user, servers("mine")), ["mine", "one", "two", "flag"], ["mcp.json"], None),
    ("a file that nobody named goes", lambda w: w.project.unlink(), ["flag"], ["mcp.json"], None),
    ("a named file goes", lambda w: w.flag.unlink(), ["one", "two", "flag"], ["flag.json"], "does not exist"),
    ("it is no JSON", lambda w: write(w.project, "{oops"), ["one", "two", "flag"], ["mcp.json"], "not valid JSON"),
    ("it is cut in the middle", lambda w: write(w.project, servers("one", "two")[:-10]), ["one", "two", "flag"], ["mcp.json"], "not valid JSON"),
    ("it is empty", lambda w: write(w.project, ""), ["one", "two", "flag"], ["mcp.json"], "not valid JSON"),
    ("it is a list", lambda w: write(w.project, "[]"), ["one", "two", "flag"], ["mcp.json"], "must hold a JSON object"),
    ("a label is there twice", lambda w: write(w.project, servers("one", "ONE", "three")), ["one", "three", "flag"], ["mcp.json"], None),
    ("it is not text", lambda w: w.project.write_bytes(b"\xff{}"), ["one", "two", "flag"], ["mcp.json"], "not UTF-8"),
    ("it is a folder", lambda w: (w.project.unlink(), w.project.mkdir()), ["one", "two", "flag"], ["mcp.json"], "cannot be read"),
    ("one entry is broken", lambda w: write(w.project, '{"mcpServers": {"one": {"command": "x"}, "two": {}}}'), ["one", "two", "flag"], ["mcp.json"], None),
]  # fmt: skip


@pytest.mark.parametrize(("what", "edit", "labels", "changed", "error"), RELOADS, ids=[row[0] for row in RELOADS])
def test_what_becomes_of_an_edit(
    world: Files, what: str, edit: Edit, labels: list[str], changed: list[str], error: str | None
) -> None:
    write(world.project, servers("one", "two"))
    world.files.load()
    edit(world)
    assert [path.name for path in world.files.reload()] == changed
    assert [label for label, _ in world.plugins] == labels
    told = world.files.state().error
    assert (told is None) if error is None else (told is not None and error in told)
    assert world.files.reload() == ()
    assert not world.files.has_changed()


def test_a_broken_edit_is_mended_by_the_next_and_by_taking_it_back(world: Files) -> None:
    write(world.project, servers("one"))
    world.files.load()
    for mended in (servers("two"), servers("two")):
        write(world.project, "{oops")
        world.files.reload()
        assert world.files.error(world.project) is not None
        loaded_at = world.state(world.project).loaded_at
        write(world.project, mended)
        assert world.files.reload() == (world.project,)
        assert world.files.error(world.project) is None
        assert [label for label, _ in world.plugins] == ["two", "flag"]
        assert world.state(world.project).loaded_at != loaded_at


def test_the_edits_of_other_files_count_while_one_is_broken(world: Files) -> None:
    write(world.project, servers("one"))
    world.files.load()
    write(world.project, "{oops")
    write(world.user, servers("mine"))
    assert set(world.files.reload()) == {world.project, world.user}
    assert [label for label, _ in world.plugins] == ["mine", "one", "flag"]


def test_an_error_tells_nothing_of_the_values(world: Files) -> None:
    world.files.load()
    write(world.project, '{"mcpServers": {"a": {"command": "x", "env": {"KEY": "hush"}}, oops}}')
    world.files.reload()
    assert "hush" not in repr(world.files.state())


def test_another_version_of_a_file_of_variables_changes_the_entry_that_names_it_and_no_other(world: Files) -> None:
    entries = {"with": {"command": "x", "envFile": "keys.env"}, "without": {"command": "x"}}
    write(world.project, json.dumps({"mcpServers": entries}))
    keys = world.project.with_name("keys.env")
    write(keys, "KEY=old")
    before = {plugin.label: plugin for plugin in world.files.load().plugins}
    assert not world.files.has_changed()
    assert keys in world.files.watched_paths
    write(keys, "KEY=new")
    assert world.files.has_changed()
    assert world.files.reload() == (world.project,)
    after = {plugin.label: plugin for plugin in world.files.config.plugins}
    assert after["without"] == before["without"]
    assert not after["with"].is_same_server(before["with"])
    assert isinstance(after["with"].server, StdioServer) and after["with"].server.env == {"KEY": "new"}
    assert not world.files.has_changed()


def test_a_file_of_variables_that_is_missing_or_wrong_is_looked_for_until_it_is_right(world: Files) -> None:
    write(world.project, json.dumps({"mcpServers": {"x": {"command": "x", "envFile": "keys.env"}}}))
    keys = world.project.with_name("keys.env")

    def problem() -> str | None:
        (plugin,) = (plugin for plugin in world.files.config.plugins if plugin.label == "x")
        return plugin.server.error.problem if isinstance(plugin.server, UnusableServer) else None

    world.files.load()
    assert problem() == f"the file {keys} cannot be read (No such file or directory)"
    write(keys, "no variable")
    assert world.files.reload() == (world.project,)
    assert problem() == f"line 1 of {keys} is not NAME=value"
    write(keys, "KEY=a\0b")
    assert world.files.reload() == (world.project,)
    assert problem() == "holds a NUL character"
    write(keys, "KEY=new")
    assert world.files.reload() == (world.project,)
    assert problem() is None
    keys.unlink()
    assert world.files.reload() == (world.project,)
    assert problem() == f"the file {keys} cannot be read (No such file or directory)"
