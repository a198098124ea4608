"""What is refused of a request's integrations before anything is connected. Pure."""

from collections.abc import Sequence

from orchestrator.core.errors import INSTALLED, ErrorKind, OrchestratorError, sentence
from orchestrator.core.request import EphemeralRequest, IntegrationRequest, PluginRequest
from orchestrator.integrations.mcp_json import LONGEST_LABEL, McpConfig, PluginConfig, UnusableServer, normal_plugin_id
from orchestrator.integrations.network_policy import NetworkPolicy
from orchestrator.integrations.request_headers import header_problem, repeated_header
from orchestrator.integrations.server_url import ServerUrl, ServerUrlError, parse_server_url


def check_integrations(
    integrations: Sequence[IntegrationRequest],
    config: McpConfig,
    policy: NetworkPolicy,
    *,
    allow_plugins: bool,
    allow_ephemeral_mcp: bool,
) -> None:
    """Refuse what cannot work: what is switched off, then what is malformed, then what cannot be reached.

    Raises:
        OrchestratorError: contract, section 4.
    """
    for integration in integrations:
        if isinstance(integration, PluginRequest) and not allow_plugins:
            raise _refused(ErrorKind.PERMISSION_DENIED, "Plugins are switched off on this server.")
        if isinstance(integration, EphemeralRequest) and not allow_ephemeral_mcp:
            raise _refused(ErrorKind.PERMISSION_DENIED, "Ephemeral MCP servers are switched off on this server.")
    _check_repetition(integrations)
    urls: list[tuple[EphemeralRequest, ServerUrl]] = []
    for index, integration in enumerate(integrations):
        if isinstance(integration, EphemeralRequest):
            urls.append((integration, _check_ephemeral(integration, f"integrations.{index}")))
    for integration in integrations:
        if isinstance(integration, PluginRequest):
            usable_plugin(integration.id, config)
    for integration, url in urls:
        refusal = policy.refusal_of_host(url.host)
        if refusal is None and url.literal is not None:
            refusal = policy.refusal(url.host, url.literal)
        if refusal is not None:
            message = f"The MCP server '{integration.server_label}' at {url.origin} is not allowed: {refusal}."
            raise _refused(ErrorKind.MCP_CONNECTION_ERROR, message)


def usable_plugin(plugin_id: str, config: McpConfig) -> PluginConfig:
    """The installed plugin that `plugin_id` means.

    Raises:
        OrchestratorError: `plugin_connection_error`: there is none, it is disabled, or its entry is broken.
    """
    plugin = config.find(plugin_id)
    if plugin is None:
        installed = ", ".join(known.id for known in config.plugins if not known.disabled) or "none"
        message = f"Cannot find plugin '{plugin_id}'. {INSTALLED}{installed}."
        for error in config.errors:
            message += sentence(f" It may be in {error.file.name}, which is not in use: {error.problem}")
        raise _refused(ErrorKind.PLUGIN_CONNECTION_ERROR, message)
    if plugin.disabled:
        message = f"The plugin '{plugin.id}' is disabled in {plugin.file.name}."
        raise _refused(ErrorKind.PLUGIN_CONNECTION_ERROR, message)
    if isinstance(plugin.server, UnusableServer):
        error = plugin.server.error
        key = f"key '{error.key}' " if error.key is not None else "its entry "
        message = sentence(
            f"The plugin '{plugin.id}' cannot be used as {plugin.file.name} has it: {key}{error.problem}"
        )
        raise _refused(ErrorKind.PLUGIN_CONNECTION_ERROR, message)
    return plugin


def _check_repetition(integrations: Sequence[IntegrationRequest]) -> None:
    seen: set[tuple[type[IntegrationRequest], str]] = set()
    for index, integration in enumerate(integrations):
        match integration:
            case PluginRequest(plugin_id):
                what, key = f"plugin '{plugin_id}'", (PluginRequest, normal_plugin_id(plugin_id))
            case EphemeralRequest(server_label):
                what, key = f"server label '{server_label}'", (EphemeralRequest, normal_plugin_id(server_label))
        if key in seen:
            message = f"The {what} is there twice."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=f"integrations.{index}")
        seen.add(key)


def _check_ephemeral(integration: EphemeralRequest, param: str) -> ServerUrl:
    label = integration.server_label
    if not label.strip() or not label.isprintable() or len(label) > LONGEST_LABEL:
        problem = f"'server_label' must be printable text of at most {LONGEST_LABEL} characters."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, problem, param=f"{param}.server_label")
    try:
        url = parse_server_url(integration.server_url)
    except ServerUrlError as error:
        message = f"'server_url' {error}."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=f"{param}.server_url") from None
    for name, value in integration.headers.items():
        problem = header_problem(name, value)
        if problem is not None:
            raise _bad_header(param, name, problem)
    repeated = repeated_header(list(integration.headers))
    if repeated is not None:
        raise _bad_header(param, repeated, "is there twice")
    return url


def _bad_header(param: str, name: str, problem: str) -> OrchestratorError:
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[:100])
    return OrchestratorError(
        ErrorKind.INVALID_VALUE, f"The header '{shown}' {problem}.", param=f"{param}.headers.{shown}"
    )


def _refused(kind: ErrorKind, message: str) -> OrchestratorError:
    return OrchestratorError(kind, message, param="integrations")
