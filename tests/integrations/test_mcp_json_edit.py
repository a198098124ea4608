"""Entries come into an `mcp.json` and go, and what people wrote around them stays."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.json_types import JsonObject
from orchestrator.integrations.mcp_json import McpJsonError
from orchestrator.integrations.mcp_json_edit import EditProblem, installed, with_servers, without_servers
from orchestrator.integrations.mcp_json_file import entries_of, install, uninstall

NEW: dict[str, JsonObject] = {"new": {"command": "n"}}

ADDITIONS: list[tuple[str, str]] = [
    ("", '{\n  "mcpServers": {\n    "new": {\n      "command": "n"\n    }\n  }\n}\n'),
    ("{}", '{\n  "mcpServers": {\n    "new": {\n      "command": "n"\n    }\n  }\n}'),
    (
        '{\n  // mine\n  "mcpServers": {\n    "a": {"command": "x"} // last\n  },\n  "k": 1\n}\n',
        '{\n  // mine\n  "mcpServers": {\n    "a": {"command": "x"}, // last\n'
        '    "new": {\n      "command": "n"\n    }\n  },\n  "k": 1\n}\n',
    ),
    (
        '{\n\t"servers": {\n\t\t"a": {"command": "}{,\\""},\n\t\t/* none */\n\t},\n}',
        '{\n\t"servers": {\n\t\t"a": {"command": "}{,\\""},\n\t\t/* none */\n'
        '\t\t"new": {\n\t\t  "command": "n"\n\t\t}\n\t},\n}',
    ),
    (
        '{"mcpServers": {"a": {"command": "x"}}}',
        '{"mcpServers": {"a": {"command": "x"},\n  "new": {\n    "command": "n"\n  }\n}}',
    ),
    (
        '{"mcpServers": {"NEW": {"command": "old", "args": []} /* kept */, "b": {}}}',
        '{"mcpServers": {"new": {\n  "command": "n"\n} /* kept */, "b": {}}}',
    ),
]


@pytest.mark.parametrize(("before", "after"), ADDITIONS)
def test_an_entry_comes_and_everything_else_stays(before: str, after: str) -> None:
    assert with_servers(before, NEW) == after
    assert installed(after)["new"] == NEW["new"]


REMOVALS: list[tuple[str, str]] = [
    ('{"mcpServers": {"a": {"x": 1}, "b": {}}}', '{"mcpServers": { "b": {}}}'),
    ('{"mcpServers": {"b": {}, "A": {"x": 1}}}', '{"mcpServers": {"b": {}}}'),
    ('{"mcpServers": {"a": {"x": 1}}}', '{"mcpServers": {}}'),
    ('{"mcpServers": {"a": {"x": 1},}}', '{"mcpServers": {}}'),
    (
        '{\n  "mcpServers": {\n    // first\n    "a": {\n      "x": 1\n    },\n    "b": {} // second\n  }\n}',
        '{\n  "mcpServers": {\n    // first\n    "b": {} // second\n  }\n}',
    ),
    (
        '{\n  "servers": {\n    "b": {}, // kept, it is\n    "a": {}\n  }\n}',
        '{\n  "servers": {\n    "b": {} // kept, it is\n  }\n}',
    ),
    ('{"mcpServers": {"b": {}}}', '{"mcpServers": {"b": {}}}'),
]


@pytest.mark.parametrize(("before", "after"), REMOVALS)
def test_an_entry_goes_and_everything_else_stays(before: str, after: str) -> None:
    assert without_servers(before, ["a"]) == after
    assert "a" not in installed(after)


@pytest.mark.parametrize("text", ["{", "[]", '{"mcpServers": []}', '{"mcpServers": {} "x"}'])
def test_what_is_no_mcp_json_is_not_changed(text: str) -> None:
    with pytest.raises(EditProblem):
        with_servers(text, NEW)
    with pytest.raises(EditProblem):
        without_servers(text, ["a"])


_labels = st.text('abAB_-é"\\{,/*', min_size=1, max_size=4)
_entries = st.dictionaries(st.sampled_from(["command", "k"]), st.text('x"{},:/*\\\n', max_size=6), max_size=2)
_gaps = st.sampled_from(["", " ", "\n  ", " // {,\n ", '/* } , " */'])


@given(st.data())
def test_any_sequence_of_changes_leaves_what_it_should(data: st.DataObject) -> None:
    def gap() -> str:
        return data.draw(_gaps)

    there: dict[str, object] = dict(data.draw(st.dictionaries(_labels, _entries, max_size=3)))
    # Labels that mean the same cannot stand in one file.
    there = {label: entry for label, entry in there.items() if label == label.lower().replace("_", "-")}
    members = [f"{gap()}{json.dumps(label)}{gap()}:{gap()}{json.dumps(entry)}{gap()}" for label, entry in there.items()]
    trailing = "," if members and data.draw(st.booleans()) else ""
    text = f'{gap()}{{{gap()}"k"{gap()}: 1,{gap()}"mcpServers":{gap()}{{{",".join(members)}{trailing}{gap()}}}{gap()}}}{gap()}'
    assert installed(text) == there
    for _ in range(3):
        label = data.draw(st.sampled_from([*there, "new"]))
        if data.draw(st.booleans()):
            there[label] = {"command": "n"}
            text = with_servers(text, {label: {"command": "n"}})
        else:
            there.pop(label, None)
            text = without_servers(text, [label])
        assert installed(text) == there


def test_a_new_file_is_its_owners_alone_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "new" / "mcp.json"
    assert install(file, NEW) is None
    assert (entries_of(file), file.stat().st_mode & 0o777) == (NEW, 0o600)
    file.chmod(0o644)
    assert uninstall(file, ["NEW"]) is None
    assert (entries_of(file), file.stat().st_mode & 0o777) == ({}, 0o644)
    assert [path.name for path in file.parent.iterdir()] == ["mcp.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "mcp.json").symlink_to("real.json")
    install(tmp_path / "mcp.json", NEW)
    assert (tmp_path / "mcp.json").is_symlink()
    assert entries_of(tmp_path / "real.json") == NEW


def test_a_file_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text("{oops")
    with pytest.raises(McpJsonError, match="mend it first"):
        install(file, NEW)
    assert file.read_text() == "{oops"


def test_what_cannot_be_changed_in_place_is_written_anew_and_the_old_file_kept(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    text = '{"mcpServers": {"new": {"command": "1"}, "b": {}, "new": {"command": "2"}}}'
    file.write_text(text)
    backup = install(file, NEW)
    assert backup is not None
    assert backup.read_text() == text
    assert entries_of(file) == {"b": {}, **NEW}
