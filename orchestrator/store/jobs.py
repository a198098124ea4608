"""Downloads, in a database."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
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

from orchestrator.core.download_claims import DownloadClaim, Wish, outvoted
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
from orchestrator.store.download_tables import download_claims
from orchestrator.store.rows import Row
from orchestrator.store.tables import jobs

_ACTIVE: Final[ColumnElement[bool]] = jobs.c.state.in_(sorted(ACTIVE))
_UNFINISHED: Final[ColumnElement[bool]] = jobs.c.state.in_(sorted(UNFINISHED))
_LESS: Final = frozenset({"paused", "cancelled"})
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
            gone = select(jobs.c.id).where(not_(_UNFINISHED), old)
            connection.execute(delete(download_claims).where(download_claims.c.job_id.in_(gone)))
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
            if after.state in _LESS:
                _lock(connection, before.id)  # or a claim comes in that this does not see
                if outvoted(_wishes(connection, before.id), after.state):
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

    async def find_unfinished(self, identity: str) -> DownloadJob | None:
        found = await self._select(select(jobs).where(jobs.c.identity == identity, _UNFINISHED))
        return found[0] if found else None

    async def claim_job(self, claim: DownloadClaim) -> DownloadClaim | None:
        own = select(download_claims).where(
            download_claims.c.owner == claim.owner,
            download_claims.c.job_id == claim.job_id,
            download_claims.c.wish != "cancelled",
        )

        def work(connection: Connection) -> DownloadClaim | None:
            if _lock(connection, claim.job_id) in (None, "cancelled"):
                return None
            row = connection.execute(own).mappings().first()
            if row is not None:
                return _claim(row)
            connection.execute(insert(download_claims), asdict(claim))
            return claim

        return await self._database.write(work)

    async def get_claim(self, claim_id: str, owner: str | None) -> tuple[DownloadClaim, DownloadJob] | None:
        found = await self._claims(owner, download_claims.c.id == claim_id)
        return found[0] if found else None

    async def list_claims(self, owner: str | None) -> Sequence[tuple[DownloadClaim, DownloadJob]]:
        return await self._claims(owner)

    async def change_claim(self, before: DownloadClaim, after: DownloadClaim) -> bool:
        same = (
            download_claims.c.id == before.id,
            download_claims.c.wish == before.wish,
            download_claims.c.job_id == before.job_id,
        )
        change = {"wish": after.wish, "job_id": after.job_id, "downloaded_bytes": after.downloaded_bytes}

        def work(connection: Connection) -> bool:
            if _lock(connection, after.job_id) is None:
                return False
            return connection.execute(update(download_claims).where(*same).values(change)).rowcount == 1

        return await self._database.write(work)

    async def wishes(self, job_id: str) -> frozenset[Wish]:
        return await self._database.read(lambda connection: _wishes(connection, job_id))

    async def _claims(self, owner: str | None, *which: ColumnElement[bool]) -> list[tuple[DownloadClaim, DownloadJob]]:
        whose = () if owner is None else (download_claims.c.owner == owner,)
        wanted = select(download_claims).where(*which, *whose)
        newest_first = wanted.order_by(download_claims.c.asked_at.desc(), download_claims.c.id.desc())

        def work(connection: Connection) -> list[tuple[DownloadClaim, DownloadJob]]:
            claims = [_claim(row) for row in connection.execute(newest_first).mappings()]
            ids = {claim.job_id for claim in claims}
            rows = connection.execute(select(jobs).where(jobs.c.id.in_(ids))).mappings() if ids else ()
            found = {job.id: job for job in map(_job, rows)}
            return [(claim, found[claim.job_id]) for claim in claims if claim.job_id in found]

        return await self._database.read(work)

    async def _select(self, statement: Select[Any]) -> list[DownloadJob]:
        def work(connection: Connection) -> list[DownloadJob]:
            return [_job(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work)


def _inserted(connection: Connection, job: DownloadJob) -> bool:
    """Whether there was room for the job: no row of its id, and no unfinished one of its identity."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return connection.execute(dialect.insert(jobs).values(_row(job)).on_conflict_do_nothing()).rowcount == 1


def _lock(connection: Connection, job_id: str) -> str | None:
    """The state of the job, which stays as it is until this unit of work ends; None where there is none."""
    return connection.execute(select(jobs.c.state).where(jobs.c.id == job_id).with_for_update()).scalar_one_or_none()


def _wishes(connection: Connection, job_id: str) -> frozenset[Wish]:
    asked = select(download_claims.c.wish).where(download_claims.c.job_id == job_id)
    return frozenset(connection.execute(asked).scalars())


def _claim(row: RowMapping) -> DownloadClaim:
    return DownloadClaim(**row)


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
