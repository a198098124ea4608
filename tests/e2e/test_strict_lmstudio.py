"""The service that was started in the strict mode, walked through the recorded quirks: the rows of its page."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.authorisation.test_table import command
from tests.e2e.adder import running_adder
from tests.e2e.running import DEMO_MODEL, RunningService, free_port, running_service

CHAT, MODELS = "/api/v1/chat", "/api/v1/models"
SUM = "Use add with a=17 and b=25"
LONG = "word " * 40_000
ANSWER = "The result of add is 42."
BAD = "invalid_request"
NO_STATS = {
    "input_tokens": 0,
    "total_output_tokens": 0,
    "reasoning_output_tokens": 0,
    "tokens_per_second": 0,
    "time_to_first_token_seconds": 0,
}


@dataclass(frozen=True)
class Strict:
    """A started service, its server of tools, and a token that may chat and nothing else."""

    service: RunningService
    adder: str
    token: str

    @property
    def server(self) -> dict[str, Any]:
        return {"type": "ephemeral_mcp", "server_label": "adder", "server_url": self.adder, "allowed_tools": ["add"]}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """The status and the body of an answer; errors are two spaces deep."""
        with self.service.client(headers=headers) as client:
            response = client.request(method, path, **({} if body is None else {"json": body}))
        told = response.json()
        assert "x-response-id" not in response.headers
        if "error" in told:
            assert response.text == json.dumps(told, indent=2, ensure_ascii=False)
        return response.status_code, told

    def chat(self, **body: Any) -> tuple[int, Any]:
        return self.ask("POST", CHAT, {"model": DEMO_MODEL, "input": "Say hello.", "temperature": 0} | body)

    def stream(self, **body: Any) -> list[Any]:
        """The events of a chat, each under its name and without a number."""
        with self.service.client() as client:
            request = {"model": DEMO_MODEL, "input": "Say hello.", "temperature": 0, "stream": True} | body
            response = client.post(CHAT, json=request)
        frames = [frame for frame in response.text.split("\n\n") if frame and not frame.startswith(":")]
        pairs = [re.fullmatch(r"event: (.*)\ndata: (.*)", frame) for frame in frames]
        told = [(pair[1], json.loads(pair[2])) for pair in pairs if pair is not None]
        assert len(told) == len(frames) and all(name == event["type"] for name, event in told)
        return [event for _, event in told]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strict]:
    with (
        running_adder() as adder,
        running_service(
            tmp_path_factory.mktemp("strict"),
            {"mcpServers": {"clock": {"command": "clock-mcp"}}},
            ORCHESTRATOR_STRICT_LMSTUDIO="true",
            ORCHESTRATOR_RETENTION_DAYS="5",
        ) as service,
    ):
        token = command(service, "tokens", "create", "--name", "chats", "--permissions", "chat")
        yield Strict(service, adder, token)
        assert "Traceback" not in service.log


def refusal(message: str, code: str | None, param: str, type: str = BAD) -> dict[str, Any]:
    told = {"type": type, "message": message}
    return {"error": told | ({} if code is None else {"code": code}) | {"param": param}}


REFUSALS: list[tuple[int, dict[str, Any], int, dict[str, Any]]] = [
    (
        1,
        {"input": [{"type": "message", "content": "hi"}]},
        400,
        refusal("Invalid discriminator value. Expected 'text' | 'image'", "invalid_union", "input"),
    ),
    (
        1,
        {"input": [{"type": "text", "text": "hi"}]},
        400,
        refusal(
            "'input.0.content' is required, Unrecognized key(s) in object: 'text'",
            "invalid_union",
            "input",
        ),
    ),
    (2, {"ttl": 60}, 400, refusal("Unrecognized key(s) in object: 'ttl'", "unrecognized_keys", "ttl")),
    (
        3,
        {"previous_response_id": "resp_x"},
        400,
        refusal(
            "Could not find stored response for previous_response_id 'resp_x'. Please ensure the ID is correct. Current "
            "previous response auto-deletion policy: Responses older than 30 days are automatically deleted.",
            "invalid_value",
            "previous_response_id",
        ),
    ),
    (
        4,
        {"model": "local-model"},
        404,
        refusal(
            f'Invalid model identifier "local-model". Please specify a valid downloaded model (e.g., {DEMO_MODEL}).',
            "model_not_found",
            "model",
        ),
    ),
    (
        7,
        {"integrations": ["mcp/x"]},
        424,
        refusal(
            "Unable to get plugin tools for 'mcp/x'. Cannot find plugin 'mcp/x'. Installed plugins: mcp/clock. "
            "Cannot find plugin handle for plugin: mcp/x",
            None,
            "integrations",
            "plugin_connection_error",
        ),
    ),
    (
        7,
        {"integrations": ["mcp/Clock"]},
        424,
        refusal(
            "Unable to get plugin tools for 'mcp/Clock'. It is registered as 'mcp/clock'. "
            "Cannot find plugin handle for plugin: mcp/Clock",
            None,
            "integrations",
            "plugin_connection_error",
        ),
    ),
]


@pytest.mark.parametrize(("row", "body", "status", "answer"), REFUSALS)
def test_a_chat_is_refused_as_it_was_recorded(
    row: int, body: dict[str, Any], status: int, answer: dict[str, Any], strict: Strict
) -> None:
    assert strict.chat(**body) == (status, answer), row


def test_a_prompt_that_is_too_long_and_a_setting_that_is_not_offered(strict: Strict) -> None:
    status, told = strict.chat(input=LONG)
    assert (status, told["error"]["type"], "code" in told["error"]) == (400, "exceed_context_size_error", False)
    status, told = strict.chat(reasoning="high")
    assert (status, told["error"]["code"], told["error"]["param"]) == (400, "invalid_value", "reasoning")
    assert told["error"]["message"].startswith(f"Reasoning setting 'high' is not supported by model '{DEMO_MODEL}'.")


def test_other_routes_refuse_as_they_were_recorded(strict: Strict) -> None:
    assert strict.ask("POST", f"{MODELS}/load", {"model": "X"}) == (
        404,
        {"error": {"type": "model_not_found", "message": "Model X not found in downloaded models"}},
    )
    assert strict.ask("POST", f"{MODELS}/load", {"model": DEMO_MODEL, "ttl": 5}) == (
        400,
        refusal("Unrecognized key(s) in object: 'ttl'", "unrecognized_keys", "ttl"),
    )
    assert strict.ask("POST", f"{MODELS}/unload", {"instance_id": "x"}) == (
        404,
        refusal("Model with instance identifier 'x' is not loaded.", "model_not_found", "instance_id"),
    )
    status, told = strict.ask("GET", f"{MODELS}/download/status/job_0000000000")
    assert (status, told["error"]["type"]) == (404, "job_not_found")
    for path in ("/x", "/schema"):
        assert strict.ask("GET", path) == (200, {"error": f"Unexpected endpoint or method. (GET {path})"})
    assert strict.ask("DELETE", CHAT) == (200, {"error": f"Unexpected endpoint or method. (DELETE {CHAT})"})


def test_a_plugin_that_the_token_may_not_use(strict: Strict) -> None:
    body = {"model": DEMO_MODEL, "input": "hi", "integrations": ["mcp/clock"]}
    assert strict.ask("POST", CHAT, body, Authorization=f"Bearer {strict.token}") == (
        403,
        {
            "error": {
                "type": BAD,
                "message": "Permission denied to use plugin 'mcp/clock'. Ensure that the server configuration allows "
                "plugin usage and, if using an API token, it has the necessary permissions.",
                "code": None,
                "param": "integrations",
            }
        },
    )


def test_a_bad_token_is_told_in_their_words(strict: Strict) -> None:
    status, told = strict.ask("POST", CHAT, {"model": DEMO_MODEL, "input": "hi"}, Authorization="Bearer sk-lm-wrong")
    message = "Malformed LM Studio API token provided: ***"
    assert (status, told) == (401, {"error": {"type": BAD, "message": message, "code": "invalid_api_key"}})


@pytest.mark.parametrize("place", ["10.0.0.1", "127.0.0.1"])
def test_a_server_that_cannot_be_reached_breaks_a_stream_off(strict: Strict, place: str) -> None:
    origin = f"http://{place}:{free_port()}"
    start, error, end = strict.stream(integrations=[strict.server | {"server_url": f"{origin}/mcp?key=secret"}])
    assert start == {"type": "chat.start", "model_instance_id": DEMO_MODEL}
    assert end == {
        "type": "chat.end",
        "result": {"model_instance_id": DEMO_MODEL, "output": [], "stats": NO_STATS},
    }
    told = error["error"]
    assert (error["type"], told["type"], told["param"]) == ("error", "mcp_connection_error", "integrations")
    said = f"Unable to connect to remote MCP server 'adder' at url '{origin}'. "
    assert told["message"].startswith(
        said + ("URL resolves to a non-public address. " if place == "10.0.0.1" else "The ")
    )


def test_a_stream_with_a_tool_has_their_events_and_their_fields(strict: Strict) -> None:
    told = strict.stream(input=SUM, integrations=[strict.server], presence_penalty=0)
    provider = {"type": "ephemeral_mcp", "server_label": "adder"}
    call = {"tool": "add", "arguments": {"a": 17, "b": 25}, "provider_info": provider}
    output = json.loads(next(event for event in told if event["type"] == "tool_call.success")["output"])
    assert [part["text"] for part in output] == ["42"]
    assert [event for event in told if event["type"].startswith("tool_call.")][:3] == [
        {"type": "tool_call.start"},
        {"type": "tool_call.name", "tool_name": "add", "provider_info": provider},
        {"type": "tool_call.arguments", **call},
    ]
    assert told[0] == {"type": "chat.start", "model_instance_id": DEMO_MODEL}
    result = told[-1]["result"]
    assert set(result) == {"model_instance_id", "output", "stats", "response_id"}
    assert [set(item) for item in result["output"]] == [{"type", *call, "output"}, {"type", "content"}]
    assert result["output"][-1] == {"type": "message", "content": ANSWER}
    assert not [event for event in told[:-1] if "response_id" in event]


def test_a_chat_goes_on_here_and_in_the_other_dialects(strict: Strict) -> None:
    status, first = strict.chat(system_prompt="Be brief.")
    assert (status, set(first)) == (200, {"model_instance_id", "output", "stats", "response_id"})
    status, second = strict.chat(
        input=SUM, previous_response_id=first["response_id"], integrations=[strict.server], system_prompt="Be kind."
    )
    assert (status, second["output"][-1]) == (200, {"type": "message", "content": ANSWER})
    body = {"model": DEMO_MODEL, "temperature": 0, "input": "Say hello.", "previous_response_id": second["response_id"]}
    with strict.service.client() as client:
        third = client.post("/v1/responses", json=body).json()
        chain = client.get(f"/api/v1/responses/{third['id']}/chain").json()["responses"]
    assert [node["response_id"] for node in chain] == [first["response_id"], second["response_id"], third["id"]]


def test_the_models_have_their_fields_only(strict: Strict) -> None:
    status, told = strict.ask("GET", MODELS)
    model = next(each for each in told["models"] if each["key"] == DEMO_MODEL)
    assert (status, model["type"], model["format"]) == (200, "llm", "gguf")
    assert {"engine", "problem"}.isdisjoint(model)
