"""What every test shares: one event loop library, and no silence about tests that were wanted and did not run."""

import pytest

pytest_plugins = ["tests.required_runs"]


@pytest.fixture
def anyio_backend() -> str:
    """The product runs on asyncio; so do its tests."""
    return "asyncio"
