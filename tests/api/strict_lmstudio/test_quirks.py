"""Each recorded quirk of LM Studio's server, and how the strict mode answers; the page is held to the same list."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.prompt import SystemMessage
from orchestrator.testing import SCRIPTED_MODEL, Break, Call, FakeServer, Say, ScriptedEngine
from tests.api.house import CHAT, House, chat_body, fake_tool, house

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[3] / "orchestrator" / "STRICT_LMSTUDIO.md"
LOAD, UNLOAD, DOWNLOAD = (f"/api/v1/models/{name}" for name in ("load", "unload", "download"))
PREVIOUS = "resp_" + "0" * 48
BAD = "invalid_request"


def error(type: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"type": type, "message": message, **more}}


def union(message: str) -> dict[str, Any]:
    return error(BAD, message, code="invalid_union", param="input")


def unrecognized(key: str) -> dict[str, Any]:
    return error(BAD, f"Unrecognized key(s) in object: '{key}'", code="unrecognized_keys", param=key)


def no_plugin(plugin_id: str, why: str) -> dict[str, Any]:
    message = f"Unable to get plugin tools for '{plugin_id}'. {why} Cannot find plugin handle for plugin: {plugin_id}"
    return error("plugin_connection_error", message, param="integrations")


@dataclass(frozen=True)
class Quirk:
    """What is asked, and the answer. `number` is that of the page's row."""

    number: int
    status: int
    answer: Any
    body: dict[str, Any] | bytes = field(default_factory=chat_body)
    path: str = CHAT
    method: str = "POST"
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    engine: Callable[[], ScriptedEngine | None] = lambda: None


def failing(kind: ErrorKind, message: str) -> Callable[[], ScriptedEngine]:
    return lambda: ScriptedEngine([[Break(OrchestratorError(kind, message))]])


QUIRKS = [
    Quirk(
        1,
        400,
        union("Invalid discriminator value. Expected 'text' | 'image'"),
        chat_body(input=[{"type": "message", "content": "hi"}]),
    ),
    Quirk(
        1,
        400,
        union("'input.0.content' is required, Unrecognized key(s) in object: 'text'"),
        chat_body(input=[{"type": "text", "text": "hi"}]),
    ),
    *(
        Quirk(2, 400, unrecognized(key), chat_body(**{key: value}))
        for key, value in dict[str, Any](
            ttl=60,
            seed=1,
            stop="x",
            tools=[],
            max_tokens=5,
            metadata={},
            background=True,
            thread_id="thread_x",
            mcp_servers=[],
        ).items()
    ),
    Quirk(2, 400, unrecognized("ttl"), {"model": SCRIPTED_MODEL, "ttl": 60}, LOAD),
    Quirk(
        2,
        400,
        error(
            BAD,
            "Unrecognized key(s) in object: 'require_approval'",
            code="unrecognized_keys",
            param="integrations.0.require_approval",
        ),
        chat_body(integrations=[{"type": "plugin", "id": "mcp/a", "require_approval": "always"}]),
    ),
    Quirk(
        3,
        400,
        error(
            BAD,
            f"Could not find stored response for previous_response_id '{PREVIOUS}'. Please ensure the ID is correct. "
            "Current previous response auto-deletion policy: Responses older than 30 days are automatically deleted.",
            code="invalid_value",
            param="previous_response_id",
        ),
        chat_body(previous_response_id=PREVIOUS),
    ),
    Quirk(
        4,
        404,
        error(
            BAD,
            'Invalid model identifier "local-model". Please specify a valid downloaded model '
            f"(e.g., {SCRIPTED_MODEL}).",
            code="model_not_found",
            param="model",
        ),
        chat_body(model="local-model"),
    ),
    Quirk(4, 404, error("model_not_found", "Model X not found in downloaded models"), {"model": "X"}, LOAD),
    Quirk(
        5,
        401,
        error(
            BAD,
            "An API token is required. Send it as 'Authorization: Bearer …' or 'x-api-key: …'.",
            code="invalid_api_key",
        ),
        options={"require_authentication": True},
    ),
    Quirk(
        7,
        424,
        no_plugin("mcp/x", "Cannot find plugin 'mcp/x'. Installed plugins: none."),
        chat_body(integrations=["mcp/x"]),
    ),
    Quirk(
        7,
        424,
        no_plugin("mcp/oracle_Stream", "It is registered as 'mcp/oracle-stream'."),
        chat_body(integrations=["mcp/oracle_Stream"]),
        options={"servers": {"mcp/oracle-stream": FakeServer()}},
    ),
    Quirk(
        11,
        400,
        error("exceed_context_size_error", "Too long.", param="input"),
        engine=lambda: ScriptedEngine(
            [[Break(OrchestratorError(ErrorKind.EXCEED_CONTEXT_SIZE, "Too long.", param="input"))]]
        ),
    ),
    Quirk(
        12,
        400,
        error(
            BAD,
            f"Model '{SCRIPTED_MODEL}' does not expose reasoning configuration.",
            code="invalid_value",
            param="reasoning",
        ),
        chat_body(reasoning="on"),
    ),
    Quirk(
        13,
        500,
        error("internal_error", "The template refuses it."),
        engine=failing(ErrorKind.ENGINE_ERROR, "The template refuses it."),
    ),
    Quirk(14, 200, {"error": "Unexpected endpoint or method. (GET /x)"}, path="/x", method="GET"),
    Quirk(14, 200, {"error": f"Unexpected endpoint or method. (DELETE {CHAT})"}, path=CHAT, method="DELETE"),
    Quirk(15, 400, error(BAD, "The body is not valid JSON: it is empty.", code="invalid_json"), b""),
    Quirk(
        15,
        404,
        error(
            BAD,
            "Model with instance identifier 'x' is not loaded.",
            code="model_not_found",
            param="instance_id",
        ),
        {"instance_id": "x"},
        UNLOAD,
    ),
]


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: f"{quirk.number}-{quirk.status}")
async def test_a_recorded_error_is_answered_as_it_was_recorded(quirk: Quirk) -> None:
    content = quirk.body if isinstance(quirk.body, bytes) else json.dumps(quirk.body).encode()
    async with house(quirk.engine(), strict_lmstudio=True, **quirk.options) as api:
        headers = {"Content-Type": "application/json"}
        response = await api.client.request(quirk.method, quirk.path, content=content, headers=headers)
    assert (response.status_code, response.json()) == (quirk.status, quirk.answer)
    assert response.text == json.dumps(quirk.answer, indent=2, ensure_ascii=False)


async def test_a_plugin_that_the_token_may_not_use_is_refused_with_no_code() -> None:
    async with house(servers={"mcp/playwright": FakeServer()}, strict_lmstudio=True) as api:
        _, token = await api.tokens.create_token("test", ["chat"])
        response = await api.client.post(
            CHAT, json=chat_body(integrations=["mcp/playwright"]), headers={"Authorization": f"Bearer {token}"}
        )
    assert (response.status_code, response.json()) == (
        403,
        error(
            BAD,
            "Permission denied to use plugin 'mcp/playwright'. Ensure that the server configuration allows plugin usage "
            "and, if using an API token, it has the necessary permissions.",
            code=None,
            param="integrations",
        ),
    )


async def test_a_server_that_cannot_be_reached_is_told_in_a_stream_of_three_events() -> None:
    why = "The MCP server 'L' at http://10.0.0.1 is not allowed: the address is private, and only public addresses are allowed."
    broken = FakeServer(error=OrchestratorError(ErrorKind.MCP_CONNECTION_ERROR, why, param="integrations"))
    server = {"type": "ephemeral_mcp", "server_label": "L", "server_url": "http://u:p@10.0.0.1/mcp?key=k"}
    async with house(servers={"L": broken}, strict_lmstudio=True) as api:
        response = await api.chat(stream=True, integrations=[server])
    message = f"Unable to connect to remote MCP server 'L' at url 'http://10.0.0.1'. URL resolves to a non-public address. {why}"
    stats = {
        "input_tokens": 0,
        "total_output_tokens": 0,
        "reasoning_output_tokens": 0,
        "tokens_per_second": 0,
        "time_to_first_token_seconds": 0,
    }
    assert events(response.text) == [
        {"type": "chat.start", "model_instance_id": SCRIPTED_MODEL},
        {"type": "error", **error("mcp_connection_error", message, param="integrations")},
        {"type": "chat.end", "result": {"model_instance_id": SCRIPTED_MODEL, "output": [], "stats": stats}},
    ]


async def test_a_stream_has_lm_studios_events_and_fields_only() -> None:
    async def search(arguments: Any) -> str:
        return "found"

    servers = {"mcp/oracle_Stream": FakeServer([fake_tool("search", search)])}
    servers["mcp/oracle-stream"] = servers["mcp/oracle_Stream"]
    engine = ScriptedEngine([[Call("search", {"q": 1})], [Say("Done.")]])
    async with house(engine, servers, strict_lmstudio=True) as api:
        response = await api.client.post(
            CHAT,
            json=chat_body(stream=True, integrations=["mcp/oracle-stream"], presence_penalty=0.5),
            headers={"X-Stream-Extensions": "true"},
        )
        assert "X-Response-Id" not in response.headers
        assert "id:" not in [line[:3] for line in response.text.splitlines()]
    told = events(response.text)
    provider = {"type": "plugin", "plugin_id": "mcp/oracle-stream"}
    call = {"tool": "search", "arguments": {"q": 1}, "provider_info": provider}
    output = '[{"text":"found","type":"text"}]'
    assert told[0] == {"type": "chat.start", "model_instance_id": SCRIPTED_MODEL}
    assert [event for event in told if event["type"].startswith("tool_call")] == [
        {"type": "tool_call.start"},
        {"type": "tool_call.name", "tool_name": "search", "provider_info": provider},
        {"type": "tool_call.arguments", **call},
        {"type": "tool_call.success", **call, "output": output},
    ]
    result = told[-1]["result"]
    assert set(result) == {"model_instance_id", "output", "stats", "response_id"}
    assert result["output"] == [
        {"type": "tool_call", **call, "output": output},
        {"type": "message", "content": "Done."},
    ]
    assert engine.requests[0].sampling.presence_penalty == 0.5


async def test_a_reply_has_the_documented_fields_and_its_response_can_be_read_by_our_own_routes() -> None:
    async with house(strict_lmstudio=True) as api:
        reply = (await api.chat()).json()
        own = await api.client.get(f"/api/v1/responses/{reply['response_id']}")
    assert set(reply) == {"model_instance_id", "output", "stats", "response_id"}
    assert own.json()["status"] == "completed"


async def test_a_system_prompt_in_a_continued_chat_is_a_second_system_message() -> None:
    async with house(strict_lmstudio=True) as api:
        first = (await api.chat(system_prompt="One.")).json()
        await api.chat(system_prompt="Two.", previous_response_id=first["response_id"])
        said = api.engine.requests[-1].messages
    assert [message for message in said if isinstance(message, SystemMessage)] == [
        SystemMessage("One."),
        SystemMessage("Two."),
    ]


async def test_a_bad_token_is_told_in_their_words_without_any_of_it() -> None:
    async with house(strict_lmstudio=True) as api:
        bad = {"Authorization": "Bearer sk-lm-abcdefgh:abcdefghijklmnopqrst"}
        response = await api.client.post(CHAT, json=chat_body(), headers=bad)
    message = "Malformed LM Studio API token provided: ***"
    assert (response.status_code, response.json()) == (401, error(BAD, message, code="invalid_api_key"))


async def test_the_plugins_that_are_there_are_listed_as_they_are_called() -> None:
    async with house(servers={"mcp/oracle_Stream": FakeServer()}, strict_lmstudio=True) as api:
        response = await api.chat(integrations=["mcp/x"])
    why = "Cannot find plugin 'mcp/x'. Installed plugins: mcp/oracle-stream."
    assert (response.status_code, response.json()) == (424, no_plugin("mcp/x", why))


async def test_a_load_tells_the_settings_that_they_have() -> None:
    async with house(strict_lmstudio=True) as api:
        loaded = (await api.client.post(LOAD, json={"model": SCRIPTED_MODEL, "echo_load_config": True})).json()
    assert (
        {"instance_id", "status", "load_config"}
        <= set(loaded)
        <= {"type", "load_time_seconds", "instance_id", "status", "load_config"}
    )
    assert loaded["load_config"] == {"context_length": 4096}


async def test_nothing_describes_an_api_that_is_not_served() -> None:
    async with house(strict_lmstudio=True) as api:
        told = [(await api.client.get(path)).text for path in ("/schema", "/schema/openapi.json")]
    assert [json.loads(text) for text in told] == [
        {"error": "Unexpected endpoint or method. (GET /schema)"},
        {"error": "Unexpected endpoint or method. (GET /schema/openapi.json)"},
    ]


async def test_models_and_downloads_have_no_extensions() -> None:
    async with house(strict_lmstudio=True) as api:
        (model,) = (await api.client.get("/api/v1/models")).json()["models"]
        begun = (await api.client.post(DOWNLOAD, json={"model": "scripted/a"})).json()
        status = (await api.client.get(f"{DOWNLOAD}/status/{begun['job_id']}")).json()
        missing = await api.client.get(f"{DOWNLOAD}/status/job_0000000000")
        ours = (await api.client.get(DOWNLOAD)).json()["jobs"][0]
    assert {"engine", "problem"}.isdisjoint(model) and model["key"] == SCRIPTED_MODEL
    extensions = {"state", "error", "model", "quantization", "owner"}
    assert extensions.isdisjoint(begun) and extensions.isdisjoint(status)
    assert status["status"] == "downloading"
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "job_not_found")
    assert ours["state"] in ("queued", "downloading")


async def test_routes_of_ours_and_other_dialects_stay_as_they_are() -> None:
    async def answers(api: House) -> list[Any]:
        told: list[Any] = []
        for method, path in (("GET", "/api/v1/responses/resp_x"), ("DELETE", "/health"), ("GET", "/v1/models/x")):
            response = await api.client.request(method, path)
            told.append((response.status_code, response.text))
        return told

    async with house(strict_lmstudio=True) as strict, house() as usual:
        assert await answers(strict) == await answers(usual)


def test_the_page_has_a_row_for_every_quirk() -> None:
    rows = re.findall(r"^\| (\d+)\. .* \| (reproduced|not reproduced: )", PAGE.read_text(), re.MULTILINE)
    assert {int(number) for number, _ in rows} == set(range(1, 16))
    elsewhere = {6, 8, 9, 10}
    reproduced = {int(number) for number, how in rows if how == "reproduced"}
    assert reproduced == {quirk.number for quirk in QUIRKS} | elsewhere


def events(text: str) -> list[Any]:
    """The data of a stream, each under the name of its event."""
    found: list[Any] = []
    for name, data in re.findall(r"^event: (.*)\ndata: (.*)$", text, re.MULTILINE):
        found.append(json.loads(data))
        assert found[-1]["type"] == name
    return found
