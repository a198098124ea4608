"""A pytest plugin: how the tests are shared out among workers (`--numprocesses`).

The tests of a file stay together, and those of a folder that counts what ran in it. What measures times has the
machine to itself: it runs last, on the one worker that is left then.
"""

from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

TOGETHER: Final = ("tests/client_programs",)
ALONE: Final = ("tests/timing",)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What wants to be alone comes last; the others keep their order."""
    items.sort(key=lambda item: is_alone(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> "SharedOut":
    """Instead of xdist's own."""
    config.option.loadscopereorder = False
    return SharedOut(config, log)


class SharedOut(LoadScopeScheduling):
    """Gives the workers one file after the other, and the last of them what wants to be alone."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        others = [other for other in self.nodes if other is not node]
        if not others or not is_alone(next(iter(self.workqueue))):
            super()._assign_work_unit(node)
        elif not all(other.shutting_down for other in others):
            node.shutdown()
        # Else it waits with its last test until the others have ended: see `remove_node`.

    def remove_node(self, node: WorkerController) -> str | None:
        """A worker has ended: the one that waited for it goes on."""
        crashed = super().remove_node(node)
        for other in self.nodes:
            self._reschedule(other)
        return crashed


def unit_of(nodeid: str) -> str:
    """What runs on one worker: the file, or the folder where all of it stays together."""
    return next(
        (folder for folder in (*TOGETHER, *ALONE) if nodeid.startswith(f"{folder}/")), nodeid.partition("::")[0]
    )


def is_alone(nodeid: str) -> bool:
    """Whether this test, or unit of tests, wants the machine to itself."""
    return unit_of(nodeid) in ALONE
