import sqlite3
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from notes_mcp import store as store_module
from notes_mcp.errors import NotesError
from notes_mcp.note import Note, NoteHeading, NoteMatch, title_key
from notes_mcp.store import NoteStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "notes.db"


@pytest.fixture
def store(path: Path) -> Generator[NoteStore]:
    with NoteStore(path) as store:
        yield store


def test_a_saved_note_is_read_by_another_store_of_the_same_file(store: NoteStore, path: Path) -> None:
    note = Note("Garden", "Water the roses", ("home", "plants"), NOW, NOW)
    assert store.save(" Garden ", "Water the roses\n", "plants, Home", NOW) == (note, True)
    with NoteStore(path) as other:
        assert other.read("garden") == note


def test_only_the_owner_may_read_the_file_and_what_lies_beside_it(store: NoteStore, path: Path) -> None:
    store.save("garden", "roses", "", NOW)
    assert {file.name: S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {
        "notes.db": 0o600,
        "notes.db-wal": 0o600,
        "notes.db-shm": 0o600,
    }


def test_the_same_note_saved_again_changes_nothing(store: NoteStore) -> None:
    first, _ = store.save("garden", "roses", "home", NOW)
    assert store.save("GARDEN", "roses", "home", LATER) == (first, False)


@pytest.mark.parametrize(("text", "tags"), [("lawn", "home"), ("roses", "")])
def test_another_note_under_a_title_that_is_taken_is_refused_and_the_first_one_stays(
    store: NoteStore, text: str, tags: str
) -> None:
    first, _ = store.save("Garden", "roses", "home", NOW)
    with pytest.raises(NotesError) as raised:
        store.save("garden", text, tags, LATER)
    assert (
        str(raised.value)
        == "There is a note titled 'Garden' already. Use append_note or update_note, or another title."
    )
    assert store.read("garden") == first


def test_an_update_replaces_the_text_and_keeps_the_tags_unless_new_ones_are_given(store: NoteStore) -> None:
    store.save("garden", "roses", "home", NOW)
    assert store.update("Garden", "lawn", "", LATER) == Note("garden", "lawn", ("home",), NOW, LATER)
    assert store.update("garden", "lawn", "work", LATER) == Note("garden", "lawn", ("work",), NOW, LATER)
    assert store.read("garden") == Note("garden", "lawn", ("work",), NOW, LATER)


def test_an_addition_is_a_line_at_the_end(store: NoteStore) -> None:
    store.save("garden", "roses", "home", NOW)
    assert store.append("garden", "lawn", LATER) == Note("garden", "roses\nlawn", ("home",), NOW, LATER)
    assert store.read("garden") == Note("garden", "roses\nlawn", ("home",), NOW, LATER)


def test_an_addition_that_would_make_a_note_too_long_is_refused_and_the_note_stays(store: NoteStore) -> None:
    store.save("garden", "x" * 99_999, "", NOW)
    with pytest.raises(NotesError) as raised:
        store.append("garden", "y", LATER)
    assert str(raised.value) == (
        "The note 'garden' would have 100001 characters, at most 100000 are allowed. Save a new note instead."
    )
    assert store.read("garden") == Note("garden", "x" * 99_999, (), NOW, NOW)


def test_a_deleted_note_is_gone_from_the_list_and_from_the_search(store: NoteStore) -> None:
    note, _ = store.save("garden", "roses", "", NOW)
    assert store.delete("Garden") == note
    assert (store.headings("", 0, 10), store.search("roses")) == (((), 0), ())
    with pytest.raises(NotesError) as raised:
        store.delete("garden")
    assert str(raised.value) == "There is no note titled 'garden'. list_notes shows the titles."


def test_a_title_that_is_nearly_right_is_answered_with_the_right_one(store: NoteStore) -> None:
    for title in ("Garden", "Shopping list", "Budget 2026"):
        store.save(title, "text", "", NOW)
    said: list[str] = []
    for title in ("gardn", "shopping", "2026", "Berlin"):
        with pytest.raises(NotesError) as raised:
            store.read(title)
        said.append(str(raised.value))
    assert said == [
        "There is no note titled 'gardn'. Did you mean 'Garden'?",
        "There is no note titled 'shopping'. Did you mean 'Shopping list'?",
        "There is no note titled '2026'. Did you mean 'Budget 2026'?",
        "There is no note titled 'Berlin'. list_notes shows the titles.",
    ]


def test_no_more_notes_are_taken_than_are_allowed(store: NoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MOST_NOTES", 1)
    store.save("one", "text", "", NOW)
    with pytest.raises(NotesError) as raised:
        store.save("two", "text", "", NOW)
    assert str(raised.value) == "There are 1 notes, at most 1 are allowed. Delete some first."


def test_the_list_goes_from_the_last_changed_to_the_first_by_tag_and_by_page(store: NoteStore) -> None:
    store.save("one", "text", "home", NOW)
    store.save("two", "text", "home-office", NOW)
    store.save("three", "text", "home,garden", NOW)
    store.append("one", "more", LATER)
    one = NoteHeading("one", ("home",), LATER)
    two = NoteHeading("two", ("home-office",), NOW)
    three = NoteHeading("three", ("garden", "home"), NOW)
    assert store.headings("", 0, 10) == ((one, three, two), 3)
    assert store.headings("#Home", 0, 10) == ((one, three), 2)
    assert store.headings("home,garden", 0, 10) == ((three,), 1)
    assert store.headings("", 1, 1) == ((three,), 3)
    assert store.headings("'; --", 0, 10) == ((), 0)


def test_a_search_ranks_notes_with_the_word_in_their_title_first_and_forms_of_a_word_count(store: NoteStore) -> None:
    store.save("Diary", "On Sunday I walked. In the evening I saw a garden from afar, and then it rained.", "", NOW)
    store.save("Gardening", "Water the roses", "", NOW)
    store.save("Budget", "Rent is 900", "", NOW)
    assert store.search("gardens") == (
        NoteMatch("Gardening", "Water the roses", ()),
        NoteMatch("Diary", "…In the evening I saw a garden from afar, and then it rained.", ()),
    )


def test_a_search_for_several_words_falls_back_to_some_of_them(store: NoteStore) -> None:
    store.save("a", "red roses", "", NOW)
    store.save("b", "red bricks", "", NOW)
    assert [match.title for match in store.search("red roses")] == ["a"]
    assert [match.title for match in store.search("roses zebra")] == ["a"]


@pytest.mark.parametrize(
    "query",
    [
        "C++",
        "++",
        "c+",
        "%",
        "_",
        "'",
        '"',
        "a%b",
        "AND",
        "NOT roses OR",
        "title:x",
        "^x*",
        "(",
        "-",
        "日本",
        "本語",
        "é",
    ],
)
def test_signs_and_parts_of_words_are_found_as_they_are_written(store: NoteStore, query: str) -> None:
    store.save("signs", f"before {query}after", "", NOW)
    store.save("other", "nothing here", "", NOW)
    store.save("Japan", "日本語 100%", "", NOW)
    assert "signs" in [match.title for match in store.search(query)]


def test_accents_do_not_count_in_a_search(store: NoteStore) -> None:
    store.save("Café", "crème brûlée", "", NOW)
    assert [[match.title for match in store.search(query)] for query in ("cafe", "creme", "BRÛLÉE")] == [["Café"]] * 3


def test_a_search_shows_at_most_ten_notes(store: NoteStore) -> None:
    for number in range(12):
        store.save(f"note {number}", "roses", "", NOW)
    assert len(store.search("roses")) == 10


@given(st.text(st.characters(codec=None), max_size=500))
def test_any_text_can_be_searched_for(query: str) -> None:
    with TemporaryDirectory() as folder, NoteStore(Path(folder) / "notes.db") as store:
        store.save("title", "text", "tag", NOW)
        try:
            found = store.search(query)
        except NotesError as error:
            assert str(error) == "The query is empty. Give a word to search for."
        else:
            assert {match.title for match in found} <= {"title"}


class StoreMachine(RuleBasedStateMachine):
    """The store against a dictionary that does the same."""

    titles = st.sampled_from(["one", "ONE", "Two words", "drei", "ein\u0308s"])
    texts = st.sampled_from(["red", "blue sky", "red sky"]) | st.text(
        st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20
    ).filter(str.strip)

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "notes.db"
        self.store = NoteStore(self.path)
        self.expected: dict[str, str] = {}

    def teardown(self) -> None:
        self.store.close()
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        self.folder.cleanup()

    @rule(title=titles, text=texts)
    def save(self, title: str, text: str) -> None:
        key = title_key(title)
        if self.expected.get(key, text.strip()) == text.strip():
            self.store.save(title, text, "", NOW)
            self.expected[key] = text.strip()
        else:
            with pytest.raises(NotesError, match="already"):
                self.store.save(title, text, "", NOW)

    @rule(title=titles, text=texts)
    def update(self, title: str, text: str) -> None:
        if title_key(title) in self.expected:
            self.store.update(title, text, "", NOW)
            self.expected[title_key(title)] = text.strip()
        else:
            with pytest.raises(NotesError, match="no note"):
                self.store.update(title, text, "", NOW)

    @rule(title=titles, text=texts)
    def append(self, title: str, text: str) -> None:
        if title_key(title) in self.expected:
            self.store.append(title, text, NOW)
            self.expected[title_key(title)] += "\n" + text.strip()
        else:
            with pytest.raises(NotesError, match="no note"):
                self.store.append(title, text, NOW)

    @rule(title=titles)
    def delete(self, title: str) -> None:
        if self.expected.pop(title_key(title), None) is not None:
            self.store.delete(title)
        else:
            with pytest.raises(NotesError, match="no note"):
                self.store.delete(title)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = NoteStore(self.path)

    @invariant()
    def holds_what_was_saved(self) -> None:
        headings, count = self.store.headings("", 0, 100)
        held = {title_key(heading.title): self.store.read(heading.title).text for heading in headings}
        assert (held, count) == (self.expected, len(self.expected))

    @invariant()
    def finds_what_has_the_word(self) -> None:
        found = {title_key(match.title) for match in self.store.search("sky")}
        assert {key for key, text in self.expected.items() if "sky" in text.split()} <= found <= self.expected.keys()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.commit()


def newer_notes(path: Path) -> None:
    NoteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def text_file(path: Path) -> None:
    path.write_text("Dear diary, this is no database at all. " * 100)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign_database, "The file is a database of another program. Choose another file."),
        (newer_notes, "The notes file was written by a newer version of notes-mcp. Upgrade notes-mcp."),
        (text_file, "The file is not a notes file. Choose another file."),
        (Path.mkdir, "The notes file cannot be opened: Is a directory."),
    ],
)
def test_what_is_no_notes_file_is_refused_and_not_touched(tmp_path: Path, make: object, message: str) -> None:
    assert callable(make)
    path = tmp_path / "file"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(NotesError) as raised:
        NoteStore(path)
    assert str(raised.value) == f"{path}: {message}"
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_file_that_stays_locked_is_said_to_be_in_use_and_nothing_is_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LOCK_SECONDS", 0.05)
    with NoteStore(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        store.save("garden", "roses", "", NOW)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotesError) as raised:
            store.append("garden", "lawn", LATER)
        assert str(raised.value) == "The notes file is in use by another process. Try again."
        # Readers do not wait for writers.
        assert store.read("garden").text == "roses"
        other.execute("ROLLBACK")
        assert store.append("garden", "lawn", LATER).text == "roses\nlawn"


def test_a_change_that_fails_at_its_last_write_leaves_nothing_behind(store: NoteStore, path: Path) -> None:
    note, _ = store.save("garden", "roses", "home", NOW)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TRIGGER refuse AFTER UPDATE ON notes BEGIN SELECT RAISE(ABORT, 'refused'); END")
        other.commit()
        with pytest.raises(sqlite3.IntegrityError, match="refused"):
            store.update("garden", "lawn", "work", LATER)
        assert (store.read("garden"), store.search("lawn")) == (note, ())
        other.execute("DROP TRIGGER refuse")
        other.commit()
    assert store.update("garden", "lawn", "work", LATER) == Note("garden", "lawn", ("work",), NOW, LATER)


def test_a_full_disk_is_said_and_the_notes_stay(store: NoteStore, path: Path) -> None:
    store.save("garden", "roses", "", NOW)
    pages = path.stat().st_size // 4096
    store_connection: sqlite3.Connection = vars(store)["_connection"]
    store_connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NotesError) as raised:
        store.save("long", "word " * 19_000, "", NOW)
    assert str(raised.value) == "The disk is full: nothing was saved."
    assert store.headings("", 0, 10) == ((NoteHeading("garden", (), NOW),), 1)
