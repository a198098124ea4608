"""Calls and formats that are demanded of a server, and vectors that it is asked for."""

import json
from dataclasses import replace
from typing import Final

import httpx
import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.request import ResponseFormat, Sampling
from orchestrator.engines.openai_compatible.engine import REASONING_HINT
from orchestrator.ports import Embeddings, EngineTraits
from tests.engines.openai_compatible.test_odd_servers import KEY, MODEL, URL, WHO, Handler, engine, events, said
from tests.engines.samples import TIME_TOOL, ask, written

pytestmark = pytest.mark.anyio

ASKED: Final = ask("Hi", tools=(TIME_TOOL,))
SCHEMA: Final[JsonObject] = {"type": "object"}


async def sent(request: Generate) -> JsonObject:
    """The fields of the body that demand something."""
    bodies: list[JsonObject] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, content=events(said("Hi", "length")))

    await written(engine(handler).generate(MODEL, "m", request))
    return {name: value for name, value in bodies[0].items() if name in ("tool_choice", "response_format")}


async def test_demands_are_sent_in_the_form_of_openai_and_nothing_where_there_are_none() -> None:
    assert await sent(ASKED) == {}
    assert await sent(replace(ASKED, tool_choice="required")) == {"tool_choice": "required"}
    named = {"tool_choice": {"type": "function", "function": {"name": "get_time"}}}
    assert await sent(replace(ASKED, tool_choice=TIME_TOOL)) == named
    held = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
    assert await sent(replace(ASKED, response_format=ResponseFormat("answer", SCHEMA))) == {"response_format": held}


@pytest.mark.parametrize(("owner", "verbose"), [("llamacpp", True), ("vllm", None)])
async def test_llama_server_is_asked_to_tell_what_the_model_stopped_at_and_no_other(
    owner: str, verbose: object
) -> None:
    bodies: list[JsonObject] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": [{"id": "m", "owned_by": owner}]})
        bodies.append(json.loads(request.content))
        return httpx.Response(200, content=events(said("Hi", "stop")))

    server = engine(handler)
    await server.models()
    for stop in ((), ("END",)):
        await written(server.generate(MODEL, "m", ask("Hi", sampling=Sampling(stop=stop))))
    assert [body.get("verbose") for body in bodies] == [None, verbose]


async def test_a_server_that_makes_no_call_though_one_was_demanded_is_told_on() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=events(said("Hi", "stop")))

    for choice in ("required", TIME_TOOL):
        with pytest.raises(OrchestratorError) as caught:
            await written(engine(handler).generate(MODEL, "m", replace(ASKED, tool_choice=choice)))
        message = f"{WHO} was told to have 'm' call a tool, and it called none."
        assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


def replying(status: int, body: JsonValue) -> Handler:
    return lambda request: httpx.Response(status, json=body)


@pytest.mark.parametrize(
    "words",
    [
        "The provided JSON schema contains features not supported by xgrammar.",
        "Invalid value for 'response_format': unsupported",
        "Failed to parse grammar",
        "guided_json is not a valid schema",
    ],
)
@pytest.mark.parametrize("status", [400, 422])
async def test_a_format_that_the_server_refuses_is_an_invalid_value_on_it(words: str, status: int) -> None:
    request = replace(ASKED, response_format=ResponseFormat("answer", SCHEMA))
    with pytest.raises(OrchestratorError) as caught:
        await written(
            engine(replying(status, {"error": dict[str, JsonValue](message=words)})).generate(MODEL, "m", request)
        )
    message = f"{WHO} cannot hold the model to this format: {words}"
    assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "response_format")


async def test_vectors_come_back_in_the_order_of_the_texts() -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        data = [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [0.5, -0.5]}]
        return httpx.Response(200, json={"object": "list", "data": data, "usage": {"prompt_tokens": 7}})

    found = await engine(handler).embed(MODEL, "m", ["one", "two"])
    assert found == Embeddings(((0.5, -0.5), (0.0, 1.0)), 7)
    (request,) = requests
    assert json.loads(request.content) == {"model": "m", "input": ["one", "two"], "encoding_format": "float"}
    assert (request.url.path, request.headers["authorization"]) == ("/v1/embeddings", f"Bearer {KEY}")


async def test_no_texts_ask_for_nothing() -> None:
    assert await engine(replying(500, {})).embed(MODEL, "m", []) == Embeddings(())


@pytest.mark.parametrize(
    "body",
    [{}, [], {"data": [{"index": 0, "embedding": "AAAA"}]}, {"data": []}, {"data": [{"index": 1, "embedding": [1]}]}],
)
async def test_what_is_no_list_of_as_many_vectors_is_an_engine_error(body: JsonValue) -> None:
    with pytest.raises(OrchestratorError) as caught:
        await engine(replying(200, body)).embed(MODEL, "m", ["one"])
    message = f"{WHO} sent something that is no list of embeddings."
    assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


async def test_a_server_that_does_not_embed_is_quoted() -> None:
    error: JsonValue = {"error": {"message": f"no embeddings here for {KEY}"}}
    with pytest.raises(OrchestratorError) as caught:
        await engine(replying(501, error)).embed(MODEL, "m", ["one"])
    assert caught.value.info.kind == ErrorKind.ENGINE_ERROR
    assert "no embeddings here for [key]" in caught.value.info.message


async def test_a_server_that_is_gone_is_unavailable_for_vectors_too() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(OrchestratorError) as caught:
        await engine(handler).embed(MODEL, "m", ["one"])
    message = f"{WHO} cannot be reached (ConnectError)."
    assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, message)


async def test_a_server_keeps_its_models_for_itself() -> None:
    remote = engine(replying(200, {}))
    assert remote.traits == EngineTraits(loads=False, embeds=True, address=URL, reasoning_hint=REASONING_HINT, raw=True)
    with pytest.raises(OrchestratorError) as caught:
        await remote.unload("m")
    message = f"{WHO} loads and unloads its models by itself."
    assert caught.value.info == ErrorInfo(ErrorKind.NOT_IMPLEMENTED, message, "instance_id")
