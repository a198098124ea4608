"""Servers that do what no server should: a readable error, a healthy neighbour, nothing left behind."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.items import TextInput
from orchestrator.core.prompt import ToolMessage, UserMessage
from orchestrator.integrations import catalog, mcp_session, stdio_transport
from orchestrator.testing import Call, Say, ScriptedEngine, Turn
from tests.api.house import House, house
from tests.faults import silence
from tests.faults.mcp_faults import CUT, FAULTS, PAGE, Fault, Kind, page
from tests.integrations.harness import catalog_of, faulty, serving
from tests.integrations.programs.faulty_app import FaultyApp
from tests.integrations.test_leaks import nothing_left

pytestmark = pytest.mark.anyio
Name = TypeVar("Name", bound=str)
PATIENCE: Final = 60.0
"""Seconds that only a busy machine needs."""


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of ending what does not end by itself is cut short: these tests are about what is left then."""
    for module in (catalog, mcp_session, stdio_transport):
        monkeypatch.setattr(module, "CLOSE_SECONDS", 0.4)


def obey(request: Generate) -> Turn:
    """A model that calls the tool that the user names, and then tells what it read."""
    last = request.messages[-1]
    if isinstance(last, ToolMessage):
        return [Say(f"It says: {last.content}")]
    assert isinstance(last, UserMessage) and isinstance(last.parts[0], TextInput)
    return [Call(last.parts[0].content, {})]


@asynccontextmanager
async def chats(
    folder: Path,
    entries: Mapping[str, Any],
    connecting: float = PATIENCE,
    calling: float = PATIENCE,
    engine: ScriptedEngine | None = None,
) -> AsyncGenerator[House]:
    """The API over these plugins; `connecting` and `calling` are seconds."""
    async with catalog_of(folder, entries, connect_timeout=connecting, tool_timeout=calling) as plugins:
        async with house(engine or ScriptedEngine(obey), catalog=plugins) as api:
            yield api


@asynccontextmanager
async def address_of(fault: Fault, origin: str) -> AsyncGenerator[str]:
    """Where the misbehaving server is that is reached over HTTP."""
    async with AsyncExitStack() as stack:
        match fault.mode:
            case "silent name":
                yield stack.enter_context(silence.silent_name())
            case "silent port":
                yield stack.enter_context(silence.silent_port())
            case "nobody":
                yield stack.enter_context(silence.nobody())
            case "silent TLS":
                yield await stack.enter_async_context(silence.silent_tls())
            case "hangs up":
                yield await stack.enter_async_context(silence.hanging_up())
            case _:
                yield f"{origin}/{fault.mode}"


async def chat(api: House, integration: Any, *, tool: str = "first") -> str | None:
    """What a request that uses the server is told of the fault; None where its call works."""
    response = await api.chat(input=tool, integrations=[integration])
    body = response.json()
    if response.status_code != 200:
        kind = "plugin_connection_error" if isinstance(integration, str) else "mcp_connection_error"
        assert (response.status_code, body["error"]) == (
            424,
            {"type": kind, "message": body["error"]["message"], "code": kind, "param": "integrations"},
        )
        return body["error"]["message"]
    call, message = body["output"]
    assert body["status"] == "completed"
    (part,) = json.loads(call["output"])
    assert message["content"] == f"It says: {part['text']}"
    if not call["is_error"]:
        return None
    return part["text"]


async def be_healthy(api: House, over: anyio.Event) -> None:
    """Chats with the neighbour until the other requests are over, and at least once; every call must work."""
    while True:
        assert await chat(api, "mcp/healthy") is None
        with anyio.move_on_after(0.05):
            await over.wait()
            return


async def side_by_side(api: House, integrations: Mapping[Name, Any]) -> dict[Name, str | None]:
    """What the requests that use the server are told, beside a healthy one."""
    told: dict[Name, str | None] = {}

    async def use(name: Name, integration: Any) -> None:
        told[name] = await chat(api, integration)

    over = anyio.Event()
    async with anyio.create_task_group() as requests:
        requests.start_soon(be_healthy, api, over)
        async with anyio.create_task_group() as users:
            for name, integration in integrations.items():
                users.start_soon(use, name, integration)
        over.set()
    return told


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.way}: {fault.what}")
async def test_a_fault_is_told_and_harms_nobody_else(fault: Fault, tmp_path: Path) -> None:
    late = fault.deadline or PATIENCE
    connecting = late if fault.outcome == "does not connect" else PATIENCE
    calling = late if fault.outcome == "the call fails" else PATIENCE
    elsewhere, app = FaultyApp(), FaultyApp()
    async with serving(elsewhere) as inside, serving(app) as origin, address_of(fault, origin) as address:
        app.elsewhere = f"{inside}/fine"
        entry = faulty(fault.mode) if fault.way == "stdio" else {"url": address}
        entries = {"x": entry, "healthy": {"url": f"{origin}/fine", "timeout": PATIENCE}}
        ephemeral = {"type": "ephemeral_mcp", "server_label": "x", "server_url": address}
        integrations: dict[Kind, Any] = {"plugin": "mcp/x", "ephemeral": ephemeral}
        async with nothing_left(), chats(tmp_path, entries, connecting, calling) as api:
            told = await side_by_side(api, {kind: integrations[kind] for kind in fault.kinds})
        shown = address.removesuffix(f"/{fault.mode}")
    assert told == {kind: fault.told(kind, shown, inside) for kind in fault.kinds}
    assert elsewhere.seen == []


@pytest.mark.parametrize("way", ["stdio", "HTTP"])
async def test_two_requests_on_a_shared_server_that_dies_both_fail_once_and_the_next_one_works(
    way: str, tmp_path: Path
) -> None:
    app = FaultyApp()
    async with serving(app) as origin:
        entry = faulty("dies in the second call") if way == "stdio" else {"url": f"{origin}/breaks-off-both"}
        entries = {"x": entry, "healthy": {"url": f"{origin}/fine"}}
        async with nothing_left(), chats(tmp_path, entries) as api:
            told = await side_by_side(api, {"one": "mcp/x", "other": "mcp/x"})
            why = "it exited with status 9" if way == "stdio" else CUT
            assert told == dict.fromkeys(("one", "other"), f"The tool 'first' of 'mcp/x' gave no result: {why}.")
            assert await chat(api, "mcp/x", tool="second") is None


def call_both(request: Generate) -> Turn:
    """A model that calls `first`, then `second`, as far as it is offered them."""
    told = sum(isinstance(message, ToolMessage) for message in request.messages)
    names = [tool.name for tool in request.tools]
    wanted = ("first", "second")[told:][:1]
    return [Call(name, {}) for name in wanted if name in names] or [Say("That was it.")]


@pytest.mark.parametrize(
    ("mode", "after", "told"),
    [
        ("grows", ["first", "second", "third"], None),
        (
            "withdraws its tools",
            ["first"],
            "The tool 'second' of 'mcp/x' gave no result: it answered with the error -32602: Unknown tool: second.",
        ),
    ],
)
@pytest.mark.parametrize("way", ["stdio", "HTTP"])
async def test_tools_that_change_between_two_turns_leave_the_run_its_own_and_the_next_one_the_new(
    way: str, mode: str, after: list[str], told: str | None, tmp_path: Path
) -> None:
    engine = ScriptedEngine(call_both)
    async with serving(FaultyApp()) as origin:
        # Who hears of no change over HTTP lists again when the next one is connected.
        remote = {"url": f"{origin}/{mode.replace(' ', '-')}", "scope": "request"}
        entries = {"x": faulty(mode) if way == "stdio" else remote}
        async with nothing_left(), chats(tmp_path, entries, engine=engine) as api:
            first, second, _ = (await api.chat(integrations=["mcp/x"])).json()["output"]
            offered = [[tool.name for tool in request.tools] for request in engine.requests]
            assert offered == [["first", "second"]] * 3
            assert not first["is_error"]
            assert (json.loads(second["output"])[0]["text"] if second["is_error"] else None) == told
            await api.chat(integrations=["mcp/x"])
            assert [tool.name for tool in engine.requests[3].tools] == after


def test_the_page_has_the_table() -> None:
    assert PAGE.read_text("utf-8") == page()
