"""What a plugin has beside plain tools, used without a chat: over HTTP and by `orchestrator plugins …`, with a real server."""

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import one_line, run
from tests.e2e.running import RunningService, running_service
from tests.integrations.harness import PROGRAMS
from tests.integrations.programs.shelf_server import PIXEL

SHELF = "/api/v1/plugins/mcp/shelf"
INFO = {"type": "plugin", "plugin_id": "mcp/shelf"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    servers = {"shelf": {"command": sys.executable, "args": [str(PROGRAMS / "shelf_server.py")]}}
    with running_service(tmp_path_factory.mktemp("shelf"), {"mcpServers": servers}) as service:
        yield service


def ask(service: RunningService, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    with service.client() as client:
        answer = client.post(SHELF + path, json=body)
        return answer.status_code, answer.json()


def test_resources_are_read_as_their_server_sends_them(service: RunningService) -> None:
    status, told = ask(service, "/resources/read", {"uri": "shelf://list"})
    text = {"uri": "shelf://list", "mimeType": "text/plain", "text": "Emma\nUlysses"}
    assert (status, told) == (200, {"provider_info": INFO, "uri": "shelf://list", "contents": [text]})
    _, cover = ask(service, "/resources/read", {"uri": "shelf://cover"})
    assert base64.b64decode(cover["contents"][0]["blob"]) == PIXEL
    _, book = ask(service, "/resources/read", {"uri": "shelf://book/Emma"})
    assert book["contents"][0]["text"] == "The text of Emma."


def test_a_resource_that_is_not_there_and_an_unfilled_template_are_told_apart(service: RunningService) -> None:
    status, told = ask(service, "/resources/read", {"uri": "shelf://none"})
    assert (status, told["error"]["code"]) == (404, "resource_not_found")
    status, told = ask(service, "/resources/read", {"uri": "shelf://book/{title}"})
    assert (status, told["error"]["code"], told["error"]["param"]) == (400, "invalid_value", "uri")


def test_a_prompt_is_filled_in_and_what_is_wrong_with_a_request_for_it_is_said(service: RunningService) -> None:
    status, told = ask(service, "/prompts/review/get", {"arguments": {"title": "Emma"}})
    said = {"role": "user", "content": {"type": "text", "text": "Write a kind review of Emma."}}
    assert (status, told) == (200, {"provider_info": INFO, "prompt": "review", "messages": [said]})
    status, told = ask(service, "/prompts/none/get", {})
    message = "'mcp/shelf' has no prompt 'none'. Its prompts: review."
    assert (status, told["error"]) == (
        404,
        {"type": "invalid_request", "message": message, "code": "prompt_not_found"},
    )
    status, told = ask(service, "/prompts/review/get", {"arguments": {"tone": "dry"}})
    assert (status, told["error"]["code"], told["error"]["param"]) == (400, "invalid_value", "arguments")
    assert "it needs title. Its arguments: title, tone (optional)." in told["error"]["message"]
    taken = {"type": "plugin", "id": "mcp/shelf", "prompt": {"name": "none"}}
    error = service.chat({"input": "Go.", "integrations": [taken]}).json()["error"]
    assert error == {
        "type": "invalid_request",
        "message": message,
        "code": "invalid_value",
        "param": "integrations.0.prompt",
    }


@pytest.mark.parametrize("name", ["books%2Fcount", "books%2fcount", "books%252Fcount"])
def test_a_tool_with_a_slash_in_its_name_is_called_and_its_structured_output_told(
    service: RunningService, name: str
) -> None:
    status, told = ask(service, f"/tools/{name}/call", {})
    assert (status, told["tool"]) == (200, "books/count")
    assert (told["output"], told["structured_output"]) == ("[]", '{"n":5}')


def test_the_commands_show_what_a_plugin_has(service: RunningService, tmp_path: Path) -> None:
    def plugins(*arguments: str) -> Any:
        return run("plugins", *arguments, "--url", service.url)

    assert plugins("call", "mcp/shelf", "books/count").stdout == '{"n":5}\n'
    counted = json.loads(plugins("call", "mcp/shelf", "books/count", "--json").stdout)
    assert (counted["output"], counted["structured_output"]) == ("[]", '{"n":5}')
    assert plugins("read", "mcp/shelf", "shelf://list").stdout == "Emma\nUlysses\n"
    assert plugins("read", "mcp/shelf", "shelf://cover").stdout == "(image/png, 9 bytes, shelf://cover)\n"
    file = tmp_path / "cover.png"
    assert (plugins("read", "shelf", "shelf://cover", "-o", str(file)).stdout, file.read_bytes()) == ("", PIXEL)
    assert json.loads(plugins("read", "shelf", "shelf://list", "--json").stdout)["uri"] == "shelf://list"
    asked = plugins("prompt", "mcp/shelf", "review", "title=Emma", "tone=dry")
    assert asked.stdout == "user\nWrite a dry review of Emma.\n"
    missing = plugins("prompt", "mcp/shelf", "review")
    assert missing.exit_code == 1
    assert "it needs title" in one_line(missing.stderr)
    assert plugins("prompt", "mcp/shelf", "review", "title").exit_code == 2
