import sqlite3
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notes_mcp.errors import NotesError
from notes_mcp.note import clean_tags, clean_text, clean_title, title_key
from notes_mcp.query import all_words, any_word, clean_query, excerpt_around, query_words


@pytest.mark.parametrize(
    ("clean", "value", "cleaned"),
    [
        (clean_title, "  Shopping\n list ", "Shopping list"),
        (clean_title, "x" * 200, "x" * 200),
        (clean_text, "\n one\n\n two \n", "one\n\n two"),
        (clean_text, "x" * 100_000, "x" * 100_000),
        (clean_tags, "Home, #garden,home,, big  plans ", ("big plans", "garden", "home")),
        (clean_tags, "", ()),
        (clean_query, " two \n words ", "two words"),
        (clean_query, "a\0b", "a b"),
        (clean_query, "half \ud83d of a pair", "half ? of a pair"),
    ],
)
def test_what_is_given_is_made_fit(clean: Callable[[str], object], value: str, cleaned: object) -> None:
    assert clean(value) == cleaned


@pytest.mark.parametrize(
    ("clean", "value", "message"),
    [
        (clean_title, " \n", "The title is empty. Give the note a title."),
        (clean_title, "x" * 201, "The title has 201 characters, at most 200 are allowed. Use a shorter one."),
        (clean_title, "a\0b", "The title has a NUL character. Leave it out."),
        (clean_text, "", "The text is empty. Give the note a text."),
        (
            clean_text,
            "x" * 100_001,
            "The text has 100001 characters, at most 100000 are allowed. Split it into several notes.",
        ),
        (clean_text, "half \ud83d of a pair", "The text has characters that are not valid Unicode. Leave them out."),
        (clean_tags, ",".join(map(str, range(21))), "There are 21 tags, at most 20 are allowed."),
        (clean_tags, "x" * 51, "A tag has 51 characters, at most 50 are allowed. Put commas between tags."),
        (clean_query, " ", "The query is empty. Give a word to search for."),
        (clean_query, "x" * 501, "The query has 501 characters, at most 500 are allowed. Use a few words."),
    ],
)
def test_what_cannot_be_made_fit_is_refused_with_what_to_do(
    clean: Callable[[str], object], value: str, message: str
) -> None:
    with pytest.raises(NotesError) as raised:
        clean(value)
    assert str(raised.value) == message


def test_titles_that_differ_in_case_or_width_name_one_note() -> None:
    assert len({title_key(title) for title in ("Straße 1", "STRASSE 1", "strasse \uff11")}) == 1


def test_a_query_is_only_words() -> None:
    words = query_words('C++ AND "null" (NEAR) snake_case null*')
    assert words == ("C", "AND", "null", "NEAR", "snake", "case")
    assert all_words(words) == '"C" AND "AND"* AND "null"* AND "NEAR"* AND "snake"* AND "case"*'
    assert any_word(("to", "gardens")) == '"to" OR "gardens"*'


def test_a_query_of_many_words_uses_the_first_ones() -> None:
    assert query_words(" ".join(f"w{number}" for number in range(100))) == tuple(f"w{number}" for number in range(16))


@given(st.text(max_size=500))
def test_no_query_is_read_as_the_indexs_own_language(query: str) -> None:
    words = query_words(query)
    with sqlite3.connect(":memory:") as connection:
        connection.execute(
            "CREATE VIRTUAL TABLE words USING fts5 (text, tokenize='porter unicode61 remove_diacritics 2')"
        )
        for expression in {all_words(words), any_word(words)} - {""}:
            connection.execute("SELECT * FROM words WHERE words MATCH ?", (expression,)).fetchall()
    connection.close()


@pytest.mark.parametrize(
    ("text", "excerpt"),
    [
        ("a c++ b", "a c++ b"),
        ("one\n\ntwo C++", "one two C++"),
        ("x" * 50 + " C++ " + "y" * 100, "…" + "x" * 25 + " C++ " + "y" * 50 + "…"),
        ("nothing", "nothing"),
    ],
)
def test_an_excerpt_shows_what_stands_around_on_one_line(text: str, excerpt: str) -> None:
    assert excerpt_around(text, "c++") == excerpt
