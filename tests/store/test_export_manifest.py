"""An export over HTTP leaves its manifest in the audit, once it was read to its end."""

import hashlib
from typing import Any

import pytest

from orchestrator.api.tool_calls import EXPORT_ID_HEADER, ExportStream
from orchestrator.ports.audit import CallFilter
from orchestrator.service.audit import AuditService
from orchestrator.service.callers import Caller
from orchestrator.store.audit import SqlAuditStore
from orchestrator.store.database import open_database
from orchestrator.store.responses import SqlResponseStore
from tests.store.test_audit_chain import write_everything

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

AUDITOR = Caller("eve", "abcd1234", frozenset({"audit.read_all"}))


class Reader:
    """A client that goes away after so many pieces."""

    def __init__(self, patience: int = 1000) -> None:
        self.body = b""
        self.patience = patience

    async def send(self, message: Any) -> None:
        self.patience -= 1
        if self.patience < 0:
            raise ConnectionResetError
        self.body += message["body"]

    async def receive(self) -> Any:
        raise AssertionError("nobody asks")


async def test_the_manifest_says_what_was_exported_and_what_of(database_url: str) -> None:
    database = await open_database(database_url)
    await write_everything(SqlResponseStore(database))
    store = SqlAuditStore(database)
    audit = AuditService(store)
    reader = Reader()
    export = ExportStream(await audit.export_calls(AUDITOR, CallFilter(owner="ada")), "jsonl")
    await export.send_body(reader.send, reader.receive)
    heads = [head for head in await store.heads() if head.owner == "ada"]
    [told] = [event for event in await store.list_events(None, 10) if event.kind == "export"]
    with pytest.raises(ConnectionResetError):
        gone = Reader(patience=0)
        await ExportStream(await audit.export_calls(AUDITOR, CallFilter()), "csv").send_body(gone.send, gone.receive)
    events = [event.kind for event in await store.list_events(None, 10)]
    await database.aclose()
    lines = reader.body.splitlines()
    assert (told.actor, told.token_id) == ("eve", "abcd1234")
    assert told.details == {
        "export_id": export.headers[EXPORT_ID_HEADER],
        "format": "jsonl",
        "asked": {"owner": "ada"},
        "calls": len(lines),
        "first_call_id": told.details["first_call_id"],
        "last_call_id": told.details["last_call_id"],
        "bytes": len(reader.body),
        "sha256": hashlib.sha256(reader.body).hexdigest(),
        "heads": [[head.owner, head.sequence, head.hash] for head in heads],
    }
    for line, name in ((lines[0], "first_call_id"), (lines[-1], "last_call_id")):
        assert f'"{told.details[name]}"'.encode() in line
    assert events.count("export") == 1, "who goes away leaves none"
