from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from notes_mcp.server import create_server
from notes_mcp.store import NoteStore

from tests.plugins.plugin_processes import over_http, over_stdio, text_of

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
THEN = "2026-03-01T12:00:00+00:00"


@pytest.fixture
def store(tmp_path: Path) -> Generator[NoteStore]:
    with NoteStore(tmp_path / "notes.db") as store:
        store.save("garden", "Water the roses", "home", NOW)
        yield store


def notes(store: NoteStore) -> Client:
    return Client(create_server(store, lambda: NOW))


@pytest.mark.parametrize(
    ("tool", "arguments", "text", "structured"),
    [
        (
            "save_note",
            {"title": "Budget", "text": "Rent is 900", "tags": "home, money"},
            "Saved the note 'Budget'.",
            {"title": "Budget", "characters": 11, "tags": ["home", "money"], "changed": True},
        ),
        (
            "save_note",
            {"title": "Garden", "text": "Water the roses", "tags": "home"},
            "The note 'garden' is saved already.",
            {"title": "garden", "characters": 15, "tags": ["home"], "changed": False},
        ),
        (
            "read_note",
            {"title": "Garden"},
            "Water the roses",
            {"title": "garden", "text": "Water the roses", "tags": ["home"], "created": THEN, "updated": THEN},
        ),
        (
            "search_notes",
            {"query": "rose"},
            "garden: Water the roses",
            {"notes": [{"title": "garden", "excerpt": "Water the roses", "tags": ["home"]}]},
        ),
        ("search_notes", {"query": " milk "}, "No note mentions 'milk'.", {"notes": []}),
        (
            "list_notes",
            {},
            "garden [home]",
            {"found": 1, "page": 1, "notes": [{"title": "garden", "tags": ["home"], "updated": THEN}]},
        ),
        ("list_notes", {"tag": "work"}, "There are 0 notes with the tag work.", {"found": 0, "page": 1, "notes": []}),
        ("list_notes", {"page": 2}, "There are 1 notes.", {"found": 1, "page": 2, "notes": []}),
        (
            "append_note",
            {"title": "garden", "text": "Mow the lawn"},
            "Added to the note 'garden'.",
            {"title": "garden", "characters": 28, "tags": ["home"], "changed": True},
        ),
        (
            "update_note",
            {"title": "garden", "text": "Mow the lawn"},
            "Updated the note 'garden'.",
            {"title": "garden", "characters": 12, "tags": ["home"], "changed": True},
        ),
        ("delete_note", {"title": "garden"}, "Deleted the note 'garden'.", {"title": "garden"}),
    ],
)
async def test_a_tool_answers_in_one_short_text_and_in_structure(
    store: NoteStore, tool: str, arguments: dict[str, Any], text: str, structured: dict[str, Any]
) -> None:
    async with notes(store) as client:
        result = await client.call_tool(tool, arguments)
    assert (text_of(result), result.structured_content, result.is_error) == (text, structured, False)


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("read_note", {"title": "gardn"}, "Error: There is no note titled 'gardn'. Did you mean 'garden'?"),
        (
            "save_note",
            {"title": "garden", "text": "Mow the lawn"},
            "Error: There is a note titled 'garden' already. Use append_note or update_note, or another title.",
        ),
        ("save_note", {"title": "Budget"}, "Error: text is missing. save_note takes title, text, tags."),
        ("save_note", {"title": "a", "text": "b\0"}, "Error: The text has a NUL character. Leave it out."),
        ("search_notes", {"query": ""}, "Error: The query is empty. Give a word to search for."),
        ("search_notes", {"text": "rose"}, "Error: search_notes has no argument 'text'. It takes query."),
        ("list_notes", {"page": 0}, "Error: page should be greater than or equal to 1. list_notes takes tag, page."),
        (
            "list_notes",
            {"page": 10**30},
            "Error: page should be less than or equal to 10000. list_notes takes tag, page.",
        ),
    ],
)
async def test_a_call_that_does_not_fit_is_a_failed_result_that_says_what_to_do_and_changes_nothing(
    store: NoteStore, tool: str, arguments: dict[str, Any], text: str
) -> None:
    async with notes(store) as client:
        result = await client.call_tool(tool, arguments)
    assert (text_of(result), result.structured_content, result.is_error) == (text, None, True)
    assert ([heading.title for heading in store.headings("", 0, 10)[0]], store.read("garden").text) == (
        ["garden"],
        "Water the roses",
    )


async def test_a_long_list_goes_on_on_the_next_page(store: NoteStore) -> None:
    for number in range(51):
        store.save(f"note {number}", "text", "many", NOW)
    async with notes(store) as client:
        pages = [text_of(await client.call_tool("list_notes", {"tag": "many", "page": page})) for page in (1, 2)]
    assert [page.splitlines()[-1] for page in pages] == ["and 1 more on page 2", "note 0 [many]"]


async def test_a_crash_of_a_tool_tells_the_client_nothing_from_inside(
    store: NoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: str) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(store, "read", crash)
    async with notes(store) as client:
        result = await client.call_tool("read_note", {"title": "garden"})
    assert (text_of(result), result.is_error) == ("Error executing tool read_note", True)


async def test_the_marks_of_a_tool_say_what_it_does_to_the_notes(store: NoteStore) -> None:
    async with notes(store) as client:
        tools = (await client.list_tools()).tools
    marks = {
        tool.name: (
            tool.annotations.read_only_hint,
            tool.annotations.destructive_hint,
            tool.annotations.idempotent_hint,
            tool.annotations.open_world_hint,
        )
        for tool in tools
        if tool.annotations is not None
    }
    assert marks == {
        "save_note": (False, False, True, False),
        "read_note": (True, False, True, False),
        "search_notes": (True, False, True, False),
        "list_notes": (True, False, True, False),
        "append_note": (False, False, False, False),
        "update_note": (False, True, True, False),
        "delete_note": (False, True, True, False),
    }


async def test_the_installed_command_keeps_notes_from_one_process_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    async with over_stdio("notes-mcp", "--file", str(path)) as client:
        saved = await client.call_tool("save_note", {"title": "garden", "text": "Water the roses"})
    async with over_stdio("notes-mcp", environment={"NOTES_FILE": str(path)}, mode="legacy") as client:
        read = await client.call_tool("read_note", {"title": "garden"})
    assert (text_of(saved), text_of(read)) == ("Saved the note 'garden'.", "Water the roses")


async def test_without_a_file_named_the_notes_are_in_the_users_data_folder(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data"), "LOCALAPPDATA": str(tmp_path)}
    async with over_stdio("notes-mcp", environment=environment) as client:
        await client.call_tool("save_note", {"title": "garden", "text": "Water the roses"})
    assert files_under(tmp_path) == ["notes.db"]


def files_under(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("notes-mcp/*") if path.is_file()]


async def test_clients_over_http_share_the_notes(tmp_path: Path) -> None:
    async with (
        over_http("notes-mcp", "--file", str(tmp_path / "notes.db")) as url,
        Client(url) as one,
        Client(url, mode="legacy") as other,
    ):
        await one.call_tool("save_note", {"title": "garden", "text": "Water the roses"})
        found = await other.call_tool("search_notes", {"query": "roses"})
        assert text_of(found) == "garden: Water the roses"
