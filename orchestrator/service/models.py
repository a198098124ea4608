"""Which engine has the model that a request names."""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import structlog

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.models import Model
from orchestrator.ports import Engine

CACHE_SECONDS = 5.0
NAMED_AT_MOST = 10
IMPATIENT_SECONDS = 0.5
"""How long an engine that did not answer lately is waited for."""
FORGIVEN_SECONDS = 60.0
"""After which it gets its own time again: a first listing may take long."""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What a key named: the engine, its model, and the instance where the key was the id of one."""

    engine: Engine
    model: Model
    instance_id: str | None = None


class ModelService:
    """Looks models up over all engines, in the order in which the engines are given.

    What an engine offers is asked again after a few seconds, and at once when a key is not found.
    Of the `optional` ones, by name, nobody is told that they do not answer.
    """

    def __init__(self, engines: Sequence[Engine], *, optional: frozenset[str] = frozenset()) -> None:
        self._engines = tuple(engines)
        self._optional = optional
        self._listed: list[tuple[Engine, tuple[Model, ...]]] = []
        self._errors: dict[str, ErrorInfo] = {}
        self._keys: dict[str, frozenset[str]] = {}
        """Of each engine what it listed last, also where it does not answer any more."""
        self._failures: dict[int, tuple[float, ErrorInfo]] = {}
        """Of each engine that did not answer, by its place: when that was, and why."""
        self._listed_at: float | None = None
        self._refreshing = anyio.Lock()

    async def models(self) -> list[Model]:
        """Every model of every engine that answers; keys may repeat over engines."""
        await self._refresh()
        return [model for _, models in self._listed for model in models]

    def forget(self) -> None:
        """What was listed has changed: ask again before the next answer."""
        self._listed_at = None

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
            OrchestratorError: `unknown_model` on `model`, naming installed ones; `engine_unavailable`
                where no engine answers at all, or the one that the key names does not.
        """
        if self._listed_at is None or anyio.current_time() - self._listed_at > CACHE_SECONDS:
            await self._refresh()
            return self._lookup(key) or self._missing(key)
        found = self._lookup(key)
        if found is None:
            await self._refresh()
            found = self._lookup(key)
        return found or self._missing(key)

    def _lookup(self, key: str) -> ModelChoice | None:
        """As it is written, else as Ollama completes a name that has no tag."""
        return self._lookup_exactly(key) or self._lookup_exactly(f"{key}:latest")

    def _lookup_exactly(self, key: str) -> ModelChoice | None:
        wanted_engine, separator, bare = key.partition("::")
        for by_instance in (False, True):
            for engine, models in self._listed:
                if separator and engine.name != wanted_engine:
                    continue
                for model in models:
                    ids = [instance.id for instance in model.loaded_instances]
                    wanted = bare if separator else key
                    if wanted in ids if by_instance else _names(model, wanted):
                        return ModelChoice(engine, model, wanted if by_instance else None)
        return self._lookup_whole(key) if separator else None

    def _lookup_whole(self, key: str) -> ModelChoice | None:
        """A key that itself holds `::`."""
        for engine, models in self._listed:
            for model in models:
                if model.key == key:
                    return ModelChoice(engine, model)
        return None

    def _missing(self, key: str) -> ModelChoice:
        installed = [model.key for _, models in self._listed for model in models]
        silent = self._errors.get(key.partition("::")[0]) if "::" in key else None
        for name, error in self._errors.items():
            if silent is None and key in self._keys.get(name, ()):
                silent = error
        if silent is None and not installed and self._errors:
            silent = next(iter(self._errors.values()))
        if silent is not None:
            raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, silent.message)
        named = ", ".join(installed[:NAMED_AT_MOST]) + (", …" if len(installed) > NAMED_AT_MOST else "")
        message = f'Invalid model identifier "{key}". Installed models: {named or "none"}.'
        if self._errors:
            message += " " + " ".join(error.message for error in self._errors.values())
        raise OrchestratorError(ErrorKind.UNKNOWN_MODEL, message, param="model")

    async def _refresh(self) -> None:
        started = anyio.current_time()
        async with self._refreshing:
            if self._listed_at is not None and self._listed_at >= started:
                return
            listed: dict[int, tuple[Model, ...]] = {}
            errors: dict[int, ErrorInfo] = {}

            async def ask(index: int, engine: Engine) -> None:
                failure = self._failures.get(index)
                lately = failure is not None and anyio.current_time() - failure[0] < FORGIVEN_SECONDS
                try:
                    # Who hung lately is not waited for again and again: everybody's requests would wait along.
                    with anyio.fail_after(IMPATIENT_SECONDS if lately else None):
                        listed[index] = tuple(await engine.models())
                    self._failures.pop(index, None)
                    return
                except OrchestratorError as error:
                    failure = self._failures[index] = (anyio.current_time(), error.info)
                    if engine.name not in self._optional:
                        log.warning("engine does not list its models", engine=engine.name, reason=error.info.message)
                except TimeoutError:
                    assert failure is not None
                if engine.name not in self._optional:
                    errors[index] = failure[1]

            async with anyio.create_task_group() as asking:
                for index, engine in enumerate(self._engines):
                    asking.start_soon(ask, index, engine)
            self._listed = [(self._engines[index], listed[index]) for index in sorted(listed)]
            self._errors = {self._engines[index].name: errors[index] for index in sorted(errors, reverse=True)}
            self._keys |= {engine.name: frozenset(model.key for model in models) for engine, models in self._listed}
            self._listed_at = anyio.current_time()


def _names(model: Model, wanted: str) -> bool:
    """Whether it is the model's key, or that of its variant; a quantization may be written in either case."""
    variant = model.selected_variant
    if wanted == model.key or variant is None:
        return wanted == model.key
    key, _, name = variant.rpartition("@")
    wanted_key, _, wanted_name = wanted.rpartition("@")
    return (key, name.lower()) == (wanted_key, wanted_name.lower())
