"""The OpenAPI document and the page that shows it: complete, true, and without anybody else's help."""

import hashlib
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from orchestrator.api import schema_pages
from orchestrator.api.errors import ERROR_TABLE
from orchestrator.api.openapi import openapi_document, route_paths
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadProgressed, LoadStarted, ModelReady
from orchestrator.testing import Break, Call, FakeServer, Say, ScriptedEngine, Think
from tests.api.house import House, chat_body, fake_tool, house
from tests.api.test_stream import events_in, tell_time
from tests.api.test_validation import GOOD, WRONG

pytestmark = pytest.mark.anyio

STATIC = Path(schema_pages.__file__).with_name("static")


def validator(name: str) -> jsonschema_rs.Validator:
    """The validator of one of the document's schemas."""
    document: Any = openapi_document()
    return jsonschema_rs.validator_for(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": f"#/components/schemas/{name}",
            "components": document["components"],
        }
    )


async def test_the_document_has_every_route_and_no_other() -> None:
    async with house() as api:
        served = {
            route.path_format: sorted(set(route.methods) - {"OPTIONS"})
            for route in api.app.routes
            if not route.path.startswith("/schema")
        }
        response = await api.client.get("/schema/openapi.json")
    assert response.json() == openapi_document()
    assert route_paths(response.json()) == served


def test_every_schema_is_a_schema_and_every_reference_leads_somewhere() -> None:
    document: Any = openapi_document()
    for name in document["components"]["schemas"]:
        assert validator(name)
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names == set(document["components"]["schemas"])


def test_every_code_and_every_status_of_the_table_is_in_the_document() -> None:
    document: Any = openapi_document()
    chat = document["paths"]["/api/v1/chat"]["post"]["responses"]
    everywhere = str(document)
    for kind, row in ERROR_TABLE.items():
        assert f"`{row.code or row.type}`" in everywhere, kind
    elsewhere = ("method_not_allowed", "insufficient_storage")
    assert set(chat) == {"200", "202", *(str(row.status) for row in ERROR_TABLE.values() if row.code not in elsewhere)}


def test_every_event_is_named_in_the_prose() -> None:
    document: Any = openapi_document()
    prose = document["paths"]["/api/v1/chat"]["post"]["description"]
    mapping = document["components"]["schemas"]["StreamEvent"]["discriminator"]["mapping"]
    assert [name for name in mapping if f"`{name}`" not in prose] == []


async def replies(api: House) -> dict[str, list[Any]]:
    """Real replies, by the schema that speaks of them."""
    streamed = await api.chat(stream=True, integrations=["mcp/clock"])
    chat = await api.chat(integrations=["mcp/clock"])
    path = f"/api/v1/responses/{chat.json()['response_id']}"
    asked = ("", "/chain", "/tree")
    detail, chain, tree = [(await api.client.get(f"{path}{more}")).json() for more in asked]
    found = (await api.client.get("/api/v1/responses?text=hello&limit=1")).json()
    cancelled, deleted = (await api.client.post(f"{path}/cancel")).json(), (await api.client.delete(path)).json()
    return {
        "ChatReply": [chat.json()],
        "ResponseDetailReply": [detail],
        "ChainReply": [chain],
        "ResponseListReply": [tree, found],
        "CancellationReply": [cancelled],
        "DeletionReply": [deleted],
        "StreamEvent": [data for _, _, data in events_in(streamed.text)],
        "ModelList": [(await api.client.get("/api/v1/models")).json()],
        "Health": [(await api.client.get("/health")).json()],
        "ErrorEnvelope": [(await api.client.get("/nope")).json(), (await api.chat(model=5)).json()],
    }


async def test_what_is_sent_is_what_the_document_says() -> None:
    load = [LoadStarted(), LoadProgressed(0.5), ModelReady(1.5)]
    error = OrchestratorError(ErrorKind.ENGINE_ERROR, "No.")
    told: dict[str, list[Any]] = {}
    for ending in (Say("It is noon."), Break(error)):
        script = [[Think("Hm"), Call("now"), Call("fly"), Call("now", "[]")], [ending], [Call("now")], [Say("Noon.")]]
        async with house(
            ScriptedEngine(script, load=load), {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}
        ) as api:
            for name, values in (await replies(api)).items():
                told.setdefault(name, []).extend(values)
    for name, values in told.items():
        checker = validator(name)
        assert [str(problem) for value in values for problem in checker.iter_errors(value)] == []


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_what_is_taken_is_what_the_document_says(changes: dict[str, Any]) -> None:
    assert validator("ChatBody").is_valid(chat_body(**changes))


AN_INTEGER_TO_JSON_SCHEMA = {"top_k": 5.0}


@pytest.mark.parametrize(
    "changes",
    [case[0] for case in WRONG if case[1] != "invalid_value" and case[0] != AN_INTEGER_TO_JSON_SCHEMA],
    ids=str,
)
def test_what_is_refused_for_its_shape_is_not_what_the_document_says(changes: dict[str, Any]) -> None:
    assert not validator("ChatBody").is_valid(chat_body(**changes))


def test_the_examples_are_what_the_document_says() -> None:
    document: Any = openapi_document()
    operation = document["paths"]["/api/v1/chat"]["post"]
    for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
        assert validator("ChatBody").is_valid(example["value"])
    assert validator("ChatReply").is_valid(operation["responses"]["200"]["content"]["application/json"]["example"])


async def test_the_page_asks_for_nothing_beyond_its_own_files() -> None:
    async with house() as api:
        page = await api.client.get("/schema")
        policy = page.headers["Content-Security-Policy"]
        files = re.findall(r'(?:src|href)="(/schema/[^"]+)"', page.text)
        answers = [await api.client.get(path) for path in files]
        missing = await api.client.get("/schema/swagger-ui.css.map")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "http" not in page.text
    assert "unsafe" not in policy
    assert "http" not in policy
    assert [answer.status_code for answer in answers] == [200] * 5
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_endpoint")


async def test_a_path_that_leaves_the_folder_of_the_page_leads_nowhere() -> None:
    async with house() as api:
        answers = [
            await api.client.get(path)
            for path in (
                "/schema/..%2Fopenapi.py",
                "/schema/%2e%2e",
                "/schema/swagger-ui%2FLICENSE",
                "/schema/page.html",
            )
        ]
    assert [answer.status_code for answer in answers] == [404] * 4


def test_what_is_shipped_is_what_its_note_says() -> None:
    folder = STATIC / "swagger-ui"
    note = (folder / "ORIGIN.md").read_text()
    rows = re.findall(r"\| `([^`]+)` \| (\d+) \| `([0-9a-f]{64})` \|", note)
    found = {
        (path.name, str(path.stat().st_size), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.iterdir()
        if path.name != "ORIGIN.md"
    }
    assert set(rows) == found
    assert sum(int(size) for _, size, _ in rows) < 2_000_000
