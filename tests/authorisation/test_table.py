"""Who may ask what: a row for every route, asked of a running service that requires authentication."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest
from sqlalchemy import create_engine, text

from orchestrator.core.download_claims import DownloadClaim
from orchestrator.core.downloads import DownloadJob, DownloadPlan
from orchestrator.core.permissions import PERMISSIONS
from orchestrator.store.database import open_database
from orchestrator.store.jobs import SqlJobStore
from tests.api.house import house
from tests.e2e.running import DEMO_MODEL, RunningService, environment, running_service

V1: Final = "/api/v1"
RESPONSE: Final = f"{V1}/responses/{{response_id:str}}"
CONVERSATION: Final = "/v1/conversations/{conversation_id:str}"
OPENAI_RESPONSE: Final = "/v1/responses/{response_id:str}"
PLUGIN: Final = f"{V1}/plugins/mcp/{{label:str}}"
JOB: Final = f"{V1}/models/download/{{job_id:str}}"
CHAT: Final[Mapping[str, Any]] = {"model": DEMO_MODEL, "input": "hello", "max_output_tokens": 1}
COMPLETION: Final[Mapping[str, Any]] = {
    "model": DEMO_MODEL,
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 1,
}
UNKNOWN: Final[Mapping[str, str]] = {
    "response_id": "resp_" + "0" * 48,
    "thread_id": "thread_" + "0" * 48,
    "call_id": "call_" + "0" * 24,
    "conversation_id": "conv_" + "0" * 48,
    "job_id": "job_" + "0" * 10,
    "token_id": "Nobody00",
    "elicitation_id": "elicit_" + "0" * 24,
}
"""An id of each kind that there never was."""


@dataclass(frozen=True)
class Row:
    """A route. `needs` is the permission that it wants, None for a route that is open to all.

    `right` is what the owner gets who has that permission alone, `other` what an owner gets to whom nothing in the
    path or the body belongs: the answer to an id that there never was, unless the route knows no ids of owners.
    `also` are further permissions that this row of things wants; `ids` says what stands where in the path.
    """

    method: str
    path: str
    needs: str | None
    right: tuple[int, str | None] = (200, None)
    other: tuple[int, str | None] = (200, None)
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    also: tuple[str, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict[str, str])


THERE_IS_NONE: Final = (404, "response_not_found")
NO_CONVERSATION: Final = (404, "conversation_not_found")
NO_ITEM: Final = (404, "item_not_found")
NO_SUCH_METHOD: Final = (405, "method_not_allowed")
SAID: Final = {"type": "message", "role": "user", "content": "hello"}
MESSAGE: Final = {"model": DEMO_MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "hello"}]}
ANTHROPIC: Final = {
    "authentication_error": "invalid_api_key",
    "permission_error": "permission_denied",
    "invalid_request_error": "invalid_value",
}
"""What the types mean of a dialect that has no codes."""
NO_JOB: Final = (404, "job_not_found")
NO_CALL: Final = (404, "call_not_found")
PLUGINS: Final = ("plugins",)
APPROVAL: Final = {"approvals": [{"call_id": "{pending_call}", "decision": "deny"}]}
TABLE: Final = [
    Row("GET", "/health", None),
    Row("GET", "/schema", None),
    Row("GET", "/schema/openapi.json", None),
    Row("GET", "/schema/{asset:str}", None),
    Row("GET", "/metrics", "models.read"),
    Row("POST", f"{V1}/chat", "chat", body=CHAT),
    Row(
        "POST",
        f"{V1}/chat",
        "chat",
        body={**CHAT, "previous_response_id": "{response_id}"},
        other=(400, "invalid_value"),
    ),
    Row("POST", f"{V1}/chat", "chat", body={**CHAT, "thread_id": "{thread_id}"}, other=(400, "invalid_value")),
    Row(
        "POST",
        "/v1/embeddings",
        "chat",
        (400, "invalid_value"),
        (400, "invalid_value"),
        {"model": DEMO_MODEL, "input": "x"},
    ),
    Row("POST", "/v1/responses", "chat", body=CHAT),
    Row(
        "POST",
        "/v1/responses",
        "chat",
        body={**CHAT, "previous_response_id": "{response_id}"},
        other=(400, "previous_response_not_found"),
    ),
    Row("POST", "/v1/messages", "chat", body=MESSAGE),
    Row(
        "POST",
        "/v1/messages",
        "chat",
        body={**MESSAGE, "previous_response_id": "{response_id}"},
        other=(400, "invalid_value"),
    ),
    Row("POST", "/v1/messages/count_tokens", "chat", body={"model": DEMO_MODEL, "messages": MESSAGE["messages"]}),
    Row("POST", "/v1/responses/input_tokens", "chat", body={"model": DEMO_MODEL, "input": "hello"}),
    Row(
        "POST",
        "/v1/responses/input_tokens",
        "chat",
        body={"model": DEMO_MODEL, "input": "hello", "previous_response_id": "{response_id}"},
        other=(400, "previous_response_not_found"),
    ),
    Row(
        "POST",
        "/v1/responses/compact",
        "chat",
        body={"model": DEMO_MODEL, "previous_response_id": "{response_id}"},
        other=(400, "previous_response_not_found"),
    ),
    Row("GET", OPENAI_RESPONSE, "chat", other=THERE_IS_NONE),
    Row("POST", f"{OPENAI_RESPONSE}/cancel", "chat", other=THERE_IS_NONE),
    Row("GET", f"{OPENAI_RESPONSE}/input_items", "chat", other=THERE_IS_NONE),
    Row("DELETE", OPENAI_RESPONSE, "chat", other=THERE_IS_NONE, ids={"response_id": "spare_response"}),
    Row("POST", "/v1/conversations", "chat", body={"items": [{"role": "user", "content": "hello"}]}),
    Row("GET", CONVERSATION, "chat", other=NO_CONVERSATION),
    Row("POST", CONVERSATION, "chat", body={"metadata": {}}, other=NO_CONVERSATION),
    Row("GET", f"{CONVERSATION}/items", "chat", other=NO_CONVERSATION),
    Row("POST", f"{CONVERSATION}/items", "chat", body={"items": [SAID]}, other=NO_CONVERSATION),
    Row("GET", f"{CONVERSATION}/items/{{item_id:str}}", "chat", NO_ITEM, NO_CONVERSATION),
    Row("DELETE", f"{CONVERSATION}/items/{{item_id:str}}", "chat", NO_SUCH_METHOD, NO_CONVERSATION),
    Row("DELETE", CONVERSATION, "chat", other=NO_CONVERSATION, ids={"conversation_id": "spare_conversation"}),
    Row("POST", "/v1/chat/completions", "chat", body=COMPLETION),
    Row("POST", "/v1/completions", "chat", body={"model": DEMO_MODEL, "prompt": "hello", "max_tokens": 1}),
    Row("GET", "/v1/models", "models.read"),
    Row("GET", "/v1/models/{model_id:path}", "models.read"),
    Row("GET", f"{V1}/responses", "chat"),
    Row("GET", RESPONSE, "chat", other=THERE_IS_NONE),
    Row("GET", f"{RESPONSE}/chain", "chat", other=THERE_IS_NONE),
    Row("GET", f"{RESPONSE}/tree", "chat", other=THERE_IS_NONE),
    Row("GET", f"{V1}/responses/diff", "chat", other=THERE_IS_NONE, query={"a": "{response_id}", "b": "{replay_id}"}),
    Row("POST", f"{RESPONSE}/fork", "chat", other=THERE_IS_NONE, body={"input": "hello"}, also=PLUGINS),
    Row("POST", f"{RESPONSE}/replay", "chat", other=THERE_IS_NONE, body={}, also=PLUGINS),
    Row("GET", f"{RESPONSE}/replay", "chat", other=THERE_IS_NONE, ids={"response_id": "replay_id"}),
    Row("POST", f"{RESPONSE}/chain/replay", "chat", other=THERE_IS_NONE, body={}, also=PLUGINS),
    Row("GET", f"{RESPONSE}/chain/replay", "chat", other=THERE_IS_NONE, ids={"response_id": "replay_id"}),
    Row(
        "POST",
        f"{RESPONSE}/approvals",
        "chat",
        other=THERE_IS_NONE,
        body=APPROVAL,
        also=PLUGINS,
        ids={"response_id": "pending_id"},
    ),
    Row("GET", f"{RESPONSE}/elicitations", "chat", THERE_IS_NONE, THERE_IS_NONE),
    Row(
        "POST",
        f"{RESPONSE}/elicitations/{{elicitation_id:str}}",
        "chat",
        THERE_IS_NONE,
        THERE_IS_NONE,
        {"action": "cancel"},
    ),
    Row("POST", f"{RESPONSE}/cancel", "chat", other=THERE_IS_NONE),
    Row("GET", f"{V1}/threads", "chat"),
    Row("GET", f"{V1}/threads/{{thread_id:str}}", "chat", other=(404, "thread_not_found")),
    Row("POST", f"{V1}/threads", "chat", body={"response_id": "{response_id}"}, other=(400, "invalid_value")),
    Row("GET", f"{V1}/models", "models.read"),
    Row("POST", f"{V1}/models/load", "models.manage", body={"model": DEMO_MODEL}),
    Row(
        "POST",
        f"{V1}/models/unload",
        "models.manage",
        (404, "model_not_found"),
        (404, "model_not_found"),
        {"instance_id": "absent"},
    ),
    Row(
        "POST",
        f"{V1}/models/download",
        "models.manage",
        (400, "invalid_value"),
        (400, "invalid_value"),
        {"model": "no model"},
    ),
    Row("GET", f"{V1}/models/download", "models.manage"),
    Row("GET", f"{V1}/models/download/status/{{job_id:str}}", "models.manage", other=NO_JOB),
    Row("POST", f"{JOB}/pause", "models.manage", other=NO_JOB),
    Row("POST", f"{JOB}/cancel", "models.manage", other=NO_JOB),
    Row("POST", f"{JOB}/resume", "models.manage", (400, "invalid_value"), NO_JOB),
    Row("GET", f"{V1}/tool-calls", "audit.read"),
    Row("GET", f"{V1}/tool-calls/stats", "audit.read"),
    Row("GET", f"{V1}/tool-calls/export", "audit.read"),
    Row("GET", f"{V1}/tool-calls/export/definitions", "audit.read"),
    Row("GET", f"{V1}/tool-calls/events", "audit.read_all"),
    Row("GET", f"{V1}/tool-calls/{{call_id:str}}", "audit.read", other=NO_CALL),
    Row("GET", f"{V1}/plugins", "plugins"),
    Row("GET", PLUGIN, "plugins"),
    Row("GET", f"{PLUGIN}/definitions", "plugins"),
    Row("POST", f"{PLUGIN}/definitions/approve", "admin", body={}),
    Row("POST", f"{PLUGIN}/tools/{{tool:str}}/call", "plugins", body={"arguments": {}}),
    Row(
        "POST",
        f"{PLUGIN}/tools/{{tool:str}}/call",
        "plugins",
        body={"arguments": {}, "previous_response_id": "{response_id}"},
        other=(400, "invalid_value"),
    ),
    Row(
        "POST",
        f"{PLUGIN}/resources/read",
        "plugins",
        (404, "resource_not_found"),
        (404, "resource_not_found"),
        {"uri": "no://where"},
    ),
    Row(
        "POST",
        f"{PLUGIN}/prompts/{{prompt:str}}/get",
        "plugins",
        (404, "prompt_not_found"),
        (404, "prompt_not_found"),
        {},
    ),
    Row("POST", f"{PLUGIN}/restart", "admin"),
    Row("POST", f"{V1}/integrations/check", "plugins", body={"integrations": ["mcp/clock"]}),
    Row("GET", f"{V1}/tokens", "admin"),
    Row("POST", f"{V1}/tokens", "admin", body={"name": "{fresh}", "permissions": ["chat"]}),
    Row("POST", f"{V1}/tokens/{{token_id:str}}/rotate", "admin", (200, None), (200, None), {}),
    Row("DELETE", f"{V1}/tokens/{{token_id:str}}", "admin", ids={"token_id": "spare_token"}),
    Row(
        "DELETE",
        f"{V1}/threads/{{thread_id:str}}",
        "chat",
        other=(404, "thread_not_found"),
        ids={"thread_id": "spare_id"},
    ),
    Row("DELETE", RESPONSE, "chat", other=THERE_IS_NONE, ids={"response_id": "replay_id"}),
]


@dataclass(frozen=True)
class Tokens:
    """The texts of tokens. `only` has one of the owner for each permission, `without` one that has all others."""

    only: Mapping[tuple[str, ...], str]
    without: Mapping[str, str]
    stranger: str
    expired: str
    revoked: str


@dataclass(frozen=True)
class Asked:
    """The running service, its tokens, and the ids of what belongs to their owner, by where they are used."""

    client: httpx.Client
    tokens: Tokens
    ids: Mapping[str, str]

    def ask(self, row: Row, headers: Mapping[str, str], ids: Mapping[str, str]) -> httpx.Response:
        """Ask for the row with `ids` filled in."""
        known = {
            "label": "clock",
            "tool": "get_current_time",
            "prompt": "absent",
            "elicitation_id": UNKNOWN["elicitation_id"],
            "item_id": "msg_none",
        }
        known |= {
            "asset": "page.js",
            "fresh": "x",
            "model_id": DEMO_MODEL,
            **ids,
            **{name: ids[kept] for name, kept in row.ids.items()},
        }
        path = re.sub(r"\{(\w+):(?:str|path)\}", lambda match: known[match[1]], row.path)
        body = json.loads(re.sub(r"\{(\w+)\}", lambda match: known[match[1]], json.dumps(row.body)))
        query = {name: known[value.strip("{}")] for name, value in row.query.items()}
        return self.client.request(row.method, path, json=body, params=query, headers=headers)


def command(service: RunningService, *arguments: str) -> str:
    """What a command of the product's own prints."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        cwd=service.data_dir,
        env=environment(service.data_dir),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def made_tokens(service: RunningService) -> Tokens:
    """Tokens of every kind, made by an admin over HTTP."""
    admin = command(service, "tokens", "create", "--name", "admin", "--permissions", "admin", "--owner", "mine")
    with service.client(headers={"x-api-key": admin}) as client:

        def make(name: str, permissions: list[str], owner: str, **more: Any) -> dict[str, Any]:
            body = {"name": name, "permissions": permissions, "owner": owner, **more}
            reply = client.post(f"{V1}/tokens", json=body)
            assert reply.status_code == 200, reply.text
            return reply.json()

        wanted = {(row.needs, *row.also) for row in TABLE if row.needs is not None}
        only = {each: make(f"only {' '.join(each)}", list(each), "mine")["token"] for each in sorted(wanted)}
        without: dict[str, str] = {}
        for each in PERMISSIONS:
            left = [other for other in PERMISSIONS if other not in (each, "admin", f"{each}_all")]
            without[each] = make(f"without {each}", left, "mine")["token"]
        everything = [each for each in PERMISSIONS if each not in ("admin", "audit.read_all")]
        stranger = make("stranger", everything, "theirs")["token"]
        revoked = make("revoked", everything, "mine")
        assert client.delete(f"{V1}/tokens/{revoked['id']}").status_code == 200
        expired = make("expired", everything, "mine", expires_at="2199-01-01T00:00:00Z")
    engine = create_engine(f"sqlite:///{service.data_dir / 'orchestrator.db'}")
    with engine.begin() as connection:  # nobody can make a token that has expired
        connection.execute(text("UPDATE tokens SET expires_at = '2020-01-01' WHERE id = :id"), {"id": expired["id"]})
    engine.dispose()
    return Tokens(only, without, stranger, expired["token"], revoked["token"])


def made_things(service: RunningService, tokens: Tokens) -> dict[str, str]:
    """Something of each kind that an owner can have."""
    calling = {"model": DEMO_MODEL, "temperature": 0, "input": 'Use get_current_time with timezone="Asia/Tokyo"'}
    with service.client(headers={"x-api-key": tokens.only["admin",]}) as client:

        def post(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
            reply = client.post(f"{V1}/{path}", json=dict(body))
            assert reply.status_code == 200, reply.text
            return reply.json()

        called = post("chat", {**calling, "integrations": ["mcp/clock"]})
        alone = post("chat", CHAT)
        held, let_go = (client.post("/v1/conversations", json={}).json()["id"] for _ in range(2))
        replayed = post(f"responses/{called['response_id']}/replay", {})
        ask_first = {"type": "plugin", "id": "mcp/clock", "require_approval": "always"}
        pending = post("chat", {**calling, "integrations": [ask_first]})
        assert pending["status"] == "awaiting_approval"
        thread, spare = (post("chat", {**CHAT, "reasoning_effort": "low"}) for _ in range(2))
        calls = client.get(f"{V1}/tool-calls").json()["tool_calls"]
        tokens_made = [post("tokens", {"name": name, "permissions": ["chat"]})["id"] for name in ("one", "two")]
    (waiting,) = [call["call_id"] for call in calls if call["response_id"] == pending["response_id"]]
    return {
        "response_id": called["response_id"],
        "replay_id": replayed["response_id"],
        "pending_id": pending["response_id"],
        "spare_response": alone["response_id"],
        "conversation_id": held,
        "spare_conversation": let_go,
        "pending_call": waiting,
        "call_id": calls[-1]["call_id"],
        "thread_id": thread["thread_id"],
        "spare_id": spare["thread_id"],
        "token_id": tokens_made[0],
        "spare_token": tokens_made[1],
        "job_id": anyio.run(made_job, service.data_dir),
    }


async def made_job(data_dir: Path) -> str:
    """A download that waits, for somebody to ask after."""
    plan = DownloadPlan("hugging_face", "ada/model")
    job = DownloadJob("job_0123456789", "ada/model", None, plan, "paused", datetime.now(UTC))
    database = await open_database(f"sqlite+aiosqlite:///{data_dir / 'orchestrator.db'}")
    try:
        store = SqlJobStore(database)
        await store.create_job(job)
        claim = DownloadClaim("job_9876543210", "mine", job.id, "ada/model", None, datetime.now(UTC), "paused", 0)
        await store.claim_job(claim)
    finally:
        await database.aclose()
    return claim.id


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    plugins = {"mcpServers": {"clock": {"command": "clock-mcp"}}}
    folder = tmp_path_factory.mktemp("table")
    with running_service(folder, plugins, ORCHESTRATOR_REQUIRE_AUTHENTICATION="true") as service:
        tokens = made_tokens(service)
        with service.client() as client:
            yield Asked(client, tokens, made_things(service, tokens))


def sent(token: str) -> list[dict[str, str]]:
    """Both ways in which a token can be sent."""
    return [{"Authorization": f"Bearer {token}"}, {"x-api-key": token}]


def answer(response: httpx.Response) -> tuple[int, str | None]:
    """The status, and the code of the error; its type where it has no code."""
    if response.status_code < 400:
        return response.status_code, None
    error = response.json()["error"]
    return response.status_code, error.get("code", ANTHROPIC.get(error["type"], error["type"]))


def told_of(response: httpx.Response, ids: Mapping[str, str]) -> tuple[int, str, list[str]]:
    """All that an answer tells, with the ids that were asked for taken out."""
    body = response.text
    for known in ids.values():
        body = body.replace(known, "ID")
    body = body.replace(response.headers["x-request-id"], "REQUEST")
    return response.status_code, body, sorted(name for name in response.headers if name != "date")


ROWS: Final = [pytest.param(row, id=f"{row.method} {row.path}") for row in TABLE]
GUARDED: Final = [pytest.param(row, id=f"{row.method} {row.path}") for row in TABLE if row.needs is not None]
NOBODY: Final = (401, "invalid_api_key")


@pytest.mark.anyio
async def test_every_route_has_a_row() -> None:
    async with house() as api:
        routes = {(method, route.path) for route in api.app.routes for method in route.methods if method != "OPTIONS"}
    assert {(row.method, row.path) for row in TABLE} == routes


@pytest.mark.parametrize("row", GUARDED)
def test_nobody_gets_in_without_a_token_that_is_valid(row: Row, asked: Asked) -> None:
    tokens = asked.tokens
    name, _, secret = tokens.stranger.partition(":")
    bad = ("sk-lm-abcdefgh:abcdefghijklmnopqrst", f"{name}:{secret[::-1]}", "lm-studio", tokens.expired, tokens.revoked)
    heads = [{}, {"Authorization": "Basic dXNlcjpwYXNz"}, *(head for text in bad for head in sent(text))]
    for head in heads:
        response = asked.ask(row, head, asked.ids)
        assert (answer(response), response.headers["WWW-Authenticate"]) == (NOBODY, "Bearer")


@pytest.mark.parametrize("row", GUARDED)
def test_a_token_with_every_other_permission_is_refused(row: Row, asked: Asked) -> None:
    assert row.needs is not None
    for head in sent(asked.tokens.without[row.needs]):
        assert answer(asked.ask(row, head, asked.ids)) == (403, "permission_denied")


@pytest.mark.parametrize("row", GUARDED)
def test_what_is_anothers_is_answered_as_what_there_never_was(row: Row, asked: Asked) -> None:
    if row.needs in ("admin", "audit.read_all"):  # whoever has these sees everything
        return
    for head in sent(asked.tokens.stranger):
        anothers = asked.ask(row, head, asked.ids)
        unknown = asked.ask(row, head, {**UNKNOWN, **OF_KINDS})
        if row.other[0] >= 400:
            assert told_of(anothers, asked.ids) == told_of(unknown, {**UNKNOWN, **OF_KINDS})
        assert answer(anothers) == row.other
        assert not any(mine in anothers.text.replace(str(anothers.request.url), "") for mine in asked.ids.values()) or (
            row.other[0] >= 400
        )


@pytest.mark.parametrize("row", ROWS)
def test_the_owners_token_with_that_permission_alone_gets_in(row: Row, asked: Asked) -> None:
    head = {} if row.needs is None else sent(asked.tokens.only[row.needs, *row.also])[len(row.path) % 2]
    assert answer(asked.ask(row, head, asked.ids)) == row.right


OF_KINDS: Final = {
    "replay_id": "resp_" + "1" * 48,
    "pending_id": "resp_" + "2" * 48,
    "pending_call": "call_" + "1" * 24,
    "spare_response": "resp_" + "3" * 48,
    "spare_conversation": "conv_" + "1" * 48,
    "spare_id": "thread_" + "1" * 48,
    "spare_token": "Nobody01",
}
"""Ids that nobody has, of what has no name of its own in a path."""
