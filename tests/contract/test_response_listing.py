"""Listings of responses by their words: the same pages whichever way the database goes about it."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from orchestrator.core.commands import PlacedText
from orchestrator.core.items import Message, TextInput
from orchestrator.core.response import Completed
from orchestrator.core.search import parse_query
from orchestrator.ports import ResponseFilter
from orchestrator.store import search
from orchestrator.store.database import Database, open_database
from orchestrator.store.graph import SqlResponseGraph
from orchestrator.store.responses import SqlResponseStore
from tests.store.samples import MINUTE, NOON, STATS, new_response

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    """Twelve responses of two owners and two models: every one says `common`, every fourth one `rare`."""
    opened = await open_database(database_url)
    store = SqlResponseStore(opened)
    for number in range(12):
        said = "common rare" if number % 4 == 0 else "common"
        begun = replace(
            new_response(f"resp_{number:02}", at=NOON + number * MINUTE),
            owner="ada" if number % 3 else "bob",
            model_key=f"model/{number % 2}",
            input=(TextInput(said),),
        )
        await store.open_response(begun)
        last = [PlacedText(0, 1, Message("Answered."))]
        await store.save_response(begun.id, Completed(), STATS, last, [], NOON + number * MINUTE)
    yield opened
    await opened.aclose()


async def ids(graph: SqlResponseGraph, wanted: ResponseFilter, *, oldest_first: bool) -> list[str]:
    """Every page of two, one after the other."""
    found: list[str] = []
    after: int | None = None
    while True:
        page = await graph.list_responses(wanted, after, 2, oldest_first=oldest_first)
        found += [each.id for each in page.items]
        after = page.next
        if after is None:
            return found


@pytest.mark.parametrize("seldom", [0, 3, 1_000], ids=lambda bound: f"seldom below {bound}")
async def test_rare_and_frequent_words_are_found_in_order_and_by_pages(
    database: Database, seldom: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "SELDOM", seldom)
    monkeypatch.setattr(search, "SAMPLE", 8)
    graph = SqlResponseGraph(database)
    common, rare = parse_query("common", param="text"), parse_query("rare", param="text")
    for wanted, expected in (
        (ResponseFilter(None, text=common), list(range(12))),
        (ResponseFilter(None, text=rare), [0, 4, 8]),
        (ResponseFilter("bob", text=common), [0, 3, 6, 9]),
        (ResponseFilter("ada", text=rare), [4, 8]),
        (ResponseFilter(None, text=(*common, *rare), model_key="model/0"), [0, 4, 8]),
        (ResponseFilter(None, text=common, model_key="model/1", status="completed"), [1, 3, 5, 7, 9, 11]),
        (ResponseFilter(None, text=common, created_from=NOON + 5 * MINUTE, created_until=NOON + 8 * MINUTE), [5, 6, 7]),
        (ResponseFilter(None, model_key="model/1", created_from=NOON + 6 * MINUTE), [7, 9, 11]),
        (ResponseFilter(None, text=parse_query("absent", param="text")), []),
    ):
        named = [f"resp_{number:02}" for number in expected]
        assert await ids(graph, wanted, oldest_first=True) == named
        assert await ids(graph, wanted, oldest_first=False) == named[::-1]
