"""The order in which xdist's workers are given the tests; the rules stand in `tests/shared_out.py`."""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.shared_out import is_alone, unit_of


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
