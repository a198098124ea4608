"""Strict functions: which schemas are taken, and what their clients are promised."""

from typing import Any

import pytest

from orchestrator.api.strict_functions import NO_PARAMETERS, strict_problem
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import ToolMessage
from orchestrator.testing import SCRIPTED_MODEL, Call, ScriptedEngine
from tests.api.house import house

pytestmark = pytest.mark.anyio

CITY: JsonObject = {
    "type": "object",
    "properties": {"name": {"type": ["string", "null"]}, "at": {"$ref": "#/$defs/place"}},
    "required": ["name", "at"],
    "additionalProperties": False,
    "$defs": {
        "place": {"anyOf": [{"type": "array", "items": {"type": "number"}}, NO_PARAMETERS]},
    },
}
OPEN: JsonObject = {"type": "object", "properties": {}}


def test_a_schema_as_openai_documents_it_is_taken() -> None:
    assert strict_problem(CITY) is None
    assert strict_problem(NO_PARAMETERS) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"type": "array"}, "at '/' its type must be 'object'"),
        ({"additionalProperties": True}, "at '/' 'additionalProperties' must be false"),
        ({"allOf": []}, "at '/' it has 'allOf', which strict functions cannot have"),
        ({"$defs": {"place": OPEN}}, "at '/$defs/place' 'additionalProperties' must be false"),
        ({"properties": {"x": {"anyOf": [OPEN]}}, "required": ["x"]}, "at '/properties/x/anyOf/0' 'additional"),
        ({"properties": {"x": {"items": {"type": ["object"]}}}, "required": ["x"]}, "at '/properties/x/items' 'addi"),
        ({"required": ["name"]}, "at '/' 'required' must have every property, 'at' too"),
        ({"required": None}, "at '/' 'required' must have every property, 'name' too"),
        ({"properties": None, "anyOf": [True], "required": [], "$defs": 1, "additionalProperties": 1}, "at '/' 'addi"),
    ],
)
def test_what_strict_functions_cannot_have_is_said_with_its_place(changes: JsonObject, why: str) -> None:
    problem = strict_problem({**CITY, **changes})
    assert problem is not None and problem.startswith(why)


def tool(parameters: JsonObject | None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "city", "parameters": parameters, "strict": True}}


async def test_a_client_is_told_of_calls_that_match_alone_and_the_model_of_the_others() -> None:
    right: JsonObject = {"name": "Oslo", "at": [59.9]}
    engine = ScriptedEngine([[Call("city", {"name": 7})], [Call("city", right)]])
    async with house(engine) as home:
        body = {"model": SCRIPTED_MODEL, "messages": [{"role": "user", "content": "?"}], "tools": [tool(CITY)]}
        answer = (await home.client.post("/v1/chat/completions", json=body)).json()
        [choice] = answer["choices"]
        assert choice["finish_reason"] == "tool_calls"
        assert [call["function"] for call in choice["message"]["tool_calls"]] == [
            {"name": "city", "arguments": '{"at":[59.9],"name":"Oslo"}'}
        ]
        last = engine.requests[-1].messages[-1]
        assert isinstance(last, ToolMessage) and "do not match" in last.content
        stored = (await home.client.get(f"/api/v1/responses/{choice['response_id']}")).json()
        assert [item["type"] for item in stored["output"]] == ["invalid_tool_call", "function_call"]
        streamed = await home.client.get(f"/v1/responses/{choice['response_id']}?stream=true")
        assert streamed.status_code == 200 and streamed.text.count("response.function_call_arguments.done") == 2


async def test_a_strict_schema_that_is_none_is_refused_at_its_place() -> None:
    async with house(ScriptedEngine([[Call("city")]])) as home:
        body = {"model": SCRIPTED_MODEL, "messages": [{"role": "user", "content": "?"}]}
        answer = await home.client.post("/v1/chat/completions", json={**body, "tools": [tool(OPEN)]})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "tools.0.function.parameters")
        assert '"strict"' in error["message"]
        answer = await home.client.post("/v1/chat/completions", json={**body, "tools": [tool(None)]})
        assert answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == ""
