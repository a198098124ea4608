"""SIGTERM: runs may finish, and a client that still listens hears how it ended."""

import signal
from pathlib import Path

import pytest

from tests.e2e.adder import running_adder
from tests.e2e.running import DEMO_MODEL, events, running_service


def test_a_stream_that_outlasts_the_stop_ends_with_chat_end(tmp_path: Path) -> None:
    with running_adder() as url, running_service(tmp_path) as service:
        body = {
            "model": DEMO_MODEL,
            "input": "Use wait with seconds=50",
            "temperature": 0,
            "stream": True,
            "integrations": [
                {"type": "ephemeral_mcp", "server_label": "adder", "server_url": url, "allowed_tools": ["wait"]}
            ],
        }
        with service.client() as client, client.stream("POST", "/api/v1/chat", json=body) as response:
            stream = events(response)
            for event in stream:
                if event["type"] == "tool_call.arguments":
                    service.process.send_signal(signal.SIGTERM)
                    break
            rest = [event["type"] for event in stream if event["type"] != "tool_call.success"]
            assert rest == ["chat.end"]
        assert service.process.wait(20) == 0
        assert "Traceback" not in service.log


def test_a_named_mcp_json_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "mcp.json"
    with pytest.raises(RuntimeError, match="the file does not exist"):
        with running_service(tmp_path, ORCHESTRATOR_MCP_CONFIG=str(missing)):
            pass
