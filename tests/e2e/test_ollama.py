"""The seeds' requests on a real Ollama, wherever there is one, with the demo model in it."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.adder import running_adder
from tests.e2e.running import RunningService, events, free_port, running_service
from tests.engines.ollama.runtime import TOOLS, make_models, missing, own_binary, real_ollama

pytestmark = pytest.mark.ollama
BOUND_SECONDS = 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    why_not = missing()
    if why_not is not None:
        pytest.skip(why_not)
    folder: Path = tmp_path_factory.mktemp("service")
    plugins = {"mcpServers": {"clock": {"command": "clock-mcp"}}}
    with real_ollama(TOOLS) as runtime:
        settings = {"ORCHESTRATOR_OLLAMA_HOST": runtime.host, "ORCHESTRATOR_DEFAULT_ENGINE": "ollama"}
        with running_service(folder, plugins, **settings) as service:
            yield service


def listed(service: RunningService) -> dict[str, Any]:
    with service.client() as client:
        models = client.get("/api/v1/models").json()["models"]
    return next(model for model in models if model["key"] == TOOLS)


def test_chat_tools_streaming_load_list_and_unload(service: RunningService) -> None:
    assert listed(service)["capabilities"]["trained_for_tool_use"]
    load = {"model": TOOLS, "context_length": 2048, "echo_load_config": True}
    with service.client() as client:
        loaded = client.post("/api/v1/models/load", json=load).json()
    assert (loaded["status"], loaded["instance_id"]) == ("loaded", TOOLS)
    assert loaded["load_config"]["context_length"] == 2048
    assert [instance["id"] for instance in listed(service)["loaded_instances"]] == [TOOLS]
    with running_adder() as url:
        seed: dict[str, Any] = {
            "model": TOOLS.removesuffix(":latest"),
            "input": "Use add with a=17 and b=25",
            "integrations": [
                {"type": "ephemeral_mcp", "server_label": "adder", "server_url": url, "allowed_tools": ["add"]},
                {"type": "plugin", "id": "mcp/clock", "allowed_tools": ["get_current_time"]},
            ],
            "context_length": 2048,
        }
        reply = service.chat(seed).json()
        stream = service.stream(seed)
    call, message = reply["output"]
    assert (call["tool"], call["arguments"]) == ("add", {"a": 17, "b": 25})
    assert json.loads(call["output"])[0]["text"] == "42"
    assert "42" in message["content"]
    assert reply["stats"]["total_output_tokens"] > 0
    assert [item["type"] for item in stream[-1]["result"]["output"]] == ["tool_call", "message"]
    with service.client() as client:
        assert client.post("/api/v1/models/unload", json={"instance_id": TOOLS}).json() == {"instance_id": TOOLS}
    assert listed(service)["loaded_instances"] == []


def test_turns_beyond_the_slots_of_ollama_hear_their_place(service: RunningService) -> None:
    text = {"type": "string", "minLength": 900, "maxLength": 1000}
    long = {"type": "json_schema", "json_schema": {"name": "long", "schema": text}}
    body = {"model": TOOLS, "input": "Hello!", "response_format": long, "stream": True, "temperature": 1}

    def places(_: int) -> list[int]:
        headers = {"X-Stream-Extensions": "true"}
        with service.client() as client, client.stream("POST", "/api/v1/chat", json=body, headers=headers) as response:
            return [event["position"] for event in events(response) if event["type"] == "queue.position"]

    with ThreadPoolExecutor(4) as pool:  # all of them while the first has the model loaded
        heard = list(pool.map(places, range(4)))
    waited = [told for told in heard if told]
    assert waited
    assert waited == [list(range(told[0], -1, -1)) for told in waited]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent however that ends")
def test_an_ollama_that_the_service_started_goes_with_it_also_where_the_service_is_killed(tmp_path: Path) -> None:
    binary = own_binary()
    if binary is None:
        pytest.skip("no Ollama to start: not on PATH, and ORCHESTRATOR_TEST_OLLAMA names none")
    settings = {
        "ORCHESTRATOR_START_OLLAMA": "true",
        "ORCHESTRATOR_OLLAMA_BINARY": binary,
        "ORCHESTRATOR_OLLAMA_HOST": f"127.0.0.1:{free_port()}",
        "HOME": str(tmp_path),
        "OLLAMA_MODELS": str(tmp_path / "ollama"),
        "OLLAMA_NO_CLOUD": "1",
    }
    with running_service(tmp_path / "data", None, **settings) as service:
        host = f"http://{settings['ORCHESTRATOR_OLLAMA_HOST']}"
        make_models(host, [TOOLS])
        assert service.chat({"model": TOOLS, "input": "Hello!"}).status_code == 200
        started = psutil.Process(service.process.pid).children(recursive=True)
        assert {"ollama"} == {process.name() for process in started}
        assert len(started) > 1, "the runner of the model is a process of its own"
        service.kill()
    _, alive = psutil.wait_procs(started, timeout=BOUND_SECONDS)
    assert alive == []
