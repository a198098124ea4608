"""What the many requests have found, each by itself: on both databases an answer, and not a breakdown."""

from pathlib import Path

import httpx
import pytest

from tests.fuzz.service import fuzzed_service

pytest_plugins = ("tests.store.databases",)

V1 = "/api/v1"
NOBODYS = [
    ("DELETE", f"{V1}/responses/%00", 404),
    ("GET", f"{V1}/responses/a%00b", 404),
    ("GET", f"{V1}/responses/x/tree?owner=a%00b", 404),
    ("DELETE", f"{V1}/threads/%00", 404),
    ("GET", f"{V1}/tool-calls/%00", 404),
    ("GET", f"{V1}/tool-calls?response_id=%00&owner=%00", 400),
    ("GET", f"{V1}/models/download/status/%00", 404),
    ("DELETE", f"{V1}/tokens/%00", 404),
    ("GET", f"{V1}/responses?from=3407-06-11T08:45:37-00:17", 200),
    ("GET", f"{V1}/responses?from=0001-01-01&to=9999-12-31", 200),
    ("GET", f"{V1}/responses?to=9999-12-31T23:59:59-10:00", 400),
    ("GET", f"{V1}/responses?from=0001-01-01T00:00:00%2B10:00", 400),
    ("GET", f"{V1}/tool-calls?from=0001-01-01&to=9999-12-31", 200),
    ("GET", f"{V1}/tool-calls?to=9999-12-31T23:59:59-10:00", 400),
]


@pytest.mark.timeout(300)
def test_what_once_broke_it_gets_an_answer(database_url: str, tmp_path: Path) -> None:
    with (
        fuzzed_service(tmp_path, database_url) as service,
        httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client,
    ):
        headers = {"x-api-key": service.tokens["admin"]}
        told = [
            (method, path, client.request(method, path, headers=headers).status_code) for method, path, _ in NOBODYS
        ]
    assert told == NOBODYS
