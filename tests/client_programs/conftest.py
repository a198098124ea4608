"""Keeps what came of each test that proves a feature of a dialect with a client: the page of dialects is made of it."""

from collections.abc import Generator
from typing import Any, Final

import pytest

Proof = tuple[str, str, str]
"""A dialect, a client's label and a feature."""

OUTCOMES: Final = pytest.StashKey[dict[Proof, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing."""
    config.stash[OUTCOMES] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, pytest.TestReport]:
    """What the test itself came to."""
    report: pytest.TestReport = yield
    mark = item.get_closest_marker("proves")
    if mark is not None and report.when == "call":
        dialect, client, feature = mark.args
        item.config.stash[OUTCOMES][dialect, client, feature] = report.outcome
    return report


@pytest.fixture
def outcomes(request: pytest.FixtureRequest) -> dict[Proof, str]:
    """What has run in this session so far."""
    return request.config.stash[OUTCOMES]
