"""What servers report and ask, and what they have beside tools, over both families of the protocol."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import PluginProvider, ProviderInfo, TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.materials import Piece, Prompt, PromptArgument, Resource, ResourceTemplate
from orchestrator.core.prompt import UserMessage
from orchestrator.core.server_requests import (
    Elicitation,
    ElicitationAnswer,
    Progress,
    SamplingReply,
    SamplingRequest,
)
from orchestrator.integrations import mcp_session
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.server_requests import ClientFeatures
from orchestrator.ports import CallWatch, IntegrationSession, PluginLogLine, PluginPrompt, PluginStatus, RunScope
from tests.integrations.harness import SECRET, catalog_of, plugin, program

pytestmark = pytest.mark.anyio
FAMILIES = ("handshake", "stateless")
PAGES = 2
ALL = ClientFeatures(elicitation=True, sampling=True, roots=(Path("/srv/data"),))
DESK = PluginProvider("mcp/x")
GRACE = ElicitationAnswer("accept", {"name": "Grace"})


@dataclass
class User:
    """Answers what servers ask, after `pause` seconds."""

    answer: ElicitationAnswer = GRACE
    pause: float = 0
    asked: list[tuple[ProviderInfo, str | None, Elicitation | SamplingRequest]] = field(
        default_factory=list[tuple[ProviderInfo, str | None, Elicitation | SamplingRequest]]
    )
    arrived: anyio.Event = field(default_factory=anyio.Event)

    async def elicit(self, provider: ProviderInfo, call_id: str | None, asked: Elicitation) -> ElicitationAnswer:
        self.asked.append((provider, call_id, asked))
        self.arrived.set()
        await anyio.sleep(self.pause)
        return self.answer

    async def sample(self, provider: ProviderInfo, call_id: str | None, asked: SamplingRequest) -> SamplingReply:
        self.asked.append((provider, call_id, asked))
        if self.answer.action != "accept":
            raise OrchestratorError(ErrorKind.PERMISSION_DENIED, "not today")
        return SamplingReply("hi", "test/model", "endTurn")


def desk(family: str, **more: Any) -> dict[str, Any]:
    return program("asking_server.py", family) | more


def opened(
    catalog: McpCatalog, user: User | None = None, response_id: str = "resp_1"
) -> AbstractAsyncContextManager[Sequence[IntegrationSession]]:
    return catalog.open([plugin()], RunScope("local", "resp_0", response_id, user))


def status_of(catalog: McpCatalog) -> PluginStatus:
    """The server as its developers see it."""
    status = catalog.host.plugin("mcp/x")
    assert status is not None
    return status


def logged(catalog: McpCatalog) -> tuple[PluginLogLine, ...]:
    """What is kept of the server's log."""
    return status_of(catalog).log


async def wait_for(there: Callable[[], bool]) -> None:
    """Wait, for a bounded time, until it is there."""
    with anyio.fail_after(5):
        while not there():  # noqa: ASYNC110  nothing tells
            await anyio.sleep(0.01)


async def wait_for_lists(session: IntegrationSession, count: int) -> None:
    """Wait, for a bounded time, until the server was asked so often for its resources."""
    with anyio.fail_after(5):
        while (await said(session, "log"))["lists"] < count:  # noqa: ASYNC110  nothing tells
            await anyio.sleep(0.01)


async def said(session: IntegrationSession, tool: str) -> Any:
    result = await session.call_tool(tool, {}, CallWatch("call_1", lambda _: None))
    return json.loads(result.text)


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_user_is_asked_for_the_call_and_the_answer_reaches_the_server(tmp_path: Path, family: str) -> None:
    user = User()
    async with (
        catalog_of(tmp_path, {"x": desk(family)}, features=ALL) as catalog,
        opened(catalog, user) as (session,),
    ):
        answered = await said(session, "ask")
    state = {"state": "kept"} if family == "stateless" else {}
    assert answered == {"action": "accept", "content": {"name": "Grace"}} | state
    schema: JsonObject = {"type": "object", "properties": {"name": {"type": "string", "default": "Ada"}}}
    assert user.asked == [(DESK, "call_1", Elicitation("Your name?", "form", schema))]


@pytest.mark.parametrize("family", FAMILIES)
async def test_an_address_to_visit_is_shown_as_one(tmp_path: Path, family: str) -> None:
    user = User(ElicitationAnswer("decline"))
    async with (
        catalog_of(tmp_path, {"x": desk(family)}, features=ALL) as catalog,
        opened(catalog, user) as (session,),
    ):
        assert (await said(session, "visit"))["action"] == "decline"
    assert user.asked == [(DESK, "call_1", Elicitation("Log in.", "url", url="https://login.example/x"))]


@pytest.mark.parametrize("address", ["file:///etc/passwd", "javascript:alert(1)", "https://bank.example@evil.example/"])
async def test_nobody_is_sent_to_an_address_that_is_no_plain_one(tmp_path: Path, address: str) -> None:
    user = User()
    desk_of = desk(FAMILIES[0], env={"VISIT": address})
    async with catalog_of(tmp_path, {"x": desk_of}, features=ALL) as catalog, opened(catalog, user) as (session,):
        assert (await said(session, "visit"))["action"] == "decline"
    assert user.asked == []


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_model_writes_for_a_server(tmp_path: Path, family: str) -> None:
    user = User()
    async with (
        catalog_of(tmp_path, {"x": desk(family)}, features=ALL) as catalog,
        opened(catalog, user) as (session,),
    ):
        answered = await said(session, "sample")
        assert answered["content"] == {"type": "text", "text": "hi"}
        assert (answered["model"], answered["role"], answered["stopReason"]) == ("test/model", "assistant", "endTurn")
    assert user.asked == [(DESK, "call_1", SamplingRequest((UserMessage((TextInput("Say hi."),)),), 50))]


@pytest.mark.parametrize("family", FAMILIES)
async def test_roots_are_those_of_the_settings_or_of_the_entry(tmp_path: Path, family: str) -> None:
    async with catalog_of(tmp_path, {"x": desk(family)}, features=ALL) as catalog, opened(catalog) as (session,):
        assert (await said(session, "roots"))["roots"] == [{"uri": "file:///srv/data", "name": "data"}]
    own = desk(family, roots=["papers"])
    async with catalog_of(tmp_path, {"x": own}, features=ALL) as catalog, opened(catalog) as (session,):
        assert (await said(session, "roots"))["roots"] == [{"uri": (tmp_path / "papers").as_uri(), "name": "papers"}]


OFF = {
    ("handshake", "ask"): "Elicitation not supported",
    ("handshake", "sample"): "Sampling not supported",
    ("handshake", "roots"): "List roots not supported",
    ("stateless", "ask"): "decline",
    ("stateless", "sample"): "sampling is switched off",
    ("stateless", "roots"): "no roots are configured",
}


@pytest.mark.parametrize(("family", "tool"), OFF)
async def test_what_is_off_is_refused_and_the_connection_goes_on(tmp_path: Path, family: str, tool: str) -> None:
    async with catalog_of(tmp_path, {"x": desk(family)}) as catalog, opened(catalog, User()) as (session,):
        try:
            answered = (await session.call_tool(tool, {})).text
        except OrchestratorError as error:
            answered = error.info.message
        assert OFF[family, tool] in answered
        assert (await session.call_tool("change", {})).text == "done"


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_refusal_tells_the_server_why(tmp_path: Path, family: str) -> None:
    user = User(ElicitationAnswer("decline"))
    async with (
        catalog_of(tmp_path, {"x": desk(family)}, features=ALL) as catalog,
        opened(catalog, user) as (session,),
    ):
        try:
            answered = (await session.call_tool("sample", {}, CallWatch("call_1", lambda _: None))).text
        except OrchestratorError as error:
            answered = error.info.message
    assert "not today" in answered


async def test_waiting_for_the_user_is_not_the_tools_time(tmp_path: Path) -> None:
    user = User(pause=0.5)
    async with (
        catalog_of(tmp_path, {"x": desk("handshake")}, features=ALL, tool_timeout=0.3, tool_timeout_cap=0.3) as catalog,
        opened(catalog, user) as (session,),
    ):
        assert (await said(session, "ask"))["action"] == "accept"


async def test_a_question_that_could_be_of_several_runs_is_refused(tmp_path: Path) -> None:
    first, second = User(), User()
    async with (
        catalog_of(tmp_path, {"x": desk("handshake")}, features=ALL) as catalog,
        opened(catalog, first, "resp_1") as (one,),
        opened(catalog, second, "resp_2") as (other,),
        anyio.create_task_group() as calls,
    ):
        nothing: JsonObject = {}
        calls.start_soon(one.call_tool, "wait", nothing)
        await anyio.wait_all_tasks_blocked()
        result = await other.call_tool("ask", {})
        assert "calls of several requests are under way" in result.text
        calls.cancel_scope.cancel()
    assert (first.asked, second.asked) == ([], [])


@pytest.mark.parametrize("family", FAMILIES)
async def test_progress_is_told_and_its_last_word_always(tmp_path: Path, family: str) -> None:
    told: list[Progress] = []
    async with catalog_of(tmp_path, {"x": desk(family)}) as catalog, opened(catalog) as (session,):
        await session.call_tool("progress", {}, CallWatch("call_1", told.append))
    assert told == [Progress(1, 3, "step 1"), Progress(3, 3, "step 3")]


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_flood_of_notifications_floods_nobody(tmp_path: Path, family: str) -> None:
    told: list[Progress] = []
    async with catalog_of(tmp_path, {"x": desk(family)}) as catalog, opened(catalog) as (session,):
        result = await session.call_tool("flood", {}, CallWatch("call_1", told.append))
        assert result.text == "done"
        assert len(logged(catalog)) == 200
    assert 1 < len(told) < 100
    assert told[-1] == Progress(4_999)


async def test_progress_extends_the_time_of_a_call_up_to_a_cap(tmp_path: Path) -> None:
    slow = {"x": program("slow_server.py")}
    async with (
        catalog_of(tmp_path, slow, tool_timeout=0.6, tool_timeout_cap=1.5) as catalog,
        opened(catalog) as (session,),
    ):
        assert (await session.call_tool("steps", {"seconds": 1.0})).text == "arrived"
        with pytest.raises(OrchestratorError) as caught:
            await session.call_tool("steps", {"seconds": 30.0})
        assert "it reported progress, but had no result within 1.5 s" in caught.value.info.message
        with pytest.raises(OrchestratorError) as caught:
            await session.call_tool("silent", {})
        assert "there was no answer within 0.6 s" in caught.value.info.message


@pytest.mark.parametrize("family", FAMILIES)
async def test_what_a_server_logs_is_kept_without_secrets(tmp_path: Path, family: str) -> None:
    async with catalog_of(tmp_path, {"x": desk(family)}) as catalog, opened(catalog) as (session,):
        status = await said(session, "log")
        assert status["level"] == ("info" if family == "handshake" else None)
        assert [(line.level, line.text) for line in logged(catalog)] == [("warning", "desk: the secret is •••")]
    assert SECRET == "hunter22"


@pytest.mark.parametrize("family", FAMILIES)
async def test_resources_and_prompts_are_listed_page_by_page_and_read(tmp_path: Path, family: str) -> None:
    async with catalog_of(tmp_path, {"x": desk(family)}) as catalog, opened(catalog) as (session,):
        assert await session.list_resources() == tuple(
            Resource(f"file:///{name}", "paper", mime_type="text/plain", size=3) for name in "ab"
        )
        assert await session.list_resource_templates() == (ResourceTemplate("file:///{name}", "papers"),)
        assert await session.list_prompts() == (Prompt("greet", arguments=(PromptArgument("who", required=True),)),)
        assert await session.read_resource("file:///a") == (
            Piece("alpha"),
            Piece("[resource, file:///a, image/png, 3 bytes]", "data:image/png;base64,AAAA"),
        )
        assert await session.get_prompt("greet", {"who": "Ada"}) == (
            Piece("Greet Ada."),
            Piece("Hello.", None, "assistant"),
        )
        for asking, kind in (
            (lambda: session.read_resource("file:///none"), ErrorKind.RESOURCE_NOT_FOUND),
            (lambda: session.get_prompt("greet", {}), ErrorKind.INVALID_VALUE),
        ):
            with pytest.raises(OrchestratorError) as caught:
                await asking()
            assert caught.value.info.kind is kind


@pytest.mark.parametrize("family", FAMILIES)
async def test_lists_are_asked_for_again_once_the_server_says_that_they_changed(tmp_path: Path, family: str) -> None:
    async with catalog_of(tmp_path, {"x": desk(family)}) as catalog, opened(catalog) as (session,):

        async def asked_for() -> int:
            return (await said(session, "log"))["lists"]

        await wait_for(lambda: status_of(catalog).prompts is not None)  # listed once when it was connected
        await session.list_resources()
        before = await asked_for()
        await session.list_resources()
        kept = family == "handshake"  # this stateless server tells nobody who has not subscribed
        assert await asked_for() == (before if kept else before + PAGES)
        await session.call_tool("change", {})
        if kept:
            await wait_for_lists(session, before + PAGES)
            listed = await asked_for()
            await session.list_resources()
            assert await asked_for() > listed
        status = status_of(catalog)
    assert status.prompts == (PluginPrompt("greet", arguments=(PromptArgument("who", required=True),)),)
    assert [resource.uri for resource in status.resources or ()] == ["file:///a", "file:///b", "file:///{name}"]
    assert status.server is not None
    assert status.server.protocol_version == ("2025-11-25" if kept else "2026-07-28")


async def test_a_silent_server_is_pinged_before_it_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with catalog_of(tmp_path, {"x": desk("handshake")}) as catalog:
        async with opened(catalog) as (session,):
            assert (await said(session, "log"))["pings"] == 0
        monkeypatch.setattr(mcp_session, "TRUSTED_SECONDS", 0)
        async with opened(catalog) as (session,):
            assert (await said(session, "log"))["pings"] == 1
