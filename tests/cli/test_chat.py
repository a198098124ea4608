"""`orchestrator chat` and `models`, against a server on this machine."""

import json
import signal
import socket

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from orchestrator.api.wire import ErrorBody
from orchestrator.api.wire_events import ChatEnd, ErrorEvent, MessageDelta
from orchestrator.api.wire_requests import EphemeralIntegration, PluginIntegration
from orchestrator.cli.chat import INTERRUPTED, integrations
from tests.cli.model_server import EMBEDDING, HELLO, LOADED, MODEL, REPLY, Script, served
from tests.cli.program import END_SECONDS, one_line, run, started


def test_an_answer_is_streamed_and_its_stats_and_id_come_last() -> None:
    script = Script()
    with served(script) as url:
        result = run("chat", "Hi", "--url", url)
    assert result.exit_code == 0
    assert result.output == (
        "Hello.\n10 tokens in · 2 out · 20.0 tokens/s · first after 0.50 s\n" + f"{REPLY.response_id}\n"
    )
    assert script.requests == [
        ("/api/v1/models", None),
        (
            "/api/v1/chat",
            {"model": "demo/tiny-tools", "input": "Hi", "integrations": [], "stream": True, "store": True},
        ),
    ]


def test_every_option_is_in_the_request() -> None:
    script = Script()
    options = (
        *("--model", "m", "--integration", "mcp/a", "--integration", "mcp/b", "--mcp-server", "web=http://h/mcp"),
        *("--allowed-tools", "mcp/b:one,two,web:three,mcp/c:four", "--system-prompt", ""),
        *("--previous-response-id", "resp_1", "--temperature", "0"),
    )
    with served(script) as url:
        result = run("chat", "-", "--url", url, *options, stdin="from standard input")
    assert result.exit_code == 0
    body = {
        "model": "m",
        "input": "from standard input",
        "integrations": [
            {"type": "ephemeral_mcp", "server_label": "web", "server_url": "http://h/mcp", "allowed_tools": ["three"]},
            "mcp/a",
            {"type": "plugin", "id": "mcp/b", "allowed_tools": ["one", "two"]},
            {"type": "plugin", "id": "mcp/c", "allowed_tools": ["four"]},
        ],
        "stream": True,
        "store": True,
        "system_prompt": "",
        "previous_response_id": "resp_1",
        "temperature": 0.0,
    }
    assert script.requests == [("/api/v1/chat", body)]


def test_integrations_are_read_from_their_short_forms() -> None:
    assert integrations(["mcp/a"], ["w=http://h/?a=b"], None) == [EphemeralIntegration("w", "http://h/?a=b"), "mcp/a"]
    assert integrations([], [], "mcp/a:x") == [PluginIntegration("mcp/a", ["x"])]
    assert integrations(["mcp/a", "mcp/a"], [], None) == ["mcp/a"]


@pytest.mark.parametrize(
    "arguments", [("--mcp-server", "web"), ("--allowed-tools", "tool"), ("--allowed-tools", "a:,")]
)
def test_a_short_form_that_cannot_be_read_is_wrong_use(arguments: tuple[str, str]) -> None:
    result = run("chat", "Hi", "--model", "m", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert arguments[0] in result.stderr


def test_without_a_model_one_that_is_loaded_is_taken_else_the_first() -> None:
    for models, chosen in (((EMBEDDING, MODEL, LOADED), "a/b"), ((EMBEDDING, MODEL), "demo/tiny-tools")):
        script = Script(models=models)
        with served(script) as url:
            run("chat", "Hi", "--url", url)
        assert script.requests[1][1]["model"] == chosen
    with served(Script(models=(EMBEDDING,))) as url:
        result = run("chat", "Hi", "--url", url)
    assert (result.exit_code, one_line(result.stderr)) == (
        1,
        f"orchestrator: the service at {url} has no model to chat with",
    )


def test_json_is_the_reply_alone() -> None:
    with served(Script()) as url:
        result = run("chat", "Hi", "--model", "m", "--url", url, "--json")
    assert json.loads(one_line(result.output)) == {
        "model_instance_id": "demo/tiny-tools",
        "output": [],
        "stats": {
            "input_tokens": 10,
            "total_output_tokens": 2,
            "reasoning_output_tokens": 0,
            "tokens_per_second": 20.0,
            "time_to_first_token_seconds": 0.5,
        },
        "response_id": REPLY.response_id,
        "status": "completed",
    }


def test_a_chat_that_failed_is_shown_and_has_a_status() -> None:
    error = ErrorEvent(ErrorBody(type="internal_error", message="the engine broke"))
    failed = ChatEnd(replace(REPLY, status="failed", response_id=UNSET))
    with served(Script(events=(*HELLO[:3], error, failed))) as url:
        result = run("chat", "Hi", "--model", "m", "--url", url)
    assert result.exit_code == 1
    assert result.output.splitlines()[:3] == ["Hel", "error: the engine broke", "failed"]


def test_the_token_of_the_environment_is_sent_and_never_shown() -> None:
    script = Script(status=401, error="The API token is not valid.")
    with served(script) as url:
        result = run("chat", "Hi", "--model", "m", "--url", url, LM_API_TOKEN="sk-lm-secret")
    assert script.authorization == ["Bearer sk-lm-secret"]
    assert one_line(result.output) == (
        f"orchestrator: {url} refused: The API token is not valid. Set LM_API_TOKEN to an API token."
    )


def test_a_refusal_is_one_line_with_the_services_own_words() -> None:
    with served(Script(status=404, error='Invalid model identifier "m".')) as url:
        result = run("chat", "Hi", "--model", "m", "--url", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert one_line(result.stderr) == f'orchestrator: {url} refused: Invalid model identifier "m".'


def test_a_server_that_is_another_one_is_told_apart() -> None:
    with served(Script(status=500, raw=b"<html>")) as url:
        refused = run("chat", "Hi", "--model", "m", "--url", url)
    assert "does not look like this service (status 500)" in one_line(refused.stderr)
    with served(Script(raw=b"[]")) as url:
        odd = run("models", "list", "--url", url)
    assert "does not answer as this service does" in one_line(odd.stderr)


def test_a_stream_that_ends_too_early_is_an_error() -> None:
    with served(Script(events=HELLO[:3])) as url:
        result = run("chat", "Hi", "--model", "m", "--url", url)
    assert result.exit_code == 1
    assert one_line(result.stderr) == f"orchestrator: {url} closed the stream before its end"


def test_without_a_service_the_answer_is_how_to_start_one() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        for command in (("chat", "Hi"), ("chat", "Hi", "--model", "m"), ("models", "list")):
            result = run(*command, PORT=str(port))
            assert result.exit_code == 1
            said = one_line(result.stderr)
            assert said.startswith(f"orchestrator: no service answers at http://127.0.0.1:{port} (")
            assert said.endswith("; start one with: orchestrator serve")


def test_control_c_closes_the_stream() -> None:
    script = Script(events=HELLO[:3], holds=True)
    with served(script) as url, started("chat", "Hi", "--model", "m", "--url", url, environ={}) as process:
        assert script.streaming.wait(END_SECONDS)
        assert process.stdout is not None
        assert process.stdout.read(3) == "Hel"
        process.send_signal(signal.SIGINT)
        assert script.left.wait(END_SECONDS)
        stdout, stderr = process.communicate(timeout=END_SECONDS)
    assert (process.returncode, stdout, stderr) == (INTERRUPTED, "", "\ninterrupted\n")


def test_models_are_a_table_for_people_and_the_services_json_for_programs() -> None:
    with served(Script(models=(MODEL, LOADED, EMBEDDING))) as url:
        table = run("models", "list", "--url", url)
        as_json = run("models", "list", "--url", url, "--json")
    rows = [line.split() for line in table.output.splitlines() if line.strip() and "─" not in line]
    assert rows == [
        ["key", "type", "parameters", "size", "context", "loaded", "as", "engine"],
        ["demo/tiny-tools", "llm", "2M", "2.1", "MiB", "2048", "embedded"],
        ["a/b", "llm", "2M", "5.0", "GiB", "2048", "a/b", "embedded"],
        ["a/embed", "embedding", "2M", "embedded"],
    ]
    assert json.loads(one_line(as_json.output)) == {"models": [MODEL, LOADED, EMBEDDING]}


def test_a_delta_is_shown_when_it_comes() -> None:
    with served(Script(events=(*HELLO[:2], MessageDelta("now")), holds=True)) as url:
        with started("chat", "Hi", "--model", "m", "--url", url, environ={}) as process:
            assert process.stdout is not None
            assert process.stdout.read(3) == "now"
