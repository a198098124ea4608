"""What a server reports, asks and gives during a chat, through a running service."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import DEMO_MODEL, RunningService, events, running_service
from tests.integrations.harness import PROGRAMS

FAMILIES = ("handshake", "stateless")
EXTENSIONS = {"X-Stream-Extensions": "true"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    program = str(PROGRAMS / "asking_server.py")
    servers: dict[str, Any] = {family: {"command": sys.executable, "args": [program, family]} for family in FAMILIES}
    folder: Path = tmp_path_factory.mktemp("service")
    servers["slow"] = {"command": sys.executable, "args": [str(PROGRAMS / "slow_server.py")], "timeout": 0.6}
    settings = {
        "ORCHESTRATOR_ELICITATION": "ask",
        "ORCHESTRATOR_SAMPLING": "on",
        "ORCHESTRATOR_TOOL_TIMEOUT_CAP": "2.5",
    }
    with running_service(folder, {"mcpServers": servers}, **settings) as service:
        yield service


def request_for(family: str, tool: str) -> dict[str, Any]:
    """A streamed chat whose model has to call `tool`."""
    return {
        "model": DEMO_MODEL,
        "input": "Go.",
        "temperature": 0,
        "stream": True,
        "max_turns": 1,
        "tool_choice": {"tool": tool},
        "integrations": [{"type": "plugin", "id": f"mcp/{family}", "allowed_tools": [tool]}],
    }


def call_of(service: RunningService, family: str, tool: str, action: dict[str, Any]) -> list[dict[str, Any]]:
    """The stream of a chat whose model calls `tool`; what it asks the user is answered by `action`."""
    body = request_for(family, tool)
    seen: list[dict[str, Any]] = []
    with (
        service.client() as client,
        service.client() as other,
        client.stream("POST", "/api/v1/chat", json=body, headers=EXTENSIONS) as response,
    ):
        assert response.status_code == 200
        for event in events(response):
            seen.append(event)
            if event["type"] == "elicitation.requested":
                path = f"/api/v1/responses/{seen[0]['response_id']}/elicitations"
                (waiting,) = other.get(path).json()["elicitations"]
                assert waiting["elicitation_id"] == event["elicitation_id"]
                answered = other.post(f"{path}/{event['elicitation_id']}", json=action)
                assert answered.status_code == 200, answered.text
    return seen


def of_type(seen: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in seen if event["type"] == kind]


def result_of(seen: list[dict[str, Any]]) -> Any:
    (call,) = of_type(seen, "tool_call.success")
    return json.loads(json.loads(call["output"])[0]["text"])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_user_answers_a_server_in_the_middle_of_a_call(service: RunningService, family: str) -> None:
    seen = call_of(service, family, "ask", {"action": "accept", "content": {"name": "Grace"}})
    (asked,) = of_type(seen, "elicitation.requested")
    assert (asked["mode"], asked["message"]) == ("form", "Your name?")
    assert asked["provider_info"] == {"type": "plugin", "plugin_id": f"mcp/{family}"}
    assert [event["action"] for event in of_type(seen, "elicitation.resolved")] == ["accept"]
    assert result_of(seen)["content"] == {"name": "Grace"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_of_the_request_writes_for_a_server(service: RunningService, family: str) -> None:
    seen = call_of(service, family, "sample", {"action": "decline"})
    (told,) = of_type(seen, "sampling.completed")
    answered = result_of(seen)
    assert answered["content"] == {"type": "text", "text": told["content"]}
    assert (answered["model"], told["model"]) == (DEMO_MODEL, DEMO_MODEL)
    assert told["output_tokens"] <= 50


@pytest.mark.parametrize("family", FAMILIES)
def test_progress_is_streamed_to_who_asks_for_extensions(service: RunningService, family: str) -> None:
    seen = call_of(service, family, "progress", {"action": "decline"})
    (start,) = of_type(seen, "tool_call.start")
    *_, last = of_type(seen, "tool_call.progress")
    assert last == {
        "type": "tool_call.progress",
        "call_id": start["call_id"],
        "progress": 3,
        "total": 3,
        "message": "step 3",
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_resources_and_prompts_of_a_server_are_input(service: RunningService, family: str) -> None:
    plugin = {
        "type": "plugin",
        "id": f"mcp/{family}",
        "allowed_tools": [],
        "resources": ["file:///a"],
        "prompt": {"name": "greet", "arguments": {"who": "Ada"}},
    }
    reply = service.chat({"input": "Hello", "integrations": [plugin], "max_output_tokens": 8})
    assert reply.status_code == 200, reply.text
    with service.client() as client:
        stored = client.get(f"/api/v1/responses/{reply.json()['response_id']}").json()
    provider = {"type": "plugin", "plugin_id": f"mcp/{family}"}
    paper = {"type": "resource", "name": "file:///a", "provider_info": provider}
    greet = {"type": "prompt", "name": "greet", "provider_info": provider}
    assert stored["input"] == [
        {"type": "text", "content": "alpha", "origin": paper},
        {"type": "text", "content": "[resource, file:///a, image/png, 3 bytes]", "origin": paper},
        {"type": "text", "content": "Greet Ada.", "origin": greet},
        {"type": "text", "content": "Hello.", "origin": greet, "role": "assistant"},
        {"type": "text", "content": "Hello"},
    ]
    refused = service.chat({"input": "Hello", "integrations": [{**plugin, "resources": ["file:///none"]}]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "integrations.0.resources.0")


def test_a_server_that_knocks_is_answered(service: RunningService) -> None:
    assert result_of(call_of(service, "handshake", "knock", {"action": "decline"})) == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_who_cancels_a_response_cancels_the_call_at_its_server(service: RunningService, family: str) -> None:
    before = result_of(call_of(service, family, "log", {"action": "decline"}))["cancels"]
    body = request_for(family, "wait")
    seen: list[dict[str, Any]] = []
    with (
        service.client() as client,
        service.client() as other,
        client.stream("POST", "/api/v1/chat", json=body) as response,
    ):
        for event in events(response):
            seen.append(event)
            if event["type"] == "tool_call.arguments":
                assert other.post(f"/api/v1/responses/{seen[0]['response_id']}/cancel").status_code in (200, 202)
    assert seen[-1]["result"]["status"] == "cancelled"
    assert result_of(call_of(service, family, "log", {"action": "decline"}))["cancels"] == before + 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_server_that_changes_its_list_is_listed_anew(service: RunningService, family: str) -> None:
    def listed() -> list[str]:
        with service.client() as client:
            return [tool["name"] for tool in client.get(f"/api/v1/plugins/mcp/{family}").json()["tools"]]

    call_of(service, family, "log", {"action": "decline"})
    before = listed()
    call_of(service, family, "change", {"action": "decline"})
    call_of(service, family, "log", {"action": "decline"})
    assert listed() == before[::-1]


def test_a_call_that_reports_progress_has_longer_up_to_a_cap(service: RunningService) -> None:
    def steps(seconds: float) -> dict[str, Any]:
        with service.client() as client:
            call = client.post("/api/v1/plugins/mcp/slow/tools/steps/call", json={"arguments": {"seconds": seconds}})
        assert call.status_code == 200, call.text
        return call.json()

    longer, longest = steps(1.2), steps(30)
    assert (longer["is_error"], json.loads(longer["output"])[0]["text"]) == (False, "arrived")
    assert longest["is_error"]
    assert "it reported progress, but had no result within 2.5 s" in longest["output"]


def test_what_a_plugin_logs_and_has_is_shown_with_it(service: RunningService) -> None:
    call_of(service, "handshake", "log", {"action": "decline"})
    with service.client() as client:
        told = client.post("/api/v1/plugins/mcp/handshake/restart").json()
    assert told["log"][-1]["text"] == "desk: the secret is hunter22"
    assert [one["uri"] for one in told["resources"]] == ["file:///a", "file:///b", "file:///{name}"]
    assert [one["name"] for one in told["prompts"]] == ["greet"]
    assert told["require_approval"] is None
