"""The notes' tools: each hands its arguments to the store and writes down what came of it."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from mcp_types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, Field

from notes_mcp import __version__
from notes_mcp.errors import NotesError
from notes_mcp.note import MOST_NOTES, Note
from notes_mcp.store import NoteStore
from notes_mcp.tool_server import PlainToolServer, ToolEntry, answer

INSTRUCTIONS = (
    "Keeps notes that last. Search before you save, append to a note that exists, and save what is worth knowing later."
)
PAGE_LENGTH = 50

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
# The same note saved again changes nothing.
ADDS_ONCE = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
OVERWRITES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)

Title = Annotated[str, Field(description="The title of the note")]
Tags = Annotated[str, Field(description="Tags with commas between them, for example home,garden")]


class NoteAnswer(BaseModel):
    """A note."""

    title: str
    text: str
    tags: list[str]
    created: str
    updated: str


class WrittenAnswer(BaseModel):
    """A note that was written: its length in characters, and whether anything changed."""

    title: str
    characters: int
    tags: list[str]
    changed: bool


class DeletedAnswer(BaseModel):
    """A note that is gone."""

    title: str


class HeadingAnswer(BaseModel):
    """A note without its text."""

    title: str
    tags: list[str]
    updated: str


class ListAnswer(BaseModel):
    """A page of the notes, and how many there are in all."""

    found: int
    page: int
    notes: list[HeadingAnswer]


class MatchAnswer(BaseModel):
    """A note that a search found."""

    title: str
    excerpt: str
    tags: list[str]


class SearchAnswer(BaseModel):
    """The notes that a search found, the best first."""

    notes: list[MatchAnswer]


def create_server(store: NoteStore, now: Callable[[], datetime]) -> PlainToolServer:
    """The notes of `store` as an MCP server. `now` gives aware datetimes."""
    tools = NoteTools(store, now)
    # The order counts: a small model leans to some places in the list.
    entries = (
        ToolEntry(tools.list_notes, "List the notes", "List the titles of the saved notes", READ_ONLY),
        ToolEntry(tools.search_notes, "Search the notes", "Search the saved notes for words", READ_ONLY),
        ToolEntry(tools.append_note, "Add to a note", "Add text to the end of a note", ADDS),
        ToolEntry(tools.save_note, "Save a note", "Save a new note", ADDS_ONCE),
        ToolEntry(tools.update_note, "Replace a note", "Replace the text of a note", OVERWRITES),
        ToolEntry(tools.read_note, "Read a note", "Read a note by its title", READ_ONLY),
        ToolEntry(tools.delete_note, "Delete a note", "Delete a note", OVERWRITES),
    )
    return PlainToolServer(
        "notes-mcp", title="Notes", version=__version__, instructions=INSTRUCTIONS, entries=entries, expected=NotesError
    )


class NoteTools:
    """The tools by their names on the wire. They are plain functions: the SDK runs them on threads, since the file may make them wait."""

    def __init__(self, store: NoteStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def save_note(self, title: Title, text: str, tags: Tags = "") -> Annotated[CallToolResult, WrittenAnswer]:
        """Saves a note under a title that no other note has."""
        note, new = self._store.save(title, text, tags, self._now())
        return _written(
            f"Saved the note '{note.title}'." if new else f"The note '{note.title}' is saved already.", note, new
        )

    def read_note(self, title: Title) -> Annotated[CallToolResult, NoteAnswer]:
        """The text of a note."""
        note = self._store.read(title)
        structured = NoteAnswer(
            title=note.title,
            text=note.text,
            tags=list(note.tags),
            created=note.created.isoformat(),
            updated=note.updated.isoformat(),
        )
        return answer(note.text, structured)

    def search_notes(
        self, query: Annotated[str, Field(description="A few words")]
    ) -> Annotated[CallToolResult, SearchAnswer]:
        """The notes that fit the query best."""
        matches = self._store.search(query)
        lines = [f"{match.title}: {match.excerpt}" for match in matches] or [f"No note mentions '{query.strip()}'."]
        notes = [MatchAnswer(title=match.title, excerpt=match.excerpt, tags=list(match.tags)) for match in matches]
        return answer("\n".join(lines), SearchAnswer(notes=notes))

    def list_notes(
        self,
        tag: Annotated[str, Field(description="Only notes with this tag")] = "",
        page: Annotated[int, Field(description=f"{PAGE_LENGTH} notes a page", ge=1, le=MOST_NOTES)] = 1,
    ) -> Annotated[CallToolResult, ListAnswer]:
        """The titles, the last changed note first."""
        headings, found = self._store.headings(tag, (page - 1) * PAGE_LENGTH, PAGE_LENGTH)
        lines = [
            f"{heading.title} [{', '.join(heading.tags)}]" if heading.tags else heading.title for heading in headings
        ]
        if found > page * PAGE_LENGTH:
            lines.append(f"and {found - page * PAGE_LENGTH} more on page {page + 1}")
        if not lines:
            lines.append(f"There are {found} notes{f' with the tag {tag.strip()}' if tag.strip() else ''}.")
        notes = [
            HeadingAnswer(title=heading.title, tags=list(heading.tags), updated=heading.updated.isoformat())
            for heading in headings
        ]
        return answer("\n".join(lines), ListAnswer(found=found, page=page, notes=notes))

    def append_note(self, title: Title, text: str) -> Annotated[CallToolResult, WrittenAnswer]:
        """Adds a line to a note."""
        note = self._store.append(title, text, self._now())
        return _written(f"Added to the note '{note.title}'.", note, True)

    def update_note(self, title: Title, text: str, tags: Tags = "") -> Annotated[CallToolResult, WrittenAnswer]:
        """Replaces a note's text; its tags stay unless new ones are given."""
        note = self._store.update(title, text, tags, self._now())
        return _written(f"Updated the note '{note.title}'.", note, True)

    def delete_note(self, title: Title) -> Annotated[CallToolResult, DeletedAnswer]:
        """Deletes a note for good."""
        note = self._store.delete(title)
        return answer(f"Deleted the note '{note.title}'.", DeletedAnswer(title=note.title))


def _written(text: str, note: Note, changed: bool) -> CallToolResult:
    structured = WrittenAnswer(title=note.title, characters=len(note.text), tags=list(note.tags), changed=changed)
    return answer(text, structured)
