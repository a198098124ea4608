"""Several processes on one notes file, and processes that die."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from mcp import Client
from notes_mcp.store import NoteStore

from tests.plugins.plugin_processes import over_stdio, text_of

WRITE_WITHOUT_END = """
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from notes_mcp.store import NoteStore

store = NoteStore(Path(sys.argv[1]))
store.save("log", "begin", "", datetime.now(UTC))
for number in count():
    store.save(f"note {number}", f"text {number} " * 500, "", datetime.now(UTC))
    store.append("log", f"saved {number}", datetime.now(UTC))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""

OPEN_AND_SAVE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from notes_mcp.store import NoteStore

sys.stdin.readline()
with NoteStore(Path(sys.argv[1])) as store:
    store.save(sys.argv[2], "text", "", datetime.now(UTC))
"""


@pytest.mark.anyio
async def test_two_servers_that_write_one_file_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    said: list[str] = []

    async def write(client: Client, name: str, number: int) -> None:
        saved = await client.call_tool("save_note", {"title": f"{name} {number}", "text": f"by {name}"})
        added = await client.call_tool("append_note", {"title": "shared", "text": f"{name} {number}"})
        said.extend((text_of(saved), text_of(added)))

    async with (
        over_stdio("notes-mcp", "--file", str(path)) as one,
        over_stdio("notes-mcp", "--file", str(path)) as other,
    ):
        await one.call_tool("save_note", {"title": "shared", "text": "begin"})
        async with anyio.create_task_group() as writers:
            for number in range(20):
                writers.start_soon(write, one, "one", number)
                writers.start_soon(write, other, "other", number)
        shared = await other.call_tool("read_note", {"title": "shared"})

    everything = [f"{name} {number}" for name in ("one", "other") for number in range(20)]
    assert sorted(said) == sorted(
        [f"Saved the note '{title}'." for title in everything] + ["Added to the note 'shared'."] * 40
    )
    assert sorted(text_of(shared).splitlines()) == sorted(["begin", *everything])
    with NoteStore(path) as store:
        headings, count = store.headings("", 0, 100)
    assert (sorted(heading.title for heading in headings), count) == (sorted([*everything, "shared"]), 41)


@pytest.mark.anyio
async def test_of_two_servers_that_save_one_title_at_once_one_is_told_that_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    said: list[tuple[bool, str]] = []

    async def save(client: Client, text: str) -> None:
        result = await client.call_tool("save_note", {"title": "garden", "text": text})
        said.append((result.is_error, text_of(result)))

    async with (
        over_stdio("notes-mcp", "--file", str(path)) as one,
        over_stdio("notes-mcp", "--file", str(path)) as other,
        anyio.create_task_group() as writers,
    ):
        writers.start_soon(save, one, "roses")
        writers.start_soon(save, other, "lawn")
    assert sorted(said) == [
        (False, "Saved the note 'garden'."),
        (True, "Error: There is a note titled 'garden' already. Use append_note or update_note, or another title."),
    ]


def test_processes_that_make_the_same_new_file_at_once_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    titles = [f"process {number}" for number in range(6)]
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN_AND_SAVE, str(path), title], stdin=subprocess.PIPE, text=True)
        for title in titles
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    try:
        for process in processes:
            process.communicate(timeout=60)
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(titles)
    with NoteStore(path) as store:
        assert sorted(heading.title for heading in store.headings("", 0, 100)[0]) == titles


@pytest.mark.parametrize("lines_heard", [1, 8, 40])
def test_a_writer_that_is_killed_leaves_every_note_that_it_told_of_and_none_in_half(
    tmp_path: Path, lines_heard: int
) -> None:
    path = tmp_path / "notes.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_WITHOUT_END, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            told = [process.stdout.readline() for _ in range(lines_heard)]
        finally:
            process.kill()
        told += [line for line in process.stdout if line.endswith("\n")]
    assert told == [f"{number}\n" for number in range(len(told))]
    check_after_kill(path, len(told))


def check_after_kill(path: Path, told: int) -> None:
    with NoteStore(path) as store:
        _, count = store.headings("", 0, 1)
        saved = count - 1
        # What the writer was at when it died may have been saved, and not told.
        assert saved in (told, told + 1)
        assert {store.read(f"note {number}").text for number in range(saved)} == {
            text_of_note(number) for number in range(saved)
        }
        log = store.read("log").text.splitlines()
        assert log in [["begin", *(f"saved {number}" for number in range(logged))] for logged in (told, saved)]
        assert [match.title for match in store.search(f"saved {told - 1}")] == ["log"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")


def text_of_note(number: int) -> str:
    return (f"text {number} " * 500).strip()
