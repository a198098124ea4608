"""The page about the policy says what the code does: every row of its tables is run."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.errors import ERROR_TABLE
from orchestrator.api.limits import RequestLimits
from orchestrator.app import request_limits
from orchestrator.core.json_types import JsonObject
from orchestrator.core.permissions import PERMISSIONS
from orchestrator.core.request import IntegrationRequest
from orchestrator.core.suspicions import PATTERNS
from orchestrator.integrations.checks import check_integrations
from orchestrator.integrations.mcp_json import McpConfig, load_mcp_json
from orchestrator.integrations.network_policy import HostRules, NetworkPolicy
from orchestrator.ports import IntegrationSession, RunScope
from orchestrator.setting_list import SETTINGS
from orchestrator.settings import Settings, SettingsError, load_settings
from orchestrator.testing import FakeCatalog, FakeServer, Say, ScriptedEngine
from orchestrator.wiring import network_policy
from tests.api.house import fake_tool, house

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "orchestrator" / "POLICY.md").read_text("utf-8")
ADDRESSES = {
    "an ephemeral server": "https://tools.example/mcp",
    "an ephemeral server at a private address": "http://10.0.0.7/mcp",
    "an ephemeral server at a denied host": "https://internal.example/mcp",
}


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, its head left out."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = section[section.index("\n|") :].strip().partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


async def done(arguments: JsonObject) -> str:
    return "done"


class CheckedCatalog:
    """The real checks, before servers that are there at once."""

    def __init__(
        self, config: McpConfig, *, allowed: bool, tools: Mapping[str, Sequence[str]], gives: list[str]
    ) -> None:
        self._config = config
        self._allowed = allowed
        servers = {name: FakeServer([fake_tool(tool, done) for tool in names]) for name, names in tools.items()}
        if gives:
            withheld = frozenset(tools["mcp/notes"]) - frozenset(gives)
            servers["mcp/notes"] = replace(servers["mcp/notes"], withheld=withheld)
        self._servers = FakeCatalog(servers)

    def check(self, integrations: Sequence[IntegrationRequest]) -> None:
        policy = NetworkPolicy(deny=HostRules.parse(("internal.example",), setting="EPHEMERAL_DENY"))
        check_integrations(
            integrations, self._config, policy, allow_plugins=self._allowed, allow_ephemeral_mcp=self._allowed
        )

    @asynccontextmanager
    async def open(
        self, integrations: Sequence[IntegrationRequest], scope: RunScope
    ) -> AsyncGenerator[Sequence[IntegrationSession]]:
        self.check(integrations)
        async with self._servers.open(integrations, scope) as sessions:
            yield sessions


def installed(folder: Path, says: str) -> McpConfig:
    entry = {"command": "notes", **({"disabled": True} if "disabled" in says else {})}
    label = "other" if says == "not installed" else "notes"
    file = folder / "mcp.json"
    file.write_text(str({"mcpServers": {label: entry}}).replace("'", '"').replace("True", "true"))
    return load_mcp_json((file,))


@pytest.mark.parametrize("row", table("Integrations"), ids=" ".join)
async def test_an_integration_is_offered_or_refused_as_its_row_says(row: list[str], tmp_path: Path) -> None:
    named, allow, token, says, allowed_tools, outcome = row
    tools = {"mcp/notes": ("read_note", "list_notes", "write_note"), "far": ("search", "fetch")}
    catalog = CheckedCatalog(
        installed(tmp_path, says),
        allowed=allow == "true",
        tools=tools,
        gives=quoted(says) if says.startswith("allows") else [],
    )
    if named in ADDRESSES:
        entry: dict[str, Any] = {"type": "ephemeral_mcp", "server_label": "far", "server_url": ADDRESSES[named]}
    else:
        (plugin_id,) = quoted(named)
        entry = {"type": "plugin", "id": plugin_id}
    if allowed_tools:
        entry["allowed_tools"] = quoted(allowed_tools)
    engine = ScriptedEngine([[Say("Hi.")]])
    async with house(engine, catalog=catalog) as api:
        _, key = await api.tokens.create_token("row", ["chat", *quoted(token)])
        body = {"model": engine.model.key, "input": "hello", "integrations": [entry]}
        response = await api.client.post("/api/v1/chat", json=body, headers={"x-api-key": key})
    if outcome.startswith("offers"):
        assert response.status_code == 200, response.text
        assert [tool.definition.name for tool in engine.requests[0].tools] == quoted(outcome)
    else:
        assert (str(response.status_code), [response.json()["error"]["code"]]) == (outcome[:3], quoted(outcome))
        assert engine.requests == []


@pytest.mark.parametrize("row", table("Where the service listens"), ids=" ".join)
def test_the_service_starts_as_its_row_says(row: list[str]) -> None:
    host, authentication, insecure, plugins, it = row
    environ = {
        "ORCHESTRATOR_HOST": "127.0.0.1" if host == "this machine" else "0.0.0.0",
        "ORCHESTRATOR_REQUIRE_AUTHENTICATION": authentication,
        "ORCHESTRATOR_ALLOW_INSECURE_LISTEN": insecure,
        "ORCHESTRATOR_ALLOW_PLUGINS": plugins,
    }
    given = {name: value for name, value in environ.items() if value}
    if it == "does not start":
        with pytest.raises(SettingsError):
            load_settings(given)
        return
    settings = load_settings(given)
    told = [f"with{'' if settings.require_authentication else 'out'} authentication"]
    if settings.allow_plugins == settings.allow_ephemeral_mcp:
        told.append(f"with{'' if settings.allow_plugins else 'out'} plugins and ephemeral servers")
    else:
        told.append("with plugins and ephemeral servers off")
    assert it == ", ".join(("starts", *told))


@pytest.mark.parametrize("row", table("Addresses of ephemeral servers"), ids=" ".join)
def test_loopback_is_open_to_ephemeral_servers_as_its_row_says(row: list[str]) -> None:
    host, authentication, names, allowed, it = row
    environ = {
        "ORCHESTRATOR_HOST": "127.0.0.1" if host == "this machine" else "0.0.0.0",
        "ORCHESTRATOR_REQUIRE_AUTHENTICATION": authentication,
        "ORCHESTRATOR_ALLOWED_HOSTS": names.strip("`"),
        "ORCHESTRATOR_EPHEMERAL_ALLOW": allowed.strip("`"),
    }
    settings = load_settings({name: value for name, value in environ.items() if value})
    refusal = network_policy(settings).refusal("127.0.0.1", ip_address("127.0.0.1"))
    assert it == ("allowed" if refusal is None else "refused")


@pytest.mark.parametrize("row", table("Limits"), ids=" ".join)
def test_a_limit_has_the_setting_and_the_error_of_its_row(row: list[str]) -> None:
    _, setting, answer = row
    assert quoted(setting)[0] in {one.name for one in SETTINGS}
    assert (int(answer[:3]), quoted(answer)[0]) in {(one.status, one.code) for one in ERROR_TABLE.values()}


def test_every_limit_of_requests_has_its_row() -> None:
    with_row = {quoted(row[1])[0].lower() for row in table("Limits")} | {"client_stall_timeout"}
    settings = load_settings({})
    moved = {name for name in with_row if name in Settings.__dataclass_fields__}
    changed = replace(settings, **dict.fromkeys(moved, 7))
    unmoved = [
        field.name
        for field in fields(RequestLimits)
        if getattr(request_limits(changed), field.name) == getattr(request_limits(settings), field.name)
    ]
    assert unmoved == []


@pytest.mark.parametrize("address", ["https://example.org/a.png", "http://10.0.0.7/a.png", "file:///etc/passwd"])
async def test_a_picture_is_fetched_from_nowhere(address: str) -> None:
    async with house() as api:
        response = await api.chat(input=[{"type": "image", "data_url": address}])
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_value", "input.0.data_url")


def test_what_is_said_of_other_addresses_is_proved_where_it_says() -> None:
    proofs = [name for row in table("Other addresses") for name in quoted(row[3])]
    assert len(proofs) == 6
    assert [name for name in proofs if not (Path(__file__).parents[2] / name).is_file()] == []


def test_every_pattern_of_suspicious_texts_has_its_row() -> None:
    section = PAGE.partition("## What servers say\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE) == [
        (one.name, one.meaning) for one in PATTERNS
    ]
    assert "**Nothing is promised beyond that.**" in section


def test_every_permission_has_its_row() -> None:
    rows = [quoted(row[0])[0] for row in table("API tokens")]
    assert [row for row in rows if ":" not in row] == list(PERMISSIONS)
