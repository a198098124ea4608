"""The main job, as a client sees it: the demo model calls real tools through a running service."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.adder import running_adder
from tests.e2e.running import RunningService, running_service

PLUGINS = {
    "mcpServers": {
        "clock": {"command": "clock-mcp"},
        "notes": {"command": "notes-mcp", "args": ["--file", "notes.db"]},
    }
}
PROMPT = 'Use get_current_time with timezone="Asia/Tokyo"'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("service"), PLUGINS) as service:
        yield service


@pytest.fixture(scope="module")
def adder() -> Iterator[str]:
    with running_adder() as url:
        yield url


def text_of(call: dict[str, Any]) -> str:
    return json.loads(call["output"])[0]["text"]


def test_the_model_calls_a_plugin_and_quotes_its_result(service: RunningService) -> None:
    reply = service.chat({"input": PROMPT, "integrations": ["mcp/clock"]}).json()
    calls = [item for item in reply["output"] if item["type"] == "tool_call"]
    assert [(call["tool"], call["arguments"], call["provider_info"]) for call in calls] == [
        ("get_current_time", {"timezone": "Asia/Tokyo"}, {"type": "plugin", "plugin_id": "mcp/clock"})
    ]
    message = reply["output"][-1]
    assert message["type"] == "message"
    assert text_of(calls[0]).split()[0] in message["content"]


def seed_request(adder: str) -> dict[str, Any]:
    """The seed's example: an ephemeral server and a plugin, each with its allowed tools, in one request."""
    return {
        "input": "Use add with a=17 and b=25",
        "integrations": [
            {"type": "ephemeral_mcp", "server_label": "adder", "server_url": adder, "allowed_tools": ["add"]},
            {"type": "plugin", "id": "mcp/clock", "allowed_tools": ["get_current_time"]},
        ],
        "context_length": 2048,
    }


def test_the_seeds_request_gets_the_seeds_reply(service: RunningService, adder: str) -> None:
    response = service.chat(seed_request(adder))
    assert response.status_code == 200
    reply = response.json()
    assert set(reply) >= {"model_instance_id", "output", "stats", "response_id"}
    assert reply["model_instance_id"] == "demo/tiny-tools"
    assert reply["response_id"].startswith("resp_")
    assert len(reply["response_id"]) == 53
    assert response.headers["x-response-id"] == reply["response_id"]
    call = reply["output"][0]
    assert {key: call[key] for key in ("type", "tool", "arguments", "output", "provider_info")} == {
        "type": "tool_call",
        "tool": "add",
        "arguments": {"a": 17, "b": 25},
        "output": call["output"],
        "provider_info": {"type": "ephemeral_mcp", "server_label": "adder"},
    }
    assert text_of(call) == "42"
    assert "42" in reply["output"][-1]["content"]
    stats = reply["stats"]
    assert stats["input_tokens"] > 50
    assert stats["total_output_tokens"] > 5
    assert stats["tokens_per_second"] > 0
    assert stats["time_to_first_token_seconds"] > 0


def test_the_seeds_request_streams_and_ends_with_the_same_reply(service: RunningService, adder: str) -> None:
    events = service.stream(seed_request(adder))
    kinds = [event["type"] for event in events]
    assert kinds[0] == "chat.start"
    assert kinds[-1] == "chat.end"
    order = [
        "tool_call.start",
        "tool_call.name",
        "tool_call.arguments",
        "tool_call.success",
        "message.start",
        "message.end",
    ]
    assert [kind for kind in kinds if kind in order] == order
    result = events[-1]["result"]
    assert result["response_id"] == events[0]["response_id"]
    said = "".join(event["content"] for event in events if event["type"] == "message.delta")
    assert result["output"][-1] == {"type": "message", "content": said}
    plain = service.chat(seed_request(adder)).json()
    assert [item["type"] for item in plain["output"]] == [item["type"] for item in result["output"]]
    assert set(plain) == set(result)


def test_the_older_seeds_request_gets_the_older_seeds_reply_and_a_thread_that_goes_on(
    service: RunningService, adder: str
) -> None:
    servers = [{"server_label": "adder", "server_url": adder, "allowed_tools": ["add"]}]
    seed = {"input": "Use add with a=17 and b=25", "mcp_servers": servers, "reasoning_effort": "low"}
    reply = service.chat(seed | {"context_length": 2048}).json()
    call = reply["output"][0]
    assert {key: call[key] for key in ("type", "server_label", "tool", "arguments")} == {
        "type": "mcp_call",
        "server_label": "adder",
        "tool": "add",
        "arguments": {"a": 17, "b": 25},
    }
    assert text_of(call) == "42"
    assert reply["output"][-1]["type"] == "message"
    assert len(reply["thread_id"]) == len("thread_") + 48
    appended = {"input": "Use add with a=1 and b=2", "mcp_servers": servers, "thread_id": reply["thread_id"]}
    events = service.stream(appended)
    assert events[0]["thread_id"] == events[-1]["result"]["thread_id"] == reply["thread_id"]
    with service.client() as client:
        thread = client.get(f"/api/v1/threads/{reply['thread_id']}").json()
    assert [entry["output"][0]["arguments"] for entry in thread["responses"]] == [{"a": 17, "b": 25}, {"a": 1, "b": 2}]


def test_a_response_is_continued_and_branched(service: RunningService, adder: str) -> None:
    first = service.chat(seed_request(adder)).json()
    integrations = seed_request(adder)["integrations"]
    branches: list[dict[str, Any]] = []
    for numbers in ((3, 4), (5, 6)):
        body = {
            "input": f"Use add with a={numbers[0]} and b={numbers[1]}",
            "integrations": integrations,
            "previous_response_id": first["response_id"],
        }
        branches.append(service.chat(body).json())
    assert [text_of(branch["output"][0]) for branch in branches] == ["7", "11"]
    assert all(branch["stats"]["input_tokens"] > first["stats"]["input_tokens"] for branch in branches)
    with service.client() as client:
        stored = [client.get(f"/api/v1/responses/{branch['response_id']}").json() for branch in branches]
    assert {node["previous_response_id"] for node in stored} == {first["response_id"]}
    assert [node["output"] for node in stored] == [branch["output"] for branch in branches]


def test_a_chat_that_is_not_stored_leaves_nothing_to_continue(service: RunningService) -> None:
    response = service.chat({"input": PROMPT, "integrations": ["mcp/clock"], "store": False})
    assert response.status_code == 200
    assert "response_id" not in response.json()
    assert "x-response-id" not in response.headers


def test_32_chats_at_once_get_their_own_answers_back(service: RunningService, adder: str) -> None:
    chosen = random.Random(7)
    pairs = [(chosen.randint(1, 400), chosen.randint(1, 400)) for _ in range(32)]
    integrations = seed_request(adder)["integrations"]

    def ask(pair: tuple[int, int]) -> dict[str, Any]:
        body = {"input": f"Use add with a={pair[0]} and b={pair[1]}", "integrations": integrations}
        response = service.chat(body)
        assert response.status_code == 200, response.text
        return response.json()

    with ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(ask, pairs))
    for pair, reply in zip(pairs, replies, strict=True):
        call = reply["output"][0]
        assert call["arguments"] == {"a": pair[0], "b": pair[1]}
        assert text_of(call) == str(sum(pair))
        assert str(sum(pair)) in reply["output"][-1]["content"]
    assert len({reply["response_id"] for reply in replies}) == 32


def test_a_model_load_is_streamed_with_the_engines_own_progress(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        events = service.stream({"input": "Hello"})
        kinds = [event["type"] for event in events]
        assert kinds[:2] == ["chat.start", "model_load.start"]
        progress = [event["progress"] for event in events if event["type"] == "model_load.progress"]
        assert progress == sorted(progress)
        assert all(0 <= value <= 1 for value in progress)
        load = next(event for event in events if event["type"] == "model_load.end")
        assert events[-1]["result"]["stats"]["model_load_time_seconds"] == load["load_time_seconds"] > 0
        again = service.chat({"input": "Hello"}).json()
        assert "model_load_time_seconds" not in again["stats"]
