"""A tool that a request names and cannot have ends it before it begins, and the message says why."""

import pytest

from orchestrator.core import inputs as i
from orchestrator.core.commands import OpenResponse
from orchestrator.core.errors import ErrorInfo, ErrorKind
from orchestrator.core.items import EphemeralProvider
from orchestrator.core.request import EphemeralRequest, PluginRequest
from orchestrator.core.response import Failed
from orchestrator.core.states import Ended
from tests.core.dialogue import ADD, CLOCK, PING, Dialogue, asked


@pytest.mark.parametrize(
    ("integration", "server", "message"),
    [
        (
            PluginRequest("mcp/clock", ("ping",), granted_tools=("add",)),
            i.OpenedIntegration(CLOCK, (ADD, PING)),
            "The tool 'ping' of 'mcp/clock' is not allowed by the API token.",
        ),
        (
            PluginRequest("mcp/clock", ("ping",)),
            i.OpenedIntegration(CLOCK, (ADD, PING), drifted=frozenset({"ping"})),
            "The tool 'ping' of 'mcp/clock' is withheld: its definition is not the one that was approved."
            " Look at the change (orchestrator plugins show mcp/clock)"
            " and approve it (orchestrator plugins approve mcp/clock --tool ping).",
        ),
    ],
)
def test_a_tool_that_is_not_to_be_had_is_refused_with_the_reason(
    integration: PluginRequest, server: i.OpenedIntegration, message: str
) -> None:
    d = Dialogue(asked(integrations=(integration,)))
    assert d.feed(i.Start(), i.IntegrationsOpened((server,))) == []
    error = ErrorInfo(ErrorKind.PERMISSION_DENIED, message, "integrations.0.allowed_tools.0")
    assert d.run.state == Ended(Failed(error), announced=False)


def test_a_server_of_the_request_is_allowed_whole() -> None:
    d = Dialogue(asked(integrations=(EphemeralRequest("mine", "http://localhost/mcp", ("ping",)),)))
    server = i.OpenedIntegration(EphemeralProvider("mine"), (ADD, PING))
    opening = d.feed(i.Start(), i.IntegrationsOpened((server,)))[0]
    assert isinstance(opening, OpenResponse)
    assert [tool.definition for tool in opening.offered] == [PING]
