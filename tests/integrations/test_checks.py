"""What is refused before anything is connected, and in which words."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.request import EphemeralRequest, IntegrationRequest, PluginRequest
from orchestrator.integrations.checks import check_integrations
from orchestrator.integrations.mcp_json import McpConfig, McpJsonError, PluginConfig, StdioServer, UnusableServer
from orchestrator.integrations.network_policy import HostRules, NetworkPolicy

FILE = Path("/etc/somewhere/mcp.json")
STDIO = StdioServer("x", (), Path("/"), {}, frozenset())
CONFIG = McpConfig(
    (
        PluginConfig("clock", FILE, STDIO),
        PluginConfig("My-Notes", FILE, STDIO),
        PluginConfig("off", FILE, STDIO, disabled=True),
        PluginConfig(
            "bad", FILE, UnusableServer(McpJsonError("must be a string", file=FILE, label="bad", key="env.A"))
        ),
        PluginConfig("worse", FILE, UnusableServer(McpJsonError("must be an object", file=FILE, label="worse"))),
    )
)
FINE = EphemeralRequest("tiny", "https://tools.example/mcp", headers={"Authorization": "Bearer hush"})


def check(
    *integrations: IntegrationRequest,
    policy: NetworkPolicy | None = None,
    plugins: bool = True,
    ephemeral: bool = True,
) -> ErrorInfo | None:
    try:
        check_integrations(
            integrations, CONFIG, policy or NetworkPolicy(), allow_plugins=plugins, allow_ephemeral_mcp=ephemeral
        )
    except OrchestratorError as error:
        assert "hush" not in error.info.message + str(error.info.param)
        return error.info
    return None


def test_what_can_work_passes() -> None:
    assert check() is None
    assert check(PluginRequest("mcp/CLOCK"), PluginRequest("mcp/my_notes"), FINE) is None


def test_an_unknown_plugin_is_told_what_is_installed() -> None:
    assert check(FINE, PluginRequest("mcp/clok")) == ErrorInfo(
        ErrorKind.PLUGIN_CONNECTION_ERROR,
        "Cannot find plugin 'mcp/clok'. Installed plugins: mcp/clock, mcp/My-Notes, mcp/bad, mcp/worse.",
        "integrations",
    )


def test_with_nothing_installed_the_list_says_none() -> None:
    with pytest.raises(OrchestratorError, match=r"Installed plugins: none\."):
        check_integrations(
            [PluginRequest("mcp/x")], McpConfig(), NetworkPolicy(), allow_plugins=True, allow_ephemeral_mcp=True
        )


@pytest.mark.parametrize(
    ("plugin_id", "message"),
    [
        ("mcp/Off", "The plugin 'mcp/off' is disabled in mcp.json."),
        ("mcp/bad", "The plugin 'mcp/bad' cannot be used as mcp.json has it: key 'env.A' must be a string."),
        ("mcp/worse", "The plugin 'mcp/worse' cannot be used as mcp.json has it: its entry must be an object."),
    ],
)
def test_a_plugin_that_is_disabled_or_broken_says_why(plugin_id: str, message: str) -> None:
    assert check(PluginRequest(plugin_id)) == ErrorInfo(ErrorKind.PLUGIN_CONNECTION_ERROR, message, "integrations")


def test_what_is_switched_off_is_refused_first() -> None:
    refused = check(PluginRequest("mcp/unknown"), plugins=False)
    assert refused is not None and (refused.kind, refused.param) == (ErrorKind.PERMISSION_DENIED, "integrations")
    refused = check(EphemeralRequest("x", "nonsense"), ephemeral=False)
    assert refused is not None and (refused.kind, refused.param) == (ErrorKind.PERMISSION_DENIED, "integrations")
    assert check(FINE, plugins=False) is None
    assert check(PluginRequest("mcp/clock"), ephemeral=False) is None


@pytest.mark.parametrize(
    "integrations",
    [
        [PluginRequest("mcp/clock"), FINE, PluginRequest("mcp/clock")],
        [PluginRequest("mcp/my-notes"), FINE, PluginRequest("MCP/My_Notes")],
        [FINE, PluginRequest("mcp/clock"), EphemeralRequest("tiny", "https://other.example/")],
    ],
)
def test_the_same_one_twice_is_refused_where_it_stands_again(integrations: Sequence[IntegrationRequest]) -> None:
    refused = check(*integrations)
    assert refused is not None and (refused.kind, refused.param) == (ErrorKind.INVALID_VALUE, "integrations.2")


def test_a_plugin_and_a_server_may_share_a_label() -> None:
    assert check(PluginRequest("mcp/clock"), EphemeralRequest("clock", "https://x.example"), FINE) is None


@pytest.mark.parametrize("label", ["", " ", "a\nb", "x" * 129])
def test_a_label_must_be_fit_to_be_shown(label: str) -> None:
    refused = check(EphemeralRequest(label, "https://x.example"))
    assert refused is not None
    assert (refused.kind, refused.param) == (ErrorKind.INVALID_VALUE, "integrations.0.server_label")


@pytest.mark.parametrize("url", ["ftp://x", "stdio:x", "https://u:hush@x.example", "http://"])
def test_an_address_must_be_plain_http(url: str) -> None:
    refused = check(PluginRequest("mcp/clock"), EphemeralRequest("a", url))
    assert refused is not None
    assert (refused.kind, refused.param) == (ErrorKind.INVALID_VALUE, "integrations.1.server_url")


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"Host": "hush"}, "integrations.0.headers.Host"),
        ({"X-Fine": "v", "x-bad": "hush\r\nX: y"}, "integrations.0.headers.x-bad"),
        ({"a\r\nb": "hush"}, "integrations.0.headers.a??b"),
        ({"X-A": "hush", "x-a": "hush"}, "integrations.0.headers.x-a"),
    ],
)
def test_a_header_that_may_not_be_sent_is_named_without_its_value(headers: dict[str, str], param: str) -> None:
    refused = check(EphemeralRequest("a", "https://x.example", headers=headers))
    assert refused is not None
    assert (refused.kind, refused.param) == (ErrorKind.INVALID_VALUE, param)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "10.0.0.1", "[::ffff:10.0.0.1]", "0xa9fea9fe"])
def test_a_forbidden_address_needs_no_connection_to_be_refused(host: str) -> None:
    refused = check(EphemeralRequest("a", f"http://{host}/secret-path"))
    assert refused is not None
    assert (refused.kind, refused.param) == (ErrorKind.MCP_CONNECTION_ERROR, "integrations")
    assert f"'a' at http://{host}" in refused.message
    assert "secret-path" not in refused.message


def test_a_denied_name_needs_no_lookup_to_be_refused() -> None:
    policy = NetworkPolicy(deny=HostRules.parse(["*.example"], setting="DENY"))
    refused = check(FINE, policy=policy)
    assert refused is not None and refused.kind is ErrorKind.MCP_CONNECTION_ERROR


def test_loopback_passes_while_the_service_listens_there() -> None:
    assert check(EphemeralRequest("a", "http://127.0.0.1:9"), policy=NetworkPolicy(allow_loopback=True)) is None
