"""What every `IntegrationCatalog` promises, over each of them: the twin, and the one that speaks MCP.

A catalog enters as an entry of `WORLDS`: a context that yields one in which the same servers are there.
"""

import json
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import EphemeralProvider, PluginProvider, ServerIdentity
from orchestrator.core.json_types import JsonObject
from orchestrator.core.request import EphemeralRequest, IntegrationRequest, PluginRequest
from orchestrator.core.tools import ToolDefinition, ToolResult, text_content
from orchestrator.ports import IntegrationCatalog
from orchestrator.testing import FakeCatalog, FakeServer, FakeTool
from tests.integrations.harness import PROGRAMS, SCOPE, catalog_of, serving
from tests.integrations.programs.contract_server import contract_server

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class World:
    """A catalog in which `mcp/Desk-Tools` and a server at `url` both have `echo`, `fail` and `wait`.

    The plugin withholds `fail`; `mcp/broken` cannot be reached, and nor can `dead_url`.
    """

    catalog: IntegrationCatalog
    url: str
    dead_url: str


@asynccontextmanager
async def _mcp(folder: Path) -> AsyncGenerator[World, None]:
    desk: dict[str, Any] = {"command": sys.executable, "args": [str(PROGRAMS / "contract_server.py")]}
    servers = {"Desk-Tools": {**desk, "allowed_tools": ["echo", "wait"]}, "broken": {"command": "no-such-command"}}
    async with (
        serving(contract_server().streamable_http_app(), lifespan=True) as origin,
        catalog_of(folder, servers) as catalog,
    ):
        yield World(catalog, f"{origin}/mcp", "http://127.0.0.1:1/mcp")


@asynccontextmanager
async def _twin(folder: Path) -> AsyncGenerator[World, None]:
    async def echo(arguments: JsonObject) -> str:
        return str(arguments["text"])

    async def fail(arguments: JsonObject) -> ToolResult:
        return ToolResult(text_content("it failed"), "it failed", is_error=True)

    async def wait(arguments: JsonObject) -> str:
        await anyio.sleep_forever()
        raise AssertionError("for ever is over")

    def unreachable(kind: ErrorKind) -> FakeServer:
        return FakeServer(error=OrchestratorError(kind, "It is not there.", param="integrations"))

    text: JsonObject = {"type": "object", "properties": {"text": {"type": "string"}}}
    tools = [
        FakeTool(ToolDefinition("echo", "Say it again.", text), echo),
        FakeTool(ToolDefinition("fail", "Fail.", {"type": "object"}), fail),
        FakeTool(ToolDefinition("wait", "Wait for ever.", {"type": "object"}), wait),
    ]
    yield World(
        FakeCatalog(
            {
                "mcp/Desk-Tools": FakeServer(tools, withheld=frozenset({"fail"})),
                "mcp/broken": unreachable(ErrorKind.PLUGIN_CONNECTION_ERROR),
                "remote": FakeServer(tools),
                "dead": unreachable(ErrorKind.MCP_CONNECTION_ERROR),
            }
        ),
        "http://127.0.0.1:2/",
        "http://127.0.0.1:1/",
    )


WORLDS: Final[dict[str, Callable[[Path], AbstractAsyncContextManager[World]]]] = {"mcp": _mcp, "twin": _twin}
DESK: Final = PluginRequest("mcp/Desk-Tools")


@pytest.fixture(params=sorted(WORLDS))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[World]:
    """Entered by each test itself: a task group must be left in the task that entered it."""
    return WORLDS[request.param](tmp_path)


def remote(world: World) -> EphemeralRequest:
    return EphemeralRequest("remote", world.url, headers={"X-Key": "hush-hush"})


async def refused(catalog: IntegrationCatalog, *integrations: IntegrationRequest) -> ErrorInfo:
    try:
        async with catalog.open(integrations, SCOPE):
            raise AssertionError("it could be opened")
    except OrchestratorError as error:
        return error.info


async def test_sessions_come_in_the_order_of_the_request_with_their_providers(
    world: AbstractAsyncContextManager[World],
) -> None:
    async with world as there, there.catalog.open([remote(there), DESK], SCOPE) as sessions:
        assert [session.provider for session in sessions] == [
            EphemeralProvider("remote"),
            PluginProvider("mcp/Desk-Tools"),
        ]


async def test_a_session_says_which_server_it_is_connected_to_without_arguments_or_queries(tmp_path: Path) -> None:
    key = "k3y-of-sixteen-characters"
    async with _mcp(tmp_path) as there:
        far = EphemeralRequest("remote", f"{there.url}?key={key}", headers={"X-Key": "hush-hush"})
        async with there.catalog.open([far, DESK], SCOPE) as sessions:
            found = [session.server for session in sessions]
    version = found[0].version if found[0] is not None else None
    assert found == [
        ServerIdentity(there.url, "contract", version),
        ServerIdentity(Path(sys.executable).name, "contract", version),
    ]


async def test_nothing_asked_for_is_nothing_opened(world: AbstractAsyncContextManager[World]) -> None:
    async with world as there:
        there.catalog.check([])
        async with there.catalog.open([], SCOPE) as sessions:
            assert list(sessions) == []


async def test_all_tools_are_listed_and_the_withheld_ones_named(world: AbstractAsyncContextManager[World]) -> None:
    async with world as there, there.catalog.open([DESK, remote(there)], SCOPE) as (desk, far):
        for session in (desk, far):
            assert [tool.name for tool in session.tools] == ["echo", "fail", "wait"]
            assert session.tools[0].description == "Say it again."
            assert session.tools[0].input_schema["properties"] is not None
        assert desk.withheld == {"fail"}
        assert far.withheld == frozenset()


async def test_a_result_has_its_content_and_its_text(world: AbstractAsyncContextManager[World]) -> None:
    async with world as there, there.catalog.open([DESK, remote(there)], SCOPE) as sessions:
        for session in sessions:
            result = await session.call_tool("echo", {"text": 'wörd "quoted"'})
            assert (result.text, result.is_error) == ('wörd "quoted"', False)
            assert json.loads(result.content) == [{"type": "text", "text": 'wörd "quoted"'}]


async def test_a_tool_that_fails_is_a_result(world: AbstractAsyncContextManager[World]) -> None:
    async with world as there, there.catalog.open([remote(there)], SCOPE) as (session,):
        result = await session.call_tool("fail", {})
        assert (result.text, result.is_error) == ("it failed", True)


async def test_calls_run_side_by_side_and_can_be_cancelled(world: AbstractAsyncContextManager[World]) -> None:
    async with world as there, there.catalog.open([DESK], SCOPE) as (session,):
        answers: list[str] = []

        async def echo(text: str) -> None:
            answers.append((await session.call_tool("echo", {"text": text})).text)

        nothing: JsonObject = {}
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(session.call_tool, "wait", nothing)
            async with anyio.create_task_group() as calls:
                for text in "abc":
                    calls.start_soon(echo, text)
            waiting.cancel_scope.cancel()
        assert sorted(answers) == ["a", "b", "c"]
        assert (await session.call_tool("echo", {"text": "still there"})).text == "still there"


async def test_a_plugin_can_be_used_by_several_requests_at_once(world: AbstractAsyncContextManager[World]) -> None:
    async with (
        world as there,
        there.catalog.open([DESK], SCOPE) as (one,),
        there.catalog.open([DESK], SCOPE) as (other,),
    ):
        assert (await one.call_tool("echo", {"text": "1"})).text == "1"
        assert (await other.call_tool("echo", {"text": "2"})).text == "2"


async def test_an_unknown_plugin_is_refused_with_what_is_installed(world: AbstractAsyncContextManager[World]) -> None:
    async with world as there:
        with pytest.raises(OrchestratorError) as caught:
            there.catalog.check([DESK, PluginRequest("mcp/clok")])
    assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.PLUGIN_CONNECTION_ERROR, "integrations")
    assert "'mcp/clok'" in caught.value.info.message
    assert "mcp/Desk-Tools" in caught.value.info.message


async def test_what_cannot_be_reached_is_known_only_when_it_is_opened(
    world: AbstractAsyncContextManager[World],
) -> None:
    async with world as there:
        dead = EphemeralRequest("dead", there.dead_url)
        there.catalog.check([PluginRequest("mcp/broken"), dead])
        cases: Sequence[tuple[IntegrationRequest, ErrorKind]] = (
            (PluginRequest("mcp/broken"), ErrorKind.PLUGIN_CONNECTION_ERROR),
            (dead, ErrorKind.MCP_CONNECTION_ERROR),
        )
        for broken, kind in cases:
            error = await refused(there.catalog, DESK, broken)
            assert (error.kind, error.param) == (kind, "integrations")
        async with there.catalog.open([DESK], SCOPE) as (session,):
            assert (await session.call_tool("echo", {"text": "unharmed"})).text == "unharmed"


MALFORMED: Final[list[tuple[list[IntegrationRequest], str]]] = [
    ([DESK, DESK], "integrations.1"),
    ([DESK, PluginRequest("MCP/desk_tools")], "integrations.1"),
    ([EphemeralRequest("a", "http://x.example"), DESK, EphemeralRequest("a", "http://y.example")], "integrations.2"),
    ([DESK, EphemeralRequest("a", "ftp://x.example")], "integrations.1.server_url"),
    ([EphemeralRequest("a", "http://u:p@x.example")], "integrations.0.server_url"),
    ([EphemeralRequest("a", "http://x.example", headers={"Host": "h"})], "integrations.0.headers.Host"),
]


@pytest.mark.parametrize(("integrations", "param"), MALFORMED)
async def test_what_is_malformed_is_refused_by_its_place(
    tmp_path: Path, integrations: list[IntegrationRequest], param: str
) -> None:
    # The twin knows its servers by their labels and reads neither addresses nor headers.
    async with _mcp(tmp_path) as there:
        with pytest.raises(OrchestratorError) as caught:
            there.catalog.check(integrations)
    assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.INVALID_VALUE, param)
