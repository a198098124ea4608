"""Who asked for which download: what each is told, and what becomes of the transfer that they share."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.core.download_claims import DownloadClaim, Wish, as_asked, demanded, outvoted, wished
from orchestrator.core.downloads import DownloadJob, DownloadPlan, DownloadProgress, JobState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
JOB = DownloadJob(
    "job_1",
    "hf.co/ada/model",
    "Q8_0",
    DownloadPlan("s", "r"),
    "downloading",
    NOON,
    DownloadProgress(50, 100),
    holder="host:1",
    lease_until=NOON,
)
CLAIM = DownloadClaim("job_2", "ada", "job_1", "ada/model", None, NOON + timedelta(hours=1))


def test_who_wants_a_transfer_is_told_of_it_by_their_own_id_name_and_time() -> None:
    own = replace(JOB, id="job_2", model="ada/model", quantization=None, started_at=NOON + timedelta(hours=1))
    assert as_asked(CLAIM, JOB) == own


@pytest.mark.parametrize("wish", ["paused", "cancelled"])
def test_who_wants_it_no_more_is_not_told_how_it_goes_on_for_others(wish: Wish) -> None:
    given_up = wished(CLAIM, wish, DownloadProgress(7, 100))
    assert given_up == replace(CLAIM, wish=wish, downloaded_bytes=7)
    own = replace(as_asked(CLAIM, JOB), state=wish, progress=DownloadProgress(7, 100), holder=None, lease_until=None)
    assert as_asked(given_up, JOB) == own
    assert as_asked(given_up, replace(JOB, state="completed", completed_at=NOON)) == own
    assert as_asked(replace(given_up, downloaded_bytes=None), JOB).progress == DownloadProgress(0, 100)
    assert wished(given_up, "wanted", DownloadProgress(9, 100)) == CLAIM


@pytest.mark.parametrize(
    ("wishes", "state", "expected"),
    [
        (set[Wish](), "cancelled", False),
        ({"wanted"}, "paused", True),
        ({"paused", "wanted"}, "paused", True),
        ({"paused"}, "paused", False),
        ({"cancelled"}, "paused", False),
        ({"wanted"}, "cancelled", True),
        ({"paused"}, "cancelled", True),
        ({"cancelled"}, "cancelled", False),
        ({"wanted"}, "failed", False),
    ],
)
def test_nobody_takes_from_others_what_they_want(wishes: set[Wish], state: JobState, expected: bool) -> None:
    assert outvoted(wishes, state) is expected


@pytest.mark.parametrize(
    ("wishes", "state", "expected"),
    [
        ({"wanted", "cancelled"}, "downloading", None),
        ({"wanted"}, "failed", None),
        ({"paused", "cancelled"}, "downloading", "paused"),
        ({"paused"}, "failed", None),
        ({"cancelled"}, "downloading", "cancelled"),
        ({"cancelled"}, "failed", "cancelled"),
        ({"cancelled"}, "completed", None),
        ({"cancelled"}, "cancelled", None),
        (set[Wish](), "downloading", None),
    ],
)
def test_a_transfer_becomes_what_whoever_wants_most_of_it_wants(
    wishes: set[Wish], state: JobState, expected: JobState | None
) -> None:
    assert demanded(wishes, replace(JOB, state=state)) == expected
