"""A pytest plugin: how the tests are shared out among workers (`--numprocesses`).

The tests of a file stay together, and those of a folder that counts what ran in it. What measures times has the
machine to itself: it runs last, on the one worker that is left then.
"""

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler.protocol import Scheduling

TOGETHER: Final = ("tests/client_programs",)
ALONE: Final = ("tests/timing",)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What wants to be alone comes last; the others keep their order."""
    items.sort(key=lambda item: is_alone(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "Scheduling":
    """Instead of xdist's own."""
    from tests.scheduling import SharedOut  # where there is one process, nothing of xdist is needed

    config.option.loadscopereorder = False
    return SharedOut(config, log)


def unit_of(nodeid: str) -> str:
    """What runs on one worker: the file, or the folder where all of it stays together."""
    return next(
        (folder for folder in (*TOGETHER, *ALONE) if nodeid.startswith(f"{folder}/")), nodeid.partition("::")[0]
    )


def is_alone(nodeid: str) -> bool:
    """Whether this test, or unit of tests, wants the machine to itself."""
    return unit_of(nodeid) in ALONE
