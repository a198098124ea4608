"""Which states of a download may follow which, and what a job keeps in each."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from orchestrator.core.downloads import (
    DownloadJob,
    DownloadPlan,
    DownloadProgress,
    JobState,
    PlannedFile,
    changed,
    is_change,
)
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError

AT = datetime(2030, 1, 1, tzinfo=UTC)
FILES = (PlannedFile("q4/a-1.gguf", "a-1.gguf", 3, "0" * 64), PlannedFile("q4/a-2.gguf", "a-2.gguf", 4, "1" * 64))
JOB = DownloadJob("job_1", "ada/a", None, DownloadPlan("hub", "ada/a", files=FILES), "queued", AT)
BROKEN = ErrorInfo(ErrorKind.INTERNAL_ERROR, "It broke.")


def test_who_asks_for_the_same_file_asks_for_the_same_thing() -> None:
    unlisted = DownloadPlan("ollama", "a:latest")
    assert [plan.identity for plan in (JOB.plan, unlisted)] == ["hub:ada/a:q4/a-1.gguf", "ollama:a:latest"]
    assert [plan.total_size_bytes for plan in (JOB.plan, unlisted)] == [7, None]


@pytest.mark.parametrize(
    ("now", "wanted"),
    [("queued", "queued"), ("downloading", "queued"), ("paused", "paused"), ("cancelled", "cancelled")],
)
def test_a_state_that_is_there_already_or_on_its_way_is_no_change(now: JobState, wanted: JobState) -> None:
    assert not is_change(replace(JOB, state=now), wanted)


def test_a_state_that_may_follow_is_a_change() -> None:
    assert is_change(JOB, "paused")


@pytest.mark.parametrize("now", ["completed", "cancelled"])
def test_what_is_over_admits_no_other_state(now: JobState) -> None:
    with pytest.raises(OrchestratorError) as raised:
        is_change(replace(JOB, state=now), "paused")
    message = f"The download 'job_1' is {now}: it cannot be paused any more."
    assert raised.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "job_id")


def test_each_state_keeps_what_belongs_to_it() -> None:
    half, all_ = DownloadProgress(3, 7), DownloadProgress(7, 7)
    moving = changed(JOB, "downloading", progress=half, at=AT, error=BROKEN, holder="a", lease_until=AT)
    assert moving == replace(JOB, state="downloading", progress=half, holder="a", lease_until=AT)
    given: Any = {"at": AT, "error": BROKEN, "holder": "a", "lease_until": AT}
    assert changed(moving, "paused", **given) == replace(JOB, state="paused", progress=half)
    assert changed(moving, "failed", **given) == replace(JOB, state="failed", progress=half, error=BROKEN)
    assert changed(moving, "completed", progress=all_, **given) == replace(
        JOB, state="completed", progress=all_, completed_at=AT
    )


def test_nothing_follows_the_end() -> None:
    for state in get_args(JobState):
        with pytest.raises(ValueError, match=f"a download that is completed does not become {state}"):
            changed(replace(JOB, state="completed"), state)
