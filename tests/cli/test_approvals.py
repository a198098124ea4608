"""Approvals in the terminal, against a server on this machine."""

import json
from datetime import UTC, datetime

import pytest
from msgspec import UNSET, to_builtins
from msgspec.structs import replace

from orchestrator.api.wire import ChatReply, PendingApproval, PluginProviderInfo, StoredReply
from orchestrator.api.wire_events import ChatEnd, ChatStart
from tests.cli.model_server import HELLO, REPLY, STATS, Script, served
from tests.cli.program import one_line, run

UNTIL = datetime(2026, 3, 2, tzinfo=UTC)
PENDING = [
    PendingApproval("call_1", "wipe", {"path": "/"}, PluginProviderInfo("mcp/disk"), UNTIL),
    PendingApproval("call_2", "look", {}, PluginProviderInfo("mcp/disk"), UNTIL),
]
WAITING: ChatReply = replace(REPLY, status="awaiting_approval", pending_approvals=PENDING)
ASKED = (ChatStart("demo/tiny-tools"), ChatEnd(WAITING))
PATH = f"/api/v1/responses/{REPLY.response_id}/approvals"
STORED = StoredReply(
    root_id="resp_1",
    depth=0,
    owner="local",
    model="publisher/model",
    response_id=str(REPLY.response_id),
    previous_response_id=None,
    model_instance_id="m",
    status="awaiting_approval",
    pending_approvals=PENDING,
    system_prompt=None,
    input=[],
    output=[],
    stats=STATS,
    parameters={},
    metadata={},
    created_at=UNTIL,
    ended_at=None,
)


def test_a_chat_that_waits_asks_about_each_call_and_goes_on() -> None:
    script = Script(events=ASKED, later=[HELLO])
    answers = 'e\nno json\n{"path": "/tmp"}\nd\nnot now\n'
    with served(script) as url:
        options = (
            "--model",
            "m",
            "--integration",
            "mcp/disk",
            "--mcp-server",
            "w=http://h/mcp?key=1",
            "--ask",
            "always",
        )
        result = run("chat", "Hi", "--url", url, *options, stdin=answers)
    assert result.exit_code == 0, result.output
    assert "Hello." in result.stdout
    assert 'call_1  wipe(path="/")  mcp/disk' in result.stdout
    assert "arguments are a JSON object" in result.stderr
    remote = {
        "type": "ephemeral_mcp",
        "server_label": "w",
        "server_url": "http://h/mcp?key=1",
        "require_approval": "always",
    }
    assert script.requests[0][1]["integrations"] == [
        remote,
        {"type": "plugin", "id": "mcp/disk", "require_approval": "always"},
    ]
    decided = [
        {"call_id": "call_1", "decision": "approve", "arguments": {"path": "/tmp"}},
        {"call_id": "call_2", "decision": "deny", "reason": "not now"},
    ]
    assert script.requests[1] == (PATH, {"approvals": decided, "integrations": [remote], "stream": True})


def test_only_what_may_destroy_is_asked_about_where_that_is_wanted() -> None:
    script = Script()
    with served(script) as url:
        run("chat", "Hi", "--url", url, "--model", "m", "--integration", "mcp/disk", "--ask", "destructive")
    [entry] = script.requests[0][1]["integrations"]
    assert entry == {"type": "plugin", "id": "mcp/disk", "require_approval": {"always": {"destructive": True}}}


def test_a_chat_that_nobody_can_be_asked_about_shows_what_waits() -> None:
    with served(Script(events=ASKED)) as url:
        result = run("chat", "Hi", "--url", url, "--model", "m")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [
        "awaiting_approval",
        '  call_1  wipe(path="/")  mcp/disk',
        "  call_2  look()  mcp/disk",
    ]


def asked() -> Script:
    """A service that has one response, which waits."""
    return Script(gets={f"/api/v1/responses/{REPLY.response_id}": to_builtins(STORED)})


def test_what_waits_can_be_listed_approved_and_denied_from_elsewhere() -> None:
    script = asked()
    with served(script) as url:
        shown = run("approvals", "show", str(REPLY.response_id), "--url", url)
        listed = run("approvals", "show", str(REPLY.response_id), "--url", url, "--json")
        approved = run("approvals", "approve", str(REPLY.response_id), "--url", url)
        edited = run(
            *("approvals", "approve", str(REPLY.response_id), "--url", url, "--json"),
            *("--call", "call_1", "--arguments", '{"path": "/tmp"}'),
        )
        denied = run("approvals", "deny", str(REPLY.response_id), "--url", url, "--call", "call_2", "--reason", "no")
    assert [line.split()[0] for line in shown.stdout.splitlines() if "call_" in line] == ["call_1", "call_2"]
    assert [call["call_id"] for call in json.loads(listed.stdout)] == ["call_1", "call_2"]
    assert "Hello." in approved.stdout
    assert json.loads(one_line(edited.stdout))["status"] == "completed"
    assert denied.exit_code == 0
    assert [body["approvals"] for path, body in script.requests if path == PATH] == [
        [{"call_id": "call_1", "decision": "approve"}, {"call_id": "call_2", "decision": "approve"}],
        [{"call_id": "call_1", "decision": "approve", "arguments": {"path": "/tmp"}}],
        [{"call_id": "call_2", "decision": "deny", "reason": "no"}],
    ]


def test_where_nothing_waits_there_is_nothing_to_decide() -> None:
    done = replace(STORED, status="completed", pending_approvals=UNSET)
    with served(Script(gets={f"/api/v1/responses/{REPLY.response_id}": to_builtins(done)})) as url:
        result = run("approvals", "deny", str(REPLY.response_id), "--url", url)
    assert (result.exit_code, one_line(result.stderr)) == (
        1,
        "orchestrator: the response is completed: no call of it waits for approval",
    )


@pytest.mark.parametrize("arguments", [("--arguments", "{}"), ("--call", "call_1", "--arguments", "[1]")])
def test_arguments_belong_to_one_call_and_are_an_object(arguments: tuple[str, ...]) -> None:
    result = run("approvals", "approve", "resp_1", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_response_that_fails_after_all_has_a_status() -> None:
    script = asked()
    script.later = [(ChatStart("m"), ChatEnd(replace(REPLY, status="failed", response_id=UNSET)))]
    with served(script) as url:
        result = run("approvals", "approve", str(REPLY.response_id), "--url", url)
    assert result.exit_code == 1
