"""The client under test of MCP's conformance suite: our integration layer, as a chat uses it.

`ready.py` runs it with the address of the suite's server, and the scenario in the environment.
What a scenario wants called is called through `McpCatalog`; nothing here speaks MCP by itself.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ProviderInfo
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.request import EphemeralRequest, PluginRequest
from orchestrator.core.server_requests import (
    Elicitation,
    ElicitationAnswer,
    SamplingReply,
    SamplingRequest,
    checked_answer,
)
from orchestrator.core.tools import ToolDefinition
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.mcp_json import parse_mcp_json
from orchestrator.integrations.mcp_transport import leaves
from orchestrator.integrations.network_policy import NetworkPolicy
from orchestrator.integrations.oauth.logins import OAuthLogins
from orchestrator.integrations.server_requests import ClientFeatures
from orchestrator.ports import IntegrationSession, RunScope
from orchestrator.testing_oauth import MemoryOAuthCredentialStore
from tests.integrations.oauth_house import Browser

SECONDS = 60


class User:
    """Accepts every form as it is, and writes what a model would."""

    async def elicit(self, provider: ProviderInfo, call_id: str | None, asked: Elicitation) -> ElicitationAnswer:
        answer = checked_answer(asked, ElicitationAnswer("accept", {}))
        if isinstance(answer, str):
            filled = {name: sample(field) for name, field in _fields(asked.schema or {}).items()}
            answer = checked_answer(asked, ElicitationAnswer("accept", filled))
        if isinstance(answer, str):
            raise OrchestratorError(ErrorKind.INVALID_VALUE, answer)
        return answer

    async def sample(self, provider: ProviderInfo, call_id: str | None, asked: SamplingRequest) -> SamplingReply:
        return SamplingReply("a sampled text", "conformance/model", "endTurn")


def sample(schema: JsonValue) -> JsonValue:
    """A value that matches a simple schema."""
    match schema:
        case {"default": value} | {"const": value} | {"enum": [value, *_]}:
            return value
        case {"type": "string"}:
            return "text"
        case {"type": "integer" | "number"}:
            return 1
        case {"type": "boolean"}:
            return True
        case {"type": "array"}:
            return []
        case {"type": "object"} as described:
            required = described.get("required")
            wanted = required if isinstance(required, list) else []
            return {name: sample(field) for name, field in _fields(described).items() if name in wanted}
        case _:
            return "text"


def _fields(schema: JsonObject) -> JsonObject:
    fields = schema.get("properties")
    return fields if isinstance(fields, dict) else {}


def calls(scenario: str, context: Any, tools: tuple[ToolDefinition, ...]) -> list[tuple[str, JsonObject]]:
    """What to call: what the suite names, or every tool that is offered, once."""
    wanted = context.get("toolCalls")
    if wanted:
        return [(call["name"], call["arguments"]) for call in wanted]
    if scenario == "json-schema-2020-12-preservation":
        return [("json_schema_echo", {"schema": tools[0].input_schema})]
    arguments = [(tool.name, sample(tool.input_schema)) for tool in tools]
    return [(name, given if isinstance(given, dict) else {}) for name, given in arguments]


def say(*words: object) -> None:
    """For the suite's record of what the client did."""
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")


async def use(session: IntegrationSession, scenario: str, context: Any) -> None:
    """Everything that a request can do with a server."""
    for tool, arguments in calls(scenario, context, session.tools):
        try:
            say(tool, (await session.call_tool(tool, arguments)).text)
        except OrchestratorError as error:  # what a chat tells its model
            say(error.info.message)
    for resource in await session.list_resources():
        say(resource.uri, await session.read_resource(resource.uri))
    await session.list_resource_templates()
    for prompt in await session.list_prompts():
        say(prompt.name, await session.get_prompt(prompt.name, {one.name: "text" for one in prompt.arguments}))


def login(scenario: str, context: Any) -> dict[str, JsonValue]:
    """What an operator would write of the login into `mcp.json`, given what the suite hands out."""
    oauth: dict[str, JsonValue] = {
        key: context[name]
        for key, name in (
            ("client_id", "client_id"),
            ("client_secret", "client_secret"),
            ("issuer", "issuer"),
            ("private_key", "private_key_pem"),
            ("signing_algorithm", "signing_algorithm"),
        )
        if name in context
    }
    if "client-credentials" in scenario:
        oauth["grant"] = "client_credentials"
    elif "client_id" not in oauth:
        oauth["client_metadata_url"] = "https://conformance-test.local/client-metadata.json"
    return oauth


async def main(url: str) -> None:
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    entry: dict[str, JsonValue] = {"url": url}
    with_login = scenario.startswith("auth/")
    if with_login:
        entry["oauth"] = login(scenario, context)
    installed = json.dumps({"mcpServers": {"conformance": entry}})
    request = PluginRequest("mcp/conformance") if with_login else EphemeralRequest("conformance", url)
    policy = NetworkPolicy(allow_loopback=True)
    async with anyio.create_task_group() as tasks:
        catalog = McpCatalog(
            parse_mcp_json(installed, file=Path("mcp.json"), environ={}),
            policy=policy,
            connect_timeout=SECONDS,
            tool_timeout=SECONDS,
            allow_plugins=True,
            allow_ephemeral_mcp=True,
            task_group=tasks,
            features=ClientFeatures(elicitation=True, sampling=True, roots=(Path.cwd(),)),
            logins=OAuthLogins(MemoryOAuthCredentialStore(), policy, tasks, interaction=Browser()),
        )
        try:
            async with catalog.open([request], RunScope("conformance", "chain", "run", User())) as (session,):
                await use(session, scenario, context)
        finally:
            await catalog.aclose()


def run(url: str) -> int:
    """Be the client of the server at `url`; the exit status."""
    status = 0
    try:
        anyio.run(main, url)
    except* OrchestratorError as errors:  # those of the catalog's task group come in a group
        sys.stderr.write(f"{next(leaves(errors))}\n")
        status = 1
    return status
