"""Approvals with a real server, a real model, and processes that die meanwhile."""

import json
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.e2e.adder import running_adder
from tests.e2e.running import DEMO_MODEL, RunningService, events, running_service
from tests.e2e.test_crash import stored

pytest_plugins = ("tests.store.databases",)

ADD = "Use add with a=2 and b=3"


def installed(url: str) -> dict[str, Any]:
    """The adder as a plugin of which `add` needs approval."""
    return {"mcpServers": {"adder": {"url": url, "require_approval": {"always": {"tool_names": ["add"]}}}}}


def ask(service: RunningService, body: dict[str, Any]) -> dict[str, Any]:
    """A chat that has to wait."""
    reply = service.chat(body).json()
    assert reply["status"] == "awaiting_approval", reply
    return reply


def decide(service: RunningService, reply: dict[str, Any], decision: dict[str, Any], **body: Any) -> Any:
    made = [{"call_id": call["call_id"], **decision} for call in reply["pending_approvals"]]
    with service.client() as client:
        path = f"/api/v1/responses/{reply['response_id']}/approvals"
        return client.post(path, json={"approvals": made, **body})


def called(reply: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (item["tool"], item["arguments"], json.loads(item["output"])[0]["text"])
        for item in reply["output"]
        if item["type"] == "tool_call"
    ]


APPROVE = {"decision": "approve"}
PLUGIN = [{"type": "plugin", "id": "mcp/adder", "allowed_tools": ["add"]}]


def test_a_response_waits_through_a_kill_and_goes_on_in_another_process(tmp_path: Path) -> None:
    with running_adder() as url:
        with running_service(tmp_path, installed(url)) as service:
            edited = ask(service, {"input": ADD, "integrations": PLUGIN})
            denied = ask(service, {"input": ADD, "integrations": PLUGIN})
            approved = ask(service, {"input": ADD, "integrations": PLUGIN})
            service.kill()
        with running_service(tmp_path, installed(url)) as service:
            assert stored(service, edited["response_id"])["pending_approvals"] == edited["pending_approvals"]
            after = decide(service, edited, {**APPROVE, "arguments": {"a": 20, "b": 22}}).json()
            assert called(after) == [("add", {"a": 20, "b": 22}, "42")]
            assert after["output"][-1]["type"] == "message"
            assert stored(service, edited["response_id"])["output"] == after["output"]
            told = called(decide(service, denied, {"decision": "deny", "reason": "Count yourself."}).json())
            assert told == [
                ("add", {"a": 2, "b": 3}, "The user denied this call; it was not run. The reason: Count yourself.")
            ]
            path = f"/api/v1/responses/{approved['response_id']}/approvals"
            made = [{"call_id": call["call_id"], **APPROVE} for call in approved["pending_approvals"]]
            with service.client() as client:
                body = {"approvals": made, "stream": True}
                with client.stream("POST", path, json=body) as response:
                    stream = list(events(response))
            assert [event["type"] for event in stream][:2] == ["chat.start", "tool_call.start"]
            assert called(stream[-1]["result"]) == [("add", {"a": 2, "b": 3}, "5")]
            further = {"input": ADD, "integrations": PLUGIN, "previous_response_id": approved["response_id"]}
            assert ask(service, further)["status"] == "awaiting_approval"
        with sqlite3.connect(next(tmp_path.glob("*.db"))) as connection:
            rows = connection.execute(
                "SELECT status, decision, tool_calls.arguments FROM tool_calls"
                " JOIN tool_call_approvals USING (call_id) ORDER BY tool_calls.created_at"
            ).fetchall()
        connection.close()
    assert [(status, decision) for status, decision, _ in rows] == [
        ("succeeded", "approve"),
        ("refused", "deny"),
        ("succeeded", "approve"),
    ]
    assert {json.dumps(json.loads(arguments), sort_keys=True) for _, _, arguments in rows} == {'{"a": 2, "b": 3}'}


def test_of_two_processes_on_one_postgres_one_takes_the_run_up(tmp_path: Path, postgres_url: str) -> None:
    with (
        running_adder() as url,
        running_service(tmp_path / "one", installed(url), ORCHESTRATOR_DATABASE_URL=postgres_url) as one,
        running_service(tmp_path / "two", installed(url), ORCHESTRATOR_DATABASE_URL=postgres_url) as two,
    ):
        reply = ask(one, {"input": ADD, "integrations": PLUGIN})
        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(decide, service, reply, APPROVE) for service in (one, two, one, two)]
            answers = [answer.result() for answer in asked]
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        [done] = [answer.json() for answer in answers if answer.status_code == 200]
        assert called(done) == [("add", {"a": 2, "b": 3}, "5")]
        assert stored(two, reply["response_id"])["status"] == "completed"


def test_silence_denies(tmp_path: Path) -> None:
    with (
        running_adder() as url,
        running_service(tmp_path, installed(url), ORCHESTRATOR_APPROVAL_TIMEOUT="1") as service,
    ):
        reply = ask(service, {"input": ADD, "integrations": PLUGIN})
        found = reply
        for _ in range(600):  # the keeper looks every few seconds
            if found["status"] != "awaiting_approval":
                break
            with suppress(subprocess.TimeoutExpired):
                service.process.wait(0.1)
            found = stored(service, reply["response_id"])
        assert (found["status"], found["incomplete_reason"]) == ("incomplete", "deadline")
        assert called(found) == [("add", {"a": 2, "b": 3}, "The call was not run: nobody approved it in time.")]
        assert decide(service, reply, APPROVE).status_code == 409
        further = {"input": "Use subtract with a=5 and b=3", "previous_response_id": reply["response_id"]}
        allowed = {**PLUGIN[0], "allowed_tools": ["subtract"]}
        assert service.chat({**further, "integrations": [allowed]}).json()["output"][0]["tool"] == "subtract"


def test_header_values_are_kept_nowhere_and_come_along_with_the_approval(tmp_path: Path) -> None:
    with running_adder() as url, running_service(tmp_path) as service:
        remote = {
            "type": "ephemeral_mcp",
            "server_label": "adder",
            "server_url": url,
            "allowed_tools": ["badge"],
            "headers": {"X-Badge": "s3cret"},
            "require_approval": "always",
        }
        reply = ask(service, {"model": DEMO_MODEL, "input": "Use badge with number=7", "integrations": [remote]})
        assert "s3cret" not in (tmp_path / "orchestrator.db").read_bytes().decode("latin-1")
        missing = decide(service, reply, APPROVE)
        assert (missing.status_code, missing.json()["error"]["code"]) == (409, "integration_credentials_required")
        done = decide(service, reply, APPROVE, integrations=[remote]).json()
        assert called(done) == [("badge", {"number": 7}, "7: s3cret")]
