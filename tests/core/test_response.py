"""The words for how a response ended, or that it waits."""

from datetime import UTC, datetime

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.response import Cancelled, Completed, Failed, Incomplete, Suspended, ending_status

AT = datetime(2030, 1, 1, tzinfo=UTC)
BROKEN = ErrorInfo(ErrorKind.INTERNAL_ERROR, "It broke.", "model", 2.5)


def test_every_way_to_close_has_its_word() -> None:
    closes = (Completed(), Incomplete("max_output_tokens"), Failed(BROKEN), Cancelled("enough"), Suspended((), AT))
    assert [ending_status(close) for close in closes] == [
        "completed",
        "incomplete",
        "failed",
        "cancelled",
        "awaiting_approval",
    ]


def test_an_error_is_raised_with_all_that_is_known_of_it() -> None:
    error = OrchestratorError.of(BROKEN)
    assert (error.info, error.retry_after_seconds, str(error)) == (BROKEN, 2.5, "It broke.")
