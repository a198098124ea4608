"""Servers at an address, well-behaved and not: ephemeral ones, and plugins with a `url`."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import EphemeralProvider
from orchestrator.core.json_types import JsonObject
from orchestrator.core.tools import ToolResult
from tests.integrations.harness import SCOPE, catalog_of, ephemeral, faulty, plugin, program, refusal_to_open, serving
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.programs.shelf_server import shelf_server
from tests.integrations.programs.tool_server import tool_server

pytestmark = pytest.mark.anyio
KEY = "Bearer tok-hunter22"
NOTHING: JsonObject = {}


@pytest.mark.parametrize("stateless", [False, True])
@pytest.mark.parametrize("json_response", [False, True])
async def test_a_real_server_answers(tmp_path: Path, stateless: bool, json_response: bool) -> None:
    app = tool_server().streamable_http_app(stateless_http=stateless, json_response=json_response)
    async with serving(app, lifespan=True) as origin, catalog_of(tmp_path) as catalog:
        async with catalog.open([ephemeral(f"{origin}/mcp", "tools")], SCOPE) as (session,):
            assert session.provider == EphemeralProvider("tools")
            assert session.withheld == frozenset()
            assert session.tools[0].name == "add"
            assert await session.call_tool("add", {"a": 2, "b": 3}) == ToolResult(
                '[{"text":"5","type":"text"}]', "5", is_error=False, structured='{"result":5}'
            )


async def test_an_ephemeral_server_that_may_speak_the_older_transport_is_told_of_as_such(tmp_path: Path) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path) as catalog:
        refused = await refusal_to_open(catalog, ephemeral(f"{origin}/405"))
    assert refused.message.endswith(
        "it answered 405 Method Not Allowed; an ephemeral server is spoken to by streamable HTTP, which this address"
        " does not seem to take."
    )


@pytest.mark.parametrize("stateless", [False, True])
async def test_a_resource_that_is_not_there_is_told_of_as_over_standard_input(tmp_path: Path, stateless: bool) -> None:
    app = shelf_server().streamable_http_app(stateless_http=stateless)
    entries = {"near": program("shelf_server.py")}
    async with serving(app, lifespan=True) as origin, catalog_of(tmp_path, entries) as catalog:
        wanted = [ephemeral(f"{origin}/mcp", "far"), plugin("near")]
        told: list[ErrorInfo] = []
        async with catalog.open(wanted, SCOPE) as sessions:
            for session in sessions:
                with pytest.raises(OrchestratorError) as caught:
                    await session.read_resource("shelf://none")
                told.append(caught.value.info)
    far, near = told
    assert (far.kind, near.kind) == (ErrorKind.RESOURCE_NOT_FOUND, ErrorKind.RESOURCE_NOT_FOUND)
    assert far.message == near.message.replace("mcp/near", "far")


async def test_a_call_that_is_cancelled_is_cancelled_at_the_server(tmp_path: Path) -> None:
    cancelled = anyio.Event()
    app = tool_server(cancelled).streamable_http_app()
    async with serving(app, lifespan=True) as origin, catalog_of(tmp_path) as catalog:
        async with catalog.open([ephemeral(f"{origin}/mcp")], SCOPE) as (session,):
            async with anyio.create_task_group() as callers:
                callers.start_soon(session.call_tool, "wait", NOTHING)
                assert (await session.call_tool("add", {"a": 1, "b": 1})).text == "2"
                assert not cancelled.is_set()
                callers.cancel_scope.cancel()
            with anyio.fail_after(5):
                await cancelled.wait()
            assert (await session.call_tool("add", {"a": 1, "b": 2})).text == "3"


async def test_a_plugin_may_be_at_an_address_and_is_shared(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin:
        entry = {"url": f"{origin}/fine", "headers": {"X-Key": "long-secret-1"}, "allowed_tools": ["second"]}
        async with catalog_of(tmp_path, {"remote": entry}) as catalog:
            for _ in range(3):
                async with catalog.open([plugin("remote")], SCOPE) as (session,):
                    assert session.withheld == {"first"}
                    assert (await session.call_tool("second", {})).text == "s1"
    assert app.sessions == 1
    assert {request.headers["x-key"] for request in app.seen} == {"long-secret-1"}
    assert app.seen[-1].method == "DELETE"


async def test_a_plugin_may_speak_legacy_sse(tmp_path: Path) -> None:
    async with serving(tool_server().sse_app()) as origin:
        async with catalog_of(tmp_path, {"old": {"type": "sse", "url": f"{origin}/sse"}}) as catalog:
            async with catalog.open([plugin("old")], SCOPE) as (session,):
                assert (await session.call_tool("add", {"a": 2, "b": 3})).text == "5"


@pytest.mark.parametrize("type_", [None, "http"])
async def test_a_server_that_knows_only_the_older_transport_is_spoken_to_in_it(
    tmp_path: Path, type_: str | None
) -> None:
    async with serving(tool_server().sse_app()) as origin:
        entry = {"url": f"{origin}/sse"} | ({} if type_ is None else {"type": type_})
        async with catalog_of(tmp_path, {"old": entry | {"start": "at_start"}}) as catalog:
            catalog.start_plugins()
            answers: list[str] = []

            async def ask() -> None:
                async with catalog.open([plugin("old")], SCOPE) as (session,):
                    answers.append((await session.call_tool("add", {"a": 2, "b": 3})).text)

            async with anyio.create_task_group() as askers:
                for _ in range(3):
                    askers.start_soon(ask)
            await ask()
            (status,) = catalog.host.plugins()
    assert answers == ["5"] * 4
    assert (status.state, status.last_failure, status.restarts) == ("running", None, 0)


async def test_who_says_streamable_http_means_it(tmp_path: Path) -> None:
    async with serving(tool_server().sse_app()) as origin:
        entry = {"type": "streamable-http", "url": f"{origin}/sse"}
        async with catalog_of(tmp_path, {"old": entry}) as catalog:
            refused = await refusal_to_open(catalog, plugin("old"))
    assert "(stage: HTTP status): it answered 405 Method Not Allowed" in refused.message


OLDER_WAY = "asked in the older way, by HTTP with SSE"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("404", f"it answered 404 Not Found; {OLDER_WAY}: it did the same"),
        ("405-and-500", f"it answered 405 Method Not Allowed; {OLDER_WAY}: it answered 500 Internal Server Error"),
        ("400-and-hangs", f"it answered 400 Bad Request; {OLDER_WAY}: there was no answer within 1 s"),
    ],
)
async def test_a_server_that_knows_neither_transport_is_asked_for_both_and_both_answers_are_told(
    tmp_path: Path, path: str, why: str
) -> None:
    app = FaultyApp()
    async with (
        serving(app) as origin,
        catalog_of(tmp_path, {"x": {"url": f"{origin}/{path}"}}, connect_timeout=1) as catalog,
    ):
        refused = await refusal_to_open(catalog, plugin())
        (status,) = catalog.host.plugins()
    assert refused.message == f"The plugin 'mcp/x' could not be started (stage: HTTP status): {why}."
    assert [request.method for request in app.seen if request.method == "GET"] == ["GET"]
    assert status.restarts == 0
    if "hangs" not in path:  # else it is still at it
        assert status.last_failure is not None and status.last_failure.why == why


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("401", "it answered 401 Unauthorized; where it has a login, run `orchestrator plugins login mcp/x`"),
        ("403", "it answered 403 Forbidden"),
        ("500", "it answered 500 Internal Server Error"),
        ("400-in-MCP", "it answered 400 Bad Request (not in this way)"),
        ("404-at-list", "it answered 404 Not Found"),
    ],
)
async def test_the_older_way_is_tried_only_where_the_first_one_was_not_understood(
    tmp_path: Path, path: str, why: str
) -> None:
    app = FaultyApp()
    async with serving(app) as origin, catalog_of(tmp_path, {"x": {"url": f"{origin}/{path}"}}) as catalog:
        refused = await refusal_to_open(catalog, plugin())
    assert refused.message.endswith(f"): {why}.")
    listens = path == "404-at-list"  # for what the server may say unasked, once it has answered
    assert listens or {request.method for request in app.seen} == {"POST"}


async def test_a_legacy_plugin_that_refuses_says_so(tmp_path: Path) -> None:
    async with serving(FaultyApp()) as origin:
        async with catalog_of(tmp_path, {"old": {"type": "sse", "url": f"{origin}/401"}}) as catalog:
            refused = await refusal_to_open(catalog, plugin("old"))
    hint = "where it has a login, run `orchestrator plugins login mcp/old`."
    assert f"(stage: authorise): it answered 401 Unauthorized; {hint}" in refused.message


async def test_headers_are_sent_as_given_and_the_protocol_adds_its_own(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin, catalog_of(tmp_path) as catalog:
        headers = {"Authorization": KEY, "X-Note": "${HOME} ${env:HOME} ${X:-y}"}
        async with catalog.open([ephemeral(f"{origin}/fine?a=${{HOME}}", **headers)], SCOPE) as (session,):
            await session.call_tool("first", {})
    for request in app.seen:
        assert request.headers["authorization"] == KEY
        assert request.headers["x-note"] == "${HOME} ${env:HOME} ${X:-y}"  # a request expands nothing
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["host"] == origin.removeprefix("http://")
    assert app.seen[-1].method == "DELETE"  # the session is ended at the server


async def test_the_host_is_asked_for_by_its_name_at_the_checked_address(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin, catalog_of(tmp_path) as catalog:
        port = origin.rpartition(":")[2]
        async with catalog.open([ephemeral(f"http://LocalHost:{port}/fine")], SCOPE):
            pass
    assert {request.headers["host"] for request in app.seen} == {f"localhost:{port}"}


async def test_ipv6_addresses_work(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app, host="::1") as origin, catalog_of(tmp_path) as catalog:
        async with catalog.open([ephemeral(f"{origin}/fine")], SCOPE) as (session,):
            assert (await session.call_tool("first", {})).text == "fine"


FAILED_CONNECTIONS: list[tuple[str, str]] = [
    ("/401", "): it answered 401 Unauthorized"),
    ("/403", "(stage: HTTP status): it answered 403 Forbidden."),
    ("/404", "(stage: HTTP status): it answered 404 Not Found"),
    ("/405", "(stage: HTTP status): it answered 405 Method Not Allowed"),
    ("/429", "(stage: HTTP status): it answered 429 Too Many Requests."),
    ("/500", "(stage: HTTP status): it answered 500 Internal Server Error."),
    ("/599", "(stage: HTTP status): it answered 599."),
    ("/redirect-away", "(stage: HTTP status): it redirects (307) to http://192.0.2.1, which is not followed."),
    ("/redirect-for-ever", "(stage: HTTP status): it redirects (307) to http://127.0.0.1:"),
    ("/redirect-upgrade", "(stage: HTTP status): it redirects (307) to https://127.0.0.1:"),
    ("/fails-at-list", "(stage: HTTP status): it answered 500 Internal Server Error."),
    ("/says-hello", "(stage: initialise): it answered with text/html instead of an MCP message."),
    ("/compresses", "(stage: HTTP status): it compresses its answers, though it was asked not to."),
    ("/202", "server answered a request with 202 Accepted"),
]


@pytest.mark.parametrize(("path", "ending"), FAILED_CONNECTIONS)
async def test_a_server_that_does_not_connect_says_at_which_stage_and_why(
    tmp_path: Path, path: str, ending: str
) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path, {"x": {"url": origin + path}}) as catalog:
        refused = await refusal_to_open(catalog, ephemeral(origin + path, "tiny", Authorization=KEY))
        assert (refused.kind, refused.param) == (ErrorKind.MCP_CONNECTION_ERROR, "integrations")
        assert refused.message.startswith(f"The MCP server 'tiny' at {origin} could not be connected (stage: ")
        assert ending in refused.message
        refused = await refusal_to_open(catalog, plugin())
        assert refused.kind is ErrorKind.PLUGIN_CONNECTION_ERROR
        assert ending in refused.message


@pytest.mark.parametrize(("path", "stage"), [("/hangs", "initialise"), ("/hangs-at-list", "list tools")])
async def test_a_server_that_hangs_is_given_up_at_the_deadline(tmp_path: Path, path: str, stage: str) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path, connect_timeout=0.5) as catalog:
        began = anyio.current_time()
        refused = await refusal_to_open(catalog, ephemeral(origin + path))
        assert anyio.current_time() - began < 1.5
    assert f"(stage: {stage}): there was no answer within 0.5 s" in refused.message


async def test_a_port_where_nobody_listens_refuses(tmp_path: Path) -> None:
    async with catalog_of(tmp_path) as catalog:
        refused = await refusal_to_open(catalog, ephemeral("http://127.0.0.1:1/secret-path", "tiny"))
    assert refused == ErrorInfo(
        ErrorKind.MCP_CONNECTION_ERROR,
        "The MCP server 'tiny' at http://127.0.0.1:1 could not be connected (stage: connect): connection refused.",
        "integrations",
    )


async def test_a_server_without_tls_fails_at_the_handshake(tmp_path: Path) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path) as catalog:
        refused = await refusal_to_open(catalog, ephemeral(origin.replace("http:", "https:")))
    assert "(stage: TLS): " in refused.message


async def test_redirects_within_the_origin_are_followed(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin, catalog_of(tmp_path) as catalog:
        async with catalog.open([ephemeral(f"{origin}/redirect-within", Authorization=KEY)], SCOPE) as (session,):
            assert (await session.call_tool("first", {})).text == "fine"
    assert {request.path for request in app.seen} == {"/redirect-within", "/fine"}


async def test_the_environments_proxies_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, proxy = FaultyApp(), FaultyApp()
    async with serving(app) as origin, serving(proxy) as proxy_origin, catalog_of(tmp_path) as catalog:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy_origin)
        monkeypatch.setenv("NO_PROXY", "")
        async with catalog.open([ephemeral(f"{origin}/fine")], SCOPE):
            pass
    assert proxy.seen == []


FAILED_CALLS: list[tuple[str, str]] = [
    ("/fails-in-the-call", "it answered 503 Service Unavailable."),
    ("/refuses-in-the-call", "it answered 402 Payment Required (no credit left)."),
    ("/ends-the-stream", "the connection broke (SSE stream ended without a response)."),
    ("/breaks-off", "the connection broke (peer closed connection without sending complete message body"),
    ("/sends-too-much", "gave no result: it answered with more than 33554432 bytes."),
    ("/echoes-the-key", "it answered with the error -32001: not allowed with •••."),
]


@pytest.mark.parametrize(("path", "reason"), FAILED_CALLS)
async def test_a_call_without_a_result_says_why_and_the_next_one_works(tmp_path: Path, path: str, reason: str) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path) as catalog:
        async with catalog.open([ephemeral(origin + path, "tiny", Authorization=KEY)], SCOPE) as (session,):
            with pytest.raises(OrchestratorError) as caught:
                await session.call_tool("first", {})
            assert caught.value.info.kind is ErrorKind.MCP_CONNECTION_ERROR
            assert caught.value.info.message.startswith("The tool 'first' of 'tiny' gave no result: ")
            assert reason in caught.value.info.message
            assert (await session.call_tool("second", {})).text.startswith("s")


async def test_a_session_that_the_server_forgot_fails_the_call_and_is_begun_anew_by_the_next(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin:
        async with catalog_of(tmp_path, {"x": {"url": f"{origin}/forgets-the-session"}}) as catalog:
            async with catalog.open([plugin()], SCOPE) as (session,):
                with pytest.raises(OrchestratorError, match="404 Not Found"):
                    await session.call_tool("first", {})
                assert (await session.call_tool("first", {})).text == ""
    calls = [request.headers["mcp-session-id"] for request in app.seen if request.rpc == "tools/call"]
    assert calls == ["s1", "s2"]


async def test_a_call_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path, tool_timeout=0.3) as catalog:
        async with catalog.open([ephemeral(f"{origin}/hangs-in-the-call")], SCOPE) as (session,):
            with pytest.raises(OrchestratorError, match=r"no answer within 0\.3 s"):
                await session.call_tool("first", {})
            assert (await session.call_tool("second", {})).text == "s1"


async def test_a_large_event_comes_whole(tmp_path: Path) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path) as catalog:
        async with catalog.open([ephemeral(f"{origin}/streams")], SCOPE) as (session,):
            assert (await session.call_tool("first", {})).text == "y" * 5_000_000


async def test_a_server_that_hangs_at_the_end_does_not_hold_the_request(tmp_path: Path) -> None:
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path) as catalog:
        async with catalog.open([ephemeral(f"{origin}/hangs-at-the-end")], SCOPE):
            began = anyio.current_time()
        assert anyio.current_time() - began < 4


async def test_a_plugin_whose_name_nobody_resolves_in_time_hangs_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object, **__: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(anyio, "getaddrinfo", hang)
    async with catalog_of(tmp_path, {"x": {"url": "http://a.example/mcp"}}, connect_timeout=0.2) as catalog:
        refused = await refusal_to_open(catalog, plugin())
    told = "The plugin 'mcp/x' could not be started (stage: resolve): there was no answer within 0.2 s."
    assert refused.message == told


async def test_a_name_that_does_not_resolve_says_so(tmp_path: Path) -> None:
    url = "http://no-such-host.invalid/"
    async with catalog_of(tmp_path, {"x": {"url": url}}) as catalog:
        for integration in (ephemeral(url, "tiny"), plugin()):
            refused = await refusal_to_open(catalog, integration)
            assert "(stage: resolve): the name cannot be resolved (" in refused.message


Answers = Sequence[str]


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: Answers) -> list[str]:
    """Answer the n-th lookup of a name by the n-th of `answers`; returns the names that were asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    return asked


async def test_the_next_address_is_tried_where_the_first_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    async with serving(FaultyApp()) as origin, catalog_of(tmp_path) as catalog:
        url = origin.replace("127.0.0.1", "two.example") + "/fine"
        async with catalog.open([ephemeral(url)], SCOPE) as (session,):
            assert (await session.call_tool("first", {})).text == "fine"


async def test_a_name_without_addresses_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, [])
    async with catalog_of(tmp_path) as catalog:
        refused = await refusal_to_open(catalog, ephemeral("http://empty.example/"))
    assert "(stage: resolve): the name has no address." in refused.message


async def test_one_that_fails_ends_the_opening_of_the_others(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin, catalog_of(tmp_path, {"x": faulty("hangs at initialise")}) as catalog:
        began = anyio.current_time()
        refused = await refusal_to_open(
            catalog, ephemeral(f"{origin}/hangs", "a"), plugin(), ephemeral(f"{origin}/403", "b")
        )
        assert "'b'" in refused.message and "403" in refused.message
        assert anyio.current_time() - began < 5


async def test_sessions_come_in_the_order_of_the_request(tmp_path: Path) -> None:
    app = FaultyApp()
    async with serving(app) as origin, catalog_of(tmp_path, {"x": program("tool_server.py")}) as catalog:
        integrations = [ephemeral(f"{origin}/fine", "a"), plugin(), ephemeral(f"{origin}/streams", "b")]
        async with catalog.open(integrations, SCOPE) as sessions:
            shown = [(session.provider, session.tools[0].name) for session in sessions]
    assert [name for _, name in shown] == ["first", "add", "first"]
    assert shown[0][0] == EphemeralProvider("a")
    assert shown[2][0] == EphemeralProvider("b")
