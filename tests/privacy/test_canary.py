"""Canaries: a secret of its own in every place that has one, a day's work over all of them, and no bird anywhere after it.

The servers of this test repeat whatever they are given: headers, environments, keys.
"""

import contextlib
import json
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from sqlalchemy import NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.cli.program import run
from tests.e2e.running import ROOT, RunningService, running_service
from tests.integrations.harness import serving
from tests.integrations.programs.faulty_app import Message, Receive, Send
from tests.integrations.programs.oauth_app import OAuthApp
from tests.privacy.model_server import MODEL, ToldModel
from tests.privacy.tell_tale import new_server

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

PLACES = (
    *("bearer", "x_api_key", "ephemeral_header", "ephemeral_query", "url_user", "plugin_header", "plugin_query"),
    *("plugin_env", "plugin_variable", "dying_env", "client_secret", "engine_key", "database_password"),
    *("argument", "other_argument", "result"),
)
PIN = re.compile(r"PIN-\d+")


@dataclass
class Birds:
    """What must not be found, by the place that it was put into."""

    canaries: dict[str, str] = field(default_factory=dict[str, str])

    def __getitem__(self, place: str) -> str:
        return self.canaries.setdefault(place, f"canary-{place.replace('_', '-')}-{secrets.token_hex(6)}")

    def pin(self, place: str) -> str:
        """Something that the pattern finds."""
        return self.canaries.setdefault(place, f"PIN-{secrets.randbelow(10**12):012}")

    def found_in(self, where: str, written: str | bytes) -> list[str]:
        """Which of them stand there, in any of the forms in which they may be written."""
        data = written.encode("utf-8", "replace") if isinstance(written, str) else written
        return [f"{place} in {where}" for place, canary in self.canaries.items() if canary.encode() in data]


@dataclass
class Everywhere:
    """Whatever anybody can read afterwards."""

    birds: Birds
    found: list[str] = field(default_factory=list[str])
    looked: int = 0

    def look(self, where: str, written: str | bytes) -> None:
        self.looked += len(written)
        self.found += self.birds.found_in(where, written)


def with_query(app: Any) -> Any:
    """The application with the query of the address among its headers, so that its server can tell of it."""

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [*scope["headers"], (b"x-query", scope["query_string"])]}
        await app(scope, receive, send)

    return wrapped


async def repeats(scope: Message, receive: Receive, send: Send) -> None:
    """A server that refuses, and quotes the headers and the address that it was asked with."""
    said = repr(scope["headers"]) + repr(scope["query_string"])
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": said.encode()})


def program(*arguments: str, **env: str) -> dict[str, Any]:
    entry = {"command": sys.executable, "args": ["-m", "tests.privacy.tell_tale", *arguments], "cwd": str(ROOT)}
    return {**entry, "env": env}


def installed(birds: Birds, origin: str, repeating: str, authority: str) -> dict[str, Any]:
    """An `mcp.json` with a bird wherever one can be put."""
    rules = {"patterns": {"other": "OTHER-[0-9a-f]+"}, "paths": ["result.token"]}
    header = {"Authorization": f"Bearer {birds['plugin_header']}"}
    login = {"grant": "client_credentials", "client_id": "machine", "client_secret": birds["client_secret"]}
    return {
        "mcpServers": {
            "web": {"url": f"{origin}/mcp?key={birds['plugin_query']}", "headers": header, "redact": rules},
            "local": program("${env:CANARY_VARIABLE}", SECRET_KEY=birds["plugin_env"]),
            "dying": program("--at-once", SECRET_KEY=birds["dying_env"]),
            "repeating": {"url": f"{repeating}/?key={birds['plugin_query']}", "headers": header},
            "machine": {"url": f"{authority}/mcp", "oauth": login},
            "broken": {"url": f"https://{birds['url_user']}@example.com/mcp"},
        }
    }


@dataclass
class Day:
    """The service, its client, and what was seen."""

    client: httpx.AsyncClient
    birds: Birds
    seen: Everywhere
    origin: str
    repeating: str
    model: ToldModel

    async def ask(self, method: str, path: str, body: object = None, *, live: bool = False, **more: Any) -> Any:
        """A request; its reply is looked through, unless it is the live one of a run whose server repeats secrets."""
        response = await self.client.request(method, path, json=body, **more)
        if not live:
            self.seen.look(f"{method} {path} ({response.status_code})", response.text + repr(response.headers))
        return response

    async def chat(self, told: dict[str, Any], *integrations: object, live: bool = True, **more: Any) -> httpx.Response:
        body = {"model": MODEL, "input": self.model.told(told), "integrations": list(integrations), **more}
        response: httpx.Response = await self.ask("POST", "/api/v1/chat", body, live=live)
        return response

    def ephemeral(self, origin: str, path: str = "/mcp") -> dict[str, Any]:
        """A server that the request brings along."""
        url = f"{origin}{path}?key={self.birds['ephemeral_query']}"
        headers = {"X-Key": self.birds["ephemeral_header"]}
        return {"type": "ephemeral_mcp", "server_label": "own", "server_url": url, "headers": headers}


async def work(day: Day) -> list[str]:
    """Chats, streamed and not, of every kind and every fault; the ids of their responses."""
    birds, ids = day.birds, list[str]()
    # What a path hides in arguments is told again by the tool, and by the model.
    secret, pin = birds["argument"], birds.pin("pattern")
    login = {"user": "ada", "password": secret}
    script: dict[str, Any] = {
        "think": f"It is {pin}.",
        "calls": [["login", login], ["echo", {"text": pin}]],
        "say": f"{secret} {pin}",
    }
    told: dict[str, Any] = {"calls": [["tell", {}], ["fail", {}]], "say": "Done."}
    birds.canaries["result"] = f"OTHER-{secrets.token_hex(6)}"
    script["calls"].append(["echo", {"text": birds["result"]}])
    for integration in ("mcp/web", "mcp/local", day.ephemeral(day.origin)):
        for stream in (False, True):
            response = await day.chat(told, integration, stream=stream)
            assert response.status_code == 200, response.text
            ids.append(response.headers["x-response-id"])
    for stream in (False, True):
        response = await day.chat(script, "mcp/web", stream=stream, metadata={"pin": pin}, system_prompt=f"Mind {pin}.")
        assert response.status_code == 200, response.text
        ids.append(response.headers["x-response-id"])
    again = await day.chat({"say": "And on."}, previous_response_id=ids[-1])
    assert again.status_code == 200
    # Calls that cannot be made.
    bad: list[list[Any]] = [
        ["login", f'{{"user": "ada", "password": "{secret}", '],
        ["login", {"password": secret}],
        [pin, {}],
    ]
    assert (await day.chat({"calls": bad, "say": "Oh."}, "mcp/web")).status_code == 200
    only = {"type": "plugin", "id": "mcp/web", "allowed_tools": ["echo"]}
    assert (await day.chat({"calls": [["login", login]], "say": "Oh."}, only)).status_code == 200
    # Servers that cannot be had, or that die.
    for gone in ("mcp/dying", "mcp/repeating", "mcp/broken", day.ephemeral(day.repeating, "/")):
        for stream in (False, True):
            assert (await day.chat({"say": "Never."}, gone, live=False, stream=stream)).status_code == 424
    assert (await day.chat({"calls": [["die", {}]], "say": "Dead."}, "mcp/local")).status_code == 200
    with_user = {**day.ephemeral(day.origin), "server_url": f"http://{birds['url_user']}@127.0.0.1/mcp"}
    assert (await day.chat({"say": "Never."}, with_user, live=False)).status_code == 400
    assert (await day.chat({"calls": [["first", {}]], "say": "Logged in."}, "mcp/machine")).status_code == 200
    # A model server that fails, and says with which key.
    for stream in (False, True):
        failed = await day.chat({"fail": 500}, live=False, stream=stream)
        assert failed.status_code == (200 if stream else 502), failed.text
    return ids


async def approve(day: Day) -> None:
    """Calls that wait, one after the other, with arguments that are hidden and others in their place."""
    asking = {"type": "plugin", "id": "mcp/web", "require_approval": "always"}
    login = {"user": "ada", "password": day.birds["argument"]}
    script = {"calls": [["login", login], ["login", login]], "say": "Approved."}
    reply = (await day.chat(script, asking)).json()
    assert reply["status"] == "awaiting_approval", reply
    first, second = reply["pending_approvals"]
    await day.ask("GET", f"/api/v1/responses/{reply['response_id']}")
    path = f"/api/v1/responses/{reply['response_id']}/approvals"
    edited = {"user": "ada", "password": day.birds["other_argument"]}
    decision = {"call_id": first["call_id"], "decision": "approve", "arguments": edited}
    await day.ask("POST", path, {"approvals": [decision]})
    last = await day.ask(
        "POST", path, {"approvals": [{"call_id": second["call_id"], "decision": "approve"}]}, live=True
    )
    said = [item["arguments"]["password"] for item in last.json()["output"] if item["type"] == "tool_call"]
    assert said == [edited["password"], login["password"]], "both ran with their true arguments"
    denied = (await day.chat(script, asking)).json()
    await day.ask("POST", f"/api/v1/responses/{denied['response_id']}/cancel")


async def look_round(day: Day, ids: list[str]) -> None:
    """Everything that can be read over HTTP."""
    for path in (
        *(
            "/metrics",
            "/health",
            "/api/v1/models",
            "/api/v1/plugins",
            "/api/v1/responses",
            "/api/v1/tool-calls?limit=200",
        ),
        *("/api/v1/tool-calls/stats", "/api/v1/tool-calls/events", "/schema/openapi.json"),
        "/api/v1/tool-calls/export/definitions",
        *(f"/api/v1/tool-calls/export?format={form}" for form in ("jsonl", "csv", "parquet")),
        *(f"/api/v1/plugins/mcp/{label}" for label in ("web", "local", "dying", "repeating", "machine", "broken")),
        *(f"/api/v1/plugins/mcp/{label}/logs" for label in ("local", "dying")),
        *(f"/api/v1/responses/{id}{part}" for id in ids for part in ("", "/chain", "/tree")),
    ):
        response = await day.client.get(path)
        assert response.status_code < 500, f"{path}: {response.text}"
        day.seen.look(f"GET {path}", response.content)
    calls = (await day.client.get("/api/v1/tool-calls?limit=200")).json()["tool_calls"]
    for call in calls:
        await day.ask("GET", f"/api/v1/tool-calls/{call['call_id']}")
    password = {"arguments": {"user": "ada", "password": day.birds["argument"]}}
    direct = "/api/v1/plugins/mcp/web/tools/login/call"
    assert (await day.ask("POST", direct, password, live=True)).status_code == 200
    await day.ask("POST", "/api/v1/plugins/mcp/web/tools/login/call", {"arguments": {"user": 7}})
    await day.ask("POST", "/api/v1/plugins/mcp/dying/tools/login/call", {"arguments": {}})
    check = {"integrations": ["mcp/web", "mcp/dying", "mcp/repeating", day.ephemeral(day.repeating, "/")]}
    await day.ask("POST", "/api/v1/integrations/check", check)
    for header in ({"Authorization": f"Bearer {day.birds['bearer']}"}, {"x-api-key": day.birds["x_api_key"]}):
        refused = await day.ask("GET", "/api/v1/models", headers={"Authorization": "", **header})
        assert refused.status_code == 401


COMMANDS = (
    *("settings", "settings --json", "doctor --json", "db --help", "tokens list --json", "plugins list --json"),
    *("plugins show web --json", "plugins show local", "plugins logs local", "plugins logs dying", "plugins check"),
    *("audit list --json", "audit list", "audit stats --json", "audit verify --json"),
)


async def use_commands(seen: Everywhere, environment: dict[str, str], folder: Path) -> None:
    """What the command line prints and writes."""
    exports = [f"audit export --output {folder / 'calls'}.{form}" for form in ("jsonl", "csv", "parquet")]
    for command in (*COMMANDS, *exports):
        result = await anyio.to_thread.run_sync(partial(run, *command.split(), **environment))
        seen.look(f"orchestrator {command}", result.output)
    look_at_files(seen, folder)


def look_at_files(seen: Everywhere, folder: Path) -> None:
    """Every file there, but for those that are to hold secrets."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name not in ("mcp.json", "encryption.key"):
            seen.look(str(file.relative_to(folder)), file.read_bytes())


async def rows_of(url: str) -> AsyncGenerator[tuple[str, str | bytes]]:
    """Everything that the database has: its files, or its tables' rows as text."""
    if url.startswith("sqlite"):
        database = Path(url.partition(":///")[2])
        for file in sorted(database.parent.glob(f"{database.name}*")):
            yield file.name, file.read_bytes()
        return
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        tables = (
            await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        ).scalars()
        for table in tables.all():
            for row in (await connection.execute(text(f'SELECT t::text FROM "{table}" t'))).scalars():
                yield f"the table {table}", row


def with_password(url: str, password: str) -> str:
    """Postgres takes any from this machine."""
    return make_url(url).set(password=password).render_as_string(hide_password=False) if "postgres" in url else url


@contextlib.asynccontextmanager
async def hidden_service(
    birds: Birds, url: str, folder: Path, config: dict[str, Any], model: str
) -> AsyncGenerator[tuple[RunningService, str, dict[str, str]]]:
    """The service with secrets in its settings, an admin's token, and the settings for commands."""
    environment = {
        "DATABASE_URL": with_password(url, birds["database_password"]),
        "OPENAI_COMPATIBLE_URL": f"{model}/v1",
        "OPENAI_COMPATIBLE_API_KEY": birds["engine_key"],
        "DEFAULT_ENGINE": "openai_compatible",
        "REQUIRE_AUTHENTICATION": "true",
        "EPHEMERAL_ALLOW": "127.0.0.1",
        "LOG_LEVEL": "debug",
        "REDACT_PATTERNS": json.dumps({"pin": PIN.pattern, "card": True}),
        "REDACT_PATHS": "arguments.password",
        "MCP_CONFIG": str(folder / "mcp.json"),
        "DATA_DIR": str(folder),
    }
    create = partial(run, "tokens", "create", "--name", "tests", "--permissions", "admin", **environment)
    made = await anyio.to_thread.run_sync(create)
    token = made.stdout.strip()
    birds.canaries["token"] = token.partition(":")[2]
    given = {
        f"ORCHESTRATOR_{name}": value for name, value in environment.items() if name not in ("MCP_CONFIG", "DATA_DIR")
    }
    running = running_service(folder, config, CANARY_VARIABLE=birds["plugin_variable"], **given)
    service = await anyio.to_thread.run_sync(running.__enter__)
    try:
        yield service, token, {**environment, "PORT": service.url.rpartition(":")[2]}
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(running.__exit__, None, None, None)


async def test_no_secret_is_anywhere_after_a_days_work(database_url: str, tmp_path: Path) -> None:
    birds = Birds()
    for place in PLACES:
        _ = birds[place]
    seen = Everywhere(birds)
    folder, exports = tmp_path / "data", tmp_path / "exports"
    exports.mkdir()
    model = ToldModel(birds["engine_key"])
    authority = OAuthApp(machine_secret=birds["client_secret"])
    async with (
        serving(with_query(new_server().streamable_http_app()), lifespan=True) as origin,
        serving(repeats) as repeating,
        serving(authority) as login,
        serving(model) as engine,
    ):
        authority.configure(login)
        config = installed(birds, origin, repeating, login)
        async with hidden_service(birds, database_url, folder, config, engine) as (service, token, environment):
            client = httpx.AsyncClient(
                base_url=service.url, timeout=60, trust_env=False, headers={"Authorization": f"Bearer {token}"}
            )
            async with client:
                day = Day(client, birds, seen, origin, repeating, model)
                ids = await work(day)
                await approve(day)
                async for where, written in rows_of(database_url):
                    seen.look(f"{where}, while calls wait or have just run", written)
                await look_round(day, ids)
                await use_commands(seen, {**environment, "API_KEY": token}, exports)
        await look_at_what_is_left(seen, service, database_url, authority)
    assert seen.looked > 100_000
    assert sorted(set(seen.found)) == []


async def look_at_what_is_left(
    seen: Everywhere, service: RunningService, database_url: str, authority: OAuthApp
) -> None:
    seen.birds.canaries |= {f"oauth token {n}": token for n, token in enumerate(authority.authority.access)}
    assert authority.authority.access
    async for where, written in rows_of(database_url):
        seen.look(where, written)
    seen.look("the log", service.log)
    look_at_files(seen, service.data_dir)


def test_the_program_tells_what_it_is_given() -> None:
    """The canary of the test above: there is something to find."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.privacy.tell_tale", "--at-once"],
        cwd=ROOT,
        env={"SECRET_KEY": "canary-x"},
        capture_output=True,
        check=False,
    )
    assert b"canary-x" in told.stderr
