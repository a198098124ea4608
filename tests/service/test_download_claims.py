"""Two owners and one model: each has a download of their own, and the bytes come once."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import pytest

from orchestrator.core.download_claims import DownloadClaim
from orchestrator.core.downloads import DownloadJob, DownloadProgress, JobState
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.service.callers import Caller
from orchestrator.service.download_claims import DownloadClaimService
from orchestrator.service.downloads import DownloadService, DownloadStatus
from orchestrator.testing import MemoryJobStore, ScriptedDownloader

pytestmark = pytest.mark.anyio

ADA = Caller("ada", "token_a", frozenset({"models.manage"}))
BOB = Caller("bob", "token_b", frozenset({"models.manage"}))
ROOT = Caller("root", "token_r", frozenset({"admin"}))


@dataclass
class Place:
    """A process, as its clients ask it."""

    service: DownloadClaimService
    store: MemoryJobStore
    downloader: ScriptedDownloader

    async def begin(self, caller: Caller, model: str = "scripted/a") -> str:
        begun = await self.service.start(model, None, caller)
        assert begun is not None
        return begun.job.id

    async def until(self, job_id: str, caller: Caller, state: JobState, downloaded: int | None = None) -> DownloadJob:
        with anyio.fail_after(5):
            while True:
                job = (await self.service.status(job_id, caller)).job
                if job.state == state and downloaded in (None, job.progress.downloaded_bytes):
                    return job
                await anyio.lowlevel.checkpoint()

    async def transfers(self) -> list[JobState]:
        return [job.state for job in await self.store.list_jobs()]


@asynccontextmanager
async def place(store: MemoryJobStore | None = None) -> AsyncGenerator[Place]:
    store, downloader = store or MemoryJobStore(), ScriptedDownloader()
    async with anyio.create_task_group() as tasks:
        downloads = DownloadService([downloader], store, "host:1", tasks)
        yield Place(DownloadClaimService(downloads, store), store, downloader)
        await downloads.close(5)
        tasks.cancel_scope.cancel()


async def test_who_asks_for_what_another_is_fetching_has_a_download_of_their_own_and_it_is_fetched_once() -> None:
    async with place() as here:
        ada = await here.begin(ADA)
        await here.until(ada, ADA, "downloading")
        bob = await here.begin(BOB)
        assert (await here.begin(ADA), await here.begin(BOB)) == (ada, bob)
        assert ada != bob
        statuses = [await here.service.status(own, caller) for own, caller in ((ada, ADA), (bob, BOB))]
        assert [status.owner for status in statuses] == ["ada", "bob"]
        assert statuses[0].job.started_at < statuses[1].job.started_at
        here.downloader.allow(100)
        for own, caller in ((ada, ADA), (bob, BOB)):
            await here.until(own, caller, "completed", 100)
        assert await here.service.start("scripted/a", None, BOB) is None
    assert here.downloader.fetches == ["a"]


async def test_anothers_download_is_as_one_that_there_never_was_and_an_admin_sees_all() -> None:
    async with place() as here:
        ada, bob = await here.begin(ADA), await here.begin(BOB)
        service = here.service
        for act in (service.status, service.pause, service.resume, service.cancel):
            for job_id, caller in ((ada, BOB), ("job_0", BOB), ("job_0", ROOT)):
                with pytest.raises(OrchestratorError) as caught:
                    await act(job_id, caller)
                message = f"There is no download '{job_id}'."
                assert caught.value.info == ErrorInfo(ErrorKind.JOB_NOT_FOUND, message, "job_id")

        async def listed(caller: Caller) -> list[str]:
            return [status.job.id for status in await service.jobs(caller)]

        assert (await listed(ADA), await listed(BOB), await listed(ROOT)) == ([ada], [bob], [bob, ada])
        assert (await service.status(ada, ROOT)).owner == "ada"


async def test_pausing_and_cancelling_take_nothing_from_others() -> None:
    async with place() as here:
        here.downloader.allow(40)
        ada, bob = await here.begin(ADA), await here.begin(BOB)
        await here.until(ada, ADA, "downloading", 40)
        paused = (await here.service.pause(ada, ADA)).job
        assert (paused.state, paused.progress) == ("paused", DownloadProgress(40, 100))
        here.downloader.allow(60)
        await here.until(bob, BOB, "downloading", 60)
        assert (await here.service.status(ada, ADA)).job == paused, "how it goes on for others is theirs"
        assert (await here.service.cancel(bob, BOB)).job.state == "cancelled"
        assert await here.transfers() == ["paused"], "who waits keeps what there is"
        assert (await here.service.cancel(ada, ADA)).job.state == "cancelled"
        assert await here.transfers() == ["cancelled"]
    assert here.downloader.discarded == ["a"]
    assert here.downloader.fetches == ["a"]


async def test_who_comes_to_a_paused_transfer_has_it_go_on() -> None:
    async with place() as here:
        ada = await here.begin(ADA)
        await here.until(ada, ADA, "downloading")
        await here.service.pause(ada, ADA)
        assert await here.transfers() == ["paused"]
        assert await here.begin(ADA) == ada, "one's own stays paused until it is resumed"
        assert await here.transfers() == ["paused"]
        bob = await here.begin(BOB)
        here.downloader.allow(100)
        await here.until(bob, BOB, "completed")
        assert (await here.service.status(ada, ADA)).job.state == "paused"
        assert (await here.service.resume(ada, ADA)).job.state == "completed"
        with pytest.raises(OrchestratorError, match=rf"The download '{ada}' is completed: it cannot be cancelled"):
            await here.service.cancel(ada, ADA)


async def test_one_that_failed_goes_on_as_the_transfer_that_another_began_meanwhile() -> None:
    async with place() as here:
        here.downloader.fail = OrchestratorError(ErrorKind.ENGINE_ERROR, "No.")
        ada = await here.begin(ADA)
        assert (await here.until(ada, ADA, "failed")).error == ErrorInfo(ErrorKind.ENGINE_ERROR, "No.")
        here.downloader.fail = None
        bob = await here.begin(BOB)
        assert (await here.service.status(ada, ADA)).job.state == "failed"
        await here.service.resume(ada, ADA)
        here.downloader.allow(100)
        for own, caller in ((ada, ADA), (bob, BOB)):
            await here.until(own, caller, "completed")
        assert sorted(await here.transfers()) == ["completed", "failed"]


async def test_one_that_failed_is_resumed_and_cancelled_by_its_owner_alone() -> None:
    async with place() as here:
        here.downloader.fail = OrchestratorError(ErrorKind.ENGINE_ERROR, "No.")
        ada = await here.begin(ADA)
        await here.until(ada, ADA, "failed")
        here.downloader.fail = None
        await here.service.resume(ada, ADA)
        await here.until(ada, ADA, "downloading")
        await here.service.cancel(ada, ADA)
        assert await here.transfers() == ["cancelled"]
        again = await here.begin(ADA)
        assert again != ada
        await here.until(again, ADA, "downloading")


class Meanwhile(MemoryJobStore):
    """A store in which others are faster: `cancels` transfers before they are claimed, `claims` those to be paused."""

    def __init__(self, *, cancels: int = 0, claims: DownloadClaim | None = None, loses: int = 0) -> None:
        super().__init__()
        self.cancels, self.claims, self.loses = cancels, claims, loses

    async def claim_job(self, claim: DownloadClaim) -> DownloadClaim | None:
        if self.cancels:
            self.cancels -= 1
            return None
        return await super().claim_job(claim)

    async def change_claim(self, before: DownloadClaim, after: DownloadClaim) -> bool:
        if self.loses:
            self.loses -= 1
            return False
        return await super().change_claim(before, after)

    async def change_job(self, before: DownloadJob, after: DownloadJob) -> bool:
        if after.state in ("paused", "cancelled") and self.claims is not None:
            await super().claim_job(DownloadClaim("job_b", "bob", before.id, "m", None, before.started_at))
        return await super().change_job(before, after)


async def test_a_claim_that_comes_between_keeps_the_transfer_going() -> None:
    for state in ("pause", "cancel"):
        store = Meanwhile()
        async with place(store) as here:
            ada = await here.begin(ADA)
            await here.until(ada, ADA, "downloading")
            store.claims = (await store.list_claims("ada"))[0][0]
            act = here.service.pause if state == "pause" else here.service.cancel
            told: DownloadStatus = await act(ada, ADA)
            assert told.job.state == {"pause": "paused", "cancel": "cancelled"}[state]
            assert await here.transfers() == ["downloading"]
            here.downloader.allow(100)
            await here.until("job_b", BOB, "completed")


async def test_who_is_too_late_tries_again_and_gives_up_with_a_time_to_come_back() -> None:
    async with place(Meanwhile(cancels=1, loses=1)) as here:
        ada = await here.begin(ADA)
        assert (await here.service.pause(ada, ADA)).job.state == "paused"
    for store in (Meanwhile(cancels=100), Meanwhile(loses=100)):
        async with place(store) as here:
            with pytest.raises(OrchestratorError) as caught:
                await here.service.pause(await here.begin(ADA), ADA)
            assert (caught.value.info.kind, caught.value.retry_after_seconds) == (ErrorKind.RATE_LIMITED, 1)
