"""Conversations from before there were digests of them."""

from dataclasses import replace

import pytest

from orchestrator.core.items import FunctionCallInput, FunctionOutput, TextInput
from orchestrator.core.transcript import EMPTY, extended_transcript
from orchestrator.store import migrate
from orchestrator.store.database import open_database
from orchestrator.store.responses import SqlResponseStore
from tests.store.readings import finish
from tests.store.samples import new_response, text
from tests.store.test_migrations import empty_url as empty_url
from tests.store.test_migrations import in_database, let_go_of_responses, write_calls_of_an_earlier_version

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio


async def test_a_conversation_from_before_there_were_digests_is_known_by_those_who_continue_it(empty_url: str) -> None:
    await migrate.upgrade(empty_url, "0004")
    await in_database(empty_url, write_calls_of_an_earlier_version)
    await in_database(
        empty_url,
        lambda connection: connection.exec_driver_sql(
            "INSERT INTO input_items (response_id, position, type, content) VALUES ('resp_a', 0, 'text', 'Hello.')"
        ),
    )
    await migrate.upgrade(empty_url)
    database = await open_database(empty_url)
    store = SqlResponseStore(database)
    said = (TextInput("And?"), FunctionCallInput("call_x", "f", "{}"), FunctionOutput("call_x", "[]", name="f"))
    await finish(store, replace(new_response("resp_c", "resp_a"), input=said), text(0))
    before = extended_transcript(EMPTY, [TextInput("Hello.")], ())
    digest = extended_transcript(before, said, [text(0).item])
    assert await store.find_transcript([digest, before], "ada") == ("resp_c", digest)
    await database.aclose()
    await let_go_of_responses(empty_url)
    await migrate.downgrade(empty_url, "0015")
    left = await in_database(
        empty_url,
        lambda connection: (
            connection.exec_driver_sql("SELECT content FROM input_items ORDER BY content").scalars().all()
        ),
    )
    assert left == ["And?", "Hello."]
    await migrate.upgrade(empty_url)
    await migrate.check(empty_url)
