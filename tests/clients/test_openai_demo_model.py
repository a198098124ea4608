"""OpenAI's own Python client against a service of its own process, with the model that comes along and a real MCP server."""

import sys
from collections.abc import Iterator

import openai
import pytest

from tests.e2e.running import DEMO_MODEL, RunningService, running_service

CLOCK = {"mcpServers": {"clock": {"command": sys.executable, "args": ["-m", "clock_mcp"]}}}
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("service") / "data", CLOCK) as running:
        yield running


@pytest.fixture
def client(service: RunningService) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_servers_tools_run_and_the_chat_goes_on(client: openai.OpenAI) -> None:
    said = client.chat.completions.create(
        model=DEMO_MODEL,
        messages=[{"role": "user", "content": "What time is it in UTC?"}],
        extra_body={"integrations": ["mcp/clock"]},
        temperature=0,
    )
    assert said.choices[0].finish_reason == "stop" and said.usage is not None and said.usage.completion_tokens > 0
    native = client.get(
        f"/../api/v1/responses/{said.choices[0].model_dump()['response_id']}", cast_to=dict[str, object]
    )
    output = native["output"]
    assert isinstance(output, list)
    assert [item["type"] for item in output if item["type"] != "message"] == ["tool_call"]  # pyright: ignore[reportUnknownVariableType] - JSON of our own


def test_likelihoods_come_from_the_engine_and_a_stream_counts(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=DEMO_MODEL,
        messages=[{"role": "user", "content": "Hello!"}],
        stream=True,
        stream_options={"include_usage": True},
        logprobs=True,
        top_logprobs=2,
        temperature=0,
        presence_penalty=0.1,
        logit_bias={"5": -1},
        max_tokens=4,
    )
    chunks = list(stream)
    told = [
        token
        for chunk in chunks
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content or ()
    ]
    assert told and all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in told)
    assert chunks[-1].usage is not None and 0 < chunks[-1].usage.completion_tokens <= 4


def test_a_function_is_called_where_one_is_demanded(client: openai.OpenAI) -> None:
    said = client.chat.completions.create(
        model=DEMO_MODEL,
        messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"enum": ["Oslo", "Rome"]}},
                        "required": ["city"],
                        "additionalProperties": False,
                    },
                },
            }
        ],
        tool_choice="required",
        temperature=0,
    )
    [call] = said.choices[0].message.tool_calls or []
    assert said.choices[0].finish_reason == "tool_calls" and call.type == "function" and call.function.name == "weather"


def test_an_object_is_written_where_one_is_asked_for(client: openai.OpenAI) -> None:
    said = client.chat.completions.create(
        model=DEMO_MODEL,
        messages=[{"role": "user", "content": "Hello!"}],
        response_format={"type": "json_object"},
        max_tokens=64,
        temperature=0,
    )
    assert (said.choices[0].message.content or "").lstrip().startswith("{")


def test_a_model_that_nobody_has_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody/knows", messages=[{"role": "user", "content": "?"}])
    assert DEMO_MODEL in [model.id for model in client.models.list()]
