"""Which engine has the model that a request names."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import anyio
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.models import Model
from orchestrator.service.models import ModelService
from orchestrator.testing import SCRIPTED_MODEL, Say, ScriptedEngine

pytestmark = pytest.mark.anyio


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
    models = ModelService([ScriptedEngine([[Say("hi")]]), Dead([])])
    assert await kind_of_error(models, "dead::some/model") is ErrorKind.ENGINE_UNAVAILABLE
    assert await kind_of_error(models, "some/model") is ErrorKind.UNKNOWN_MODEL


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
    """An engine that answers until it is `dead`."""

    dead = False

    async def models(self) -> Sequence[Model]:
        if self.dead:
            raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, "it is gone")
        return await super().models()


async def test_a_model_of_an_engine_that_answers_no_more_is_unavailable_and_not_unknown() -> None:
    engine, other = Mortal([[Say("hi")]]), Named([[Say("ho")]])
    other.model = replace(other.model, key="other/model")
    models = ModelService([engine, other])
    assert (await models.find(SCRIPTED_MODEL)).engine is engine
    engine.dead = True
    models.forget()
    assert await kind_of_error(models, SCRIPTED_MODEL) is ErrorKind.ENGINE_UNAVAILABLE
    assert await kind_of_error(models, "no/model") is ErrorKind.UNKNOWN_MODEL
    assert (await models.find("other/model")).engine is other


async def test_an_engine_that_hangs_holds_nobody_up_who_wants_another() -> None:
    class Hanging(Mortal):
        hangs = False

        async def models(self) -> Sequence[Model]:
            if self.hangs:
                await anyio.sleep_forever()
            return await super().models()

    engine, other = Hanging([[Say("hi")]]), Named([[Say("ho")]])
    engine.dead, other.model = True, replace(other.model, key="other/model")
    models = ModelService([engine, other])
    assert (await models.find("other/model")).engine is other
    engine.hangs = True
    models.forget()
    with anyio.fail_after(5):
        assert (await models.find("other/model")).engine is other
        assert await kind_of_error(models, "scripted::x") is ErrorKind.ENGINE_UNAVAILABLE
    engine.hangs = engine.dead = False
    assert (await models.find(SCRIPTED_MODEL)).engine is engine
