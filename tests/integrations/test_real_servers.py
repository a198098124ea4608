"""Servers that nobody here wrote: `mcp-server-time` in Python, `server-everything` in Node."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.core.errors import OrchestratorError
from orchestrator.ports import IntegrationSession
from tests.integrations.harness import SCOPE, catalog_of, ephemeral, plugin
from tests.servers.install import NodeMissingError, node_server, python_server
from tests.servers.running import everything_over_http

# The first test of a fresh checkout installs the servers.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]


@pytest.fixture(scope="session")
def time_program() -> str:
    return python_server("mcp-server-time")


@pytest.fixture(scope="session")
def everything() -> Sequence[str]:
    try:
        return node_server("mcp-server-everything")
    except NodeMissingError as error:
        pytest.skip(str(error))


async def test_the_time_server_tells_and_converts_the_time(tmp_path: Path, time_program: str) -> None:
    async with catalog_of(tmp_path, {"time": {"command": time_program}}) as catalog:
        async with catalog.open([plugin("time")], SCOPE) as (session,):
            assert {"get_current_time", "convert_time"} <= {tool.name for tool in session.tools}
            now = await session.call_tool("get_current_time", {"timezone": "Europe/Berlin"})
            assert json.loads(now.text)["timezone"] == "Europe/Berlin"
            converted = await session.call_tool(
                "convert_time", {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
            )
            assert "T21:00:00" in json.loads(converted.text)["target"]["datetime"]
            wrong = await session.call_tool("get_current_time", {"timezone": "Mars/Olympus"})
            assert wrong.is_error


async def _use_everything(session: IntegrationSession) -> None:
    """One call of each kind of result that the server has."""
    assert {"echo", "get-sum", "get-tiny-image", "get-resource-links"} <= {tool.name for tool in session.tools}
    assert (await session.call_tool("get-sum", {"a": 19, "b": 23})).text == "The sum of 19 and 23 is 42."
    image = await session.call_tool("get-tiny-image", {})
    assert re.search(r"\[image, image/png, \d+ bytes\]", image.text)
    assert any(part["type"] == "image" and part["data"] for part in json.loads(image.content))
    structured = await session.call_tool("get-structured-content", {"location": "Chicago"})
    assert structured.structured is not None
    assert set(json.loads(structured.structured)) == {"temperature", "conditions", "humidity"}
    links = await session.call_tool("get-resource-links", {"count": 2})
    assert links.text.count("[resource link, ") == 2
    reference = await session.call_tool("get-resource-reference", {"resourceType": "Text", "resourceId": 1})
    assert [part["type"] for part in json.loads(reference.content)].count("resource") == 1
    annotated = await session.call_tool("get-annotated-message", {"messageType": "error", "includeImage": False})
    assert json.loads(annotated.content)[0]["annotations"]["priority"] == 1
    refused = await session.call_tool("get-sum", {"a": "many"})
    assert refused.is_error
    with_progress = await session.call_tool("trigger-long-running-operation", {"duration": 1, "steps": 2})
    assert "completed" in with_progress.text.lower()


async def test_the_everything_server_works_over_stdio(tmp_path: Path, everything: Sequence[str]) -> None:
    entry = {"command": everything[0], "args": [*everything[1:], "stdio"], "env": {"GREETING": "hello there"}}
    async with catalog_of(tmp_path, {"everything": entry}) as catalog:
        async with catalog.open([plugin("everything")], SCOPE) as (session,):
            await _use_everything(session)
            assert json.loads((await session.call_tool("get-env", {})).text)["GREETING"] == "hello there"


async def test_the_everything_server_works_over_streamable_http(tmp_path: Path, everything: Sequence[str]) -> None:
    async with everything_over_http() as url:
        async with catalog_of(tmp_path, {"remote": {"url": url}}) as catalog:
            async with catalog.open([ephemeral(url, "everything"), plugin("remote")], SCOPE) as sessions:
                for session in sessions:
                    await _use_everything(session)


async def test_an_operation_that_takes_too_long_is_given_up(tmp_path: Path, everything: Sequence[str]) -> None:
    entry = {"command": everything[0], "args": [*everything[1:], "stdio"], "timeout": 0.5}
    async with catalog_of(tmp_path, {"everything": entry}) as catalog:
        async with catalog.open([plugin("everything")], SCOPE) as (session,):
            with pytest.raises(OrchestratorError, match=r"no answer within 0\.5 s"):
                await session.call_tool("trigger-long-running-operation", {"duration": 60, "steps": 60})
            assert (await session.call_tool("echo", {"message": "still there"})).text == "Echo: still there"
