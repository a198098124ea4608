"""Calls, questions, branches and deletions that one dialect makes and another one sees: a real model, tool and database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.authorisation.test_table import command
from tests.e2e.adder import running_adder
from tests.e2e.running import RunningService, running_service
from tests.e2e.test_one_graph import ANSWER, COMMON, SUM, as_messages

SERVER = {"server_label": "adder", "allowed_tools": ["add"]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("graph")) as service:
        yield service


@pytest.fixture(scope="module")
def adder() -> Iterator[str]:
    with running_adder() as url:
        yield url


@pytest.fixture
def http(service: RunningService) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def posted(http: httpx.Client, path: str, **body: Any) -> tuple[str, Any]:
    """The id of the response that was made, and the reply."""
    response = http.post(path, json=COMMON | body)
    assert response.status_code == 200, response.text
    return response.headers["X-Response-Id"], response.json()


def parent(http: httpx.Client, response_id: str) -> str | None:
    return http.get(f"/api/v1/responses/{response_id}").json()["previous_response_id"]


def by_message(http: httpx.Client, *said: tuple[str, str], **body: Any) -> tuple[str, str]:
    """The id and the text of what `/v1/messages` answers to a history."""
    id, reply = posted(http, "/v1/messages", max_tokens=100, messages=as_messages([*said]), **body)
    return id, "".join(block["text"] for block in reply["content"] if block["type"] == "text")


def by_completion(http: httpx.Client, *said: tuple[str, str]) -> tuple[str, str]:
    id, reply = posted(http, "/v1/chat/completions", messages=as_messages([*said]))
    return id, reply["choices"][0]["message"]["content"]


def test_branches_are_found_by_what_was_said_in_them_until_they_are_deleted(
    service: RunningService, http: httpx.Client, adder: str
) -> None:
    server = {"type": "url", "name": "adder", "url": adder}
    root, answer = by_message(http, ("user", SUM), mcp_servers=[server])
    assert answer == ANSWER
    begun = [("user", SUM), ("assistant", ANSWER)]
    hello, said_hello = by_completion(http, *begun, ("user", "Say hello."))
    branch, reply = posted(http, "/v1/responses", input="Say goodbye.", previous_response_id=root)
    said_goodbye = reply["output"][-1]["content"][0]["text"]
    assert (parent(http, hello), parent(http, branch)) == (root, root)

    of_hello = [*begun, ("user", "Say hello."), ("assistant", said_hello), ("user", "Thank you.")]
    of_goodbye = [*begun, ("user", "Say goodbye."), ("assistant", said_goodbye), ("user", "Thank you.")]
    for ask in (by_message, by_completion):
        assert parent(http, ask(http, *of_hello)[0]) == hello
        assert parent(http, ask(http, *of_goodbye)[0]) == branch

    thread = http.post("/api/v1/threads", json={"response_id": branch}).json()["thread_id"]
    deleted = http.delete(f"/api/v1/responses/{branch}", params={"subtree": "true"}).json()
    assert len(deleted["deleted_responses"]) == 3
    assert http.get(f"/v1/responses/{branch}").status_code == 404
    assert newest_of(http, thread) == root
    for ask in (by_message, by_completion):
        assert parent(http, ask(http, *of_goodbye)[0]) == root
        assert parent(http, ask(http, *of_hello)[0]) == hello
    assert command(service, "audit", "verify")


def newest_of(http: httpx.Client, thread: str) -> str:
    return http.get(f"/api/v1/threads/{thread}").json()["responses"][-1]["response_id"]


@pytest.mark.parametrize("asked_in", ["native", "chat/completions", "messages"])
def test_what_waits_in_any_dialect_is_decided_in_openais(
    service: RunningService, http: httpx.Client, adder: str, asked_in: str
) -> None:
    asking = {**SERVER, "server_url": adder, "require_approval": "always"}
    ours = [{"type": "ephemeral_mcp", **asking}]
    history = as_messages([("user", SUM)])
    match asked_in:
        case "native":
            waiting, _ = posted(http, "/api/v1/chat", input=SUM, integrations=ours)
        case "messages":
            waiting, _ = posted(http, "/v1/messages", max_tokens=100, messages=history, integrations=ours)
        case _:
            waiting, _ = posted(http, "/v1/chat/completions", messages=history, integrations=ours)
    question = http.get(f"/v1/responses/{waiting}").json()["output"][-1]
    assert (question["type"], question["name"]) == ("mcp_approval_request", "add")
    decision = {"type": "mcp_approval_response", "approval_request_id": question["id"], "approve": True}
    tools = [{"type": "mcp", **asking}]
    decided, reply = posted(http, "/v1/responses", input=[decision], previous_response_id=waiting, tools=tools)
    assert [item["type"] for item in reply["output"]][-2:] == ["mcp_call", "message"]
    assert reply["output"][-1]["content"][0]["text"] == ANSWER
    then = [("user", SUM), ("assistant", ANSWER), ("user", "Say hello.")]
    assert parent(http, by_completion(http, *then)[0]) == decided
    assert parent(http, by_message(http, *then)[0]) == decided
    assert command(service, "audit", "verify")


def test_a_call_that_nobody_decided_about_is_in_the_audit_as_one_that_was_not_run(
    service: RunningService, http: httpx.Client, adder: str
) -> None:
    asking = [{"type": "ephemeral_mcp", **SERVER, "server_url": adder, "require_approval": "always"}]
    waiting, _ = posted(http, "/v1/chat/completions", messages=as_messages([("user", SUM)]), integrations=asking)
    went_on, _ = by_message(http, ("user", SUM), ("user", "Say hello."))
    assert parent(http, went_on) == waiting
    (call,) = http.get("/api/v1/tool-calls", params={"response_id": waiting}).json()["tool_calls"]
    assert (call["tool"], call["status"]) == ("add", "refused")
    assert command(service, "audit", "verify")


def test_a_chain_of_several_dialects_is_run_again_as_one_and_its_export_proves_its_calls(
    service: RunningService, http: httpx.Client, adder: str, tmp_path: Path
) -> None:
    server = {"type": "url", "name": "adder", "url": adder}
    root, _ = by_message(http, ("user", SUM), mcp_servers=[server], temperature=0)
    second, _ = by_completion(http, ("user", SUM), ("assistant", ANSWER), ("user", "Say hello."))
    third, _ = posted(http, "/v1/responses", input="Say goodbye.", previous_response_id=second)
    body = {"allow_tools": ["adder/add"]}
    report = http.post(f"/api/v1/responses/{third}/chain/replay", json=body).json()
    assert [one["replay_of"] for one in report["reports"]] == [root, second, third]
    assert (report["equal"], report["left"]) == (True, []), report
    exported = tmp_path / "calls.jsonl"
    assert command(service, "audit", "export", "--output", str(exported))
    assert command(service, "audit", "verify", "--file", str(exported))
