"""Text that databases refuse, on its way in and out."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from orchestrator.core.storable_text import original, storable
from orchestrator.store.columns import UtcDateTime

ANY_TEXT = st.text(
    st.characters() | st.characters(categories=["Cs"]) | st.sampled_from("\x00\x10\ud800\udfff00d8\uffff"),
    max_size=40,
)


@given(ANY_TEXT)
def test_every_text_is_stored_as_utf8_without_nul_and_comes_back(text: str) -> None:
    stored = storable(text)
    assert b"\x00" not in stored.encode()
    assert original(stored) == text


@given(ANY_TEXT, ANY_TEXT)
def test_different_texts_are_stored_differently(one: str, other: str) -> None:
    assert (storable(one) == storable(other)) == (one == other)


def test_ordinary_text_is_stored_as_it_is() -> None:
    text = 'Grüße, 世界 \U0001f600 \\u0000 \r\n\t"'
    assert storable(text) is text


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        UtcDateTime().process_bind_param(datetime(2026, 1, 1), SQLiteDialect())
    assert UtcDateTime().process_bind_param(datetime(2026, 1, 1, tzinfo=UTC), SQLiteDialect()) is not None
