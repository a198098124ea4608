"""What every `JobStore` promises: the twin, SQLite and Postgres alike."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.core.download_claims import DownloadClaim
from orchestrator.core.downloads import DownloadJob, DownloadPlan, DownloadProgress, PlannedFile, changed
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.ports import JobStore
from orchestrator.store.database import open_database
from orchestrator.store.jobs import SqlJobStore
from orchestrator.testing import MemoryJobStore

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
FILES = (PlannedFile("Q8_0/a.gguf", "a.gguf", 5 * 2**40, "ab" * 32), PlannedFile("b.gguf", "b.gguf", 1, "cd" * 32))


@pytest.fixture
async def store(store_url: str | None) -> AsyncGenerator[JobStore]:
    if store_url is None:
        yield MemoryJobStore()
        return
    database = await open_database(store_url)
    yield SqlJobStore(database)
    await database.aclose()


def job(number: int = 1, reference: str = "ada/model") -> DownloadJob:
    plan = DownloadPlan("hugging_face", reference, "f" * 40, FILES)
    return DownloadJob(
        id=f"job_{number:010x}",
        model=f"https://huggingface.co/{reference}",
        quantization="Q8_0",
        plan=plan,
        state="queued",
        started_at=NOON + timedelta(seconds=number),
        progress=DownloadProgress(0, plan.total_size_bytes),
        holder="host:1",
        lease_until=LATER,
    )


async def test_a_job_is_read_as_it_was_written(store: JobStore) -> None:
    bare = replace(
        job(2), plan=DownloadPlan("ollama", "tiny:latest"), quantization=None, progress=DownloadProgress(), holder=None
    )
    for one in (job(), bare):
        assert await store.create_job(one) == one
        assert await store.get_job(one.id) == one
    assert await store.get_job("job_unknown") is None


async def test_an_unfinished_job_of_the_same_thing_is_joined_a_finished_one_is_not(store: JobStore) -> None:
    first = await store.create_job(job())
    assert await store.create_job(job(2)) == first
    assert await store.get_job(job(2).id) is None
    paused = changed(first, "paused")
    assert await store.change_job(first, paused)
    assert await store.create_job(job(2)) == paused
    cancelled = changed(paused, "cancelled")
    assert await store.change_job(paused, cancelled)
    assert await store.create_job(job(2)) == job(2)
    assert await store.get_job(first.id) == cancelled


async def test_an_id_is_given_once(store: JobStore) -> None:
    await store.create_job(job())
    with pytest.raises(OrchestratorError) as caught:
        await store.create_job(job(1, "ada/other"))
    assert caught.value.info.kind is ErrorKind.STORE_ERROR
    assert await store.active_jobs() == [job()]


async def test_a_change_is_written_only_where_nobody_was_faster(store: JobStore) -> None:
    queued = await store.create_job(job())
    downloading = changed(queued, "downloading", holder="host:1", lease_until=LATER)
    failed = changed(downloading, "failed", error=ErrorInfo(ErrorKind.ENGINE_ERROR, "It broke.", "model"))
    assert await store.change_job(queued, downloading)
    assert not await store.change_job(queued, changed(queued, "paused"))
    assert not await store.change_job(replace(downloading, holder="host:2"), failed)
    assert not await store.change_job(replace(downloading, id="job_unknown"), failed)
    assert await store.get_job(queued.id) == downloading
    assert await store.change_job(downloading, failed)
    assert await store.get_job(queued.id) == failed
    again = changed(failed, "queued", holder="host:2", lease_until=LATER)
    assert await store.change_job(failed, again)
    running = changed(again, "downloading", holder="host:2", lease_until=LATER)
    assert await store.change_job(again, running)
    done = changed(running, "completed", progress=DownloadProgress(7, 7), at=LATER)
    assert await store.change_job(running, done)
    assert await store.get_job(queued.id) == done


async def test_a_job_does_not_come_back_beside_another_of_the_same_thing(store: JobStore) -> None:
    first = await store.create_job(job())
    failed = changed(first, "failed", error=ErrorInfo(ErrorKind.ENGINE_ERROR, "It broke."))
    await store.change_job(first, failed)
    second = await store.create_job(job(2))
    assert not await store.change_job(failed, changed(failed, "queued", holder="host:1", lease_until=LATER))
    assert await store.get_job(first.id) == failed
    assert await store.active_jobs() == [second]


async def test_active_jobs_are_those_that_somebody_has_to_care_for_the_oldest_first(store: JobStore) -> None:
    jobs = [await store.create_job(job(number, f"ada/{number}")) for number in (3, 1, 2, 4)]
    await store.change_job(jobs[2], changed(jobs[2], "paused"))
    downloading = changed(jobs[0], "downloading", holder="host:1", lease_until=LATER)
    await store.change_job(jobs[0], downloading)
    assert await store.active_jobs() == [jobs[1], downloading, jobs[3]]


async def test_progress_and_leases_of_all_jobs_are_written_at_once_where_they_are_still_held(store: JobStore) -> None:
    mine, paused, others = [await store.create_job(job(number, f"ada/{number}")) for number in (1, 2, 3)]
    await store.change_job(paused, changed(paused, "paused"))
    running = changed(others, "downloading", holder="host:2", lease_until=LATER)
    await store.change_job(others, running)
    now = DownloadProgress(2**42, 2**43)
    until = LATER + timedelta(minutes=1)
    told = {one.id: now for one in (mine, paused, others)} | {"job_unknown": now}
    assert await store.record_progress("host:1", told, until) == {mine.id}
    assert await store.record_progress("host:1", {}, until) == frozenset()
    assert await store.get_job(mine.id) == replace(mine, progress=now, lease_until=until)
    assert await store.get_job(paused.id) == changed(paused, "paused")
    assert await store.get_job(others.id) == running


async def test_every_job_is_listed_the_newest_first_until_it_ended_long_ago(store: JobStore) -> None:
    running, paused = await store.create_job(job(1, "a/a")), job(2, "b/b")
    await store.create_job(paused)
    await store.change_job(paused, changed(paused, "paused"))
    done, failed = job(3, "c/c"), job(4, "d/d")
    for one in (done, failed):
        await store.create_job(one)
        await store.change_job(one, changed(one, "downloading", holder="host:1", lease_until=LATER))
    half = changed(done, "downloading", holder="host:1", lease_until=LATER)
    await store.change_job(half, changed(half, "completed", at=NOON + timedelta(hours=2)))
    broken = changed(failed, "downloading", holder="host:1", lease_until=LATER)
    await store.change_job(broken, changed(broken, "failed", error=ErrorInfo(ErrorKind.ENGINE_ERROR, "no")))
    assert [one.id for one in await store.list_jobs()] == [failed.id, done.id, paused.id, running.id]
    assert await store.forget_jobs(NOON + timedelta(hours=1)) == 1
    assert [one.id for one in await store.list_jobs()] == [done.id, paused.id, running.id]
    assert await store.forget_jobs(NOON + timedelta(hours=3)) == 1
    assert [one.state for one in await store.list_jobs()] == ["paused", "queued"]


def claim(number: int = 1, owner: str = "ada", on: int = 1) -> DownloadClaim:
    asked_at = NOON + timedelta(seconds=number)
    return DownloadClaim(f"job_{number:09x}c", owner, job(on).id, "ada/model", None, asked_at)


async def test_each_owner_has_one_claim_on_a_job_and_sees_no_others(store: JobStore) -> None:
    mine = await store.create_job(job())
    assert await store.claim_job(claim(1)) == claim(1)
    assert await store.claim_job(claim(2)) == claim(1)
    assert await store.claim_job(claim(3, "bob")) == claim(3, "bob")
    assert await store.claim_job(claim(4, on=9)) is None
    assert await store.get_claim(claim(1).id, "ada") == (claim(1), mine)
    assert [await store.get_claim(claim(1).id, owner) for owner in ("bob", None)] == [None, (claim(1), mine)]
    assert await store.get_claim(claim(2).id, None) is None
    assert await store.list_claims("bob") == [(claim(3, "bob"), mine)]
    assert await store.list_claims(None) == [(claim(3, "bob"), mine), (claim(1), mine)]
    assert await store.list_claims("eve") == []


async def test_a_job_does_as_whoever_wants_most_of_it(store: JobStore) -> None:
    queued = await store.create_job(job())
    ada, bob = claim(1), claim(2, "bob")
    for one in (ada, bob):
        await store.claim_job(one)
    paused, cancelled = changed(queued, "paused"), changed(queued, "cancelled")
    waits = replace(ada, wish="paused", downloaded_bytes=2**42)
    assert await store.change_claim(ada, waits)
    assert not await store.change_claim(ada, replace(ada, wish="cancelled"))
    assert await store.wishes(queued.id) == {"paused", "wanted"}
    assert [await store.change_job(queued, less) for less in (paused, cancelled)] == [False, False]
    gone = replace(bob, wish="cancelled", downloaded_bytes=0)
    assert await store.change_claim(bob, gone)
    assert not await store.change_job(queued, cancelled)
    assert await store.change_job(queued, paused)
    assert await store.change_claim(waits, replace(waits, wish="cancelled"))
    assert await store.change_job(paused, changed(paused, "cancelled"))
    assert await store.claim_job(claim(5, "eve")) is None, "who comes after the end begins anew"


async def test_who_cancelled_may_ask_again_and_a_claim_moves_to_the_job_that_goes_on(store: JobStore) -> None:
    first = await store.create_job(job())
    await store.claim_job(claim(1))
    await store.change_claim(claim(1), replace(claim(1), wish="cancelled"))
    assert await store.claim_job(claim(2)) == claim(2)
    failed = changed(first, "failed", error=ErrorInfo(ErrorKind.ENGINE_ERROR, "no"))
    await store.change_job(first, failed)
    assert await store.find_unfinished(first.plan.identity) is None
    second = await store.create_job(job(2))
    assert await store.find_unfinished(first.plan.identity) == second
    moved = replace(claim(2), job_id=second.id)
    assert not await store.change_claim(claim(2), replace(moved, job_id="job_unknown"))
    assert await store.change_claim(claim(2), moved)
    assert await store.get_claim(moved.id, "ada") == (moved, second)


async def test_claims_are_forgotten_with_their_job(store: JobStore) -> None:
    first = await store.create_job(job())
    await store.claim_job(claim(1))
    await store.change_claim(claim(1), replace(claim(1), wish="cancelled"))
    await store.change_job(first, changed(first, "cancelled"))
    assert await store.forget_jobs(LATER) == 1
    assert await store.list_claims(None) == []
