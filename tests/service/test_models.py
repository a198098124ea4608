"""Which engine has the model that a request names."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, NoReturn

import anyio
import pytest
import structlog

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.models import Model
from orchestrator.ports import NobodyThereError
from orchestrator.service import engine_lists
from orchestrator.service.engine_lists import EngineHealth
from orchestrator.service.models import ModelService
from orchestrator.testing import SCRIPTED_MODEL, Say, ScriptedEngine

pytestmark = pytest.mark.anyio
NEVER: Final = 3600.0
"""Seconds that no test waits: a bound that is not to be met."""


class Dead(ScriptedEngine):
    """An engine that does not answer."""

    name = "dead"

    async def models(self) -> NoReturn:
        raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, "the engine at nowhere cannot be reached")


class Named(ScriptedEngine):
    """A second engine that has the same model."""

    name = "named"

    async def models(self) -> Sequence[Model]:
        return await super().models()


async def kind_of_error(models: ModelService, key: str) -> ErrorKind:
    with pytest.raises(OrchestratorError) as raised:
        await models.find(key)
    return raised.value.info.kind


async def test_an_engine_that_is_named_and_does_not_answer_is_unavailable() -> None:
    models = ModelService([ScriptedEngine([[Say("hi")]]), Dead([])], optional=frozenset({"dead"}))
    assert await kind_of_error(models, "dead::some/model") is ErrorKind.ENGINE_UNAVAILABLE


async def test_a_model_that_no_engine_has_is_unknown_even_where_one_does_not_answer_and_the_error_names_that() -> None:
    models = ModelService([ScriptedEngine([[Say("hi")]]), Dead([])])
    with pytest.raises(OrchestratorError) as raised:
        await models.find("some/model")
    told = f'Invalid model identifier "some/model". Installed models: {SCRIPTED_MODEL}. the engine at nowhere cannot be reached'
    assert raised.value.info == ErrorInfo(ErrorKind.UNKNOWN_MODEL, told, "model")
    assert (await models.find(SCRIPTED_MODEL)).model.key == SCRIPTED_MODEL


async def test_an_optional_engine_is_not_missed_until_it_was_there_and_the_error_still_names_it() -> None:
    engine, other = Mortal([[Say("hi")]]), Named([[Say("ho")]])
    engine.model, engine.dead, engine.nobody = replace(engine.model, key="a:latest"), True, True
    models = ModelService([engine, other], optional=frozenset({"scripted"}))
    with pytest.raises(OrchestratorError) as raised:
        await models.find("a")
    told = f'Invalid model identifier "a". Installed models: {SCRIPTED_MODEL}. it is gone'
    assert raised.value.info == ErrorInfo(ErrorKind.UNKNOWN_MODEL, told, "model")
    engine.dead = False
    assert (await models.find("a")).engine is engine
    engine.dead = True
    models.forget()
    for key in ("a", "a:latest", "scripted::a", "scripted::b"):
        assert await kind_of_error(models, key) is ErrorKind.ENGINE_UNAVAILABLE
    assert await kind_of_error(models, "no/model") is ErrorKind.UNKNOWN_MODEL


async def test_an_optional_engine_that_is_there_and_ill_is_missed() -> None:
    engine = Mortal([[Say("hi")]])
    engine.dead = True
    models = ModelService([engine], optional=frozenset({"scripted"}))
    assert await kind_of_error(models, "a") is ErrorKind.ENGINE_UNAVAILABLE
    engine.nobody = True
    assert await kind_of_error(ModelService([engine], optional=frozenset({"scripted"})), "a") is ErrorKind.UNKNOWN_MODEL


async def test_a_name_without_a_tag_means_the_latest() -> None:
    engine = ScriptedEngine([[Say("hi")]])
    engine.model = replace(engine.model, key="some/model:latest")
    assert (await ModelService([engine]).find("some/model")).model.key == "some/model:latest"


async def test_where_no_engine_answers_that_is_the_error() -> None:
    assert await kind_of_error(ModelService([Dead([])]), "some/model") is ErrorKind.ENGINE_UNAVAILABLE


async def test_the_first_engine_wins_unless_another_is_named() -> None:
    first, second = ScriptedEngine([[Say("hi")]]), Named([[Say("ho")]])
    models = ModelService([first, second])
    assert (await models.find(SCRIPTED_MODEL)).engine is first
    assert (await models.find(f"named::{SCRIPTED_MODEL}")).engine is second
    assert await kind_of_error(models, "named::other/model") is ErrorKind.UNKNOWN_MODEL


async def test_a_variant_is_found_by_its_name_in_either_case() -> None:
    engine = ScriptedEngine([[Say("hi")]])
    engine.model = replace(engine.model, key="some/Model", selected_variant="some/Model@Q4_K_M")
    models = ModelService([engine])
    for name in ("some/Model", "some/Model@Q4_K_M", "some/Model@q4_k_m", "scripted::some/Model@q4_K_m"):
        assert (await models.find(name)).model.key == "some/Model"
    for name in ("some/model@Q4_K_M", "some/Model@Q8_0", "some/Model@", "@q4_k_m"):
        assert await kind_of_error(models, name) is ErrorKind.UNKNOWN_MODEL
        assert not await models.has(name)


class Mortal(ScriptedEngine):
    """An engine that answers until it is `dead`; `nobody` listens at its address then. `gate` is what its lists wait for."""

    dead = False
    nobody = False
    gate: anyio.Event | None = None

    async def models(self) -> Sequence[Model]:
        if self.gate is not None:
            await self.gate.wait()
        if self.dead:
            raise (NobodyThereError if self.nobody else OrchestratorError)(ErrorKind.ENGINE_UNAVAILABLE, "it is gone")
        return await super().models()


@asynccontextmanager
async def background(*engines: ScriptedEngine, **options: Any) -> AsyncGenerator[ModelService]:
    """The service as the application runs it: engines are asked beside the requests."""
    async with anyio.create_task_group() as tasks:
        models = ModelService(engines, tasks=tasks, **options)
        tasks.start_soon(models.run)
        yield models
        tasks.cancel_scope.cancel()


def two() -> tuple[Mortal, Named]:
    engine, other = Mortal([[Say("hi")]]), Named([[Say("ho")]])
    other.model = replace(other.model, key="other/model")
    return engine, other


async def test_a_model_of_an_engine_that_answers_no_more_is_unavailable_and_not_unknown() -> None:
    engine, other = two()
    models = ModelService([engine, other])
    assert (await models.find(SCRIPTED_MODEL)).engine is engine
    engine.dead = True
    models.forget()
    assert await kind_of_error(models, SCRIPTED_MODEL) is ErrorKind.ENGINE_UNAVAILABLE
    assert (await models.find("other/model")).engine is other


async def test_an_engine_that_hangs_holds_nobody_up_who_wants_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_lists, "PATIENCE_SECONDS", NEVER)
    engine, other = two()
    async with background(engine, other) as models:
        assert [model.key for model in await models.models()] == [SCRIPTED_MODEL, "other/model"]
        engine.gate = gate = anyio.Event()
        models.forget()
        with anyio.fail_after(5):
            assert (await models.find("other/model")).engine is other
        gate.set()
        assert (await models.find(SCRIPTED_MODEL)).engine is engine


async def test_an_engine_that_hangs_from_the_start_is_waited_for_once_and_told_with_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_lists, "PATIENCE_SECONDS", 0.01)
    engine, other = two()
    engine.traits = replace(engine.traits, address="http://nowhere")
    engine.gate = gate = anyio.Event()
    async with background(engine, other) as models:
        assert [model.key for model in await models.models()] == ["other/model"]
        with pytest.raises(OrchestratorError) as raised:
            await models.find("scripted::x")
        told = "The engine 'scripted' at http://nowhere has not said yet which models it has. Try again soon."
        assert raised.value.info == ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, told)
        gate.set()
        monkeypatch.setattr(engine_lists, "PATIENCE_SECONDS", NEVER)
        assert (await models.find(SCRIPTED_MODEL)).engine is engine


async def test_what_a_hanging_engine_listed_last_counts_until_its_failure_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, other = two()
    async with background(engine, other) as models:
        await models.find(SCRIPTED_MODEL)
        monkeypatch.setattr(engine_lists, "PATIENCE_SECONDS", 0.01)
        engine.gate, engine.dead = anyio.Event(), True
        models.forget()
        assert (await models.find(SCRIPTED_MODEL)).engine is engine
        engine.gate.set()
        monkeypatch.setattr(engine_lists, "PATIENCE_SECONDS", NEVER)
        assert await kind_of_error(models, SCRIPTED_MODEL) is ErrorKind.ENGINE_UNAVAILABLE


async def test_what_has_changed_while_an_engine_was_being_asked_is_asked_again() -> None:
    engine = Mortal([[Say("hi")]])
    engine.gate = gate = anyio.Event()
    async with background(engine) as models:
        await anyio.wait_all_tasks_blocked()
        listed = engine.model
        engine.model = replace(listed, key="new/model")
        models.forget()
        gate.set()
        assert [model.key for model in await models.models()] == ["new/model"]


async def test_an_engine_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_lists, "LISTING_SECONDS", 0.01)
    engine = Mortal([[Say("hi")]])
    engine.gate = anyio.Event()
    with pytest.raises(OrchestratorError) as raised:
        await ModelService([engine]).find("x")
    told = "The engine 'scripted' did not list its models within 0.01 seconds."
    assert raised.value.info == ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, told)


async def test_a_listing_that_breaks_takes_nothing_along(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Mortal):
        async def models(self) -> NoReturn:
            raise ZeroDivisionError

    _, other = two()
    async with background(Broken([]), other) as models:
        assert (await models.find("other/model")).engine is other
        assert await kind_of_error(models, "scripted::x") is ErrorKind.ENGINE_UNAVAILABLE


async def test_that_an_engine_goes_and_comes_back_is_logged_once_and_counted() -> None:
    engine, other = two()
    models = ModelService([engine, other])
    with structlog.testing.capture_logs() as lines:
        await models.models()
        assert models.health() == [EngineHealth("scripted", up=True), EngineHealth("named", up=True)]
        engine.dead = True
        for _ in range(2):
            models.forget()
            await models.models()
        assert models.health() == [EngineHealth("scripted", up=False), EngineHealth("named", up=True)]
        engine.dead = False
        for _ in range(2):
            models.forget()
            await models.models()
    assert lines == [
        {"event": "an engine does not answer", "engine": "scripted", "reason": "it is gone", "log_level": "warning"},
        {"event": "an engine answers again", "engine": "scripted", "log_level": "info"},
    ]


async def test_an_engine_that_nobody_expects_and_that_never_was_there_is_neither_logged_nor_counted() -> None:
    engine, other = two()
    engine.dead = engine.nobody = True
    models = ModelService([engine, other], optional=frozenset({"scripted"}))
    with structlog.testing.capture_logs() as lines:
        assert [model.key for model in await models.models()] == ["other/model"]
    assert (lines, models.health()) == ([], [EngineHealth("named", up=True)])
