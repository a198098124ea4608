"""What full-text search means, whatever database looks the words up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.search import (
    BREAK,
    MAX_TERMS,
    MAX_WORD,
    MAX_WORDS,
    Snippet,
    Term,
    matches,
    parse_query,
    snippet,
    words_of,
)


def found(query: str, *texts: str) -> bool:
    return matches(parse_query(query, param="text"), words_of(texts))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("Read /etc/hosts, twice!", ["read", "etc", "hosts", "twice"]),
        ("snake_case CamelCase 2030-01-01", ["snake", "case", "camelcase", "2030", "01", "01"]),
        ("Straße", ["strasse"]),
        ("Éclair naïve", ["eclair", "naive"]),
        ("東京の天気", ["東", "京", "の", "天", "気"]),
        ("Zürich東京", ["zurich", "東", "京"]),
        ("café_au_lait", ["cafe", "au", "lait"]),
        ("हिन्दी", ["हिन्दी".replace("्", "")]),
        ("…—¶", []),
        ("é \N{THAI CURRENCY SYMBOL BAHT}", ["e"]),
        ("x" * 100, ["x" * MAX_WORD]),
        ("é" * 100, ["e" * MAX_WORD]),
    ],
)
def test_a_text_is_found_by_these_words(text: str, words: list[str]) -> None:
    assert words_of([text]) == words


def test_texts_are_kept_apart_so_that_no_phrase_reaches_over() -> None:
    assert words_of(["one two", "three"]) == ["one", "two", BREAK, "three"]
    assert not found('"two three"', "one two", "three")
    assert found('"two three"', "one two three")


def test_only_so_many_words_count() -> None:
    assert len(words_of(["word " * (MAX_WORDS + 5)])) == MAX_WORDS
    assert len(words_of(["word " * MAX_WORDS, "more"])) == MAX_WORDS
    assert words_of(["word " * (MAX_WORDS - 2), "last", "more"])[-2:] == [BREAK, "last"]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("Hello", (Term(("hello",)),)),
        ("one two", (Term(("one",)), Term(("two",)))),
        ('"one two" three', (Term(("one", "two")), Term(("three",)))),
        ("begin*", (Term(("begin",), prefix=True),)),
        ('"one beg"*', (Term(("one", "beg"), prefix=True),)),
        ('"never closed', (Term(("never", "closed")),)),
        ("a-b", (Term(("a", "b")),)),
        ("?? x", (Term(("x",)),)),
        ("NEAR(a OR b)", (Term(("near", "a")), Term(("or",)), Term(("b",)))),
    ],
)
def test_a_query_asks_for(query: str, terms: tuple[Term, ...]) -> None:
    assert parse_query(query, param="text") == terms


@pytest.mark.parametrize("query", ["", "  ", "?!", '""', "*"])
def test_a_query_without_a_word_is_refused(query: str) -> None:
    with pytest.raises(OrchestratorError) as raised:
        parse_query(query, param="text")
    assert raised.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, "There is no word in the query.", "text")


def test_a_query_has_so_many_words_and_no_more() -> None:
    assert len(parse_query("a " * MAX_TERMS, param="text")) == MAX_TERMS
    with pytest.raises(OrchestratorError) as raised:
        parse_query("a " * (MAX_TERMS + 1), param="text")
    assert raised.value.info.message == f"A query has at most {MAX_TERMS} words."


@pytest.mark.parametrize(
    ("query", "hit"),
    [
        ("weather", True),
        ("WEATHER tokyo", True),
        ("weather paris", False),
        ("weath", False),
        ("weath*", True),
        ('"in tokyo"', True),
        ('"tokyo in"', False),
        ('"in tok"*', True),
        ('"the weather in tokyo today"', False),
    ],
)
def test_all_that_a_query_asks_for_must_be_there(query: str, hit: bool) -> None:
    assert found(query, "The weather in Tōkyō") is hit


def test_a_snippet_shows_the_first_text_with_a_hit_and_where_the_hits_are() -> None:
    terms = parse_query('tea "of tea"', param="text")
    assert snippet(terms, ["none", "A cup of tea, more tea."]) == Snippet(
        "A cup of tea, more tea.", ((6, 12), (9, 12), (19, 22))
    )
    assert snippet(terms, ["none", "neither"]) is None


def test_a_snippet_of_a_long_text_is_a_piece_of_it() -> None:
    text = "a " * 200 + "needle " + "b " * 200 + "needle"
    cut = snippet(parse_query("needle", param="text"), [text])
    assert cut is not None and len(cut.text) == 160
    assert [cut.text[start:stop] for start, stop in cut.matches] == ["needle"]


@given(st.lists(st.text(), max_size=4), st.text(max_size=40))
def test_any_text_and_any_query_is_answered(texts: list[str], query: str) -> None:
    words = words_of(texts)
    try:
        terms = parse_query(query, param="text")
    except OrchestratorError:
        return
    if snippet(terms, texts) is None:
        assert not matches(terms, words)


@given(st.text(min_size=1, max_size=60))
def test_a_text_is_found_by_itself(text: str) -> None:
    if words_of([text]) and '"' not in text and len(words_of([text])) <= MAX_TERMS:
        assert found(f'"{text}"', text)
