"""Secrets do not leave in messages."""

from orchestrator.integrations.redaction import MASK, redactor


def test_every_secret_is_masked_wherever_it_stands() -> None:
    mask = redactor(["hunter22", "Bearer tok-abcdefgh"])
    assert mask("a hunter22, hunter22!") == f"a {MASK}, {MASK}!"
    assert mask("sent Bearer tok-abcdefgh") == f"sent {MASK}"
    assert mask("only tok-abcdefgh here") == f"only {MASK} here"


def test_the_longer_of_two_secrets_wins() -> None:
    assert redactor(["abcd", "abcdefgh"])("abcdefgh abcd") == f"{MASK} {MASK}"


def test_short_and_common_values_stay_readable() -> None:
    mask = redactor(["", "1", "on", "true", "None", "8080", "x.*y+(z"])
    assert mask("1 on true None 8080") == "1 on true None 8080"
    assert mask("x.*y+(z xxyyz") == f"{MASK} xxyyz"


def test_without_secrets_nothing_changes() -> None:
    assert redactor([])("as it is") == "as it is"
