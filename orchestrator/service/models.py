"""Which engine has the model that a request names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import anyio
import anyio.abc

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.models import Model
from orchestrator.ports import Engine
from orchestrator.service.engine_lists import EngineHealth, EngineList

NAMED_AT_MOST = 10
LOOK_SECONDS = 30.0
"""How often the engines are asked while nobody needs them: that one has gone, or is back, is news."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What a key named: the engine, its model, and the instance where the key was the id of one."""

    engine: Engine
    model: Model
    instance_id: str | None = None


class ModelService:
    """Looks models up over all engines, in the order in which the engines are given.

    Each engine is asked by itself, in `tasks`: a request waits for the engine that has its model, and for the others only
    where no list has it. Without `tasks` whoever waits asks. Of the `optional` engines, by name, nobody is told that they
    do not answer, as long as nobody ever was at their address. `run` belongs into the lifespan's task group.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        optional: frozenset[str] = frozenset(),
        tasks: anyio.abc.TaskGroup | None = None,
    ) -> None:
        self._lists = [EngineList(engine, tasks, expected=engine.name not in optional) for engine in engines]

    async def run(self) -> None:
        """Ask the engines from the start on; runs until cancelled."""
        while True:
            for one in self._lists:
                if one.due:
                    one.ask()
            await anyio.sleep(LOOK_SECONDS)

    async def models(self) -> list[Model]:
        """Every model of every engine that answers; keys may repeat over engines."""
        await self._hear(one for one in self._lists if one.due)
        return [model for one in self._lists for model in one.models]

    def health(self) -> list[EngineHealth]:
        """Which engines answered when they were last asked, of those that are known or expected."""
        return [health for one in self._lists if (health := one.health) is not None]

    def forget(self, engine: Engine | None = None) -> None:
        """What was listed has changed, of `engine` or of all: ask again before the next answer."""
        for one in self._lists:
            if engine is None or one.engine is engine:
                one.forget()

    async def has(self, key: str) -> bool:
        """Whether `key` names a model that is there, as `find` reads it."""
        try:
            await self.find(key)
        except OrchestratorError:
            return False
        return True

    async def find(self, key: str) -> ModelChoice:
        """The model that `key` names: its key, `key@variant`, `engine::key`, or the id of a loaded instance.

        Raises:
            OrchestratorError: `unknown_model` on `model`, naming installed ones, and engines that do not answer;
                `engine_unavailable` where one of these is named by the key or had the model before, or where
                no engine answers of which one is expected to.
        """
        # Whose list is a first one is waited for: an earlier engine may have the key as well.
        await self._hear(one for one in self._lists if not one.heard)
        found = self._lookup(key)
        asked = [one for one in self._lists if one.due and (found is None or one.engine is found.engine)]
        for one in self._lists:
            if one.due:
                one.ask()
        if asked:
            await self._hear(asked)
            found = self._lookup(key)
        if found is None:
            await self._hear(one for one in self._lists if one not in asked)
            found = self._lookup(key)
        return found or self._missing(key)

    async def _hear(self, lists: Iterable[EngineList]) -> None:
        wanted = list(lists)
        for one in wanted:
            one.ask()
        for one in wanted:
            await one.wait()

    def _lookup(self, key: str) -> ModelChoice | None:
        """As it is written, else as Ollama completes a name that has no tag."""
        return self._lookup_exactly(key) or self._lookup_exactly(f"{key}:latest")

    def _lookup_exactly(self, key: str) -> ModelChoice | None:
        wanted_engine, separator, bare = key.partition("::")
        for by_instance in (False, True):
            for one in self._lists:
                if separator and one.engine.name != wanted_engine:
                    continue
                for model in one.models:
                    ids = [instance.id for instance in model.loaded_instances]
                    wanted = bare if separator else key
                    if wanted in ids if by_instance else _names(model, wanted):
                        return ModelChoice(one.engine, model, wanted if by_instance else None)
        return self._lookup_whole(key) if separator else None

    def _lookup_whole(self, key: str) -> ModelChoice | None:
        """A key that itself holds `::`."""
        for one in self._lists:
            for model in one.models:
                if model.key == key:
                    return ModelChoice(one.engine, model)
        return None

    def _missing(self, key: str) -> ModelChoice:
        engine, separator, bare = key.partition("::")
        problems = {one: problem for one in self._lists if (problem := one.problem) is not None}
        for one, problem in problems.items():
            if (separator and one.engine.name == engine) or _offers(one.last, bare if separator else key):
                raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, problem.message)
        installed = [model.key for one in self._lists for model in one.models]
        named = ", ".join(installed[:NAMED_AT_MOST]) + (", …" if len(installed) > NAMED_AT_MOST else "")
        told = " ".join(problem.message for problem in problems.values())
        if len(problems) == len(self._lists) and any(one.missed for one in problems):
            raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, told)
        message = f'Invalid model identifier "{key}". Installed models: {named or "none"}.'
        raise OrchestratorError(ErrorKind.UNKNOWN_MODEL, f"{message} {told}".rstrip(), param="model")


def _offers(models: Sequence[Model], wanted: str) -> bool:
    """Whether `wanted` names one of them, or an instance of it, also as Ollama completes a name that has no tag."""
    return any(
        _names(model, name) or name in [instance.id for instance in model.loaded_instances]
        for model in models
        for name in (wanted, f"{wanted}:latest")
    )


def _names(model: Model, wanted: str) -> bool:
    """Whether it is the model's key, or that of its variant; a quantization may be written in either case."""
    variant = model.selected_variant
    if wanted == model.key or variant is None:
        return wanted == model.key
    key, _, name = variant.rpartition("@")
    wanted_key, _, wanted_name = wanted.rpartition("@")
    return (key, name.lower()) == (wanted_key, wanted_name.lower())
