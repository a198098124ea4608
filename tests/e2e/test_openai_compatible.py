"""Model servers of others, through the service: two llama-servers with a key each and the same model."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.llama_peer import LlamaPeer, llama_peer
from tests.e2e.running import RunningService, events, running_service

KEYS = ("the-first-key", "the-second-key")
LONG: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "long", "schema": {"type": "string", "minLength": 900, "maxLength": 1000}},
}
"""A format whose answer takes its time."""


@pytest.fixture
def peers() -> Iterator[tuple[LlamaPeer, LlamaPeer]]:
    with ExitStack() as stack:
        yield stack.enter_context(llama_peer(KEYS[0], slots=1)), stack.enter_context(llama_peer(KEYS[1]))


def serving(
    peers: tuple[LlamaPeer, LlamaPeer], data_dir: Path, **settings: str
) -> AbstractContextManager[RunningService]:
    given = {
        "ORCHESTRATOR_OPENAI_COMPATIBLE_URL": ",".join(peer.url for peer in peers),
        "ORCHESTRATOR_OPENAI_COMPATIBLE_API_KEY": ",".join(KEYS),
        "ORCHESTRATOR_OPENAI_COMPATIBLE_REASONING": "on+off,on+off",
        "ORCHESTRATOR_DEFAULT_ENGINE": "openai_compatible",
    }
    return running_service(data_dir, {"mcpServers": {"clock": {"command": "clock-mcp"}}}, **(given | settings))


def keys(service: RunningService) -> list[str]:
    with service.client() as client:
        models = client.get("/api/v1/models").json()["models"]
    return [f"{model['engine']}::{model['key']}" for model in models if model["engine"].startswith("openai")]


def test_servers_with_the_same_model_are_each_reached_with_its_key_and_one_that_dies_takes_nothing_along(
    peers: tuple[LlamaPeer, LlamaPeer], tmp_path: Path
) -> None:
    with serving(peers, tmp_path) as service:
        first, second = keys(service)
        assert second.startswith("openai_compatible:2::")
        asked = {"input": 'Use get_current_time with timezone="UTC"', "integrations": ["mcp/clock"]}
        for key in (first, second):
            reply = service.chat({"model": key, **asked, "reasoning": "off"}).json()
            assert [item["type"] for item in reply["output"]] == ["tool_call", "message"], reply
        told = service.chat({"model": first, "input": "Hello!", "reasoning": "on"}).json()
        assert [item["type"] for item in told["output"]] == ["reasoning", "message"]

        loud = service.chat({"model": first, "input": "Hello!", "reasoning": "high"})
        assert (loud.status_code, loud.json()["error"]["param"]) == (400, "reasoning")
        assert loud.json()["error"]["message"].endswith("Supported settings: 'on', 'off'.")

        request = {"model": second, "input": "Hello!", "stream": True, "reasoning": "off", "response_format": LONG}
        seen: list[dict[str, Any]] = []
        with service.client() as client, client.stream("POST", "/api/v1/chat", json=request) as response:
            for event in events(response):
                seen.append(event)
                if len(seen) == 8:
                    os.kill(peers[1].pid, signal.SIGKILL)
        assert [event["type"] for event in seen[-2:]] == ["error", "chat.end"]
        assert seen[-2]["error"]["code"] == "engine_error"
        response_id = seen[-1]["result"]["response_id"]
        with service.client() as client:
            stored = client.get(f"/api/v1/responses/{response_id}").json()
        assert (stored["status"], stored["output"]) == ("failed", seen[-1]["result"]["output"])

        gone = service.chat({"model": second, "input": "Hello!"})
        assert (gone.status_code, gone.json()["error"]["code"]) == (503, "engine_unavailable")
        again = service.chat({"model": first, "input": "And you?", "previous_response_id": response_id})
        assert again.status_code == 200
        with service.client() as client:
            assert client.get("/health").status_code == 200
        assert not any(key in service.log for key in KEYS)


def test_a_key_that_the_server_refuses_is_said_without_the_key(
    peers: tuple[LlamaPeer, LlamaPeer], tmp_path: Path
) -> None:
    wrong = ",".join(("a-wrong-key", KEYS[1]))
    with serving(peers, tmp_path, ORCHESTRATOR_OPENAI_COMPATIBLE_API_KEY=wrong) as service:
        (key,) = keys(service)
        bare = key.removeprefix("openai_compatible:2::")
        refused = service.chat({"model": f"openai_compatible::{bare}", "input": "Hello!"})
        assert service.chat({"model": bare, "input": "Hello!"}).status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_unavailable")
    assert "a-wrong-key" not in refused.text + service.log


def test_a_server_gets_as_many_turns_at_once_as_it_is_said_to_have_slots_and_the_others_hear_their_place(
    peers: tuple[LlamaPeer, LlamaPeer], tmp_path: Path
) -> None:
    with serving(peers, tmp_path, ORCHESTRATOR_OPENAI_COMPATIBLE_PARALLEL="64,1") as service:
        _, second = keys(service)
        long: dict[str, Any] = {"model": second, "input": "Hello!", "reasoning": "off", "response_format": LONG}
        assert service.positions_behind(long, {"model": second, "input": "Hello!"}) == [1, 0]
