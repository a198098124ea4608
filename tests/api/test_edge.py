"""What every request gets, whatever it asks for: its id, its line in the log, its security headers."""

import re
from typing import Any

import httpx
import pytest
import structlog

from orchestrator.api.encode_threads import Encoding
from orchestrator.testing import ScriptedEngine
from tests.api.house import CHAT, chat_body, house, served

pytestmark = pytest.mark.anyio

STRICT = "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("GET", "/nope"),
        ("DELETE", CHAT),
        ("POST", CHAT),
        ("GET", "/schema/openapi.json"),
        ("OPTIONS", CHAT),
    ],
)
async def test_every_answer_has_the_security_headers_and_an_id(method: str, path: str) -> None:
    async with house() as api:
        response = await api.client.request(method, path)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == STRICT
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert re.fullmatch(r"req_[0-9a-f]{24}", response.headers["X-Request-Id"])


async def test_even_a_refused_request_has_them() -> None:
    async with house() as api:
        response = await api.client.get("/health", headers={"Origin": "https://evil.example"})
    assert response.status_code == 403
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "X-Request-Id" in response.headers


@pytest.mark.parametrize("sane", ["mine", "0b5c-11.A_z", "x" * 64])
async def test_a_sane_id_of_the_clients_is_kept(sane: str) -> None:
    async with house() as api:
        response = await api.client.get("/health", headers={"X-Request-Id": sane})
    assert response.headers.get_list("X-Request-Id") == [sane]


@pytest.mark.parametrize("strange", ["", "x" * 65, "a b", "a,b", "ü", "<script>"])
async def test_a_strange_id_is_replaced(strange: str) -> None:
    async with house() as api:
        response = await api.client.get("/health", headers={b"X-Request-Id": strange.encode()})
    assert re.fullmatch(r"req_[0-9a-f]{24}", response.headers["X-Request-Id"])


def request_lines(logged: list[Any]) -> list[dict[str, Any]]:
    return [{**line, "duration_ms": line["duration_ms"] >= 0} for line in logged if line["event"] == "request"]


async def test_a_request_is_one_line_without_query_body_or_headers() -> None:
    async with house() as api:
        with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
            headers = {"X-Request-Id": "mine", "X-Secret": "hush"}
            await api.client.post(f"{CHAT}?key=hush", json=chat_body(input="hush"), headers=headers)
            await api.client.get("/api/v1/responses/hush", headers={"X-Request-Id": "other"})
            await api.client.get("/hush", headers={"X-Request-Id": "third"})
    common = {"event": "request", "log_level": "info", "duration_ms": True}
    assert request_lines(logged) == [
        {**common, "method": "POST", "route": CHAT, "status": 200, "request_id": "mine"},
        {**common, "method": "GET", "route": "/api/v1/responses/{response_id}", "status": 404, "request_id": "other"},
        {**common, "method": "GET", "route": "unknown", "status": 404, "request_id": "third"},
    ]
    assert "hush" not in str(logged)


async def test_the_lines_of_a_run_carry_the_id_of_its_request() -> None:
    class Defect(Exception):
        pass

    def script(request: Any) -> Any:
        raise Defect

    async with house(ScriptedEngine(script)) as api:
        with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
            response = await api.client.post(CHAT, json=chat_body(), headers={"X-Request-Id": "mine"})
    assert response.status_code == 500
    failures = [line for line in logged if line["log_level"] == "error"]
    assert [(line["event"], line["request_id"]) for line in failures] == [("generating failed unexpectedly", "mine")]


async def test_a_reply_that_breaks_down_is_logged_and_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_events(event: object) -> tuple[()]:
        raise RuntimeError("a defect in the middle of a stream")

    monkeypatch.setattr("orchestrator.api.chat.RESPONSES", Encoding(events=no_events))
    async with house() as api, served(api.app) as client:
        with structlog.testing.capture_logs() as logged:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(CHAT, json=chat_body(stream=True))
            assert (await client.get("/health")).status_code == 200
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["a reply broke down"]


async def test_a_websocket_is_turned_away() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "websocket", "path": CHAT, "query_string": b"", "headers": [(b"host", b"localhost")]}
    async with house() as api:
        await api.app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
