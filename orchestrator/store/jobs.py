"""Downloads, in a database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    bindparam,
    delete,
    func,
    insert,
    not_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.core.downloads import (
    ACTIVE,
    UNFINISHED,
    DownloadJob,
    DownloadPlan,
    DownloadProgress,
    PlannedFile,
)
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.store.database import Database
from orchestrator.store.rows import Row
from orchestrator.store.tables import jobs

_ACTIVE: Final[ColumnElement[bool]] = jobs.c.state.in_(sorted(ACTIVE))
_UNFINISHED: Final[ColumnElement[bool]] = jobs.c.state.in_(sorted(UNFINISHED))
_OLDEST_FIRST: Final = (jobs.c.started_at, jobs.c.id)


class SqlJobStore:
    """`JobStore` in SQLite or Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_job(self, job: DownloadJob) -> DownloadJob:
        def work(connection: Connection) -> DownloadJob:
            # An unfinished job of the same identity stands in the way as a row of the same key would.
            if _inserted(connection, job):
                return job
            wanted = select(jobs).where(jobs.c.identity == job.plan.identity, _UNFINISHED)
            row = connection.execute(wanted).mappings().one_or_none()
            if row is None:  # it ended in between, or the id is taken
                connection.execute(insert(jobs), _row(job))
                return job
            return _job(row)

        return await self._database.write(work)

    async def get_job(self, job_id: str) -> DownloadJob | None:
        found = await self._select(select(jobs).where(jobs.c.id == job_id))
        return found[0] if found else None

    async def active_jobs(self) -> Sequence[DownloadJob]:
        return await self._select(select(jobs).where(_ACTIVE).order_by(*_OLDEST_FIRST))

    async def list_jobs(self) -> Sequence[DownloadJob]:
        return await self._select(select(jobs).order_by(jobs.c.started_at.desc(), jobs.c.id.desc()))

    async def forget_jobs(self, ended_before: datetime) -> int:
        old = func.coalesce(jobs.c.completed_at, jobs.c.started_at) < ended_before

        def work(connection: Connection) -> int:
            return connection.execute(delete(jobs).where(not_(_UNFINISHED), old)).rowcount

        return await self._database.write(work)

    async def change_job(self, before: DownloadJob, after: DownloadJob) -> bool:
        unchanged = (
            jobs.c.id == before.id,
            jobs.c.state == before.state,
            jobs.c.holder.is_not_distinct_from(before.holder),
        )

        def work(connection: Connection) -> bool:
            if after.state in UNFINISHED and before.state not in UNFINISHED:
                same = select(jobs.c.id).where(jobs.c.identity == before.plan.identity, _UNFINISHED)
                if connection.execute(same).first() is not None:
                    return False
            return connection.execute(update(jobs).where(*unchanged).values(_changing(after))).rowcount == 1

        return await self._database.write(work)

    async def record_progress(
        self, holder: str, progress: Mapping[str, DownloadProgress], lease_until: datetime
    ) -> frozenset[str]:
        if not progress:
            return frozenset()
        held = jobs.c.holder == holder  # only an active job has one
        rows = [
            {"job_id": job_id, "downloaded": now.downloaded_bytes, "total": now.total_size_bytes, "until": lease_until}
            for job_id, now in sorted(progress.items())  # in one order everywhere, so that no two wait for each other
        ]
        statement = update(jobs).where(jobs.c.id == bindparam("job_id"), held)
        statement = statement.values(
            downloaded_bytes=bindparam("downloaded"),
            total_size_bytes=bindparam("total"),
            lease_until=bindparam("until"),
        )

        def work(connection: Connection) -> frozenset[str]:
            connection.execute(statement, rows)
            kept = select(jobs.c.id).where(jobs.c.id.in_(list(progress)), held)
            return frozenset(connection.execute(kept).scalars())

        return await self._database.write(work)

    async def _select(self, statement: Select[Any]) -> list[DownloadJob]:
        def work(connection: Connection) -> list[DownloadJob]:
            return [_job(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work)


def _inserted(connection: Connection, job: DownloadJob) -> bool:
    """Whether there was room for the job: no row of its id, and no unfinished one of its identity."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return connection.execute(dialect.insert(jobs).values(_row(job)).on_conflict_do_nothing()).rowcount == 1


def _row(job: DownloadJob) -> Row:
    plan = job.plan
    return {
        "id": job.id,
        "identity": plan.identity,
        "model": job.model,
        "quantization": job.quantization,
        "source": plan.source,
        "reference": plan.reference,
        "revision": plan.revision,
        "files": [[file.path, file.name, file.size_bytes, file.sha256] for file in plan.files],
        "started_at": job.started_at,
        **_changing(job),
    }


def _changing(job: DownloadJob) -> Row:
    """The columns that change while a job lives."""
    return {
        "state": job.state,
        "downloaded_bytes": job.progress.downloaded_bytes,
        "total_size_bytes": job.progress.total_size_bytes,
        "error_kind": None if job.error is None else job.error.kind.value,
        "error_message": None if job.error is None else job.error.message,
        "error_param": None if job.error is None else job.error.param,
        "holder": job.holder,
        "lease_until": job.lease_until,
        "completed_at": job.completed_at,
    }


def _job(row: RowMapping) -> DownloadJob:
    error: ErrorInfo | None = None
    if row["error_kind"] is not None:
        error = ErrorInfo(ErrorKind(row["error_kind"]), row["error_message"] or "", row["error_param"])
    files = tuple(PlannedFile(*file) for file in row["files"])
    return DownloadJob(
        id=row["id"],
        model=row["model"],
        quantization=row["quantization"],
        plan=DownloadPlan(row["source"], row["reference"], row["revision"], files),
        state=row["state"],
        started_at=row["started_at"],
        progress=DownloadProgress(row["downloaded_bytes"], row["total_size_bytes"]),
        completed_at=row["completed_at"],
        error=error,
        holder=row["holder"],
        lease_until=row["lease_until"],
    )
