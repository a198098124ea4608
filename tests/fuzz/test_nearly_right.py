"""Thousands of requests that are nearly right, and thousands that our own OpenAPI document makes up, against the whole service.

`ORCHESTRATOR_TEST_REQUESTS` says how many altogether: 2,000 by default, which are the same ones each time; the nightly size is
20,000, and those are new ones each time.
"""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from schemathesis.core import NotSet
from schemathesis.core.errors import InvalidSchema

from orchestrator.api.openapi import openapi_document
from tests.fuzz.asking import Asked
from tests.fuzz.grammar import SECRETS, FuzzedRequest, requests, right_requests
from tests.fuzz.service import fuzzed_service
from tests.fuzz.wire_bodies import NEEDED

pytest_plugins = ("tests.store.databases",)

ORDINARY: Final = 2_000
REQUESTS: Final = int(os.environ.get("ORCHESTRATOR_TEST_REQUESTS", str(ORDINARY)))
SECONDS: Final = 600 + REQUESTS // 5
MOST_GROWTH: Final = 24 * 1024 * 1024
"""Bytes that the process may have more, at its highest, in the second half of the requests than in the first."""
NOT_HERE: Final = {
    "/api/v1/models/download",  # no catalogue of models is reached
    "/api/v1/responses/{response_id}/elicitations/{elicitation_id}",  # nothing asks
    "/api/v1/plugins/mcp/{label}/prompts/{prompt}/get",  # the clock has none
    "/api/v1/plugins/mcp/{label}/resources/read",
    "/v1/embeddings",  # the scripted model writes
}
"""Routes that this service can only refuse."""
IN_A_LOG: Final = (
    "Traceback",
    "a request failed unexpectedly",
    "a run broke down",
    "a reply broke down",
    "failed msgspec's",
)


def many(examples: int) -> settings:
    """As many as that; a failing one is told as it was sent, because the next time the service has other ids."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        derandomize=REQUESTS <= ORDINARY,
        suppress_health_check=(
            HealthCheck.too_slow,
            HealthCheck.filter_too_much,
            HealthCheck.large_base_example,
            HealthCheck.data_too_large,
        ),
    )


def operations() -> list[tuple[str, str, list[str]]]:
    """Every route of the document, with the names of its query."""
    paths = cast("dict[str, dict[str, Any]]", openapi_document()["paths"])
    return [
        (method.upper(), path, [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"])
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method in ("get", "post", "delete")
    ]


@pytest.fixture
def asked(database_url: str, tmp_path: Path) -> Generator[Asked]:
    """The service and its client; afterwards its log is looked through."""
    with fuzzed_service(tmp_path, database_url) as service:
        with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client:
            asked = Asked(service, client)
            asked.seed()
            yield asked
            assert client.get("/health").status_code == 200
        log = service.log
    assert [secret for secret in (*service.secrets.values(), *SECRETS) if secret in log] == []
    assert [line for line in log.splitlines() if any(words in line for words in IN_A_LOG)] == []


def assert_worth_it(asked: Asked, share: int) -> None:
    """They were as many as wanted, of many kinds, got somewhere, and left the memory as it was."""
    assert len(asked.memory) >= share * 9 // 10  # hypothesis does not send the same one twice
    assert len(asked.statuses) >= 3
    assert asked.statuses[200] > share // 40  # most routes of the document are about things whose ids are made up, too
    assert asked.growth_in_the_second_half() < MOST_GROWTH


@pytest.mark.timeout(SECONDS)
def test_nearly_right_requests_get_a_reply_or_an_envelope_and_leave_nothing_behind(asked: Asked) -> None:
    share = REQUESTS * 3 // 8  # on either database

    @many(share)
    @given(requests(operations()))
    def ask(request: FuzzedRequest) -> None:
        asked.ask(request)

    ask()
    assert_worth_it(asked, share)


def get_through(asked: Asked, path: str, left: set[str]) -> None:
    """Ask the route until it does what it is asked to."""

    @many(100)
    @given(right_requests(path))
    def ask(request: FuzzedRequest) -> None:
        if path in left:
            asked.ask(request)
            if asked.last_status < 300:
                left.discard(path)

    ask()


@pytest.mark.timeout(SECONDS)
def test_every_route_with_a_body_is_got_through_by_right_requests(sqlite_url: str, tmp_path: Path) -> None:
    """Where each is refused, whatever it is, the route itself is never tried."""
    left = set(NEEDED)
    with (
        fuzzed_service(tmp_path, sqlite_url) as service,
        httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client,
    ):
        asked = Asked(service, client)
        asked.seed()

        for path in sorted(NEEDED):
            get_through(asked, path, left)
    assert left == NOT_HERE


def made_up() -> st.SearchStrategy[FuzzedRequest]:
    """Requests as our own document describes them, and such as break what it says."""
    document: Any = schemathesis.openapi.from_dict(openapi_document())  # its types are generic beyond what can be said
    strategies: list[st.SearchStrategy[Any]] = [
        operation.ok().as_strategy(generation_mode=mode)
        for operation in document.get_all_operations()
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    ]
    return _possible(st.one_of(strategies)).map(_as_request)


@st.composite
def _possible(draw: st.DrawFn, cases: st.SearchStrategy[Any]) -> Any:
    """A case that can be made: what breaks a schema is made by changing it, at times into one that nothing satisfies."""
    try:
        return draw(cases)
    except InvalidSchema:
        reject()


def _as_request(case: Any) -> FuzzedRequest:
    named: dict[str, Any] = case.query or {}
    given_headers: dict[str, Any] = dict(case.headers or {})
    query = "&".join(
        f"{quote(name, safe='')}={quote(str(one), safe='')}"
        for name, value in named.items()
        for one in (cast("list[Any]", value) if isinstance(value, list) else [value])
    )
    headers = tuple((name, str(value)) for name, value in given_headers.items() if str(value).isprintable())
    content: bytes | None = None
    if not isinstance(case.body, NotSet):
        content = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode("utf-8", "surrogatepass")
        headers = (*headers, ("Content-Type", case.media_type or "application/json"))
    target: str = case.formatted_path + (f"?{query}" if query else "")
    return FuzzedRequest(case.method, target, "admin", headers, content)


@pytest.mark.timeout(SECONDS)
def test_requests_that_our_own_document_makes_up_get_a_reply_or_an_envelope(asked: Asked) -> None:
    share = REQUESTS // 8

    @many(share)
    @given(made_up())
    def ask(request: FuzzedRequest) -> None:
        asked.ask(request)

    ask()
    assert_worth_it(asked, share)
