"""Who has to go for a model that comes, and whose time is over.

Where there is room for both, the old one goes after the new one is there: a load that fails costs nobody a model.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping

import anyio
import structlog

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.models import LoadSettings
from orchestrator.service.instance import Instance, InstancePolicy

REAP_SECONDS = 1.0

log = structlog.stdlib.get_logger(__name__)


class Evictions:
    """Decides over `instances`, and ends them by `unload`.

    `run` does so for those that nobody waits for, each by itself: an engine that hangs keeps no other waiting.
    """

    def __init__(
        self,
        policy: InstancePolicy,
        instances: Mapping[str, Instance],
        unload: Callable[[Instance], Awaitable[None]],
    ) -> None:
        self._policy = policy
        self._instances = instances
        self._unload = unload
        self._changing: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._replaced: list[tuple[Instance, Instance]] = []
        self._wake = anyio.Event()

    async def make_room(self, newcomer: Instance, settings: LoadSettings) -> None:
        """Unload what the policy gives up of the newcomer's engine, but only what has to go before the load, and if it fits then.

        Raises:
            OrchestratorError: as `Engine.check_fit`.
        """
        engine = newcomer.engine
        async with self._changing[engine.name]:
            given_up = [one for one in self._given_up(newcomer) if one.engine is engine]
            if await engine.check_fit(newcomer.model, settings, [one.id for one in given_up]):
                return
            for one in given_up:
                await self._evict(one, newcomer)

    def took_place(self, newcomer: Instance) -> None:
        """The newcomer is there: `run` unloads what the policy gives up for it."""
        self._replaced += [(one, newcomer) for one in self._given_up(newcomer)]
        self._wake.set()

    async def run(self) -> None:
        """Unload what was replaced, and what was idle for its time; runs until cancelled."""
        async with anyio.create_task_group() as unloading:
            while True:
                with anyio.move_on_after(REAP_SECONDS):
                    await self._wake.wait()
                self._wake = anyio.Event()
                replaced, self._replaced = self._replaced, []
                for one, newcomer in replaced:
                    unloading.start_soon(self._evict, one, newcomer)
                for one in list(self._instances.values()):
                    if self._is_over(one):
                        unloading.start_soon(self._try_unload, one, "its time is over")

    def _given_up(self, newcomer: Instance) -> list[Instance]:
        return [one for one in self._instances.values() if one is not newcomer and self._gives_up(one, newcomer)]

    def _gives_up(self, one: Instance, newcomer: Instance) -> bool:
        if one.users or one.leaving or not one.ready or not one.engine.traits.loads:
            return False
        if self._policy.keep_only_last:
            return True
        return self._policy.auto_evict and not one.explicit and not newcomer.explicit

    def _is_over(self, one: Instance) -> bool:
        idle = one.ready and not one.users and not one.leaving and one.engine.traits.loads
        if not idle or one.ttl_seconds is None:
            return False
        return anyio.current_time() - one.idle_since >= one.ttl_seconds

    async def _evict(self, one: Instance, newcomer: Instance) -> None:
        if self._gives_up(one, newcomer):  # somebody may have come for it meanwhile
            await self._try_unload(one, f"'{newcomer.id}' takes its place")

    async def _try_unload(self, instance: Instance, why: str) -> None:
        log.info("unloading", instance=instance.id, why=why)
        try:
            await self._unload(instance)
        except OrchestratorError as error:
            log.warning("an instance could not be unloaded", instance=instance.id, reason=error.info.message)
