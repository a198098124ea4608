"""What the developers of a plugin see of it while the service runs."""

from pathlib import Path

import anyio
import pytest

from orchestrator.core.errors import ErrorKind
from orchestrator.core.materials import PromptArgument
from orchestrator.ports import IntegrationFailedError, PluginPrompt, PluginResource, PluginStatus
from tests.integrations.harness import SCOPE, SECRET, catalog_of, faulty, plugin, program

pytestmark = pytest.mark.anyio
TOOLS = program("tool_server.py")


def states(found: list[PluginStatus]) -> dict[str, str]:
    return {one.id: one.state for one in found}


async def test_to_look_at_plugins_starts_none_of_them(tmp_path: Path) -> None:
    entries = {
        "fine": TOOLS | {"allowed_tools": ["add"]},
        "off": TOOLS | {"disabled": True},
        "wrong": {"command": "x", "url": "http://y.example"},
        "far": {"url": "https://far.example/mcp?key=hush-hush", "headers": {"X-Key": SECRET}},
    }
    async with catalog_of(tmp_path, entries) as catalog:
        found = list(catalog.host.plugins())
        assert states(found) == {
            "mcp/fine": "stopped",
            "mcp/off": "disabled",
            "mcp/wrong": "unusable",
            "mcp/far": "stopped",
        }
        wrong, far = found[2], found[3]
        assert "has both 'command' and 'url'" in (wrong.problem or "")
        assert (far.transport, far.target) == ("streamable-http", "https://far.example")
        assert SECRET not in repr(found)
        assert "hush-hush" not in repr(found)
        assert catalog.host.plugin("MCP/Fine") == found[0]
        assert catalog.host.plugin("mcp/none") is None
        assert catalog.host.files().files == (str(tmp_path / "mcp.json"),)


async def test_a_plugin_that_is_used_is_running_and_shows_what_it_withholds(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": TOOLS | {"allowed_tools": ["add"]}}) as catalog:
        async with catalog.open([plugin()], SCOPE) as (session,):
            status = catalog.host.plugin("mcp/x")
            assert status is not None
            assert (status.state, status.problem, status.tools) == ("running", None, session.tools)
            assert status.withheld == {tool.name for tool in session.tools} - {"add"}


@pytest.mark.parametrize("family", ["handshake", "stateless"])
async def test_resources_prompts_and_log_messages_are_shown_with_the_plugin(tmp_path: Path, family: str) -> None:
    entry = program("asking_server.py", family) | {"require_approval": {"always": {"tool_names": ["wait"]}}}
    async with catalog_of(tmp_path, {"x": entry}) as catalog:
        await catalog.host.restart("mcp/x")
        status = catalog.host.plugin("mcp/x")
        assert status is not None
        assert status.resources == (
            PluginResource("file:///a", "paper", mime_type="text/plain", size_bytes=3),
            PluginResource("file:///b", "paper", mime_type="text/plain", size_bytes=3),
            PluginResource("file:///{name}", "papers", template=True),
        )
        assert status.prompts == (PluginPrompt("greet", arguments=(PromptArgument("who", required=True),)),)
        assert status.approval == {"default": "never", "always": {"tool_names": ["wait"]}, "never": {}}
        async with catalog.open([plugin()], SCOPE) as (session,):
            await session.call_tool("log", {})
        (line,) = catalog.host.plugin("mcp/x").log  # pyright: ignore[reportOptionalMemberAccess] it is there
        assert (line.level, line.text) == ("warning", "desk: the secret is •••")
        await catalog.host.restart("mcp/x")
        assert catalog.host.plugin("mcp/x").log == (line,)  # pyright: ignore[reportOptionalMemberAccess] it is there


async def test_a_server_without_resources_and_prompts_lists_none_and_a_stopped_one_keeps_what_it_showed(
    tmp_path: Path,
) -> None:
    async with catalog_of(tmp_path, {"x": TOOLS | {"scope": "request"}}) as catalog:
        assert (status := catalog.host.plugin("mcp/x")) is not None
        assert (status.tools, status.resources, status.prompts) == (None, None, None)
        async with catalog.open([plugin()], SCOPE) as (session,):
            tools = session.tools
            with anyio.fail_after(10):
                while (running := catalog.host.plugin("mcp/x")) is None or running.prompts is None:  # noqa: ASYNC110  nothing tells
                    await anyio.sleep(0.01)
        assert (status := catalog.host.plugin("mcp/x")) is not None
        assert (status.state, status.tools, status.resources, status.prompts) == ("stopped", tools, (), ())


async def test_a_restart_makes_a_new_process_and_lets_calls_finish_on_the_old_one(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with catalog_of(tmp_path, {"x": faulty("behaves", str(starts))}) as catalog:
        await catalog.host.restart("mcp/x")  # it was not running: it is now
        async with catalog.open([plugin()], SCOPE) as (session,):
            assert (await session.call_tool("first", {})).text == "0 cancelled"
            with anyio.fail_after(10):
                await catalog.host.restart("mcp/x")
            assert (await session.call_tool("first", {})).text == "0 cancelled"
    assert len(starts.read_text().splitlines()) == 2


async def test_a_plugin_that_does_not_start_says_at_which_stage(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": faulty("exits before the handshake")}) as catalog:
        with pytest.raises(IntegrationFailedError, match="status 7") as caught:
            await catalog.host.restart("mcp/x")
        assert (caught.value.stage, caught.value.info.kind) == ("initialise", ErrorKind.PLUGIN_CONNECTION_ERROR)
        status = catalog.host.plugin("mcp/x")
        assert status is not None
        assert status.state == "failed"
        assert "it exited with status 7" in (status.problem or "")
        assert SECRET not in (status.problem or "")
