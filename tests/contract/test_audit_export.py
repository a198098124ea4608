"""What an export has, whatever its pages are like: every call once, in order, and as it is without an export."""

import csv
import io
import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.response import Completed
from orchestrator.ports.audit import ArgumentPattern, CallFilter, ExportedCall
from orchestrator.service import audit_export as service_export
from orchestrator.service.audit_export import ExportFormat, written
from orchestrator.store import audit_export as store_export
from tests.store.samples import MINUTE, NOON, STATS, answered, call, invented_call, new_response, settled
from tests.store.stores import Stores, open_stores

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

ODD = '\x00 "\udc80,\r\n=é'


@pytest.fixture
async def stores(database_url: str) -> AsyncGenerator[Stores]:
    """Those of a database: the twin exports nothing."""
    async with open_stores(database_url) as opened:
        yield opened


@pytest.fixture
async def journal(stores: Stores) -> Stores:
    """Nine calls, three of them of the same moment; every other one has an output that is long."""
    store = stores.responses
    await store.open_response(new_response("resp_a"))
    for place in range(9):
        answer = f"{place}{ODD}" + ("long" * 10_000 if place % 2 else "")
        placed = settled(call(place, f"call_{place}", arguments={"path": ODD}), answered(answer, duration_ms=place))
        await store.journal_calls("resp_a", [placed], NOON + max(place, 3) * MINUTE)
    await store.save_response("resp_a", Completed(), STATS, [invented_call(9, "call_9")], [], NOON + 99 * MINUTE)
    return stores


async def exported(stores: Stores, rows: int = 1_000) -> list[Sequence[ExportedCall]]:
    return [page async for page in stores.audit.export_calls(CallFilter(), rows)]


async def test_an_export_by_arguments_has_them_however_long_or_late_and_goes_on_past_those_that_are_not_like_them(
    stores: Stores,
) -> None:
    await stores.responses.open_response(new_response("resp_a"))
    endings = ("x", "secret.env", "y", "z", "secret.env")
    for place, ending in enumerate(endings):
        placed = call(place, f"call_{place}", arguments={"path": "a" * 300 + ending})
        await stores.responses.journal_calls("resp_a", [placed], NOON + place * MINUTE)
    late = call(9, "call_9", arguments={"numbers": [*range(100)], "path": "secret.env"})
    await stores.responses.journal_calls("resp_a", [late], NOON + 9 * MINUTE)
    wanted = CallFilter(arguments=(ArgumentPattern("path", "*secret.env"),))
    for rows in (1, 2, 1_000):
        found = [each.call_id async for page in stores.audit.export_calls(wanted, rows) for each in page]
        assert found == ["call_1", "call_4", "call_9"]


async def test_every_call_is_there_once_and_in_order_whatever_a_page_holds(
    journal: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = await exported(journal)
    assert [each.call_id for each in whole] == [f"call_{place}" for place in range(10)]
    assert [(each.journaled_sequence, each.settled_sequence) for each in whole] == [
        (2 * place + 1, 2 * place + 2) for place in range(10)
    ]
    for each in whole:
        told = await journal.audit.get_call(each.call_id, None)
        assert told is not None
        assert (each.output, each.shown, each.reason) == (told.output, told.shown, told.reason)
        assert each.arguments is not None
        assert json.loads(each.arguments) == told.arguments
    for rows in (1, 2, 4):
        assert [each for page in await exported(journal, rows) for each in page] == list(whole)
    monkeypatch.setattr(store_export, "LARGE_PAGE", 50_000)
    assert [each for page in await exported(journal) for each in page] == list(whole)


async def test_a_page_ends_early_where_what_it_holds_is_large(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_export, "LARGE_PAGE", 100_000)
    await stores.responses.open_response(new_response("resp_a"))
    calls = [settled(call(place, f"call_{place}"), answered("long" * 10_000)) for place in range(5)]
    await stores.responses.save_response("resp_a", Completed(), STATS, calls, [], NOON)
    assert [len(page) for page in await exported(stores)] == [2, 2, 1]


async def records(pages: Sequence[Sequence[ExportedCall]], form: ExportFormat) -> list[dict[str, Any]]:
    """An export as readers of its format see it."""

    async def read() -> AsyncGenerator[Sequence[ExportedCall]]:
        for page in pages:
            yield page

    content = b"".join([piece async for piece in written(read(), form)])
    if form == "jsonl":
        return [json.loads(line) for line in content.splitlines()]
    if form == "csv":
        return list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs] - it has none

    parquet: Any = pq
    return parquet.read_table(io.BytesIO(content)).to_pylist()


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
async def test_an_export_is_the_same_however_it_is_cut_into_pages(
    journal: Stores, form: ExportFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await exported(journal)
    expected = await records(whole, form)
    assert [record["call_id"] for record in expected] == [each.call_id for each in whole[0]]
    monkeypatch.setattr(service_export, "ROW_GROUP", 3)
    assert await records(await exported(journal, 2), form) == expected
    monkeypatch.setattr(service_export, "LARGE_ROW_GROUP", 1)
    assert await records(await exported(journal, 2), form) == expected


async def test_what_was_read_before_a_failure_is_handed_out_and_the_failure_is_told(journal: Stores) -> None:
    [page] = await exported(journal)
    failure = OrchestratorError(ErrorKind.STORE_ERROR, "The database is gone.")
    closed = False

    async def read() -> AsyncGenerator[Sequence[ExportedCall]]:
        nonlocal closed
        try:
            yield page
            raise failure
        finally:
            closed = True

    pieces = written(read(), "jsonl")
    with pytest.raises(OrchestratorError) as caught:
        async for _ in pieces:
            pass
    assert caught.value is failure
    assert closed


async def test_a_reader_who_leaves_leaves_nothing_open(journal: Stores) -> None:
    [page] = await exported(journal)
    closed = False

    async def read() -> AsyncGenerator[Sequence[ExportedCall]]:
        nonlocal closed
        try:
            while True:
                yield page
        finally:
            closed = True

    pieces = written(read(), "jsonl")
    assert len((await anext(pieces)).splitlines()) == len(page)
    await pieces.aclose()
    assert closed


async def test_no_page_has_a_call_twice_or_misses_one_while_others_are_written(stores: Stores) -> None:
    """A cursor names a place and not a number of rows: what is journaled meanwhile moves nothing."""
    store = stores.responses
    await store.open_response(new_response("resp_a"))

    async def journal_at(name: str, minute: int, place: int) -> None:
        placed = replace(call(place, name), tool="now")
        await store.journal_calls("resp_a", [placed], NOON + minute * MINUTE)

    places = itertools.count(12)
    for place in range(12):
        await journal_at(f"call_old{place:02}", place // 4, place)
    for newest_first in (True, False):
        for wanted in (CallFilter(), CallFilter(tool="now"), CallFilter(tool="now", is_error=False)):
            there = [each.call_id for each in (await stores.audit.list_calls(wanted, None, 500)).calls]
            found: list[str] = []
            after = None
            while True:
                page = await stores.audit.list_calls(wanted, after, 5, newest_first=newest_first)
                found += [each.call_id for each in page.calls]
                after = page.next
                if after is None:
                    break
                for minute in (0, 2):
                    place = next(places)
                    await journal_at(f"call_{place:03}", minute, place)
            assert len(found) == len(set(found))
            assert set(there) <= set(found)
