"""Whose question it is: a server asks in the middle of one owner's chat, and nobody else hears of it or answers."""

import sys
from pathlib import Path
from typing import Any

from tests.authorisation.test_table import UNKNOWN, command
from tests.e2e.running import events, running_service
from tests.e2e.test_client_side import EXTENSIONS, request_for
from tests.integrations.harness import PROGRAMS


def test_anothers_question_is_answered_as_one_that_there_never_was_and_the_owners_own_is_settled(
    tmp_path: Path,
) -> None:
    program = str(PROGRAMS / "asking_server.py")
    servers = {"mcpServers": {"handshake": {"command": sys.executable, "args": [program, "handshake"]}}}
    settings = {"ORCHESTRATOR_ELICITATION": "ask", "ORCHESTRATOR_REQUIRE_AUTHENTICATION": "true"}
    told: list[Any] = []
    with running_service(tmp_path, servers, **settings) as service:
        mine, theirs, without = (
            {
                "x-api-key": command(
                    service, "tokens", "create", "--name", owner, "--owner", owner, "--permissions", held
                )
            }
            for owner, held in (("mine", "chat,plugins"), ("theirs", "chat,plugins"), ("poor", "models.read"))
        )
        body = request_for("handshake", "ask")
        action = {"action": "accept", "content": {"name": "Grace"}}
        with (
            service.client() as client,
            service.client() as other,
            client.stream("POST", "/api/v1/chat", json=body, headers={**EXTENSIONS, **mine}) as response,
        ):
            response_id = ""
            for event in events(response):
                response_id = response_id or event["response_id"]
                if event["type"] != "elicitation.requested":
                    continue
                real = f"/api/v1/responses/{response_id}/elicitations"
                never = f"/api/v1/responses/{UNKNOWN['response_id']}/elicitations"
                for path, missing in (
                    (real, never),
                    (f"{real}/{event['elicitation_id']}", f"{never}/{UNKNOWN['elicitation_id']}"),
                ):
                    method, sent = ("GET", None) if path == real else ("POST", action)
                    anothers = other.request(method, path, json=sent, headers=theirs)
                    unknown = other.request(method, missing, json=sent, headers=theirs)
                    assert (anothers.status_code, unknown.status_code) == (404, 404)
                    assert anothers.text.replace(response_id, "ID") == unknown.text.replace(
                        UNKNOWN["response_id"], "ID"
                    )
                    refused = [
                        other.request(method, path, json=sent, headers=head).status_code for head in ({}, without)
                    ]
                    own = other.request(method, path, json=sent, headers=mine)
                    told.append((refused, own.status_code))
    assert told == [([401, 403], 200), ([401, 403], 200)]
