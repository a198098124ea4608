"""Bad input gets the table's error, and the service goes on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.running import DEMO_MODEL, RunningService, free_port, running_service

PLUGINS = {
    "mcpServers": {
        "clock": {"command": "clock-mcp"},
        "broken": {"command": "python-that-is-not-there"},
        "quits": {"command": "false"},
    }
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("service"), PLUGINS) as service:
        yield service
        # whatever the tests of this module sent, it still does its job
        reply = service.chat({"input": 'Use get_current_time with timezone="UTC"', "integrations": ["mcp/clock"]})
        assert reply.status_code == 200
        assert "Traceback" not in service.log


def body(**changes: Any) -> bytes:
    request = {"model": DEMO_MODEL, "input": "hi", **changes}
    return json.dumps({name: value for name, value in request.items() if value is not None}).encode()


NOWHERE = f"http://127.0.0.1:{free_port()}/mcp"

CASES: list[tuple[str, bytes, int, str, str | None, str | None]] = [
    ("not JSON", b"{", 400, "invalid_request", "invalid_json", None),
    ("a missing field", body(model=None), 400, "invalid_request", "missing_required_parameter", "model"),
    (
        "a wrong union tag",
        body(integrations=[{"type": "magic"}]),
        400,
        "invalid_request",
        "invalid_union",
        "integrations.0",
    ),
    ("an unknown key", body(colour="red"), 400, "invalid_request", "unrecognized_keys", "colour"),
    ("an unknown model", body(model="nobody/nothing"), 404, "invalid_request", "model_not_found", "model"),
    ("a value out of range", body(temperature=2), 400, "invalid_request", "invalid_value", "temperature"),
    (
        "an unknown response",
        body(previous_response_id="resp_" + "0" * 48),
        400,
        "invalid_request",
        "invalid_value",
        "previous_response_id",
    ),
    (
        "a format that no grammar holds",
        body(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"pattern": "^a(?=x)$"}}}),
        400,
        "invalid_request",
        "invalid_value",
        "response_format.json_schema.schema",
    ),
    (
        "a format that is no schema",
        body(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "foo"}}}),
        400,
        "invalid_request",
        "invalid_value",
        "response_format.json_schema.schema",
    ),
    ("an unknown plugin", body(integrations=["mcp/nope"]), 424, "plugin_connection_error", None, "integrations"),
    ("a missing command", body(integrations=["mcp/broken"]), 424, "plugin_connection_error", None, "integrations"),
    ("a plugin that quits", body(integrations=["mcp/quits"]), 424, "plugin_connection_error", None, "integrations"),
    (
        "a dead MCP server",
        body(integrations=[{"type": "ephemeral_mcp", "server_label": "dead", "server_url": NOWHERE}]),
        424,
        "mcp_connection_error",
        None,
        "integrations",
    ),
    (
        "a tool that the server lacks",
        body(integrations=[{"type": "plugin", "id": "mcp/clock", "allowed_tools": ["fly"]}]),
        400,
        "invalid_request",
        "invalid_value",
        "integrations.0.allowed_tools.0",
    ),
]


@pytest.mark.parametrize(
    ("content", "status", "kind", "code", "param"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_it_gets_its_row_of_the_error_table(
    service: RunningService, content: bytes, status: int, kind: str, code: str | None, param: str | None, stream: bool
) -> None:
    if stream and content.endswith(b"}"):
        content = content[:-1] + b', "stream": true}'
    with service.client() as client:
        response = client.post("/api/v1/chat", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["type"] == kind
    if code is not None:
        assert error["code"] == code
    assert error.get("param") == param
    assert error["message"]


@pytest.mark.parametrize("length", [30_000, 65_536, 200_000, 1_600_000])
def test_a_text_without_a_break_is_too_long_and_kills_nobody(service: RunningService, length: int) -> None:
    response = service.chat({"input": "X" * length})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "exceed_context_size")
    assert "SIGSEGV" not in service.log
