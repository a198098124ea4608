"""`kill -9` in the middle of a tool call, and what is there afterwards."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from tests.e2e.adder import running_adder
from tests.e2e.running import DEMO_MODEL, RunningService, events, running_service


def journal(data_dir: Path) -> list[tuple[str, str]]:
    """Tool and status of each journaled call, in the order of the journal."""
    database = next(data_dir.glob("*.db"))
    connection = sqlite3.connect(database)
    try:
        return connection.execute("SELECT tool, status FROM tool_calls ORDER BY created_at, position").fetchall()
    finally:
        connection.close()


def stored(service: RunningService, response_id: str) -> dict[str, Any]:
    with service.client() as client:
        response = client.get(f"/api/v1/responses/{response_id}")
        assert response.status_code == 200, response.text
        return response.json()


def kill_during_the_call(service: RunningService, body: dict[str, Any]) -> str:
    """Stream until the tool has its arguments and the call is journaled, then kill the service."""
    request = {"model": DEMO_MODEL, "temperature": 0, "stream": True, **body}
    with service.client() as client, client.stream("POST", "/api/v1/chat", json=request) as response:
        stream = events(response)
        response_id = next(stream)["response_id"]
        assert any(event["type"] == "tool_call.arguments" for event in stream)
        for _ in range(1000):
            if ("wait", "journaled") in journal(service.data_dir):
                service.kill()
                return response_id
    raise AssertionError("the call was not journaled")


def test_after_a_kill_the_response_is_incomplete_its_call_abandoned_and_the_rest_intact(tmp_path: Path) -> None:
    with running_adder() as url:
        adder = {"type": "ephemeral_mcp", "server_label": "adder", "server_url": url}
        with running_service(tmp_path) as service:
            before = service.chat({"input": "Use add with a=2 and b=3", "integrations": [adder]}).json()
            whole = stored(service, before["response_id"])
            response_id = kill_during_the_call(
                service,
                {
                    "input": "Use wait with seconds=50",
                    "integrations": [adder | {"allowed_tools": ["wait"]}],
                    "previous_response_id": before["response_id"],
                },
            )
        with running_service(tmp_path) as service:
            left = stored(service, response_id)
            assert (left["status"], left["incomplete_reason"]) == ("incomplete", "process_died")
            assert [(item["tool"], item["is_error"]) for item in left["output"]] == [("wait", True)]
            assert journal(tmp_path) == [("add", "succeeded"), ("wait", "abandoned")]
            grown = {"children": [response_id], "children_count": 1}
            assert stored(service, before["response_id"]) == whole | grown
            after = service.chat(
                {
                    "input": "Use add with a=4 and b=5",
                    "integrations": [adder | {"allowed_tools": ["add"]}],
                    "previous_response_id": response_id,
                }
            )
            assert after.status_code == 200, after.text
            assert json.loads(after.json()["output"][0]["output"]) == [{"type": "text", "text": "9"}]
