"""What the architecture page says of downloads is what the code does."""

import re
from pathlib import Path

from orchestrator.api.downloads import download_status_reply
from orchestrator.core.downloads import MAY_FOLLOW, DownloadJob, DownloadPlan, JobState
from orchestrator.service.downloads import DownloadStatus
from tests.service.test_downloads import NOON

PAGE = Path(__file__).parents[2] / "orchestrator" / "README.md"


def test_the_table_of_job_states_is_the_one_in_the_code() -> None:
    section = PAGE.read_text().partition("## Downloads\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| (\w+) \|([^|]*)\|$", section, re.MULTILINE)
    table = {state: (word, frozenset(followers.split())) for state, word, followers in rows}
    assert table == {state: (word_of(state), followers) for state, followers in MAY_FOLLOW.items()}


def word_of(state: JobState) -> str:
    """What the wire says of it."""
    job = DownloadJob("job_1", "m", None, DownloadPlan("s", "r"), state, NOON)
    return download_status_reply(DownloadStatus(job)).status
