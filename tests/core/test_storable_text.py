"""What databases and files cannot hold is escaped, and comes back as it was."""

import pytest

from orchestrator.core.storable_text import original, storable


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain", "plain"),
        ("東京", "東京"),
        ("a\x00b", "a\x100000b"),
        ("an escape \x10", "an escape \x100010"),
        ("half \ud83d", "half \x10d83d"),
    ],
)
def test_a_text_is_stored_so_and_read_as_it_was(text: str, stored: str) -> None:
    assert (storable(text), original(stored)) == (stored, text)
