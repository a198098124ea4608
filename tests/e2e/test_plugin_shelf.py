"""What a plugin has beside plain tools, used without a chat: over HTTP and by `orchestrator plugins …`, with a real server."""

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import at_terminal, one_line, run
from tests.e2e.running import RunningService, events, running_service
from tests.integrations.harness import PROGRAMS
from tests.integrations.programs.shelf_server import PIXEL

SHELF = "/api/v1/plugins/mcp/shelf"
INFO = {"type": "plugin", "plugin_id": "mcp/shelf"}
FAMILIES = ("handshake", "stateless")
ORDER = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 2, "title": "Which book"},
        "copies": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
        "gift": {"type": "boolean", "description": "It is wrapped then."},
        "cover": {"type": "string", "oneOf": [{"const": "h", "title": "hard"}, {"const": "s", "title": "soft"}]},
        "extras": {"type": "array", "items": {"type": "string", "enum": ["ribbon", "card"]}},
    },
    "required": ["title"],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    shelf: dict[str, Any] = {"command": sys.executable, "args": [str(PROGRAMS / "shelf_server.py")]}
    asking = {
        family: {"command": sys.executable, "args": [str(PROGRAMS / "asking_server.py"), family, json.dumps(ORDER)]}
        for family in FAMILIES
    }
    servers = {"shelf": shelf, "careful": shelf | {"require_approval": "always"}, **asking}
    folder = tmp_path_factory.mktemp("shelf")
    with running_service(folder, {"mcpServers": servers}, ORCHESTRATOR_ELICITATION="ask") as service:
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


def test_a_direct_call_streams_its_progress_and_what_its_server_asks(service: RunningService) -> None:
    def streamed(plugin: str, tool: str) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        path = f"/api/v1/plugins/mcp/{plugin}/tools/{tool}/call"
        with (
            service.client() as client,
            service.client() as other,
            client.stream("POST", path, json={"stream": True}) as response,
        ):
            assert response.status_code == 200
            for event in events(response):
                seen.append(event)
                if event["type"] == "elicitation.requested":
                    asked = f"/api/v1/responses/{seen[0]['response_id']}/elicitations/{event['elicitation_id']}"
                    assert other.post(asked, json={"action": "decline"}).status_code == 200
        return seen

    def of_type(kind: str, seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [event for event in seen if event["type"] == kind]

    dusted = streamed("shelf", "dust")
    assert of_type("tool_call.progress", dusted)[-1]["message"] == "board 2"
    (success,) = of_type("tool_call.success", dusted)
    assert json.loads(success["output"])[0]["text"] == "dusted"
    assert dusted[-1]["result"]["status"] == "completed"
    for family in FAMILIES:
        (asked,) = of_type("tool_call.success", streamed(family, "ask"))
        assert json.loads(json.loads(asked["output"])[0]["text"])["action"] == "decline"
        (sampled,) = of_type("tool_call.success", streamed(family, "sample"))
        assert "ampling" in sampled["output"]  # refused: there is no model


def test_a_call_at_a_terminal_shows_progress_and_asks_field_by_field(service: RunningService) -> None:
    def called(*arguments: str, keys: str = "") -> tuple[int, str, str]:
        return at_terminal("plugins", "call", *arguments, "--url", service.url, keys=keys)

    status, out, err = called("shelf", "dust")
    assert (status, out) == (0, "dusted\n")
    assert "board 2" in err
    keys = "a\nE\nEmma\n12\n2\nmaybe\ny\nx\nh\nribbon, card\n"
    status, out, err = called("handshake", "ask", keys=keys)
    answer = json.loads(out)
    content = {"title": "Emma", "copies": 2, "gift": True, "cover": "h", "extras": ["ribbon", "card"]}
    assert (status, answer["action"], answer["content"]) == (0, "accept", content), err
    assert "mcp/handshake asks: Your name?" in err
    for told in ('"E" is shorter', "12 is greater than the maximum of 9", '"maybe" is not of type', "It is wrapped"):
        assert told in err
    assert json.loads(called("stateless", "ask", keys="\x04")[1])["action"] == "cancel"
    _, out, err = called("handshake", "visit", keys="a\n")
    assert "open this address, then accept: https://login.example/x" in err
    assert json.loads(out)["action"] == "accept"


def test_a_chat_at_a_terminal_answers_what_a_server_asks(service: RunningService) -> None:
    asked = ("chat", "Use ask", "--allowed-tools", "mcp/stateless:ask", "--temperature", "0", "--url", service.url)
    _, out, err = at_terminal(*asked, keys="a\nEmma\n\n\n\n\n")
    assert "mcp/stateless asks: Your name?" in err, out
    assert '"title": "Emma"' in out


def test_everything_that_waits_for_approval_is_listed(service: RunningService) -> None:
    waiting = json.loads(run("plugins", "call", "careful", "books/count", "--url", service.url, "--json").stdout)
    listed = json.loads(run("approvals", "list", "--url", service.url, "--json").stdout)
    (mine,) = [one for one in listed if one["response_id"] == waiting["response_id"]]
    assert [call["tool"] for call in mine["pending_approvals"]] == ["books/count"]
    assert waiting["response_id"] in run("approvals", "list", "--url", service.url).stdout
