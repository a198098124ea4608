"""Engines that fail, through the API: a clear error, the journal whole, the service healthy afterwards."""

import os
import signal
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from anyio.from_thread import start_blocking_portal

from tests.e2e.running import DEMO_MODEL, RunningService, events, running_service
from tests.engines.ollama.fakes import JSON, KEY, SHOWN, TAG, as_json, line
from tests.engines.ollama.loopback import Answer, Asked, loopback

LONG: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "long", "schema": {"type": "string", "minLength": 900, "maxLength": 1000}},
}
"""A format whose answer takes its time."""
CLOCK = {"mcpServers": {"clock": {"command": "clock-mcp"}}}


def workers(service: RunningService) -> list[psutil.Process]:
    """The processes in which the embedded engine's models run."""
    children = psutil.Process(service.process.pid).children()
    return [child for child in children if "orchestrator.engines.llama_cpp.worker" in child.cmdline()]


def stored(service: RunningService, response_id: str) -> dict[str, Any]:
    with service.client() as client:
        return client.get(f"/api/v1/responses/{response_id}").json()


def is_well(service: RunningService) -> None:
    """It takes requests, and the embedded engine answers them."""
    with service.client() as client:
        assert client.get("/health").status_code == 200
        client.post("/api/v1/models/load", json={"model": DEMO_MODEL})  # its time is none of the run's
    reply = service.chat({"input": "Hello!"})
    assert (reply.status_code, reply.json()["status"]) == (200, "completed")
    assert "Traceback" not in service.log


def test_a_worker_killed_in_mid_stream_after_a_tool_call_loses_neither_the_call_nor_what_was_written(
    tmp_path: Path,
) -> None:
    with running_service(tmp_path, CLOCK) as service:
        first = service.chat(
            {"input": 'Use get_current_time with timezone="UTC"', "integrations": ["mcp/clock"]}
        ).json()
        request = {"model": DEMO_MODEL, "input": "Hello!", "stream": True, "response_format": LONG}
        request["previous_response_id"] = first["response_id"]
        seen: list[dict[str, Any]] = []
        with service.client() as client, client.stream("POST", "/api/v1/chat", json=request) as response:
            for event in events(response):
                seen.append(event)
                if [one["type"] for one in seen].count("message.delta") == 5:
                    for worker in workers(service):
                        os.kill(worker.pid, signal.SIGKILL)
        assert [event["type"] for event in seen[-2:]] == ["error", "chat.end"]
        message = "llama.cpp broke off its answer: the worker process was ended by SIGKILL."
        assert seen[-2]["error"] == {"type": "internal_error", "message": message, "code": "engine_error"}
        result = seen[-1]["result"]
        broken = stored(service, result["response_id"])
        assert (broken["status"], broken["output"]) == ("failed", result["output"])
        assert result["output"][0]["content"]
        assert stored(service, first["response_id"])["output"] == first["output"]
        again = service.chat({"input": "Hello!", "previous_response_id": result["response_id"]})
        assert again.json()["status"] == "completed"
        is_well(service)


def test_a_corrupt_file_says_what_is_wrong_with_it_and_hurts_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "a"
    for name, content in {"text": b"no model", "cut": b"GGUF\x03\0\0\0" + b"\xff" * 64}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "x.gguf").write_bytes(content)
    with running_service(tmp_path / "data", ORCHESTRATOR_MODELS_DIR=str(tmp_path / "models")) as service:
        assert service.chat({"input": "Hello!"}).status_code == 200
        for key in ("a/text", "a/cut"):
            with service.client() as client:
                load = client.post("/api/v1/models/load", json={"model": key})
            chat = service.chat({"model": key, "input": "Hello!"})
            for refused in (load, chat):
                assert (refused.status_code, refused.json()["error"]["code"]) == (502, "engine_error")
                assert refused.json()["error"]["message"].startswith(f"{key} could not be loaded: ")
            assert stored(service, chat.headers["X-Response-Id"])["status"] == "failed"
        with service.client() as client:
            models = {model["key"]: model for model in client.get("/api/v1/models").json()["models"]}
        assert [one["id"] for one in models["demo/tiny-tools"]["loaded_instances"]] == ["demo/tiny-tools"]
        problems = {key: model.get("problem", "").partition(":")[0] for key, model in models.items()}
        unreadable = "its file cannot be read"
        assert problems == {"a/text": unreadable, "a/cut": unreadable, "demo/tiny-tools": ""}
        is_well(service)


@dataclass(slots=True)
class Stage:
    """The service before an Ollama with one model in memory, which fails as `how` says."""

    service: RunningService = field(init=False)
    host: str = field(init=False)
    how: str = ""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    found = Stage()

    async def answer(asked: Asked) -> Answer:
        match asked.path:
            case _ if found.how == "ill":
                return Answer((b'{"error": "boom"}',), 500, JSON)
            case _ if found.how == "not itself":
                return Answer((b"<html>",), 200, {"Content-Type": "text/html"})
            case "/api/tags":
                return as_json({"models": [TAG]})
            case "/api/ps":
                return as_json({"models": [{"model": KEY, "context_length": 4096}]})
            case "/api/show":
                return as_json(SHOWN)
            case _ if found.how == "500":
                return Answer((b'{"error": "boom"}',), 500, JSON)
            case _ if found.how == "500 in mid-stream":
                return Answer((line("Once"), b'{"error": "boom"}\n'))
            case _:
                return Answer((line("Once"), anyio.Event()))

    folder = tmp_path_factory.mktemp("service")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(loopback(answer)) as server,
        running_service(
            folder, None, ORCHESTRATOR_OLLAMA_HOST=server.host, ORCHESTRATOR_ENGINE_SILENCE_TIMEOUT="1"
        ) as service,
    ):
        found.service, found.host = service, server.host
        yield found


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("how", ["500", "500 in mid-stream", "hangs"])
def test_an_ollama_that_fails_is_told_stored_and_survived(stage: Stage, how: str, stream: bool) -> None:
    stage.how, service = how, stage.service
    if stream:
        *_, error, end = service.stream({"model": KEY, "input": "Hello!"})
        response_id = end["result"]["response_id"]
    else:
        reply = service.chat({"model": KEY, "input": "Hello!"})
        error, response_id = reply.json(), reply.headers["X-Response-Id"]
    message = {
        "500": "answered with status 500: boom",
        "500 in mid-stream": "failed: boom",
        "hangs": "sent nothing for 1 seconds, and was given up.",
    }[how]
    told = {"type": "internal_error", "message": f"Ollama at {stage.host} {message}", "code": "engine_error"}
    assert error["error"] == told
    kept = stored(service, response_id)
    assert kept["status"] == "failed"
    assert [item["content"] for item in kept["output"]] == ([] if how == "500" else ["Once"])
    is_well(service)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("ill", "answered with status 500. Its log says why; if that lasts, start it anew."),
        ("not itself", "answers, but not as Ollama does. Is OLLAMA_HOST the address of an Ollama?"),
    ],
)
def test_an_ollama_that_cannot_be_used_is_told_as_that_and_not_as_a_missing_model(
    stage: Stage, how: str, why: str
) -> None:
    service = stage.service
    stage.how = ""
    with service.client() as client:
        keys = [model["key"] for model in client.get("/api/v1/models").json()["models"]]
    assert keys == [KEY, DEMO_MODEL]
    stage.how = how
    told = {"type": "internal_error", "message": f"Ollama at {stage.host} {why}", "code": "engine_unavailable"}
    for key in (KEY, KEY.removesuffix(":latest"), f"ollama::{KEY}", "ollama::other"):
        reply = service.chat({"model": key, "input": "Hello!"})
        assert (reply.status_code, reply.json()["error"]) == (503, told), key
    with service.client() as client:
        load = client.post("/api/v1/models/load", json={"model": KEY})
        metrics = client.get("/metrics").text
        unknown = service.chat({"model": "un/known", "input": "Hello!"}).json()["error"]
    assert (load.status_code, load.json()["error"]) == (503, told)
    assert 'orchestrator_engine_up{engine="ollama"} 0.0' in metrics
    assert 'orchestrator_engine_up{engine="embedded"} 1.0' in metrics
    assert unknown == {
        "type": "invalid_request",
        "message": f'Invalid model identifier "un/known". Installed models: {DEMO_MODEL}. {told["message"]}',
        "code": "model_not_found",
        "param": "model",
    }
    assert service.log.count(why) == 1
    is_well(service)
