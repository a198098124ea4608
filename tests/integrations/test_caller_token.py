"""The caller's own token: whom it goes to, and whom it never goes to."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import TextInput
from orchestrator.core.prompt import ToolMessage, UserMessage
from orchestrator.integrations.mcp_json import UnusableServer, parse_mcp_json
from orchestrator.integrations.plugins import ChainLimits
from orchestrator.ports import RunScope
from orchestrator.testing import Call, Say, ScriptedEngine, Turn
from tests.api.house import House, house
from tests.faults.whole import service
from tests.integrations.harness import catalog_of, plugin, program, serving
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.programs.tool_server import tool_server

pytestmark = pytest.mark.anyio
ADA, BOB = "ada-0123456789", "bob-0123456789"


@dataclass
class Recorder:
    """A real server, and the message and the token of each request that it got, in their order."""

    app: Any
    seen: list[tuple[Any, str | None]] = field(default_factory=list[tuple[Any, str | None]])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope.get("headers", ())}

        async def heard() -> Any:
            event = await receive()
            if event.get("body"):
                self.seen.append((json.loads(event["body"]), headers.get("authorization")))
            return event

        await self.app(scope, heard, send)

    @property
    def tokens(self) -> set[str | None]:
        return {token for _, token in self.seen}

    @property
    def calls(self) -> list[tuple[int, str | None]]:
        """The first number of each call of `add`, and the token that it came with."""
        return [
            (message["params"]["arguments"]["a"], token)
            for message, token in self.seen
            if message.get("method") == "tools/call"
        ]


@asynccontextmanager
async def recording() -> AsyncGenerator[tuple[Recorder, str]]:
    """A real server that speaks streamable HTTP, and where it is."""
    recorder = Recorder(tool_server().streamable_http_app())
    async with serving(recorder, lifespan=True) as origin:
        yield recorder, f"{origin}/mcp"


def add_once(request: Generate) -> Turn:
    """A model that adds to the number that it is told, and then is done."""
    last = request.messages[-1]
    if isinstance(last, ToolMessage):
        return [Say("Done.")]
    assert isinstance(last, UserMessage) and isinstance(last.parts[0], TextInput)
    return [Call("add", {"a": int(last.parts[0].content), "b": 2})]


def scope(token: str | None, *, owner: str = "local", chain: str = "resp_chain") -> RunScope:
    return RunScope(owner, chain, "resp_now", caller_token=token)


async def token_of(api: House, name: str) -> str:
    return (await api.tokens.create_token(name, ["chat", "plugins", "ephemeral_mcp"]))[1]


async def test_each_caller_is_known_to_a_shared_server_by_its_own_token_and_no_other_server_gets_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with recording() as (trusted, url), recording() as (other, elsewhere):
        entries = {"trusted": {"url": url, "forward_authorization": True}, "other": {"url": elsewhere}}
        ephemeral = {"type": "ephemeral_mcp", "server_label": "e", "server_url": elsewhere}
        async with (
            catalog_of(tmp_path, entries) as catalog,
            house(
                ScriptedEngine(add_once), catalog=catalog, require_authentication=True, max_concurrent_runs=18
            ) as api,
        ):
            tokens = [await token_of(api, "ada"), await token_of(api, "bob")]

            async def chat(token: str, integration: Any) -> None:
                number = str(tokens.index(token))
                body: dict[str, Any] = {"model": "test/scripted", "input": number, "integrations": [integration]}
                reply = await api.client.post("/api/v1/chat", json=body, headers={"Authorization": f"Bearer {token}"})
                assert [item.get("is_error") for item in reply.json().get("output", ())] == [False, None], reply.text

            async with anyio.create_task_group() as chats:
                for _ in range(3):
                    for token in tokens:
                        chats.start_soon(chat, token, "mcp/trusted")
                        chats.start_soon(chat, token, "mcp/other")
                        chats.start_soon(chat, token, ephemeral)
            kept = repr(api.store.__dict__)
    assert sorted(trusted.calls) == [(number, f"Bearer {tokens[number]}") for number in (0, 0, 0, 1, 1, 1)]
    assert trusted.tokens == {f"Bearer {token}" for token in tokens}
    assert (len(other.calls), other.tokens) == (12, {None})
    said = capsys.readouterr()
    for token in tokens:
        secret = token.partition(":")[2]
        assert secret not in kept + said.out + said.err


async def test_a_token_is_in_no_row_no_log_and_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(FaultyApp()) as origin:
        (tmp_path / "mcp.json").write_text(
            json.dumps({"mcpServers": {"x": {"url": f"{origin}/echoes-the-key", "forward_authorization": True}}})
        )
        async with service(tmp_path, MCP_CONFIG=str(tmp_path / "mcp.json")) as client:
            body = {"model": "test/scripted", "input": "Go on.", "integrations": ["mcp/x"]}
            reply = await client.post("/api/v1/chat", json=body, headers={"x-api-key": ADA})
            shown = (await client.get("/api/v1/plugins/mcp/x")).text
    assert "it answered with the error -32001: not allowed with Bearer •••" in reply.text
    assert "hands this server the API token of everybody who calls it" in shown
    said = capsys.readouterr()
    rows = (tmp_path / "service.sqlite").read_bytes()
    assert b"not allowed with" in rows
    assert ADA not in reply.text + shown + said.out + said.err
    assert ADA.encode() not in rows


async def test_a_request_without_a_token_is_told_that_one_is_needed(tmp_path: Path) -> None:
    async with recording() as (recorder, url):
        entries = {"x": {"url": url, "forward_authorization": True}}
        async with catalog_of(tmp_path, entries) as catalog:
            for token in (None, "", "two\nlines"):
                with pytest.raises(OrchestratorError) as caught:
                    async with catalog.open([plugin()], scope(token)):
                        pass
                assert caught.value.info.kind is ErrorKind.PLUGIN_CONNECTION_ERROR
                assert caught.value.info.message == (
                    "The plugin 'mcp/x' could not be started (stage: authorise): it is called with the caller's own "
                    "token ('forward_authorization' in its entry), and this request came without one. Send it as "
                    "'Authorization: Bearer …'."
                )
    assert recorder.seen == []


async def test_a_process_sees_nothing_of_it(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": program("tool_server.py")}) as catalog:
        async with catalog.open([plugin()], scope(ADA)) as (session,):
            assert (await session.call_tool("add", {"a": 1, "b": 2})).text == "3"
            (process,) = catalog.host.plugins()[0].processes
            assert ADA not in (Path("/proc") / str(process.pid) / "environ").read_text()


async def test_it_stays_at_the_servers_own_origin(tmp_path: Path) -> None:
    app, elsewhere = FaultyApp(), FaultyApp()
    async with serving(app) as origin, serving(elsewhere) as outside:
        app.elsewhere = f"{outside}/fine"
        entries = {
            "away": {"url": f"{origin}/redirect-away", "forward_authorization": True},
            "within": {"url": f"{origin}/redirect-within", "forward_authorization": True},
        }
        async with catalog_of(tmp_path, entries) as catalog:
            with pytest.raises(OrchestratorError, match="which is not followed"):
                async with catalog.open([plugin("away")], scope(ADA)):
                    pass
            async with catalog.open([plugin("within")], scope(ADA)) as (session,):
                await session.call_tool("first", {})
    assert elsewhere.seen == []
    assert {request.headers.get("authorization") for request in app.seen} == {f"Bearer {ADA}"}


@pytest.mark.parametrize("kind", ["shared", "chain", "request"])
async def test_sessions_are_as_many_as_the_scope_and_the_tokens_make(kind: str, tmp_path: Path) -> None:
    users = [(ADA, "one"), (BOB, "one"), (ADA, "one"), (ADA, "two"), (BOB, "one")]
    app = FaultyApp()
    async with serving(app) as origin:
        entries = {"x": {"url": f"{origin}/fine", "forward_authorization": True, "scope": kind}}
        async with catalog_of(tmp_path, entries) as catalog:
            for token, chain in users:
                async with catalog.open([plugin()], scope(token, chain=chain)) as (session,):
                    await session.call_tool("second", {})
            assert catalog.host.plugins()[0].restarts == 0
    assert app.sessions == {"shared": 2, "chain": 3, "request": 5}[kind]
    used = {(request.headers.get("mcp-session-id"), request.headers["authorization"]) for request in app.seen}
    assert len([session for session, _ in used if session is not None]) == app.sessions


async def test_a_callers_session_ends_when_it_is_unused_and_not_before(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin:
        entries = {"x": {"url": f"{origin}/fine", "forward_authorization": True, "start": "at_start"}}
        async with catalog_of(tmp_path, entries, chains=ChainLimits(idle_seconds=0.05)) as catalog:
            catalog.start_plugins()  # there is nobody yet whose token it could be started with
            await catalog.host.restart("mcp/x")
            assert app.seen == []
            async with catalog.open([plugin()], scope(ADA)):
                async with catalog.open([plugin()], scope(ADA)):
                    pass
            with anyio.fail_after(10):
                while app.seen[-1].method != "DELETE":
                    await anyio.lowlevel.checkpoint()
    assert app.sessions == 1


async def test_callers_beyond_the_limit_take_the_place_of_those_who_are_gone_or_are_told_to_wait(
    tmp_path: Path,
) -> None:
    async with serving(FaultyApp()) as origin:
        entries = {"x": {"url": f"{origin}/fine", "forward_authorization": True}}
        async with catalog_of(tmp_path, entries, chains=ChainLimits(most=1)) as catalog:
            async with catalog.open([plugin()], scope(ADA)):
                pass
            async with catalog.open([plugin()], scope(BOB)):
                with pytest.raises(OrchestratorError) as caught:
                    async with catalog.open([plugin()], scope(ADA)):
                        pass
    assert caught.value.info.message == (
        "The plugin 'mcp/x' has a session for each caller, and 1 such sessions are in use, which is the limit "
        "(setting MAX_CHAIN_SESSIONS). Try again later."
    )


URL = "https://mcp.example/"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": URL, "forward_authorization": "yes"}, "must be true or false"),
    ({"url": URL, "forward_authorization": True, "oauth": {}}, "cannot stand beside 'oauth'"),
    ({"url": URL, "forward_authorization": True, "headers": {"authorization": "x"}}, "cannot stand beside an Auth"),
    ({"url": "http://mcp.example/", "forward_authorization": True}, "needs an https address"),
    ({"url": "http://10.0.0.1/", "forward_authorization": True}, "needs an https address"),
    ({"command": "x", "forward_authorization": True}, "is for servers at an address only"),
]


@pytest.mark.parametrize(("entry", "problem"), WRONG)
def test_an_entry_that_would_give_it_away_is_refused(entry: dict[str, Any], problem: str) -> None:
    (read,) = parse_mcp_json(json.dumps({"mcpServers": {"x": entry}}), file=Path("mcp.json"), environ={}).plugins
    assert isinstance(read.server, UnusableServer)
    assert read.server.error.key == "forward_authorization"
    assert read.server.error.problem.startswith(problem)


@pytest.mark.parametrize("url", [URL, "http://localhost:1/", "http://127.0.0.2/", "http://[::1]/"])
def test_an_entry_that_passes_it_on_says_what_that_means(url: str) -> None:
    entry = {"url": url, "forward_authorization": True, "oauth": False}
    (read,) = parse_mcp_json(json.dumps({"mcpServers": {"x": entry}}), file=Path("mcp.json"), environ={}).plugins
    assert read.warnings == ("key 'forward_authorization' hands this server the API token of everybody who calls it",)
