"""`RETENTION_KEEP_SKELETON=false`: what goes, what stays because the audit chain proves it, and who is told of it."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.core.response import Completed
from orchestrator.store.audit_links import SERVICE
from orchestrator.store.audit_verify import AuditRange, verify
from orchestrator.store.database import Database, open_database
from orchestrator.store.graph import SqlResponseGraph
from orchestrator.store.responses import SqlResponseStore
from orchestrator.store.tables import audit_events, responses, tool_calls
from tests.store.samples import CLOCK_SERVER, MINUTE, NOON, STATS, answered, call, new_response, settled, text

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

LATER = NOON + MINUTE


async def fill(database: Database) -> None:
    """Two chains: one response that called a tool and one after it that did not, and one that never did."""
    store = SqlResponseStore(database)
    for id, previous, items in (
        ("resp_called", None, [text(0), settled(replace(call(1, "call_1"), server=CLOCK_SERVER), answered("noon"))]),
        ("resp_after", "resp_called", [text(0)]),
        ("resp_plain", None, [text(0)]),
    ):
        await store.open_response(new_response(id, previous))
        await store.save_response(id, Completed(), STATS, items, [], LATER)


async def left(database: Database) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The rows of responses and calls that there are, and what the events say of deletions."""
    nodes = select(responses.c.id, responses.c.stored, responses.c.system_prompt, responses.c.previous_response_id)
    calls = select(tool_calls.c.call_id, tool_calls.c.tool, tool_calls.c.arguments, tool_calls.c.server_address)
    events = select(audit_events.c.actor, audit_events.c.token_id, audit_events.c.details)
    told = events.where(audit_events.c.kind == "deletion").order_by(audit_events.c.sequence)
    return await database.read(
        lambda connection: (
            [tuple(row) for row in connection.execute(nodes.order_by(responses.c.id))],
            [tuple(row) for row in connection.execute(calls)],
            [(actor, token, json.loads(details)) for actor, token, details in connection.execute(told)],
        )
    )


async def test_a_response_whose_calls_are_in_the_chain_leaves_its_bare_row_and_nothing_else_does(
    database_url: str,
) -> None:
    database = await open_database(database_url)
    await fill(database)
    graph = SqlResponseGraph(database)
    await graph.delete_response("resp_called", "ada", LATER, subtree=True, keep_skeleton=False, token_id="abcd1234")
    await graph.delete_response("resp_plain", "ada", LATER, subtree=False, keep_skeleton=False)
    nodes, calls, told = await left(database)
    proof = await verify(database, AuditRange(None, 1, None), [])
    await database.aclose()
    assert nodes == [("resp_called", False, None, None)]
    assert calls == [("call_1", "now", None, "python3")]
    assert proof.problem is None
    ids = ["resp_called", "resp_after"]
    assert told == [
        ("ada", "abcd1234", {"reason": "subtree", "response_id": ids[0], "responses": 2, "response_ids": ids}),
        (
            "ada",
            None,
            {"reason": "request", "response_id": "resp_plain", "responses": 1, "response_ids": ["resp_plain"]},
        ),
    ]


async def test_retention_tells_the_audit_what_it_deleted(database_url: str) -> None:
    database = await open_database(database_url)
    await fill(database)
    graph = SqlResponseGraph(database)
    await graph.prune_older(NOON + timedelta(days=1), None, 10, LATER, keep_skeleton=False)
    nodes, _, told = await left(database)
    proof = await verify(database, AuditRange(None, 1, None), [])
    await database.aclose()
    [(actor, token, details)] = told
    assert (actor, token, details["reason"], sorted(details["response_ids"])) == (
        *(SERVICE, None, "retention"),
        ["resp_after", "resp_called", "resp_plain"],
    )
    assert [id for id, *_ in nodes] == ["resp_called"]
    assert proof.problem is None


async def test_retention_names_the_calls_of_every_branch_that_it_erases(database_url: str) -> None:
    database = await open_database(database_url)
    store, graph = SqlResponseStore(database), SqlResponseGraph(database)
    for place in range(4):
        id, at = f"resp_{place}", NOON + place * MINUTE
        await store.open_response(new_response(id, at=at))
        await store.save_response(id, Completed(), STATS, [settled(call(0, f"call_{place}"), answered("noon"))], [], at)
    assert await graph.prune_beyond(1, 100, LATER, keep_skeleton=True) == 3
    report = await verify(database)
    await database.aclose()
    assert (report.problem, report.erased) == (None, 6), "nothing looks as if somebody had emptied it by hand"
