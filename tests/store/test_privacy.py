"""`store: false`: what is not kept is in no file and in no table."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from orchestrator.core.commands import Outcome, PlacedText
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.items import ImageInput, Message, TextInput
from orchestrator.core.response import Cancelled, Ending, Failed
from orchestrator.store.database import open_database
from orchestrator.store.responses import SqlResponseStore
from orchestrator.store.tables import metadata
from tests.store.samples import LEASE, MINUTE, NOON, STATS, call, cut_call, invented_call, new_response
from tests.store.stores import open_stores

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

SECRET = "canary-5f1d"
SAID = Outcome("succeeded", f'["{SECRET}"]', SECRET, False, 3, f'{{"x":"{SECRET}"}}')


async def run_unstored(store: SqlResponseStore, id: str, ending: Ending | None) -> None:
    """A whole run with the secret in every field that holds content; without an ending it is abandoned."""
    secret_call = call(1, f"call_{id}_1", arguments={SECRET: SECRET})
    invalid = (
        replace(
            invented_call(2, f"call_{id}_2"),
            model_name=SECRET,
            arguments_text=SECRET,
            arguments={"x": SECRET},
            reason=SECRET,
            outcome=replace(SAID, status="invalid", is_error=True),
        ),
        replace(cut_call(3, f"call_{id}_3"), arguments_text=SECRET, reason=SECRET),
    )
    new = replace(
        new_response(id, stored=False),
        system_prompt=SECRET,
        parameters={"stop": [SECRET]},
        metadata={SECRET: SECRET},
        input=(TextInput(SECRET), ImageInput(SECRET)),
    )
    await store.open_response(new)
    await store.journal_calls(id, [PlacedText(0, 1, Message(SECRET)), secret_call, *invalid], NOON)
    if ending is not None:
        await store.record_outcome(id, secret_call.call_id, SAID, NOON)
        last = replace(call(5, f"call_{id}_5", arguments={"x": SECRET}), outcome=SAID)
        await store.save_response(id, ending, STATS, [PlacedText(4, 2, Message(SECRET)), last], [], NOON)


def everything(connection: Connection) -> str:
    return repr([[*connection.execute(select(table))] for table in metadata.sorted_tables])


async def test_nothing_of_the_content_is_written_anywhere(database_url: str) -> None:
    database = await open_database(database_url)
    store = SqlResponseStore(database)
    await run_unstored(store, "resp_a", Failed(ErrorInfo(ErrorKind.ENGINE_ERROR, SECRET, SECRET)))
    await run_unstored(store, "resp_b", Cancelled(SECRET))
    await run_unstored(store, "resp_c", None)
    await store.end_abandoned(LEASE + MINUTE, [])
    rows = await database.read(everything)
    await database.aclose()
    assert "resp_a" in rows and SECRET not in rows


async def test_an_sqlite_file_never_held_the_content_either(sqlite_url: str) -> None:
    folder = Path(sqlite_url.partition(":///")[2]).parent
    database = await open_database(sqlite_url)
    await run_unstored(SqlResponseStore(database), "resp_a", Cancelled(SECRET))
    written = b"".join([file.read_bytes() for file in sorted(folder.iterdir())])
    await database.aclose()
    assert b"resp_a" in written and SECRET.encode() not in written


async def test_the_same_run_leaves_its_content_where_it_is_to_be_stored(sqlite_url: str) -> None:
    """The canary of the tests above: it is found where there is something to find."""
    async with open_stores(sqlite_url) as stores:
        await stores.responses.open_response(replace(new_response("resp_a"), system_prompt=SECRET))
        stored = await stores.responses.get_response("resp_a", "ada")
    assert stored is not None and stored.system_prompt == SECRET
