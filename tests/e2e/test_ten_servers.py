"""Ten servers that nobody here wrote, each used through the API: over stdio, streamable HTTP and SSE.

The model is scripted: its turns are the calls that the user's message asks for, as JSON.
"""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.items import TextInput
from orchestrator.core.json_types import JsonValue
from orchestrator.core.prompt import UserMessage
from orchestrator.testing import Call, Say, ScriptedEngine, Turn
from tests.api.house import House, house
from tests.integrations.harness import catalog_of, serving
from tests.servers.install import (
    BrowserMissingError,
    NodeMissingError,
    chromium,
    node_server,
    python_server,
)
from tests.servers.running import everything_over_http, playwright_command, playwright_over_http, proxied

# The first test of a fresh checkout installs the servers.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

Arguments: TypeAlias = dict[str, JsonValue]


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """Install all of them side by side."""

    def optional(install: Callable[[], object]) -> None:
        try:
            install()
        except (NodeMissingError, BrowserMissingError):
            pass  # the tests that need it say so

    with ThreadPoolExecutor() as pool:
        work = [
            pool.submit(optional, lambda: node_server("mcp-server-memory")),
            pool.submit(optional, chromium),
            pool.submit(python_server, "mcp-server-time"),
            pool.submit(python_server, "mcp-server-sqlite"),
        ]
        for one in work:
            one.result()


def node(name: str, *arguments: str, **more: Any) -> dict[str, Any]:
    """An entry of `mcp.json` for a server of npm's."""
    try:
        command, *rest = node_server(name)
    except NodeMissingError as error:
        pytest.skip(f"the server needs Node.js: {error}")
    return {"command": command, "args": [*rest, *arguments], **more}


def python(name: str, *arguments: str, **more: Any) -> dict[str, Any]:
    """An entry of `mcp.json` for a server of PyPI's."""
    return {"command": python_server(name), "args": list(arguments), **more}


def obedient(request: Generate) -> Turn:
    """The calls that the last message of the user is a list of; after them, an end."""
    last = request.messages[-1]
    if not isinstance(last, UserMessage):
        return [Say("Done.")]
    (said,) = last.parts
    assert isinstance(said, TextInput)
    calls: list[list[Any]] = json.loads(said.content)
    return [Call(name, arguments) for name, arguments in calls]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call brought: its text parts joined, all of its parts, and whether it was an error."""

    text: str
    parts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """A client of the API that has the model call tools of one integration."""

    api: House
    integration: JsonValue

    async def call(self, tool: str, **arguments: JsonValue) -> Answer:
        """One chat in which the model makes one call."""
        (answer,) = await self.calls((tool, arguments))
        return answer

    async def calls(self, *calls: tuple[str, Arguments]) -> list[Answer]:
        """One chat in which the model makes these calls in one turn."""
        body = {"input": json.dumps([list(call) for call in calls]), "integrations": [self.integration]}
        response = await self.api.chat(**body)
        assert response.status_code == 200, response.text
        *made, message = response.json()["output"]
        assert message == {"type": "message", "content": "Done."}
        assert [(item["type"], item["tool"], item["arguments"]) for item in made] == [
            ("tool_call", tool, arguments) for tool, arguments in calls
        ]
        return [_answer(item) for item in made]


def _answer(item: dict[str, Any]) -> Answer:
    parts: list[dict[str, Any]] = json.loads(item["output"])
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return Answer("\n".join(texts), parts, item["is_error"])


@asynccontextmanager
async def using(folder: Path, entry: dict[str, Any]) -> AsyncGenerator[Session]:
    """The API over a real catalog in which the plugin `mcp/it` is this entry."""
    async with catalog_of(folder, {"it": entry}) as catalog:
        async with house(ScriptedEngine(obedient), catalog=catalog) as api:
            await nothing_is_suspicious(api)
            yield Session(api, "mcp/it")


async def nothing_is_suspicious(api: House) -> None:
    """What honest people wrote of their tools is not taken for orders to the model."""
    checked = (await api.client.post("/api/v1/integrations/check", json={"integrations": ["mcp/it"]})).json()
    (integration,) = checked["integrations"]
    assert integration["tools"]
    assert [found for tool in integration["tools"] for found in tool.get("suspicions", ())] == []


@asynccontextmanager
async def bringing(folder: Path, url: str) -> AsyncGenerator[Session]:
    """The API over a real catalog, asked with an ephemeral server at `url`."""
    async with catalog_of(folder) as catalog, house(ScriptedEngine(obedient), catalog=catalog) as api:
        yield Session(api, {"type": "ephemeral_mcp", "server_label": "it", "server_url": url})


async def use_everything(it: Session) -> None:
    total, image, structured = await it.calls(
        ("get-sum", {"a": 19, "b": 23}), ("get-tiny-image", {}), ("get-structured-content", {"location": "Chicago"})
    )
    assert total.text == "The sum of 19 and 23 is 42."
    assert [part["type"] for part in image.parts] == ["text", "image", "text"]
    assert {"temperature", "conditions", "humidity"} == set(json.loads(structured.text))


# ---- over stdio ---------------------------------------------------------------------------------------


async def test_everything(tmp_path: Path) -> None:
    async with using(tmp_path, node("mcp-server-everything", "stdio")) as it:
        await use_everything(it)
        assert (await it.call("trigger-long-running-operation", duration=0.2, steps=2)).text.startswith("Long running")


async def test_filesystem(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    async with using(tmp_path, node("mcp-server-filesystem", str(folder))) as it:
        await it.call("write_file", path=str(folder / "a.txt"), content="line one\nline two\n")
        assert (folder / "a.txt").read_text() == "line one\nline two\n"
        read, outside = await it.calls(
            ("read_text_file", {"path": str(folder / "a.txt"), "head": 1}), ("read_text_file", {"path": "/etc/passwd"})
        )
        assert (read.text, read.is_error) == ("line one", False)
        assert outside.is_error
        assert "outside allowed directories" in outside.text


async def test_memory(tmp_path: Path) -> None:
    entry = node("mcp-server-memory", env={"MEMORY_FILE_PATH": str(tmp_path / "memory.jsonl")})
    async with using(tmp_path, entry) as it:
        ada: Arguments = {"name": "Ada", "entityType": "person", "observations": ["wrote programs"]}
        await it.call("create_entities", entities=[ada])
        found = json.loads((await it.call("search_nodes", query="programs")).text)
        assert found == {"entities": [ada], "relations": []}
        assert "Ada" in (tmp_path / "memory.jsonl").read_text()


async def test_sequential_thinking(tmp_path: Path) -> None:
    async with using(tmp_path, node("mcp-server-sequential-thinking")) as it:
        thought = await it.call(
            "sequentialthinking", thought="First.", nextThoughtNeeded=True, thoughtNumber=1, totalThoughts=2
        )
        assert json.loads(thought.text)["thoughtHistoryLength"] == 1


async def test_time(tmp_path: Path) -> None:
    async with using(tmp_path, python("mcp-server-time")) as it:
        converted = await it.call("convert_time", source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo")
        assert "T21:00:00" in json.loads(converted.text)["target"]["datetime"]


async def test_git(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    for command in (["init", "-q"], ["config", "user.name", "Ada"], ["config", "user.email", "ada@example.org"]):
        await anyio.run_process(["git", *command], cwd=repository)
    (repository / "a.txt").write_text("hello\n")
    where: Arguments = {"repo_path": str(repository)}
    async with using(tmp_path, python("mcp-server-git", "--repository", str(repository))) as it:
        assert "Untracked files" in (await it.call("git_status", **where)).text
        await it.call("git_add", **where, files=["a.txt"])
        await it.call("git_commit", **where, message="Say hello")
        assert "Say hello" in (await it.call("git_log", **where)).text


async def test_fetch(tmp_path: Path) -> None:
    entry = python("mcp-server-fetch", "--ignore-robots-txt", "--allow-private-ips")
    async with serving(page) as origin, using(tmp_path, entry) as it:
        fetched = await it.call("fetch", url=f"{origin}/")
        assert "Hello from the page" in fetched.text
        assert (await it.call("fetch", url=f"{origin}/none")).is_error


async def test_sqlite_which_is_not_on_the_second_version_of_the_sdk(tmp_path: Path) -> None:
    async with using(tmp_path, python("mcp-server-sqlite", "--db-path", str(tmp_path / "x.db"))) as it:
        await it.call("create_table", query="CREATE TABLE cities (name TEXT)")
        await it.call("write_query", query="INSERT INTO cities VALUES ('Rome'), ('Oslo')")
        read, tables = await it.calls(
            ("read_query", {"query": "SELECT count(*) AS n FROM cities"}), ("list_tables", {})
        )
        assert (read.text, tables.text) == ("[{'n': 2}]", "[{'name': 'cities'}]")


async def test_calculator(tmp_path: Path) -> None:
    async with using(tmp_path, python("mcp-server-calculator")) as it:
        good, bad = await it.calls(("calculate", {"expression": "6*7"}), ("calculate", {"expression": "open('x')"}))
        assert (good.text, good.is_error) == ("42", False)
        assert bad.is_error


async def test_playwright_with_a_page_that_the_test_serves(tmp_path: Path) -> None:
    async with serving(page) as origin, using(tmp_path, playwright_entry()) as it:
        await use_browser(it, origin)


# ---- over HTTP and SSE --------------------------------------------------------------------------------


async def test_everything_as_an_ephemeral_server_over_streamable_http(tmp_path: Path) -> None:
    node("mcp-server-everything")
    async with everything_over_http() as url, bringing(tmp_path, url) as it:
        await use_everything(it)


async def test_everything_as_a_plugin_over_the_older_sse(tmp_path: Path) -> None:
    node("mcp-server-everything")
    async with everything_over_http("sse", "/sse") as url, using(tmp_path, {"type": "sse", "url": url}) as it:
        await use_everything(it)


async def test_playwright_as_an_ephemeral_server_over_streamable_http(tmp_path: Path) -> None:
    playwright_entry()
    async with serving(page) as origin, playwright_over_http() as url, bringing(tmp_path, url) as it:
        # An ephemeral server lives as long as its request: so do its pages.
        (went,) = await it.calls(("browser_navigate", {"url": f"{origin}/"}))
        assert "Greetings" in went.text


@pytest.mark.parametrize("way", [{"type": "sse", "path": "/sse"}, {"type": "http", "path": "/mcp"}])
async def test_a_stdio_server_behind_a_proxy(tmp_path: Path, way: dict[str, str]) -> None:
    command: Sequence[str] = [python_server("mcp-server-sqlite"), "--db-path", str(tmp_path / "x.db")]
    async with proxied(command) as origin:
        async with using(tmp_path, {"type": way["type"], "url": origin + way["path"]}) as it:
            await it.call("create_table", query="CREATE TABLE cities (name TEXT)")
            assert (await it.call("list_tables")).text == "[{'name': 'cities'}]"


# ---- a page -------------------------------------------------------------------------------------------

PAGE = b"""<!doctype html><title>Greetings</title>
<h1>Hello from the page</h1>
<button onclick="document.getElementById('said').textContent = 'it was pressed'">Press me</button>
<p id="said">not yet</p>"""


async def page(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application: one page."""
    found = scope["path"] == "/"
    headers = [(b"content-type", b"text/html; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
    await send({"type": "http.response.body", "body": PAGE if found else b"none"})


def playwright_entry() -> dict[str, Any]:
    try:
        command, *arguments = playwright_command()
    except (NodeMissingError, BrowserMissingError) as error:
        pytest.skip(str(error))
    return {"command": command, "args": arguments}


async def use_browser(it: Session, origin: str) -> None:
    """Open the page, press its button, read what that did: each in a chat of its own, in the same browser."""
    went = await it.call("browser_navigate", url=f"{origin}/")
    assert not went.is_error, went.text
    assert "Greetings" in went.text
    snapshot = (await it.call("browser_snapshot")).text
    (line,) = [line for line in snapshot.splitlines() if "Press me" in line]
    target = line.partition("[ref=")[2].partition("]")[0]
    pressed = await it.call("browser_click", element="Press me", target=target)
    assert not pressed.is_error, pressed.text
    assert "it was pressed" in (await it.call("browser_snapshot")).text
