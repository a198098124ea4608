"""What every test shares: one event loop library, no silence about tests that were wanted and did not run, and a look
at what all of them have left behind."""

from collections.abc import Iterator

import pytest

from tests.suite_secrets import leaks

pytest_plugins = ["tests.required_runs", "tests.shared_out"]


@pytest.fixture
def anyio_backend() -> str:
    """The product runs on asyncio; so do its tests."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def nothing_secret_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No database, log or export of any test holds a secret that a test gave to the product."""
    yield
    assert list(leaks(tmp_path_factory.getbasetemp())) == []
