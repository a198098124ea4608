"""Servers that nobody here wrote, called by the demo model through the API."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import anyio
import pytest

from tests.e2e.running import RunningService, running_service
from tests.servers.install import NodeMissingError, node_server, python_server
from tests.servers.running import everything_over_http

# The first test of a fresh checkout installs the servers.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def everything() -> Sequence[str]:
    try:
        return node_server("mcp-server-everything")
    except NodeMissingError as error:
        pytest.skip(f"the server needs Node.js: {error}")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    plugins = {"mcpServers": {"time": {"command": python_server("mcp-server-time")}}}
    with running_service(tmp_path_factory.mktemp("service"), plugins) as service:
        yield service


def only_call(service: RunningService, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The one tool call of the reply, and the message after it."""
    response = service.chat(body)
    assert response.status_code == 200, response.text
    call, message = response.json()["output"]
    assert (call["type"], call["is_error"], message["type"]) == ("tool_call", False, "message")
    return call, message["content"]


def test_the_time_server_from_pypi_tells_the_time(service: RunningService) -> None:
    body = {
        "input": 'Use get_current_time with timezone="Asia/Tokyo"',
        "integrations": [{"type": "plugin", "id": "mcp/time", "allowed_tools": ["get_current_time"]}],
    }
    call, message = only_call(service, body)
    assert (call["tool"], call["arguments"]) == ("get_current_time", {"timezone": "Asia/Tokyo"})
    told = json.loads(json.loads(call["output"])[0]["text"])
    assert told["timezone"] == "Asia/Tokyo"
    assert told["datetime"].endswith("+09:00")
    assert "Asia/Tokyo" in message


def test_the_time_server_from_pypi_converts_a_time(service: RunningService) -> None:
    body = {
        "input": 'Use convert_time with source_timezone="Asia/Tokyo", time="09:30" and target_timezone="UTC"',
        "integrations": [{"type": "plugin", "id": "mcp/time", "allowed_tools": ["convert_time"]}],
        "max_turns": 1,  # the small model does not know when a result this long is enough
    }
    reply = service.chat(body).json()
    (call,) = reply["output"]
    assert call["arguments"] == {"source_timezone": "Asia/Tokyo", "time": "09:30", "target_timezone": "UTC"}
    assert "T00:30:00+00:00" in json.loads(call["output"])[0]["text"]
    assert (reply["status"], reply["incomplete_reason"]) == ("incomplete", "max_turns")


def sum_of(provider: dict[str, Any]) -> dict[str, Any]:
    return {"input": "Use get-sum with a=19 and b=23", "integrations": [provider | {"allowed_tools": ["get-sum"]}]}


def test_the_everything_server_from_npm_adds_over_stdio(
    tmp_path_factory: pytest.TempPathFactory, everything: Sequence[str]
) -> None:
    command, *args = everything
    plugins = {"mcpServers": {"everything": {"command": command, "args": [*args, "stdio"]}}}
    with running_service(tmp_path_factory.mktemp("service"), plugins) as service:
        call, message = only_call(service, sum_of({"type": "plugin", "id": "mcp/everything"}))
    assert call["provider_info"] == {"type": "plugin", "plugin_id": "mcp/everything"}
    assert "42" in json.loads(call["output"])[0]["text"]
    assert "42" in message


@pytest.mark.anyio
async def test_the_everything_server_from_npm_adds_over_streamable_http(
    service: RunningService, everything: Sequence[str]
) -> None:
    async with everything_over_http() as url:
        ephemeral = {"type": "ephemeral_mcp", "server_label": "everything", "server_url": url}
        call, message = await anyio.to_thread.run_sync(only_call, service, sum_of(ephemeral))
    assert call["provider_info"] == {"type": "ephemeral_mcp", "server_label": "everything"}
    assert "42" in json.loads(call["output"])[0]["text"]
    assert "42" in message
