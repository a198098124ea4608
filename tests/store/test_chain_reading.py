"""Reading chains: a number of queries that does not grow, and a memory that stays within its room."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, event

from orchestrator.core.items import TextInput
from orchestrator.core.prompt import PastResponse
from orchestrator.core.response import Completed
from orchestrator.ports import Chain
from orchestrator.store import chains
from orchestrator.store.chain_memory import ChainLink, ChainMemory
from orchestrator.store.database import Database, open_database
from orchestrator.store.responses import SqlResponseStore
from tests.store.samples import NOON, STATS, answered, call, new_response, settled, text

pytest_plugins = ("tests.store.databases",)


def link(id: str, parent: str | None, length: int = 1000) -> ChainLink:
    return ChainLink(id, parent, PastResponse((TextInput(id * (length // len(id))),), ()))


async def grow(store: SqlResponseStore, parent: str | None, *ids: str) -> None:
    for id in ids:
        await store.open_response(replace(new_response(id, parent), input=(TextInput(id),)))
        items = [text(0), settled(call(1, f"call_{id}"), answered(id))]
        await store.save_response(id, Completed(), STATS, items, [], NOON)
        parent = id


async def queries_of(
    database: Database, memory: ChainMemory, response_id: str, segment_length: int = 1_000
) -> tuple[Chain, int]:
    """The chain, and how many queries it took."""

    def work(connection: Connection) -> tuple[Chain, int]:
        statements: list[str] = []

        def count(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            statements.append(statement)

        event.listen(connection, "before_cursor_execute", count)
        return chains.load_chain(connection, memory, response_id, "ada", segment_length).chain, len(statements)

    return await database.read(work)


@pytest.mark.anyio
async def test_the_number_of_queries_does_not_depend_on_the_depth(database_url: str) -> None:
    database = await open_database(database_url)
    ids = [f"resp_{number}" for number in range(30)]
    await grow(SqlResponseStore(database), None, *ids)

    whole, cold = await queries_of(database, ChainMemory(), ids[-1])
    assert (await queries_of(database, ChainMemory(), ids[0]))[1] == cold == 4
    for id in ids:
        await SqlResponseStore(database, segment_length=4).load_chain(id, "ada")
    in_pieces = [(await queries_of(database, ChainMemory(), id, 4))[1] for id in (ids[5], ids[-1])]
    assert in_pieces == [5, 5]
    memory = ChainMemory()
    assert len((await queries_of(database, memory, ids[-2]))[0].responses) == 29
    assert await queries_of(database, memory, ids[-1]) == (whole, cold), "only the last one is read"
    assert await queries_of(database, memory, ids[-1]) == (whole, 1), "only whether it may be read is asked"
    await database.aclose()


@pytest.mark.anyio
async def test_what_is_remembered_is_not_given_to_others_nor_after_it_is_gone(database_url: str) -> None:
    database = await open_database(database_url)
    store = SqlResponseStore(database)
    await grow(store, None, "resp_a", "resp_b")
    await store.load_chain("resp_b", "ada")
    with pytest.raises(Exception, match="no stored response"):
        await store.load_chain("resp_b", "bob")
    await database.write(
        lambda connection: connection.exec_driver_sql("UPDATE responses SET stored = false WHERE id = 'resp_b'").close()
    )
    with pytest.raises(Exception, match="no stored response"):
        await store.load_chain("resp_b", "ada")
    await database.aclose()


def test_a_path_is_given_only_where_every_link_of_it_is_there() -> None:
    memory = ChainMemory()
    root, left, leaf = link("root", None), link("left", "root"), link("leaf", "left")
    memory.keep([root, leaf])
    assert memory.path("root") == (root,)
    assert memory.path("leaf") is None
    assert memory.path("other") is None
    memory.keep([left, leaf])
    assert memory.path("leaf") == (root, left, leaf)


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    memory = ChainMemory(room=6000)
    memory.keep([link("a", None), link("b", None), link("c", None)])
    assert memory.path("a") is not None
    memory.keep([link("d", None), link("e", None)])
    assert [memory.path(id) is not None for id in "abcde"] == [True, False, True, True, True]


def test_a_link_that_would_take_a_quarter_of_the_room_is_not_kept() -> None:
    memory = ChainMemory(room=8000)
    memory.keep([link("large", None, 2000), link("small", None, 1000)])
    assert memory.path("large") is None
    assert memory.path("small") is not None
