"""OpenAI's own client, against a running service with the demo model and real MCP servers."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.e2e.adder import running_adder
from tests.e2e.running import DEMO_MODEL, RunningService, running_service

ADD: Any = {
    "type": "function",
    "name": "add",
    "description": "Add two numbers.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
SUM = "Use add with a=17 and b=25"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    plugins = {"mcpServers": {"clock": {"command": "clock-mcp"}}}
    with running_service(tmp_path_factory.mktemp("service"), plugins) as service:
        yield service


@pytest.fixture
def client(service: RunningService) -> Iterator[Any]:
    """Its replies are unions of all that OpenAI has."""
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_plugin_and_a_server_of_the_request_run_here(client: Any) -> None:
    clock = {"type": "mcp", "server_label": "clock", "require_approval": "never"}
    question = 'Use get_current_time with timezone="Asia/Tokyo"'
    told = client.responses.create(model=DEMO_MODEL, temperature=0, input=question, tools=[clock])
    with running_adder() as url:
        adder = {"type": "mcp", "server_label": "adder", "server_url": url, "require_approval": "never"}
        tools = [
            adder | {"headers": {"X-Key": "k"}, "authorization": "secret", "allowed_tools": {"tool_names": ["add"]}}
        ]
        stream = client.responses.create(model=DEMO_MODEL, temperature=0, input=SUM, tools=tools, stream=True)
        events = list(stream)
    listed, call, message = told.output
    assert (listed.type, call.name, message.type) == ("mcp_list_tools", "get_current_time", "message")
    assert call.output.split()[0] in told.output_text
    final = events[-1].response
    assert (final.output[1].output, final.status) == ("42", "completed")
    assert "secret" not in client.responses.retrieve(final.id).model_dump_json()


def test_a_function_of_the_client_is_called_and_its_result_read(client: Any, service: RunningService) -> None:
    first = client.responses.create(model=DEMO_MODEL, temperature=0, input=SUM, tools=[ADD])
    call = first.output[-1]
    assert (call.type, json.loads(call.arguments)) == ("function_call", {"a": 17, "b": 25})
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "42"}
    second = client.responses.create(
        model=DEMO_MODEL, temperature=0, previous_response_id=first.id, input=[output], tools=[ADD]
    )
    assert "42" in second.output_text
    with service.client() as http:
        chain = http.get(f"/api/v1/responses/{second.id}/chain").json()["responses"]
    assert [response["response_id"] for response in chain] == [first.id, second.id]


def test_a_call_waits_for_its_approval_and_a_response_of_the_background_for_nobody(client: Any) -> None:
    clock = {"type": "mcp", "server_label": "clock", "require_approval": "always"}
    question = 'Use get_current_time with timezone="Asia/Tokyo"'
    begun = client.responses.create(model=DEMO_MODEL, temperature=0, input=question, tools=[clock], background=True)
    events = list(client.responses.retrieve(begun.id, stream=True))
    asked = events[-1].response.output[-1]
    decision = {"type": "mcp_approval_response", "approval_request_id": asked.id, "approve": True}
    done = client.responses.create(model=DEMO_MODEL, previous_response_id=begun.id, input=[decision], tools=[clock])
    assert (asked.type, done.output[0].type) == ("mcp_approval_request", "mcp_call")
    assert (done.previous_response_id, done.id != begun.id) == (begun.id, True)
    assert done.output[0].output.split()[0] in done.output_text


def test_a_response_that_is_cancelled_says_so_and_a_wrong_request_what_is_wrong(client: Any) -> None:
    begun = client.responses.create(model=DEMO_MODEL, input="Tell me a story.", background=True)
    assert client.responses.cancel(begun.id).status in ("cancelled", "completed")
    with pytest.raises(openai.NotFoundError) as unknown:
        client.responses.create(model="nobody/nothing", input="Hi")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")


def test_a_prompt_is_as_long_as_it_was_counted(client: Any) -> None:
    client.responses.create(model=DEMO_MODEL, input="Hi")  # so that it is loaded
    for more in ({}, {"instructions": "Be brief."}, {"tools": [ADD]}):
        asked = {"model": DEMO_MODEL, "input": "Hello there.", **more}
        counted = client.responses.input_tokens.count(**asked)
        answered = client.responses.create(**asked, temperature=0, max_output_tokens=4)
        assert counted.input_tokens == answered.usage.input_tokens, more
