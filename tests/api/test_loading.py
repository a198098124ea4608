"""`POST /api/v1/models/load` and `/unload` over twins (contract, section 5)."""

from typing import Any

import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadStarted, ModelReady
from orchestrator.core.models import Model
from orchestrator.ports import EngineTraits
from orchestrator.testing import SCRIPTED_MODEL, Say, ScriptedEngine
from tests.api.house import House, house
from tests.api.test_openapi import validator

pytestmark = pytest.mark.anyio

LOAD, UNLOAD = "/api/v1/models/load", "/api/v1/models/unload"


async def load(api: House, **body: Any) -> tuple[int, Any]:
    response = await api.client.post(LOAD, json={"model": SCRIPTED_MODEL, **body})
    return response.status_code, response.json()


async def unload(api: House, instance_id: str) -> tuple[int, Any]:
    response = await api.client.post(UNLOAD, json={"instance_id": instance_id})
    return response.status_code, response.json()


async def loaded(api: House) -> list[Any]:
    (model,) = (await api.client.get("/api/v1/models")).json()["models"]
    return model["loaded_instances"]


async def test_a_load_is_told_timed_and_listed_and_echoes_its_settings_where_asked() -> None:
    engine = ScriptedEngine([[Say("Hi.")]], load=(LoadStarted(), ModelReady(1.25)), parallel=2)
    async with house(engine) as api:
        first = await load(api)
        second = await load(api, context_length=512, echo_load_config=True)
        listed = await loaded(api)
    told = {"type": "llm", "instance_id": SCRIPTED_MODEL, "load_time_seconds": 1.25, "status": "loaded"}
    config = {"context_length": 512, "parallel": 2}
    assert first == (200, told)
    assert second == (200, told | {"instance_id": f"{SCRIPTED_MODEL}:2", "load_config": config})
    assert listed == [
        {"id": SCRIPTED_MODEL, "config": {"context_length": 4096, "parallel": 2}},
        {"id": f"{SCRIPTED_MODEL}:2", "config": config},
    ]
    assert validator("LoadReply").is_valid(first[1]) and validator("LoadReply").is_valid(second[1])


async def test_an_unloaded_instance_is_gone_and_cannot_be_unloaded_again() -> None:
    async with house() as api:
        await load(api)
        done = await unload(api, SCRIPTED_MODEL)
        listed = await loaded(api)
        again = await unload(api, SCRIPTED_MODEL)
    assert (done, listed) == ((200, {"instance_id": SCRIPTED_MODEL}), [])
    assert validator("UnloadReply").is_valid(done[1])
    error = {
        "type": "invalid_request",
        "message": f"Model with instance identifier '{SCRIPTED_MODEL}' is not loaded.",
        "code": "model_not_found",
        "param": "instance_id",
    }
    assert again == (404, {"error": error})


async def test_an_unknown_model_cannot_be_loaded() -> None:
    async with house() as api:
        told = await load(api, model="nobody/nothing")
    error = {"type": "model_not_found", "message": "Model nobody/nothing not found in downloaded models."}
    assert told == (404, {"error": error})


async def test_what_the_engine_cannot_apply_is_an_invalid_value_on_that_setting() -> None:
    refusal = OrchestratorError(ErrorKind.INVALID_VALUE, "No experts here.", param="num_experts")
    async with house(ScriptedEngine([[]], load=(refusal,))) as api:
        told = await load(api, num_experts=2)
    error = {
        "type": "invalid_request",
        "message": "No experts here.",
        "code": "invalid_value",
        "param": "num_experts",
    }
    assert told == (400, {"error": error})


class Full(ScriptedEngine):
    """Has no room."""

    async def check_fit(self, model: Model, settings: object, freed: object) -> bool:
        raise OrchestratorError(ErrorKind.INSUFFICIENT_RESOURCES, "It needs 9 GiB, there are 4.")


async def test_what_does_not_fit_is_an_error_of_its_own() -> None:
    async with house(Full([[]])) as api:
        told = await load(api)
        listed = await loaded(api)
    error = {
        "type": "invalid_request",
        "message": "It needs 9 GiB, there are 4.",
        "code": "insufficient_resources",
    }
    assert (told, listed) == ((400, {"error": error}), [])


async def test_an_engine_that_loads_by_itself_cannot_be_told_to() -> None:
    async with house(ScriptedEngine([[]], traits=EngineTraits(loads=False))) as api:
        told = await load(api)
    error = {
        "type": "not_implemented",
        "message": "The engine 'scripted' loads its models by itself.",
        "param": "model",
    }
    assert told == (501, {"error": error})


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        (LOAD, {}, "missing_required_parameter", "model"),
        (LOAD, {"model": "m", "context_length": 0}, "invalid_value", "context_length"),
        (LOAD, {"model": "m", "flash_attention": 1}, "invalid_type", "flash_attention"),
        (LOAD, {"model": "m", "ttl": 0}, "invalid_value", "ttl"),
        (LOAD, {"model": "m", "gpu": "max"}, "unrecognized_keys", "gpu"),
        (UNLOAD, {}, "missing_required_parameter", "instance_id"),
        (UNLOAD, {"instance_id": "a", "model": "a"}, "unrecognized_keys", "model"),
    ],
)
async def test_a_wrong_body_is_refused_by_the_field_to_blame(
    path: str, body: dict[str, Any], code: str, param: str
) -> None:
    async with house() as api:
        response = await api.client.post(path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)


async def test_loading_needs_the_permission_to_manage_models() -> None:
    async with house(require_authentication=True) as api:
        _, reader = await api.tokens.create_token("reader", ["models.read", "chat"])
        _, keeper = await api.tokens.create_token("keeper", ["models.manage"])
        told: list[int] = []
        for token in (reader, keeper):
            headers = {"Authorization": f"Bearer {token}"}
            for path, body in ((LOAD, {"model": SCRIPTED_MODEL}), (UNLOAD, {"instance_id": SCRIPTED_MODEL})):
                told.append((await api.client.post(path, json=body, headers=headers)).status_code)
    assert told == [403, 403, 200, 200]
