"""The table of errors (contract, section 4), and what becomes of an error that nobody expected."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import httpx
import litestar
import pytest
from litestar.exceptions import ClientException, InternalServerException

from orchestrator.api.errors import ERROR_TABLE, answer_http_exception, error_answer, openai_error
from orchestrator.api.wire_openai_errors import OpenAIError
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.ports import Chain, EngineTraits
from orchestrator.testing import Break, FakeServer, MemoryStore, Say, ScriptedEngine, Stall
from tests.api.house import CHAT, House, chat_body, house, served

pytestmark = pytest.mark.anyio

CONTRACT = {
    ErrorKind.INVALID_JSON: (400, "invalid_request", "invalid_json"),
    ErrorKind.MISSING_REQUIRED_PARAMETER: (400, "invalid_request", "missing_required_parameter"),
    ErrorKind.INVALID_TYPE: (400, "invalid_request", "invalid_type"),
    ErrorKind.INVALID_VALUE: (400, "invalid_request", "invalid_value"),
    ErrorKind.INVALID_UNION: (400, "invalid_request", "invalid_union"),
    ErrorKind.UNRECOGNIZED_KEYS: (400, "invalid_request", "unrecognized_keys"),
    ErrorKind.UNSUPPORTED_PARAMETER: (400, "invalid_request", "unsupported_parameter"),
    ErrorKind.UNKNOWN_MODEL: (404, "invalid_request", "model_not_found"),
    ErrorKind.EXCEED_CONTEXT_SIZE: (400, "invalid_request", "exceed_context_size"),
    ErrorKind.INVALID_API_KEY: (401, "invalid_request", "invalid_api_key"),
    ErrorKind.PERMISSION_DENIED: (403, "invalid_request", "permission_denied"),
    ErrorKind.PLUGIN_CONNECTION_ERROR: (424, "plugin_connection_error", "plugin_connection_error"),
    ErrorKind.MCP_CONNECTION_ERROR: (424, "mcp_connection_error", "mcp_connection_error"),
    ErrorKind.INVALID_HTTP: (400, "invalid_request", "invalid_http"),
    ErrorKind.REQUEST_TIMEOUT: (408, "invalid_request", "request_timeout"),
    ErrorKind.REQUEST_TOO_LARGE: (413, "invalid_request", "request_too_large"),
    ErrorKind.URL_TOO_LONG: (414, "invalid_request", "url_too_long"),
    ErrorKind.HEADERS_TOO_LARGE: (431, "invalid_request", "headers_too_large"),
    ErrorKind.RATE_LIMITED: (429, "invalid_request", "rate_limited"),
    ErrorKind.UNKNOWN_ENDPOINT: (404, "invalid_request", "unknown_endpoint"),
    ErrorKind.METHOD_NOT_ALLOWED: (405, "invalid_request", "method_not_allowed"),
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: (415, "invalid_request", "unsupported_media_type"),
    ErrorKind.FORBIDDEN_ORIGIN: (403, "invalid_request", "forbidden_origin"),
    ErrorKind.RESPONSE_NOT_FOUND: (404, "invalid_request", "response_not_found"),
    ErrorKind.PREVIOUS_RESPONSE_NOT_FOUND: (400, "invalid_request", "previous_response_not_found"),
    ErrorKind.ITEM_NOT_FOUND: (404, "invalid_request", "item_not_found"),
    ErrorKind.CALL_NOT_FOUND: (404, "invalid_request", "call_not_found"),
    ErrorKind.THREAD_NOT_FOUND: (404, "invalid_request", "thread_not_found"),
    ErrorKind.THREAD_CONFLICT: (409, "invalid_request", "thread_conflict"),
    ErrorKind.TOKEN_CONFLICT: (409, "invalid_request", "token_conflict"),
    ErrorKind.MODEL_NOT_FOUND: (404, "model_not_found", None),
    ErrorKind.UNKNOWN_INSTANCE: (404, "invalid_request", "model_not_found"),
    ErrorKind.ELICITATION_NOT_FOUND: (404, "invalid_request", "elicitation_not_found"),
    ErrorKind.JOB_NOT_FOUND: (404, "job_not_found", None),
    ErrorKind.TOKEN_NOT_FOUND: (404, "invalid_request", "token_not_found"),
    ErrorKind.PLUGIN_NOT_FOUND: (404, "invalid_request", "plugin_not_found"),
    ErrorKind.TOOL_NOT_FOUND: (404, "invalid_request", "tool_not_found"),
    ErrorKind.RESOURCE_NOT_FOUND: (404, "invalid_request", "resource_not_found"),
    ErrorKind.PROMPT_NOT_FOUND: (404, "invalid_request", "prompt_not_found"),
    ErrorKind.RESPONSE_NOT_FINISHED: (409, "invalid_request", "response_not_finished"),
    ErrorKind.CALL_NOT_FOUND: (404, "invalid_request", "call_not_found"),
    ErrorKind.APPROVAL_CONFLICT: (409, "invalid_request", "approval_conflict"),
    ErrorKind.INTEGRATION_CREDENTIALS_REQUIRED: (409, "invalid_request", "integration_credentials_required"),
    ErrorKind.RESPONSE_HAS_CHILDREN: (409, "invalid_request", "response_has_children"),
    ErrorKind.NOT_IMPLEMENTED: (501, "not_implemented", None),
    ErrorKind.ENGINE_ERROR: (502, "internal_error", "engine_error"),
    ErrorKind.ENGINE_UNAVAILABLE: (503, "internal_error", "engine_unavailable"),
    ErrorKind.INSUFFICIENT_RESOURCES: (400, "invalid_request", "insufficient_resources"),
    ErrorKind.INSUFFICIENT_STORAGE: (507, "internal_error", "insufficient_storage"),
    ErrorKind.STORE_ERROR: (500, "internal_error", "store_error"),
    ErrorKind.INTERNAL_ERROR: (500, "internal_error", None),
}


def test_the_table_is_the_contracts_and_has_every_kind() -> None:
    assert {kind: (row.status, row.type, row.code) for kind, row in ERROR_TABLE.items()} == CONTRACT
    assert set(ERROR_TABLE) == set(ErrorKind)


@pytest.mark.parametrize("kind", ErrorKind)
@pytest.mark.parametrize("param", [None, "input"])
def test_an_error_is_an_envelope(kind: ErrorKind, param: str | None) -> None:
    status, wire_type, code = CONTRACT[kind]
    answer = error_answer(ErrorInfo(kind, "Why.", param), "req_1")
    message = "Why. (request req_1)" if status == 500 else "Why."
    error = {"type": wire_type, "message": message, "code": code, "param": param}
    assert answer.status == status
    assert json.loads(answer.body) == {"error": {name: value for name, value in error.items() if value is not None}}
    assert dict(answer.headers) == {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}}.get(status, {})


@pytest.mark.parametrize(("seconds", "header"), [(None, "1"), (0, "1"), (0.2, "1"), (1.5, "2"), (60, "60")])
def test_retry_after_is_whole_seconds_rounded_up(seconds: float | None, header: str) -> None:
    answer = error_answer(ErrorInfo(ErrorKind.RATE_LIMITED, "Later."), "req_1", retry_after_seconds=seconds)
    assert answer.headers["Retry-After"] == header


@pytest.fixture
async def api() -> AsyncGenerator[House]:
    unreachable = OrchestratorError(ErrorKind.MCP_CONNECTION_ERROR, "It does not answer.", param="integrations")
    async with house(servers={"dead": FakeServer(error=unreachable)}, max_body_bytes=1000) as running:
        yield running


def envelope(response: httpx.Response) -> tuple[int, Any]:
    return response.status_code, response.json()


async def test_an_unknown_model_names_the_installed_ones(api: House) -> None:
    told = {
        "type": "invalid_request",
        "message": 'Invalid model identifier "nobody/nothing". Installed models: test/scripted.',
        "code": "model_not_found",
        "param": "model",
    }
    assert envelope(await api.chat(model="nobody/nothing")) == (404, {"error": told})


async def test_an_unknown_previous_response_is_an_invalid_value(api: House) -> None:
    response = await api.chat(previous_response_id="resp_" + "0" * 48)
    status, body = envelope(response)
    error = body["error"]
    message = error.pop("message")
    assert (status, error) == (
        400,
        {"type": "invalid_request", "code": "invalid_value", "param": "previous_response_id"},
    )
    assert message


async def test_an_unknown_plugin_is_a_failed_dependency(api: House) -> None:
    told = {
        "type": "plugin_connection_error",
        "message": "Cannot find plugin 'mcp/nope'. Installed plugins: none.",
        "code": "plugin_connection_error",
        "param": "integrations",
    }
    assert envelope(await api.chat(integrations=["mcp/nope"])) == (424, {"error": told})


async def test_a_dead_server_is_a_failed_dependency(api: House) -> None:
    entry = {"type": "ephemeral_mcp", "server_label": "dead", "server_url": "https://dead.example"}
    told = {
        "type": "mcp_connection_error",
        "message": "It does not answer.",
        "code": "mcp_connection_error",
        "param": "integrations",
    }
    assert envelope(await api.chat(integrations=[entry])) == (424, {"error": told})


async def test_an_unknown_route_is_an_unknown_endpoint(api: House) -> None:
    told = {
        "type": "invalid_request",
        "message": "Unexpected endpoint or method. (GET /api/v2/chat) The API is described at /schema.",
        "code": "unknown_endpoint",
    }
    assert envelope(await api.client.get("/api/v2/chat?key=secret")) == (404, {"error": told})


async def test_a_wrong_method_is_told_which_there_are(api: House) -> None:
    response = await api.client.delete(CHAT)
    allow = response.headers["Allow"]
    assert set(allow.split(", ")) == {"POST", "OPTIONS"}
    told = {
        "type": "invalid_request",
        "message": f"This endpoint does not have this method, only {allow}. (DELETE /api/v1/chat)",
        "code": "method_not_allowed",
    }
    assert envelope(response) == (405, {"error": told})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "text/plain; application/json"},
    ],
    ids=str,
)
async def test_a_body_of_another_type_is_refused_unread(api: House, headers: dict[str, str]) -> None:
    response = await api.client.post(CHAT, content=json.dumps(chat_body()).encode(), headers=headers)
    told = {
        "type": "invalid_request",
        "message": "The body must be sent as application/json, in UTF-8.",
        "code": "unsupported_media_type",
    }
    assert envelope(response) == (415, {"error": told})


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "Application/JSON", " application/json ;x=1"]
)
async def test_json_may_be_announced_with_parameters(api: House, media_type: str) -> None:
    content = json.dumps(chat_body()).encode()
    response = await api.client.post(CHAT, content=content, headers={"Content-Type": media_type})
    assert response.status_code == 200


async def test_a_compressed_body_is_refused(api: House) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = await api.client.post(CHAT, content=b"\x1f\x8b", headers=headers)
    told = {
        "type": "invalid_request",
        "message": "A body with a Content-Encoding is not understood here.",
        "code": "unsupported_media_type",
    }
    assert envelope(response) == (415, {"error": told})


TOO_LARGE = {
    "type": "invalid_request",
    "message": "The body is larger than 1000 bytes, the most that is taken here.",
    "code": "request_too_large",
}


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
async def test_a_body_that_is_too_large_is_refused(api: House, chunked: bool) -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(100):
            yield b" " * 100

    content = chunks() if chunked else b" " * 10_000
    async with served(api.app) as client:
        response = await client.post(CHAT, content=content, headers={"Content-Type": "application/json"})
        assert envelope(response) == (413, {"error": TOO_LARGE})
        assert (await client.get("/health")).status_code == 200


async def test_a_body_may_be_as_large_as_the_limit(api: House) -> None:
    content = json.dumps(chat_body()).encode()
    content += b" " * (1000 - len(content))
    response = await api.client.post(CHAT, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 200


TOO_MANY = {
    "type": "invalid_request",
    "message": "Too many requests at once: 1 run already. Try again later.",
    "code": "rate_limited",
}


async def test_too_many_requests_are_told_when_to_come_back() -> None:
    engine = ScriptedEngine([[Say("Well"), Stall(anyio.Event())]])
    async with house(engine, max_concurrent_runs=1) as api, anyio.create_task_group() as asking:
        asking.start_soon(api.chat)
        await api.generating(1)
        response = await api.chat()
        assert envelope(response) == (429, {"error": TOO_MANY})
        assert response.headers["Retry-After"] == "1"
        asking.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMITED, ErrorKind.ENGINE_UNAVAILABLE])
async def test_when_an_engine_says_to_come_back_is_passed_on(kind: ErrorKind) -> None:
    error = OrchestratorError(kind, "Later.", retry_after_seconds=6.5)
    async with house(ScriptedEngine([[Break(error)]])) as api:
        response = await api.chat()
    assert (response.status_code, response.headers["Retry-After"]) == (ERROR_TABLE[kind].status, "7")


async def test_a_model_that_is_not_known_to_reason_is_told_with_what_to_do() -> None:
    hint = "Declare it."
    async with house(ScriptedEngine([[]], traits=EngineTraits(loads=False, reasoning_hint=hint))) as api:
        response = await api.chat(reasoning="off")
    told = {
        "type": "invalid_request",
        "message": f"Model 'test/scripted' does not expose reasoning configuration. {hint}",
        "code": "invalid_value",
        "param": "reasoning",
    }
    assert envelope(response) == (400, {"error": told})


async def test_an_engine_that_cannot_be_reached_is_named() -> None:
    message = "The engine 'scripted' does not answer at http://127.0.0.1:9."
    error = OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, message)
    async with house(ScriptedEngine([[Break(error)]])) as api:
        response = await api.chat()
    told = {"type": "internal_error", "message": message, "code": "engine_unavailable"}
    assert envelope(response) == (503, {"error": told})


async def test_what_nobody_expected_names_the_request_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    class BrokenStore(MemoryStore):
        async def load_chain(self, response_id: str, owner: str) -> Chain:
            raise RuntimeError("password=hunter2")

    async with house(store=BrokenStore()) as api:
        body = chat_body(previous_response_id=f"resp_{'0' * 48}")
        response = await api.client.post(CHAT, json=body, headers={"X-Request-Id": "mine"})
    told = {
        "type": "internal_error",
        "message": "Something unexpected happened; the log has the details. (request mine)",
    }
    assert envelope(response) == (500, {"error": told})
    assert response.headers["Content-Type"] == "application/json"
    logged = capsys.readouterr().out
    assert "hunter2" in logged
    assert "request_id=mine" in logged


async def test_a_bad_host_header_is_an_envelope_too(api: House) -> None:
    response = await api.client.get("/health", headers={"Host": "a b"})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden_origin")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "TRACE", "BREW"])
async def test_no_method_gets_a_page(api: House, method: str) -> None:
    response = await api.client.request(method, CHAT)
    assert response.status_code == 405
    assert response.headers["Content-Type"] == "application/json"


def refused_request() -> litestar.Request[Any, Any, Any]:
    """A request that the framework itself refuses."""
    scope: Any = {"type": "http", "method": "POST", "path": CHAT, "headers": [], "state": {"request_id": "mine"}}
    return litestar.Request(scope)


def test_what_else_the_framework_refuses_is_an_invalid_value() -> None:
    answer = answer_http_exception(refused_request(), ClientException("Invalid content-length: 'x'"))
    told = {"type": "invalid_request", "message": "Invalid content-length: 'x'", "code": "invalid_value"}
    assert (answer.status_code, json.loads(answer.content)) == (400, {"error": told})


def test_what_fails_inside_the_framework_is_unexpected() -> None:
    answer = answer_http_exception(refused_request(), InternalServerException("hush"))
    assert answer.status_code == 500
    assert b"hush" not in answer.content


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/nothing"), ("PATCH", "/v1/embeddings")])
async def test_below_v1_even_what_no_route_answers_is_refused_as_openai_refuses(
    api: House, method: str, path: str
) -> None:
    response = await api.client.request(method, path)
    error = response.json()["error"]
    assert (set(error), error["type"]) == ({"message", "type", "param", "code"}, "invalid_request_error")
    strange = await api.client.request(method, path, headers={"Origin": "https://strange.example"})
    assert strange.json()["error"] == {
        "message": strange.json()["error"]["message"],
        "type": "invalid_request_error",
        "param": None,
        "code": "forbidden_origin",
    }


def test_openai_is_told_who_is_at_fault() -> None:
    kinds = (
        *(ErrorKind.INVALID_VALUE, ErrorKind.RATE_LIMITED, ErrorKind.ENGINE_ERROR, ErrorKind.NOT_IMPLEMENTED),
        *(ErrorKind.EXCEED_CONTEXT_SIZE, ErrorKind.THREAD_NOT_FOUND, ErrorKind.THREAD_CONFLICT),
    )
    told = [openai_error(ErrorInfo(kind, "No.", "input")) for kind in kinds]
    assert told == [
        OpenAIError("No.", "invalid_request_error", "input", "invalid_value"),
        OpenAIError("No.", "rate_limit_error", "input", "rate_limited"),
        OpenAIError("No.", "server_error", "input", "engine_error"),
        OpenAIError("No.", "server_error", "input", "not_implemented"),
        OpenAIError("No.", "invalid_request_error", "input", "context_length_exceeded"),
        OpenAIError("No.", "invalid_request_error", "input", "conversation_not_found"),
        OpenAIError("No.", "invalid_request_error", "input", "conversation_locked"),
    ]
