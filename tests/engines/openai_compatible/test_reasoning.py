"""Reasoning on servers that do not say what their models offer: what is declared counts, and what is sent follows from it."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import Model, ReasoningSupport
from orchestrator.core.request import ReasoningSetting
from orchestrator.engines.openai_compatible.engine import OpenAICompatibleEngine
from tests.engines.openai_compatible.test_odd_servers import MODEL, URL, WHO, Handler, engine, events, said
from tests.engines.samples import ask, written

pytestmark = pytest.mark.anyio

SWITCH = ReasoningSupport(("on", "off"), "on")
LEVELS = ReasoningSupport(("medium", "low", "high"), "medium")
BOTH = ReasoningSupport(("on", "off", "low", "medium", "high"), "on")
OPENAI = ReasoningSupport(("medium", "low", "high", "off"), "medium")


def fine(*deltas: JsonObject) -> httpx.Response:
    chunks: list[JsonObject] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return httpx.Response(200, content=events(*chunks, said("Hi", "stop")))


def reasoning_of(request: httpx.Request) -> dict[str, Any]:
    body = json.loads(request.content)
    return {name: body[name] for name in ("reasoning_effort", "chat_template_kwargs") if name in body}


@pytest.mark.parametrize(
    ("support", "setting", "sent"),
    [
        (SWITCH, None, {}),
        (SWITCH, "on", {"chat_template_kwargs": {"enable_thinking": True}}),
        (SWITCH, "off", {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "none"}),
        (LEVELS, "high", {"reasoning_effort": "high"}),
        (BOTH, "low", {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "low"}),
        (OPENAI, "off", {"reasoning_effort": "none"}),
    ],
)
async def test_what_is_sent_follows_from_what_the_server_offers(
    support: ReasoningSupport, setting: ReasoningSetting | None, sent: JsonObject
) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return fine()

    await written(engine(handler).generate(replace(MODEL, reasoning=support), "m", ask("Hi", reasoning=setting)))
    assert [reasoning_of(request) for request in requests] == [sent]


async def test_a_server_that_does_not_know_an_effort_is_told_by_the_template_alone() -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if "reasoning_effort" in json.loads(request.content):
            return httpx.Response(400, json={"error": {"message": "reasoning_effort: Input should be 'low'"}})
        return fine()

    await written(engine(handler).generate(replace(MODEL, reasoning=SWITCH), "m", ask("Hi", reasoning="off")))
    assert reasoning_of(requests[-1]) == {"chat_template_kwargs": {"enable_thinking": False}}
    with pytest.raises(OrchestratorError) as caught:
        await written(engine(handler).generate(replace(MODEL, reasoning=LEVELS), "m", ask("Hi", reasoning="low")))
    message = f"{WHO} refused the request (status 400): reasoning_effort: Input should be 'low'"
    assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message)


async def test_a_model_that_reasons_though_it_was_told_not_to_is_logged_once() -> None:
    remote = engine(lambda request: fine({"reasoning": "Hm"}, {"reasoning": "m."}))
    with structlog.testing.capture_logs() as lines:
        for setting in ("off", "off", "on"):
            turn = await written(remote.generate(replace(MODEL, reasoning=SWITCH), "m", ask("Hi", reasoning=setting)))
            assert (turn.reasoning, turn.text) == ("Hmm.", "Hi")
    event = "a model reasons though it was told not to"
    assert lines == [{"event": event, "engine": "openai_compatible", "model": "m", "log_level": "warning"}]


def listing(**words: object) -> Handler:
    return lambda request: httpx.Response(200, json={"data": [{"id": "m", **words}]})


@pytest.mark.parametrize(
    ("told", "support"),
    [
        ({}, None),
        ({"capabilities": ["completion"]}, None),
        ({"capabilities": {"vision": True}}, None),
        ({"capabilities": {"reasoning": {"allowed_options": ["off", "on"], "default": "on"}}}, ReasoningSupport(("off", "on"), "on")),
        ({"capabilities": {"reasoning": {"allowed_options": ["off"], "default": "on"}}}, None),
        ({"capabilities": {"reasoning": {"allowed_options": ["loud"], "default": "loud"}}}, None),
        ({"supported_parameters": ["tools", "reasoning_effort"]}, ReasoningSupport(("low", "medium", "high"), "medium")),
        ({"supported_parameters": ["tools"]}, None),
    ],
)  # fmt: skip
async def test_the_list_of_models_may_tell_what_they_offer(told: JsonObject, support: ReasoningSupport | None) -> None:
    assert await engine(listing(**told)).models() == [
        Model("m", "openai_compatible", "llm", "", "m", reasoning=support)
    ]


async def test_what_is_declared_of_a_server_wins_over_its_list() -> None:
    handler = listing(supported_parameters=["reasoning_effort"])
    remote = OpenAICompatibleEngine(URL, None, reasoning=("on", "off"), transport=httpx.MockTransport(handler))
    assert [model.reasoning for model in await remote.models()] == [SWITCH]
    assert remote.traits.reasoning_hint == "OPENAI_COMPATIBLE_REASONING can say what the models of its server offer."
