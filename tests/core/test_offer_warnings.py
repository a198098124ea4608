"""What is said of an offer that is larger than models bear well."""

from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.inputs import GenerationFinished, ResponseSaved, Start
from orchestrator.core.request import Limits
from orchestrator.core.response import Failed
from orchestrator.core.states import Ended
from orchestrator.core.stream import ChatEnd, Warned
from orchestrator.core.token_costs import offer_warnings
from tests.core.dialogue import ADD, COUNTED, PING, Dialogue, opened, with_clock

MANY = "2 tools are offered, and their definitions cost about {} tokens in every turn"


def warned(limits: Limits) -> tuple[list[str], tuple[str, ...]]:
    """What the stream and the reply of a run warn of that offers two tools."""
    dialogue = Dialogue(with_clock(limits=limits))
    dialogue.until_generating(ADD, PING)
    dialogue.feed(GenerationFinished("stop", COUNTED), ResponseSaved())
    (end,) = (one for one in dialogue.log if isinstance(one, ChatEnd))
    return [one.message for one in dialogue.log if isinstance(one, Warned)], end.result.warnings


def test_who_offers_many_tools_is_warned_in_the_stream_and_in_the_reply() -> None:
    (message,), told = warned(Limits(warn_tools=1))
    assert message.startswith(MANY.format(81))
    assert told == (message,)


def test_who_offers_long_definitions_is_warned_too() -> None:
    (message,), told = warned(Limits(warn_tool_tokens=80))
    assert message.startswith(MANY.format(81))
    assert told == (message,)


def test_an_offer_of_the_size_that_is_allowed_is_no_reason_to_warn() -> None:
    assert warned(Limits(warn_tools=2, warn_tool_tokens=81)) == ([], ())
    assert offer_warnings(0, 0, Limits(warn_tools=0, warn_tool_tokens=0)) == ()


def test_more_tools_than_a_request_may_offer_end_it_before_it_begins() -> None:
    dialogue = Dialogue(with_clock(limits=Limits(max_tools=1)))
    dialogue.feed(Start(), opened(ADD, PING))
    message = "The integrations offer 2 tools, more than 1. Name the ones that are needed in 'allowed_tools'."
    error = ErrorInfo(ErrorKind.INVALID_VALUE, message, "integrations")
    assert dialogue.run.state == Ended(Failed(error), announced=False)
