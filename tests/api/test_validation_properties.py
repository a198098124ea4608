"""Requests that are nearly right: whatever is sent, the answer is a reply or an envelope, and never a breakdown."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.api.decode import decode_body, decode_value
from orchestrator.api.errors import ERROR_TABLE
from orchestrator.api.wire import ErrorEnvelope
from orchestrator.api.wire_requests import ChatBody
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.request import IntegrationRequest
from orchestrator.ports import IntegrationSession, RunScope
from orchestrator.testing import SCRIPTED_MODEL, FakeCatalog
from tests.api.house import CHAT, House, house

pytestmark = pytest.mark.anyio

texts = st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | st.sampled_from(["auto", "plugin", "text", "resp_1", "on"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
fractions = st.floats(0, 1) | st.integers(0, 1)
counts = st.integers(1, 2**31 - 1)
tools = st.lists(texts.filter(bool), max_size=3)
names = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)

inputs = texts.filter(bool) | st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "message"]), "content": texts.filter(bool)}),
    min_size=1,
    max_size=3,
)
integrations = st.lists(
    st.just("mcp/clock")
    | st.fixed_dictionaries({"type": st.just("plugin"), "id": st.just("mcp/clock")}, optional={"allowed_tools": tools})
    | st.fixed_dictionaries(
        {"type": st.just("ephemeral_mcp"), "server_label": names, "server_url": st.just("https://mcp.example")},
        optional={"allowed_tools": tools, "headers": st.dictionaries(texts, texts, max_size=2)},
    ),
    max_size=3,
)
schemas: st.SearchStrategy[Any] = st.just({})
response_formats: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"type": st.just("json_schema"), "json_schema": st.fixed_dictionaries({"name": names, "schema": schemas})}
)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "system_prompt": texts,
    "integrations": integrations,
    "stream": st.booleans(),
    "temperature": fractions,
    "top_p": fractions,
    "min_p": fractions,
    "top_k": st.integers(0, 2**31 - 1),
    "repeat_penalty": st.floats(0, 1000, exclude_min=True) | st.integers(1, 1000),
    "max_output_tokens": counts,
    "reasoning": st.sampled_from(["off", "low", "medium", "high", "on"]),
    "context_length": counts,
    "store": st.booleans(),
    "previous_response_id": st.just("resp_" + "0" * 48),
    "seed": st.integers(0, 2**32 - 1),
    "stop": texts.filter(bool) | st.lists(texts.filter(bool), max_size=8),
    "tool_choice": st.sampled_from(["auto", "none", "required"])
    | st.fixed_dictionaries({"tool": names, "server": names}),
    "max_turns": counts,
    "metadata": st.dictionaries(texts.filter(bool), texts, max_size=3),
    "ttl": counts,
    "background": st.booleans(),
    "response_format": response_formats,
    "thread_id": texts,
    "reasoning_effort": st.sampled_from(["low", "medium", "high"]),
    "enable_thinking": st.booleans(),
}
REQUIRED: dict[str, st.SearchStrategy[Any]] = {"model": st.just(SCRIPTED_MODEL), "input": inputs}
bodies: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(REQUIRED, optional=OPTIONAL)


Container: TypeAlias = "JsonObject | list[JsonValue]"


def places(value: JsonValue) -> list[tuple[Container, Any]]:
    """Every container in `value`, with each of its keys."""
    found: list[tuple[Container, Any]] = []
    match value:
        case dict():
            for key, inner in value.items():
                found += [(value, key), *places(inner)]
        case list():
            for index, inner in enumerate(value):
                found += [(value, index), *places(inner)]
        case _:
            pass
    return found


@st.composite
def nearly_right_bodies(draw: st.DrawFn) -> JsonObject:
    """A right body in which a few places are dropped, replaced, or given company."""
    body = deepcopy(draw(bodies))
    for _ in range(draw(st.integers(0, 2))):
        container, key = draw(st.sampled_from(places(body) or [(body, "model")]))
        what = draw(st.sampled_from(["drop", "replace", "add"]))
        if what == "replace" or isinstance(container, list):
            container[key] = draw(values)
        elif what == "drop":
            container.pop(key, None)
        else:
            container[draw(texts)] = draw(values)
    return body


@settings(deadline=None)
@given(bodies)
def test_a_right_body_is_taken(body: JsonObject) -> None:
    assert decode_value(body, ChatBody) == msgspec.convert(body, ChatBody)


def error_of(body: JsonObject) -> OrchestratorError | None:
    try:
        decode_value(body, ChatBody)
    except OrchestratorError as error:
        return error
    return None


@settings(max_examples=300, deadline=None)
@given(nearly_right_bodies())
def test_our_rules_and_msgspecs_agree_and_a_refusal_names_a_place(body: JsonObject) -> None:
    error = error_of(body)
    try:
        msgspec.convert(body, ChatBody)
    except msgspec.ValidationError:
        assert error is not None
        assert error.info.param is not None
        assert ERROR_TABLE[error.info.kind].status == 400
    else:  # msgspec lets a tag be left out where there is nothing to choose from
        assert error is None or error.info.param == "response_format.type"


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:0159.eE-+ntrufalse \\u\ud800', max_size=30).map(
    lambda text: text.encode("utf-8", "surrogatepass")
))  # fmt: skip
def test_any_bytes_are_a_body_or_an_error_of_the_table(content: bytes) -> None:
    try:
        decode_body(content, ChatBody)
    except OrchestratorError as error:
        assert ERROR_TABLE[error.info.kind].status == 400


class NobodyAnswers(FakeCatalog):
    """Every server is known, and none can be reached."""

    def check(self, integrations: Sequence[IntegrationRequest]) -> None:
        pass

    @asynccontextmanager
    async def open(
        self, integrations: Sequence[IntegrationRequest], scope: RunScope
    ) -> AsyncGenerator[Sequence[IntegrationSession]]:
        if integrations:
            raise OrchestratorError(ErrorKind.MCP_CONNECTION_ERROR, "Nobody answers.", param="integrations")
        yield ()


@pytest.fixture
async def api() -> AsyncGenerator[House]:
    async with house(catalog=NobodyAnswers()) as running:
        yield running


EXPECTED = {200, 202, 400, 404, 424, 501}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=nearly_right_bodies())
async def test_a_nearly_right_request_gets_a_reply_or_an_envelope(api: House, body: JsonObject) -> None:
    content = json.dumps(body).encode()
    response = await api.client.post(CHAT, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in EXPECTED
    if response.status_code == 202:
        assert (response.json()["status"], body["background"], body.get("stream", False)) == (
            "in_progress",
            True,
            False,
        )
    elif response.status_code != 200:
        envelope = msgspec.json.decode(response.content, type=ErrorEnvelope)
        assert envelope.error.message
        assert response.headers["Content-Type"] == "application/json"
