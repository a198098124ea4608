"""The routes beside the chat: health, models, stored responses. Whole bodies compared."""

import json
from datetime import datetime
from typing import Any

import pytest

from orchestrator.core.models import (
    LoadConfig,
    Model,
    ModelInstance,
    Quantization,
    ReasoningSupport,
)
from orchestrator.testing import Call, FakeServer, Say, ScriptedEngine
from tests.api.house import House, house, plain

pytestmark = pytest.mark.anyio


async def test_health_says_that_requests_can_be_taken() -> None:
    async with house() as api:
        response = await api.client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_health_warns_of_what_is_not_as_configured() -> None:
    async with house(health_warnings=lambda: ("a file is broken",)) as api:
        response = await api.client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "warnings": ["a file is broken"]})


async def test_health_says_why_they_cannot() -> None:
    async def starting() -> str | None:
        return "the engine is starting"

    async with house(why_not_ready=starting) as api:
        response = await api.client.get("/health")
    assert (response.status_code, response.json()) == (
        503,
        {"status": "unavailable", "reason": "the engine is starting"},
    )


FULL = Model(
    "qwen/qwen3",
    "scripted",
    "llm",
    "qwen",
    "Qwen 3",
    "gguf",
    "qwen3",
    Quantization("Q4_K_M", 4.5),
    123,
    "8B",
    40960,
    vision=True,
    trained_for_tool_use=True,
    reasoning=ReasoningSupport(("off", "on"), "on"),
    description="A model.",
    loaded_instances=(ModelInstance("qwen/qwen3", LoadConfig(8192, 512, 4, True, 8, False)),),
)
NO_CONFIG: dict[str, Any] = {}
BARE = Model("bare", "scripted", "llm", "somebody", "Bare", loaded_instances=(ModelInstance("bare", LoadConfig()),))
EMBEDDING = Model("embed", "scripted", "embedding", "nomic", "Embed", "gguf", "bert", size_bytes=5, description="x")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            FULL,
            {
                "type": "llm",
                "publisher": "qwen",
                "key": "qwen/qwen3",
                "display_name": "Qwen 3",
                "architecture": "qwen3",
                "quantization": {"name": "Q4_K_M", "bits_per_weight": 4.5},
                "size_bytes": 123,
                "params_string": "8B",
                "loaded_instances": [
                    {
                        "id": "qwen/qwen3",
                        "config": {
                            "context_length": 8192,
                            "eval_batch_size": 512,
                            "parallel": 4,
                            "flash_attention": True,
                            "num_experts": 8,
                            "offload_kv_cache_to_gpu": False,
                        },
                    }
                ],
                "max_context_length": 40960,
                "format": "gguf",
                "capabilities": {
                    "vision": True,
                    "trained_for_tool_use": True,
                    "reasoning": {"allowed_options": ["off", "on"], "default": "on"},
                },
                "description": "A model.",
                "engine": "scripted",
            },
        ),
        (
            BARE,
            {
                "type": "llm",
                "publisher": "somebody",
                "key": "bare",
                "display_name": "Bare",
                "architecture": None,
                "quantization": None,
                "size_bytes": None,
                "params_string": None,
                "loaded_instances": [{"id": "bare", "config": NO_CONFIG}],
                "max_context_length": None,
                "format": None,
                "capabilities": {"vision": False, "trained_for_tool_use": False},
                "description": None,
                "engine": "scripted",
            },
        ),
        (
            EMBEDDING,
            {
                "type": "embedding",
                "publisher": "nomic",
                "key": "embed",
                "display_name": "Embed",
                "quantization": None,
                "size_bytes": 5,
                "params_string": None,
                "loaded_instances": [],
                "max_context_length": None,
                "format": "gguf",
                "engine": "scripted",
            },
        ),
    ],
    ids=["full", "bare", "embedding"],
)
async def test_a_model_is_listed_with_what_its_engine_tells(model: Model, told: dict[str, object]) -> None:
    async with house(ScriptedEngine([[]], model=model)) as api:
        response = await api.client.get("/api/v1/models")
    assert (response.status_code, response.json()) == (200, {"models": [told]})


async def a_chat(api: House) -> str:
    first = (await api.chat(input="hi")).json()["response_id"]
    response = await api.chat(
        input=[{"type": "text", "content": "hello"}, {"type": "message", "content": "again"}],
        system_prompt="Be kind.",
        previous_response_id=first,
        integrations=["mcp/clock"],
        temperature=0.5,
        stop="END",
        metadata={"user": "me"},
    )
    return response.json()["response_id"]


async def test_a_stored_response_is_told_whole() -> None:
    engine = ScriptedEngine([[Say("Hi.")], [Call("fly")], [Say("No.")]])
    async with house(engine, {"mcp/clock": FakeServer()}) as api:
        response_id = await a_chat(api)
        response = await api.client.get(f"/api/v1/responses/{response_id}")
    assert response.status_code == 200
    assert response.headers["X-Response-Id"] == response.json()["response_id"] == response_id
    told = json.loads(plain(response.text))
    times = [datetime.fromisoformat(told.pop(name)) for name in ("created_at", "ended_at")]
    assert times[0] <= times[1]
    assert told == {
        "response_id": "resp_R",
        "previous_response_id": "resp_R",
        "root_id": "resp_R",
        "depth": 1,
        "owner": "local",
        "model": "test/scripted",
        "model_instance_id": "test/scripted",
        "status": "completed",
        "system_prompt": "Be kind.",
        "input": [{"type": "text", "content": "hello"}, {"type": "text", "content": "again"}],
        "output": [
            {
                "type": "invalid_tool_call",
                "reason": "Cannot find tool with name fly. Available tools: none.",
                "metadata": {"type": "invalid_name", "tool_name": "fly"},
            },
            {"type": "message", "content": "No."},
        ],
        "stats": {
            "input_tokens": 10,
            "total_output_tokens": 10,
            "reasoning_output_tokens": 0,
            "tokens_per_second": 10.0,
            "time_to_first_token_seconds": 0.25,
            "cached_input_tokens": 8,
        },
        "parameters": {
            "model": "test/scripted",
            "temperature": 0.5,
            "stop": ["END"],
            "integrations": [{"type": "plugin", "id": "mcp/clock", "allowed_tools": None}],
        },
        "metadata": {"user": "me"},
        "children": [],
        "children_count": 0,
        "tools": [],
    }


NOT_THERE = {
    "type": "invalid_request",
    "message": "There is no such response, or it is not stored, or it is somebody else's.",
    "code": "response_not_found",
    "param": "response_id",
}


@pytest.mark.parametrize("response_id", ["resp_" + "0" * 48, "x", "resp_%00", "x" * 5000])
async def test_a_response_that_is_not_there_is_not_found(response_id: str) -> None:
    async with house() as api:
        response = await api.client.get(f"/api/v1/responses/{response_id}")
    assert (response.status_code, response.json()) == (404, {"error": NOT_THERE})
