"""Pins of tool definitions and the history of their changes, in a database."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.core.drift import Drifted, DriftPolicy, DriftVerdict
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.tools import ToolDefinition, definition_digest
from orchestrator.ports import DefinitionChange, PinnedDefinition
from orchestrator.store.database import Database
from orchestrator.store.tables import definition_changes, pinned_definitions, tool_definitions

_pins: Final = pinned_definitions.c
_changes: Final = definition_changes.c


class SqlDefinitionStore:
    """`DefinitionStore` in SQLite or Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_pins(self, plugin_id: str) -> Mapping[str, str]:
        def work(connection: Connection) -> dict[str, str]:
            found = connection.execute(select(_pins.tool, _pins.digest).where(_pins.plugin_id == plugin_id))
            return {row.tool: row.digest for row in found}

        return await self._database.read(work)

    async def record_sight(
        self,
        plugin_id: str,
        tools: Sequence[ToolDefinition],
        verdict: DriftVerdict,
        policy: DriftPolicy,
        at: datetime,
    ) -> None:
        def work(connection: Connection) -> None:
            _keep_definitions(connection, tools, at)
            news = _news(connection, plugin_id, verdict.drifted)
            allowed = {"outcome": "allowed", "settled_at": at} if policy == "allow" else {}
            for one in news:
                row = {"plugin_id": plugin_id, "tool": one.tool, "kind": one.kind, "policy": policy, "seen_at": at}
                digests = {"old_digest": one.old_digest, "new_digest": one.new_digest}
                connection.execute(insert(definition_changes).values(row | digests | allowed))
            for tool in verdict.pin:
                # At a first sight somebody else may have been faster; a drifted pin is replaced.
                _pin(connection, plugin_id, tool.name, definition_digest(tool), at, None, replace=bool(verdict.drifted))
            _unpin(connection, plugin_id, verdict.unpin)

        await self._database.write(work)

    async def list_pins(self, plugin_id: str) -> Sequence[PinnedDefinition]:
        def work(connection: Connection) -> list[PinnedDefinition]:
            wanted = select(pinned_definitions).where(_pins.plugin_id == plugin_id)
            found = connection.execute(wanted).mappings()
            pins = [PinnedDefinition(row["tool"], row["digest"], row["pinned_at"], row["approved_by"]) for row in found]
            return sorted(pins, key=lambda pin: pin.tool)

        return await self._database.read(work)

    async def list_changes(self, plugin_id: str, limit: int) -> Sequence[DefinitionChange]:
        old, new = tool_definitions.alias("old"), tool_definitions.alias("new")
        query = (
            select(definition_changes, old.c.definition.label("old"), new.c.definition.label("new"))
            .join(old, old.c.digest == _changes.old_digest, isouter=True)
            .join(new, new.c.digest == _changes.new_digest, isouter=True)
            .where(_changes.plugin_id == plugin_id)
            .order_by(_changes.id.desc())
            .limit(limit)
        )

        def work(connection: Connection) -> list[DefinitionChange]:
            return [_change(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def approve(self, plugin_id: str, digests: Mapping[str, str | None], by: str, at: datetime) -> None:
        def work(connection: Connection) -> None:
            for tool, digest in sorted(digests.items()):
                if digest is None:
                    _unpin(connection, plugin_id, [tool])
                else:
                    known = select(tool_definitions.c.digest).where(tool_definitions.c.digest == digest)
                    if connection.execute(known).first() is None:
                        message = f"The store has no definition '{digest}' of the tool '{tool}'."
                        raise OrchestratorError(ErrorKind.STORE_ERROR, message)
                    _pin(connection, plugin_id, tool, digest, at, by, replace=True)
                _settle(connection, plugin_id, tool, digest, by, at)

        await self._database.write(work)


def _keep_definitions(connection: Connection, tools: Sequence[ToolDefinition], at: datetime) -> None:
    rows = {definition_digest(tool): tool.as_json() for tool in tools}
    dialect = _dialect(connection)
    # In one order everywhere, so that two writers never wait for each other.
    for digest in sorted(rows):
        values = {"digest": digest, "definition": rows[digest], "first_seen_at": at}
        connection.execute(dialect.insert(tool_definitions).values(values).on_conflict_do_nothing())


def _news(connection: Connection, plugin_id: str, drifted: Iterable[Drifted]) -> list[Drifted]:
    """Those that are not written down as open already, and whose pin nobody has changed meanwhile."""
    # Whoever writes changes of the plugin waits here for the others: none is written down twice.
    locked = select(_pins.tool, _pins.digest).where(_pins.plugin_id == plugin_id).order_by(_pins.tool)
    pins = {row.tool: row.digest for row in connection.execute(locked.with_for_update())}
    open_ones = select(_changes.tool, _changes.old_digest, _changes.new_digest).where(
        _changes.plugin_id == plugin_id, _changes.outcome.is_(None)
    )
    known = {(row.tool, row.old_digest, row.new_digest) for row in connection.execute(open_ones)}
    return [
        one
        for one in drifted
        if pins.get(one.tool) == one.old_digest and (one.tool, one.old_digest, one.new_digest) not in known
    ]


def _pin(
    connection: Connection, plugin_id: str, tool: str, digest: str, at: datetime, by: str | None, *, replace: bool
) -> None:
    new = {"digest": digest, "pinned_at": at, "approved_by": by}
    statement = _dialect(connection).insert(pinned_definitions).values({"plugin_id": plugin_id, "tool": tool} | new)
    if replace:
        connection.execute(statement.on_conflict_do_update(index_elements=["plugin_id", "tool"], set_=new))
    else:
        connection.execute(statement.on_conflict_do_nothing())


def _unpin(connection: Connection, plugin_id: str, tools: Sequence[str]) -> None:
    if tools:
        connection.execute(delete(pinned_definitions).where(_pins.plugin_id == plugin_id, _pins.tool.in_(tools)))


def _settle(connection: Connection, plugin_id: str, tool: str, digest: str | None, by: str, at: datetime) -> None:
    of_tool = (_changes.plugin_id == plugin_id) & (_changes.tool == tool) & _changes.outcome.is_(None)
    approved = _changes.new_digest.is_not_distinct_from(digest)
    settled = {"settled_at": at, "settled_by": by}
    connection.execute(update(definition_changes).where(of_tool, approved).values(outcome="approved", **settled))
    connection.execute(update(definition_changes).where(of_tool).values(outcome="superseded", **settled))


def _change(row: RowMapping) -> DefinitionChange:
    return DefinitionChange(
        tool=row["tool"],
        kind=row["kind"],
        old_digest=row["old_digest"],
        new_digest=row["new_digest"],
        old=row["old"],
        new=row["new"],
        policy=row["policy"],
        seen_at=row["seen_at"],
        outcome=row["outcome"],
        settled_at=row["settled_at"],
        settled_by=row["settled_by"],
    )


def _dialect(connection: Connection):
    return sqlite if connection.dialect.name == "sqlite" else postgresql
