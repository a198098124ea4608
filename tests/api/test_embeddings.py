"""`POST /v1/embeddings` over twins, in OpenAI's shape."""

import base64
import struct
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from orchestrator.core.models import Model
from orchestrator.ports import Embeddings, EngineTraits
from orchestrator.service.instances import InstancePolicy
from orchestrator.testing import ScriptedEngine
from tests.api.house import House, house
from tests.api.test_openapi import validator

pytestmark = pytest.mark.anyio

KEY = "somebody/embeds"
EMBEDDER = Model(KEY, "scripted", "embedding", "somebody", "embeds")


def embedder(**options: Any) -> ScriptedEngine:
    """Its vectors are the length of a text and 1."""
    return ScriptedEngine([[]], model=EMBEDDER, **options)


async def embed(api: House, **body: Any) -> tuple[int, Any]:
    response = await api.client.post("/v1/embeddings", json={"model": KEY, **body})
    return response.status_code, response.json()


def reply(*vectors: Any, tokens: int) -> dict[str, Any]:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return {
        "object": "list",
        "data": data,
        "model": KEY,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


async def test_a_text_and_several_texts_become_vectors_in_their_order() -> None:
    engine = embedder()
    async with house(engine) as api:
        one = await embed(api, input="four")
        two = await embed(api, input=["four", "x"], user="somebody", dimensions=2)
        nulls = await embed(api, input="four", dimensions=None, encoding_format=None, user=None)
    assert one == nulls == (200, reply([4.0, 1.0], tokens=4))
    assert two == (200, reply([4.0, 1.0], [1.0, 1.0], tokens=5))
    assert validator("EmbeddingsReply").is_valid(two[1])
    assert list(engine.loaded) == [KEY]


async def test_base64_is_the_little_endian_floats_that_openai_sends() -> None:
    async with house(embedder()) as api:
        status, told = await embed(api, input=["four"], encoding_format="base64")
    assert (status, told) == (200, reply(base64.b64encode(struct.pack("<2f", 4.0, 1.0)).decode(), tokens=4))


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "input"),
        ({"input": ""}, "invalid_value", "input"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": ["a", ""]}, "invalid_value", "input.1"),
        ({"input": ["a"] * 2049}, "invalid_value", "input"),
        ({"input": 5}, "invalid_type", "input"),
        ({"input": "a", "encoding_format": "int8"}, "invalid_value", "encoding_format"),
        ({"input": "a", "dimensions": 0}, "invalid_value", "dimensions"),
        ({"input": "a", "dimensions": 3}, "invalid_value", "dimensions"),
        ({"input": "a", "truncate": True}, "unrecognized_keys", "truncate"),
        ({"input": [1, 2]}, "invalid_value", "input"),
        ({"input": [[1, 2]]}, "invalid_value", "input"),
    ],
)
async def test_a_wrong_body_is_refused_by_the_field_to_blame(body: dict[str, Any], code: str, param: str) -> None:
    async with house(embedder()) as api:
        status, told = await embed(api, **body)
    assert (status, told["error"]["code"], told["error"]["param"]) == (400, code, param)


async def test_what_is_no_text_and_what_is_not_shortened_says_so() -> None:
    async with house(embedder()) as api:
        tokens = (await embed(api, input=[1, 2]))[1]["error"]["message"]
        shorter = (await embed(api, input="a", dimensions=1))[1]["error"]["message"]
    assert tokens == '"input" holds tokens, and only texts are taken: send the text that they stand for.'
    assert shorter == '"dimensions" is 1, and the vectors of this model have 2 numbers; they are not shortened.'


async def test_a_model_that_chats_makes_no_vectors_and_is_not_loaded_to_say_so() -> None:
    engine = ScriptedEngine([[]])
    async with house(engine) as api:
        status, told = await embed(api, model=engine.model.key, input="a")
        unknown = await embed(api, input="a")
    message = f"'{engine.model.key}' is no embedding model: it makes no vectors."
    error = {"type": "invalid_request_error", "message": message, "code": "invalid_value", "param": "model"}
    assert (status, told, engine.loaded) == (400, {"error": error}, {})
    assert (unknown[0], unknown[1]["error"]["code"]) == (404, "model_not_found")


async def test_vectors_need_the_permission_to_chat() -> None:
    async with house(embedder(), require_authentication=True) as api:
        told: list[int] = []
        for permission in ("models.read", "chat"):
            _, token = await api.tokens.create_token(permission, [permission])
            headers = {"Authorization": f"Bearer {token}"}
            response = await api.client.post("/v1/embeddings", json={"model": KEY, "input": "a"}, headers=headers)
            told.append(response.status_code)
        nobody = await api.client.post("/v1/embeddings", json={"model": KEY, "input": "a"})
    assert (told, nobody.status_code) == ([403, 200], 401)


class Slow(ScriptedEngine):
    """Embeds when the gate is open; `begun` counts how many came as far as that."""

    def __init__(self, gate: anyio.Event) -> None:
        traits = EngineTraits(loads=True, embeds=True, parallel=1)
        super().__init__([[]], model=EMBEDDER, traits=traits, parallel=1)
        self.gate = gate
        self.begun = 0

    async def embed(self, model: Model, instance_id: str, texts: Sequence[str]) -> Embeddings:
        self.begun += 1
        await self.gate.wait()
        return await super().embed(model, instance_id, texts)


async def test_vectors_wait_in_the_queue_of_the_model_which_has_its_bound() -> None:
    engine = Slow(anyio.Event())
    told: list[int] = []

    async with house(engine, policy=InstancePolicy(max_queued=1)) as api:

        async def ask() -> None:
            told.append((await embed(api, input="a"))[0])

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert (told, engine.begun) == ([429, 429, 429], 1)
            engine.gate.set()
    assert told == [429, 429, 429, 200, 200]
