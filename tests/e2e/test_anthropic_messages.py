"""Anthropic's own client, against a running service with the demo model and real MCP servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.e2e.adder import running_adder
from tests.e2e.running import DEMO_MODEL, RunningService, running_service

ADD: Any = {
    "name": "add",
    "description": "Add two numbers.",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
SUM: Any = {"role": "user", "content": "Use add with a=17 and b=25"}
COLD: Any = {"temperature": 0}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    plugins = {"mcpServers": {"clock": {"command": "clock-mcp"}}}
    with running_service(tmp_path_factory.mktemp("service"), plugins) as service:
        yield service


@pytest.fixture
def client(service: RunningService) -> Iterator[Any]:
    """Its replies are unions of all that Anthropic has."""
    with anthropic.Anthropic(base_url=service.url, api_key="none", max_retries=0) as client:
        yield client


def test_a_plugin_and_a_server_of_the_request_run_here(client: Any) -> None:
    question = {"role": "user", "content": 'Use get_current_time with timezone="Asia/Tokyo"'}
    extra = {**COLD, "integrations": ["mcp/clock"]}
    told = client.messages.create(model=DEMO_MODEL, max_tokens=200, messages=[question], extra_body=extra)
    with running_adder() as url:
        server = {"type": "url", "name": "adder", "url": url, "authorization_token": "secret"}
        with client.beta.messages.stream(
            model=DEMO_MODEL, max_tokens=200, messages=[SUM], mcp_servers=[server], extra_body=COLD
        ) as stream:
            added = stream.get_final_message()
    use, result, text = told.content
    assert (use.name, use.server_name, text.type) == ("get_current_time", "mcp/clock", "text")
    assert result.content[0]["text"].split()[0] in text.text
    assert (added.content[0].name, added.content[1].content[0].text) == ("add", "42")


def test_a_function_of_the_client_is_called_and_its_result_read(client: Any, service: RunningService) -> None:
    ask = {"model": DEMO_MODEL, "max_tokens": 200, "tools": [ADD], "extra_body": COLD}
    first = client.messages.create(**ask, messages=[SUM])
    use = first.content[-1]
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "42"}
    history = [SUM, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = client.messages.create(**ask, messages=history)
    counted = client.messages.count_tokens(model=DEMO_MODEL, messages=[SUM], tools=[ADD])
    with service.client() as http:
        stored = http.get(f"/api/v1/responses/resp_{second.id[4:]}").json()
    assert (first.stop_reason, use.input) == ("tool_use", {"a": 17, "b": 25})
    assert "42" in second.content[-1].text
    assert stored["previous_response_id"] == f"resp_{first.id[4:]}"
    assert counted.input_tokens > 10


def test_the_demo_model_thinks_where_it_is_asked_to_and_stops_at_a_sequence_of_its_answer(client: Any) -> None:
    ask = {"model": DEMO_MODEL, "messages": [{"role": "user", "content": "Hello!"}], "extra_body": COLD}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(**ask, max_tokens=2000, thinking=thinking, stop_sequences=["?", "e"]) as stream:
        thought = stream.get_final_message()
    silent = client.messages.create(**ask, max_tokens=200, thinking={"type": "disabled"}, stop_sequences=["never"])
    assert [block.type for block in thought.content] == ["thinking", "text"]
    assert (thought.content[0].thinking.strip(), thought.content[1].text) == ("No tool is needed.", "H")
    assert (thought.stop_reason, thought.stop_sequence) == ("stop_sequence", "e")
    assert [block.text for block in silent.content] == ["Hello! How can I help you?"]
    assert (silent.stop_reason, silent.stop_sequence) == ("end_turn", None)


def test_the_agent_loop_of_the_client_runs_its_own_functions(client: Any) -> None:
    @anthropic.beta_tool
    def add(a: int, b: int) -> str:
        """Add two numbers."""
        return str(a + b)

    runner = client.beta.messages.tool_runner(
        model=DEMO_MODEL, max_tokens=200, messages=[SUM], tools=[add], extra_body=COLD
    )
    messages = list(runner)
    assert [message.stop_reason for message in messages] == ["tool_use", "end_turn"]
    assert "42" in messages[-1].content[-1].text


def test_a_call_that_mcp_json_guards_pauses_the_message_and_goes_on_when_it_is_approved(tmp_path: Path) -> None:
    extra = {**COLD, "integrations": [{"type": "plugin", "id": "mcp/adder", "allowed_tools": ["add"]}]}
    with running_adder() as url:
        plugins = {"mcpServers": {"adder": {"url": url, "require_approval": "always"}}}
        with running_service(tmp_path, plugins) as service:
            asks: Any = anthropic.Anthropic(base_url=service.url, api_key="none", max_retries=0)
            ask = {"model": DEMO_MODEL, "max_tokens": 200, "extra_body": extra}
            paused = asks.beta.messages.create(**ask, messages=[SUM])
            with service.client() as http:
                path = f"/api/v1/responses/resp_{paused.id[4:]}"
                [waiting] = http.get(path).json()["pending_approvals"]
                made = [{"call_id": waiting["call_id"], "decision": "approve"}]
                http.post(f"{path}/approvals", json={"approvals": made}).raise_for_status()
            history = [SUM, {"role": "assistant", "content": paused.content}]
            rest = asks.beta.messages.create(**ask, messages=history)
            asks.close()
    assert (paused.stop_reason, [block.type for block in paused.content]) == ("pause_turn", ["mcp_tool_use"])
    assert (rest.id, rest.stop_reason) == (paused.id, "end_turn")
    assert [block.type for block in rest.content] == ["mcp_tool_result", "text"]
    assert rest.content[0].content[0].text == "42"
    assert "42" in rest.content[1].text
