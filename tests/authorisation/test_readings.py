"""Whoever reads what is not their own is written down, by whatever route, and whoever reads their own is not."""

from pathlib import Path
from typing import Any

import pytest

from tests.timing.test_ids_of_others import V1, House, opened

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

ROUTES = [
    ("/tool-calls?owner=*", "list"),
    ("/tool-calls", "list"),
    ("/tool-calls/CALL", "get"),
    ("/tool-calls/stats?owner=*", "stats"),
    ("/tool-calls/export?owner=*", "export"),
    ("/tool-calls/events", "events"),
    ("/responses?owner=*", "responses"),
    ("/responses/RESPONSE?owner=*", "response"),
    ("/responses/RESPONSE/chain?owner=*", "chain"),
    ("/responses/RESPONSE/tree?owner=*", "tree"),
    ("/responses/diff?a=RESPONSE&b=RESPONSE&owner=*", "diff"),
]


async def readings(house: House) -> list[dict[str, Any]]:
    """What was read by others than the owner, who asks here, the newest first."""
    _, told = await house.ask("GET", f"{V1}/tool-calls/events?limit=100", None, house.owner)
    return [event for event in told["events"] if event["kind"] == "reading"]


async def test_each_reading_of_what_is_anothers_is_recorded_once(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(tmp_path, sqlite_url) as house:
        body = {"name": "auditor", "permissions": ["chat", "audit.read_all"]}
        _, made = await house.ask("POST", f"{V1}/tokens", body, house.owner)
        auditor: str = made["token"]
        recorded: list[tuple[str, list[str]]] = []
        for path, _ in ROUTES:
            there = path.replace("CALL", house.ids["call"][0]).replace("RESPONSE", house.ids["response"][0])
            before = await readings(house)
            status, told = await house.ask("GET", f"{V1}{there}", None, auditor)
            assert status == 200, (path, told)
            new = (await readings(house))[: -len(before) or None]
            who = [event for event in new if event["token_id"] == made["id"]]
            recorded.append((path, [use_of(event) for event in who]))
        assert recorded == [(path, [use]) for path, use in ROUTES]


def use_of(event: dict[str, Any]) -> str:
    """What was read; the journal and the graph of responses name it differently."""
    return str(event["details"].get("use") or event["details"]["what"])


async def test_who_reads_their_own_is_not_recorded_and_who_may_not_read_is_refused(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with opened(tmp_path, sqlite_url) as house:
        before = len(await readings(house))
        for path, _ in ROUTES:
            there = path.replace("CALL", house.ids["call"][0]).replace("RESPONSE", house.ids["response"][0])
            status, _ = await house.ask("GET", f"{V1}{there}", None, house.stranger)
            assert (status == 200) == (path == "/tool-calls"), (path, status)
        own = [
            ("GET", f"{V1}/responses/{house.ids['response'][0]}"),
            ("GET", f"{V1}/tool-calls/{house.ids['call'][0]}"),
        ]
        for method, path in own:
            assert (await house.ask(method, path, None, house.owner))[0] == 200
        # Each look at the events is a reading itself, and is recorded before it is answered.
        assert len(await readings(house)) == before + 1
