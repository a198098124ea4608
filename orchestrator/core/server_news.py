"""What servers report and ask during a call, as the stream tells it. It changes nothing of the run."""

from collections.abc import Callable
from typing import TypeAlias, assert_never

from orchestrator.core import inputs as i
from orchestrator.core import stream as s

ServerNews: TypeAlias = i.CallProgressed | i.UserAsked | i.UserAnswered | i.ModelSampled


def server_news(news: ServerNews, is_running: Callable[[str], bool]) -> list[s.StreamEvent]:
    """The event for `news`; progress of a call that has its outcome is old."""
    match news:
        case i.CallProgressed(call_id, progress):
            return [s.ToolCallProgress(call_id, progress)] if is_running(call_id) else []
        case i.UserAsked(elicitation_id, call_id, provider, asked, seconds):
            return [s.ElicitationRequested(elicitation_id, call_id, provider, asked, seconds)]
        case i.UserAnswered(elicitation_id, action):
            return [s.ElicitationResolved(elicitation_id, action)]
        case i.ModelSampled(call_id, provider, reply):
            return [s.SamplingCompleted(call_id, provider, reply)]
        case _:
            assert_never(news)
