"""Which models are in memory: loaded when asked for, shared, kept for a while, evicted, one policy for all engines.

Source: section 5 of the contract, and "context_length" in its section 9.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager

import anyio

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import ModelReady
from orchestrator.core.models import LoadSettings
from orchestrator.ports import Engine, LoadStep
from orchestrator.service.admission import Admissions, Place
from orchestrator.service.evictions import Evictions
from orchestrator.service.fair_queue import FairQueue
from orchestrator.service.instance import Instance as Instance
from orchestrator.service.instance import InstancePolicy as InstancePolicy
from orchestrator.service.instance import Loaded
from orchestrator.service.models import ModelChoice, ModelService


class InstanceService:
    """Gives a run its instance and holds it for as long as the run lasts.

    `run` looks after idle instances and belongs into the lifespan's task group.
    """

    def __init__(self, models: ModelService, policy: InstancePolicy) -> None:
        self._models = models
        self._policy = policy
        self._instances: dict[str, Instance] = {}
        self._admissions = Admissions(policy.max_queued)
        self._evictions = Evictions(policy, self._instances, self._unload)

    def instances(self) -> list[Instance]:
        """Those in memory or being loaded, the oldest first."""
        return list(self._instances.values())

    # ---- by request ---------------------------------------------------------------------------

    def choose(self, choice: ModelChoice, context_length: int | None, ttl_seconds: float | None = None) -> Place:
        """A place at the instance that a run will use: one that is there and large enough, else one to be loaded.

        It counts as one of those that wait until `slot` is asked for one with it, or it is left.

        Raises:
            OrchestratorError: `invalid_value` on `context_length` where only an explicit instance that
                is too small is meant; `invalid_value` on `model` where nothing is loaded and nothing
                may be; `invalid_value` on `ttl` where it would not be kept; `rate_limited` where its queue is full.
        """
        instance = self._pick(choice, context_length, prefer_passing=ttl_seconds is not None)
        if ttl_seconds is not None:
            _check_ttl(choice, instance)
        if instance is not None:
            queue = instance.queue
            return self._admissions.admit(instance.id, queue.slots if queue else None, queue)
        if not self._policy.jit_loading and choice.engine.traits.loads:
            message = f"'{choice.model.key}' is not loaded, and just-in-time loading is off. Load it first."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
        return self._admissions.admit(self._free_id(choice, after_leaving=True), choice.engine.traits.parallel, None)

    @asynccontextmanager
    async def use(
        self,
        choice: ModelChoice,
        instance_id: str,
        context_length: int | None,
        ttl_seconds: float | None,
        report: Callable[[LoadStep], None],
    ) -> AsyncGenerator[tuple[Instance, ModelReady]]:
        """Have the instance ready, and keep it until the context is left. `report` gets the steps before the last.

        One that is being unloaded is waited for, and then loaded anew: two of it would take the memory twice.

        Raises:
            OrchestratorError: it cannot be loaded; see `Engine.load`.
        """
        while (instance := self._instances.get(instance_id)) is not None and instance.leaving:
            await instance.changed.wait()
        if instance is None:
            instance = self._new(
                choice, instance_id, explicit=False, ttl_seconds=ttl_seconds or self._policy.ttl_seconds
            )
        elif ttl_seconds is not None and not instance.explicit:
            instance.ttl_seconds = ttl_seconds
        instance.users += 1
        try:
            ready = ModelReady()
            async for step in self._load(instance, LoadSettings(context_length=context_length)):
                if isinstance(step, ModelReady):
                    ready = step
                else:
                    report(step)
            yield instance, ready
        finally:
            instance.users -= 1
            instance.idle_since = anyio.current_time()
            if not instance.ready and not instance.users:
                self._forget(instance)
            instance.tell()

    @asynccontextmanager
    async def slot(
        self, instance: Instance, owner: str, moved: Callable[[int], None], place: Place | None = None
    ) -> AsyncGenerator[None]:
        """A slot of the instance to generate in; see `FairQueue.slot`. Whoever has a `place` comes with it."""
        if place is not None:
            place.leave()
        if instance.queue is None:
            yield
            return
        async with instance.queue.slot(owner, moved):
            yield

    # ---- by command ---------------------------------------------------------------------------

    async def load(self, key: str, settings: LoadSettings, ttl_seconds: float | None) -> Loaded:
        """Load a new instance of the model, however many there are.

        Raises:
            OrchestratorError: `model_not_found`, `not_implemented` where the engine does not load, or as `Engine.load`.
        """
        try:
            choice = await self._models.find(key)
        except OrchestratorError as error:
            if error.info.kind is ErrorKind.UNKNOWN_MODEL:
                raise OrchestratorError(
                    ErrorKind.MODEL_NOT_FOUND, f"Model {key} not found in downloaded models."
                ) from None
            raise
        traits = choice.engine.traits
        if not traits.loads:
            message = f"The engine '{choice.engine.name}' loads its models by itself."
            raise OrchestratorError(ErrorKind.NOT_IMPLEMENTED, message, param="model")
        if not traits.many_instances and any(
            one.model.key == choice.model.key for one in self._of_engine(choice.engine)
        ):
            await choice.engine.check_fit(choice.model, settings, ())  # a wrong setting is to blame first
            message = f"The engine '{choice.engine.name}' has one instance of a model at most."
            raise OrchestratorError(ErrorKind.NOT_IMPLEMENTED, message, param="model")
        while leaver := self._instances.get(own_id := self._free_id(choice, after_leaving=not traits.many_instances)):
            await leaver.changed.wait()
        instance = self._new(choice, own_id, explicit=True, ttl_seconds=ttl_seconds, parallel=settings.parallel)
        instance.users += 1
        seconds = 0.0
        try:
            async for step in self._load(instance, settings):
                if isinstance(step, ModelReady):
                    seconds = step.load_seconds or 0.0
        finally:
            instance.users -= 1
            instance.idle_since = anyio.current_time()
            if not instance.ready:
                self._forget(instance)
            instance.tell()
        return Loaded(instance, seconds)

    async def unload(self, instance_id: str) -> None:
        """End the instance once no run holds it: between two turns it would only be loaded again. A load is cut short.

        Raises:
            OrchestratorError: `unknown_instance` on `instance_id`.
        """
        instance = self._instances.get(instance_id)
        if instance is None:
            engine = await self._loaded_elsewhere(instance_id)
            if engine is None:
                message = f"Model with instance identifier '{instance_id}' is not loaded."
                raise OrchestratorError(ErrorKind.UNKNOWN_INSTANCE, message, param="instance_id")
            await engine.unload(instance_id)
            self._models.forget()
            return
        await self._unload(instance)

    # ---- beside -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Unload instances whose time is over, or whose place others took; runs until cancelled."""
        await self._evictions.run()

    # ---- inside -------------------------------------------------------------------------------

    def _of_engine(self, engine: Engine) -> list[Instance]:
        return [one for one in self._instances.values() if one.engine is engine and not one.leaving]

    def _pick(self, choice: ModelChoice, context_length: int | None, *, prefer_passing: bool) -> Instance | None:
        of_model = [one for one in self._of_engine(choice.engine) if one.model.key == choice.model.key]
        if choice.instance_id is not None:
            of_model = [one for one in of_model if one.id == choice.instance_id] or of_model
        wanted = context_length or 0
        large = [one for one in of_model if not one.ready or (one.config.context_length or wanted) >= wanted]
        if large:
            return min(
                large, key=lambda one: (prefer_passing and one.explicit, one.users + self._admissions.coming(one.id))
            )
        loadable = [one for one in of_model if not one.explicit]
        if loadable or not of_model:
            return loadable[0] if loadable else None
        length = max(one.config.context_length or 0 for one in of_model)
        message = f"'{of_model[0].id}' was loaded with a context of {length} tokens; load it again with a longer one."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="context_length")

    def _free_id(self, choice: ModelChoice, *, after_leaving: bool) -> str:
        """An id that nobody has, or, `after_leaving`, that will be free when its instance is gone."""
        taken = {one.id for one in self._instances.values() if not (after_leaving and one.leaving)}
        if choice.instance_id is not None and choice.instance_id not in taken:
            return choice.instance_id
        number, candidate = 1, choice.model.key
        while candidate in taken:
            number += 1
            candidate = f"{choice.model.key}:{number}"
        return candidate

    def _new(
        self,
        choice: ModelChoice,
        instance_id: str,
        *,
        explicit: bool,
        ttl_seconds: float | None,
        parallel: int | None = None,
    ) -> Instance:
        instance = Instance(instance_id, choice.engine, choice.model, explicit, ttl_seconds)
        instance.idle_since = anyio.current_time()
        slots = parallel or choice.engine.traits.parallel
        instance.queue = None if slots is None else FairQueue(slots)
        self._instances[instance_id] = instance
        return instance

    def _forget(self, instance: Instance) -> None:
        if self._instances.get(instance.id) is instance:
            del self._instances[instance.id]

    async def _load(self, instance: Instance, settings: LoadSettings) -> AsyncGenerator[LoadStep]:
        if new := not instance.ready and instance.engine.traits.loads:
            await self._evictions.make_room(instance, settings)
        steps = instance.engine.load(instance.model, instance.id, settings, instance.ttl_seconds)
        async with aclosing(steps):
            async for step in steps:
                if isinstance(step, ModelReady) and (step.load_seconds is not None or not instance.ready):
                    await self._took_effect(instance)
                    if new:
                        self._evictions.took_place(instance)
                yield step

    async def _took_effect(self, instance: Instance) -> None:
        self._models.forget()
        instance.ready = True
        for model in await instance.engine.models():
            for loaded in model.loaded_instances:
                if loaded.id == instance.id:
                    instance.config = loaded.config
        if instance.config.parallel is None:
            return
        if instance.queue is None:
            instance.queue = FairQueue(instance.config.parallel)
        else:
            instance.queue.resize(instance.config.parallel)

    async def _unload(self, instance: Instance) -> None:
        """Returns when it is gone. Cancelling calls it off."""
        while instance.leaving:  # somebody else is at it, who may still call it off
            await instance.changed.wait()
        if self._instances.get(instance.id) is not instance:
            return
        instance.leaving = called_off = True
        try:
            while instance.ready and instance.users:
                await instance.changed.wait()
            await instance.engine.unload(instance.id)
            called_off = False
        except OrchestratorError:
            called_off = False
            raise
        finally:
            instance.leaving = False
            if not called_off:
                self._forget(instance)
            self._models.forget()
            instance.tell()

    async def _loaded_elsewhere(self, instance_id: str) -> Engine | None:
        """The engine that has an instance which somebody else loaded there."""
        try:
            choice = await self._models.find(instance_id)
        except OrchestratorError:
            return None
        ids = [loaded.id for loaded in choice.model.loaded_instances]
        return choice.engine if instance_id in ids else None


def _check_ttl(choice: ModelChoice, instance: Instance | None) -> None:
    """Refuse a time that would not be kept: that of an explicit instance is its load's, and some engines have their own."""
    if not choice.engine.traits.loads:
        message = f"The engine '{choice.engine.name}' decides itself how long its models stay: leave 'ttl' out."
    elif instance is not None and instance.explicit:
        message = f"'{instance.id}' was loaded by a command, and stays as that said: leave 'ttl' out, or load it again with one."
    else:
        return
    raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="ttl")
