"""Downloads as jobs, over twins: joined, paused, resumed, cancelled, bounded, and taken up by the next process."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from orchestrator.core.downloads import (
    ACTIVE,
    MAY_FOLLOW,
    DownloadJob,
    DownloadPlan,
    DownloadProgress,
    JobState,
    changed,
    is_change,
)
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.service.downloads import DownloadService, DownloadStatus
from orchestrator.service.transfer_speed import TransferSpeed
from orchestrator.testing import MemoryJobStore, ScriptedDownloader

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Place:
    """A process's downloads, and what stands behind them."""

    service: DownloadService
    store: MemoryJobStore
    downloader: ScriptedDownloader

    async def begin(self, model: str = "scripted/a") -> DownloadStatus:
        """Start a download that has something to do."""
        begun = await self.service.start(model)
        assert begun is not None
        return begun

    async def until(self, job_id: str, state: JobState, downloaded: int | None = None) -> DownloadStatus:
        """The job's status once it is in `state` (and has so many bytes)."""
        with anyio.fail_after(5):
            while True:
                status = await self.service.status(job_id)
                if status.job.state == state and downloaded in (None, status.job.progress.downloaded_bytes):
                    return status
                await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def place(
    store: MemoryJobStore | None = None,
    downloader: ScriptedDownloader | None = None,
    *,
    holder: str = "host:1",
    parallel: int = 2,
    **options: Any,
) -> AsyncGenerator[Place]:
    """A process; leaving it closes it in order."""
    store, downloader = store or MemoryJobStore(), downloader or ScriptedDownloader()
    async with anyio.create_task_group() as tasks:
        service = DownloadService([downloader], store, holder, tasks, parallel=parallel, **options)
        yield Place(service, store, downloader)
        await service.close(5)
        tasks.cancel_scope.cancel()


async def refusal(work: Callable[[], Awaitable[object]]) -> ErrorInfo:
    with pytest.raises(OrchestratorError) as caught:
        await work()
    return caught.value.info


async def test_whoever_asks_for_the_same_thing_joins_its_one_job() -> None:
    async with place() as here:
        here.downloader.allow(30)
        first = await here.begin()
        await here.until(first.job.id, "downloading", 30)
        asked: list[str] = []

        async def ask() -> None:
            asked.append((await here.begin()).job.id)

        async with anyio.create_task_group() as asking:
            for _ in range(5):
                asking.start_soon(ask)
        assert asked == [first.job.id] * 5
        here.downloader.allow(100)
        await here.until(first.job.id, "completed", 100)
        assert here.downloader.fetches == ["a"]
        assert await here.service.start("scripted/a") is None


async def test_two_run_at_once_and_the_third_waits_for_its_turn() -> None:
    async with place() as here:
        jobs = [(await here.begin(f"scripted/{name}")).job.id for name in "abc"]
        for job_id in jobs[:2]:
            await here.until(job_id, "downloading")
        assert (await here.service.status(jobs[2])).job.state == "queued"
        await here.service.pause(jobs[0])
        await here.until(jobs[2], "downloading")
        assert here.downloader.fetches == ["a", "b", "c"]


async def test_a_paused_job_keeps_what_it_has_and_goes_on_when_it_is_resumed() -> None:
    async with place() as here:
        here.downloader.allow(40)
        job_id = (await here.begin()).job.id
        await here.until(job_id, "downloading", 40)
        paused = await here.service.pause(job_id)
        assert (paused.job.state, paused.job.progress, paused.job.holder) == ("paused", DownloadProgress(40, 100), None)
        here.downloader.allow(100)
        assert (await here.begin()).job == paused.job, "who asks for it joins it, and it stays paused"
        assert here.downloader.moved == {"a": 40}
        await here.service.resume(job_id)
        await here.until(job_id, "completed", 100)
        assert here.downloader.discarded == []


async def test_a_cancelled_job_is_gone_with_what_it_left_whatever_it_was_doing() -> None:
    async with place(parallel=1) as here:
        here.downloader.allow(40)
        jobs = [(await here.begin(f"scripted/{name}")).job.id for name in "abc"]
        await here.until(jobs[0], "downloading", 40)
        await here.service.pause(jobs[0])
        await here.until(jobs[1], "downloading", 40)
        for job_id in jobs:
            assert (await here.service.cancel(job_id)).job.state == "cancelled"
        assert (here.downloader.discarded, here.downloader.moved) == (["a", "b", "c"], {})
        anew = await here.begin()
        assert anew.job.id != jobs[0]
        await here.until(anew.job.id, "downloading", 40)


async def test_what_has_ended_is_not_changed_any_more() -> None:
    async with place() as here:
        here.downloader.allow(100)
        job_id = (await here.begin()).job.id
        done = await here.until(job_id, "completed")
        for act in (here.service.pause, here.service.resume, here.service.cancel):
            told = await refusal(lambda act=act: act(job_id))
            assert (told.kind, told.param) == (ErrorKind.INVALID_VALUE, "job_id")
            assert (await refusal(lambda act=act: act("job_x"))).kind is ErrorKind.JOB_NOT_FOUND
        assert await here.service.status(job_id) == done


async def test_a_failed_job_says_why_and_goes_on_when_it_is_resumed() -> None:
    async with place() as here:
        here.downloader.allow(40)
        here.downloader.fail = OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, "The hub is gone.")
        job_id = (await here.begin()).job.id
        failed = await here.until(job_id, "failed")
        assert failed.job.error == ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, "The hub is gone.")
        here.downloader.fail = None
        here.downloader.allow(100)
        resumed = await here.service.resume(job_id)
        assert resumed.job.error is None
        await here.until(job_id, "completed")


async def test_a_failed_job_does_not_go_on_beside_a_newer_one_nor_takes_its_bytes_away() -> None:
    async with place() as here:
        here.downloader.fail = OrchestratorError(ErrorKind.ENGINE_ERROR, "No.")
        old = (await here.begin()).job.id
        await here.until(old, "failed")
        here.downloader.fail = None
        here.downloader.allow(40)
        new = (await here.begin()).job.id
        await here.until(new, "downloading", 40)
        told = await refusal(lambda: here.service.resume(old))
        assert (told.kind, told.param) == (ErrorKind.INVALID_VALUE, "job_id")
        await here.service.cancel(old)
        assert here.downloader.discarded == []
        assert (await here.service.status(new)).job.state == "downloading"


async def test_a_defect_of_a_downloader_fails_the_job_and_nothing_else() -> None:
    async with place() as here:
        here.downloader.fail = RuntimeError("a defect")
        job_id = (await here.begin()).job.id
        failed = await here.until(job_id, "failed")
        assert failed.job.error == ErrorInfo(
            ErrorKind.INTERNAL_ERROR, "The download broke down; the log has the details."
        )
        here.downloader.fail = None
        here.downloader.allow(100)
        await here.until((await here.begin("scripted/b")).job.id, "completed")


async def test_a_service_that_stops_leaves_its_jobs_to_the_next_one() -> None:
    store, downloader = MemoryJobStore(), ScriptedDownloader()
    async with place(store, downloader) as here:
        downloader.allow(40)
        job_id = (await here.begin()).job.id
        await here.until(job_id, "downloading", 40)
    left = await store.get_job(job_id)
    assert left is not None
    assert (left.state, left.progress) == ("queued", DownloadProgress(40, 100))
    async with place(store, downloader, holder="host:2") as there:
        await there.service.recover()
        downloader.allow(100)
        await there.until(job_id, "completed")
    assert downloader.fetches == ["a", "a"]


async def test_a_job_is_taken_over_only_when_its_lease_is_over() -> None:
    store, downloader = MemoryJobStore(), ScriptedDownloader()
    plan, now = await downloader.plan("scripted/a", None), datetime.now(UTC)
    job = DownloadJob("job_1", "scripted/a", None, plan, "queued", now, holder="host:1", lease_until=now + HOUR)
    running = changed(await store.create_job(job), "downloading", holder="host:1", lease_until=now + HOUR)
    await store.change_job(job, running)
    async with place(store, downloader, holder="host:2") as there:
        await there.service.look_after()
        assert downloader.fetches == []
        await store.record_progress("host:1", {"job_1": DownloadProgress(7, 100)}, now - HOUR)
        await there.service.look_after()
        assert (await there.until("job_1", "downloading")).job.holder == "host:2"


async def test_progress_is_written_down_together_and_a_job_that_changed_hands_is_let_go() -> None:
    async with place() as here:
        here.downloader.allow(40)
        jobs = [(await here.begin(f"scripted/{name}")).job.id for name in "ab"]
        for job_id in jobs:
            await here.until(job_id, "downloading", 40)
        assert await counts(here, jobs) == [0, 0]
        await here.service.look_after()
        assert await counts(here, jobs) == [40, 40]
        stored = await here.store.get_job(jobs[0])
        assert stored is not None
        await here.store.change_job(stored, changed(stored, "cancelled"))
        await here.service.look_after()
        with anyio.fail_after(5):
            while here.downloader.discarded != ["a"]:
                await anyio.lowlevel.checkpoint()
        assert (await here.service.status(jobs[1])).job.state == "downloading"


async def test_what_nobody_takes_is_refused_by_the_field_to_blame() -> None:
    class Names(ScriptedDownloader):
        def takes(self, model: str, quantization: str | None) -> bool:
            return quantization is None and super().takes(model, None)

    async with place(downloader=Names()) as here:
        unknown = await refusal(lambda: here.service.start("http://elsewhere"))
        wrong = await refusal(lambda: here.service.start("scripted/a", "Q4_K_M"))
    assert unknown == ErrorInfo(
        ErrorKind.INVALID_VALUE,
        'Nothing can be downloaded by "http://elsewhere". Give `scripted/<name>`.',
        "model",
    )
    assert (wrong.kind, wrong.param) == (ErrorKind.INVALID_VALUE, "quantization")


HOUR = timedelta(hours=1)


async def counts(here: Place, jobs: list[str]) -> list[int]:
    """What the store knows of their bytes."""
    stored = [await here.store.get_job(job_id) for job_id in jobs]
    return [job.progress.downloaded_bytes for job in stored if job is not None]


# ---- rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", MAY_FOLLOW)
@pytest.mark.parametrize("after", MAY_FOLLOW)
def test_a_state_is_followed_only_by_what_the_table_says(before: JobState, after: JobState) -> None:
    job = DownloadJob("job_1", "m", None, DownloadPlan("s", "r"), before, NOON)
    error = ErrorInfo(ErrorKind.ENGINE_ERROR, "No.")

    def change() -> DownloadJob:
        return changed(job, after, at=NOON, error=error, holder="host:1", lease_until=NOON)

    if after not in MAY_FOLLOW[before]:
        with pytest.raises(ValueError, match="does not become"):
            change()
        return
    assert change() == replace(
        job,
        state=after,
        completed_at=NOON if after == "completed" else None,
        error=error if after == "failed" else None,
        holder="host:1" if after in ACTIVE else None,
        lease_until=NOON if after in ACTIVE else None,
    )
    assert is_change(job, after) is not (after == "queued" and before in ACTIVE)


def test_speed_is_that_of_the_last_seconds_and_says_how_long_the_rest_takes() -> None:
    speed = TransferSpeed()
    assert (speed.bytes_per_second(0), speed.seconds_left(0, 100)) == (0, None)
    speed.observe(0, 5_000)
    assert speed.bytes_per_second(0) == 0, "what is there at the beginning was not transferred now"
    for second in range(1, 61):
        speed.observe(second, 5_000 + 100 * min(second, 30) + 1_000 * max(0, second - 30))
    there = 5_000 + 100 * 30 + 1_000 * 30
    assert speed.bytes_per_second(60) == 1_000
    assert speed.seconds_left(60, there + 5_000) == 5
    assert speed.seconds_left(60, None) is None
    assert speed.bytes_per_second(70) == 500, "a transfer that stands still slows down"
    speed.observe(76, 10)
    assert (speed.bytes_per_second(76), speed.seconds_left(76, 100)) == (0, None)


async def test_what_ended_is_listed_for_some_days_and_then_forgotten() -> None:
    store = MemoryJobStore()
    long_ago = datetime.now(UTC) - timedelta(days=9)
    old = DownloadJob(
        id="job_old",
        model="scripted/old",
        quantization=None,
        plan=DownloadPlan("scripted", "old"),
        state="cancelled",
        started_at=long_ago,
        progress=DownloadProgress(),
    )
    await store.create_job(old)
    async with place(store, history_days=7) as here:
        new = await here.begin()
        assert [one.id for one in await store.list_jobs()] == [new.job.id, "job_old"]
        await here.service.look_after()
        assert [one.id for one in await store.list_jobs()] == [new.job.id]


async def test_a_model_that_is_there_is_not_downloaded_by_its_name() -> None:
    async def is_installed(model: str) -> bool:
        return model == "scripted/a"

    async with place(is_installed=is_installed) as here:
        assert await here.service.start("scripted/a") is None
        assert await here.service.start("scripted/b") is not None


async def test_a_name_for_a_downloader_that_nobody_expects_to_answer_is_told_what_would_do() -> None:
    class Silent(ScriptedDownloader):
        async def plan(self, model: str, quantization: str | None) -> DownloadPlan:
            raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, "It does not answer.")

    async with place(downloader=Silent(), optional=frozenset({"scripted"})) as here:
        info = await refusal(lambda: here.service.start("scripted/a"))
        message = (
            '"scripted/a" is no model that is here, and could only be `scripted/<name>`. It does not answer. '
            "Give `scripted/<name>`."
        )
        assert info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "model")
    async with place(downloader=Silent()) as here:
        assert (await refusal(lambda: here.service.start("scripted/a"))).kind is ErrorKind.ENGINE_UNAVAILABLE
