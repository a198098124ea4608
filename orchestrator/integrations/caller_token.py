"""The caller's own token, for servers whose entry says `forward_authorization`: never by default, and with care.

Who holds the token can do here what its owner may do. So a session that carries it is its caller's alone, it goes
to the server's own origin only, and not in the clear over a network.
"""

import hashlib
from typing import Final

from orchestrator.core.errors import ErrorKind
from orchestrator.integrations.mcp_json import HttpServer, PluginConfig
from orchestrator.integrations.mcp_transport import Stage
from orchestrator.integrations.request_headers import header_problem
from orchestrator.ports import IntegrationFailedError, RunScope

HEADER: Final = "Authorization"


def forwards(plugin: PluginConfig) -> bool:
    """Whether the plugin gets the token of whoever calls it."""
    return isinstance(plugin.server, HttpServer) and plugin.server.forward_authorization


def forwarded_token(plugin: PluginConfig, scope: RunScope) -> str | None:
    """The token to pass on to the plugin for a request of `scope`; None where its entry does not say so.

    Raises:
        OrchestratorError: `plugin_connection_error`: the request came without a token that could be passed on.
    """
    if not forwards(plugin):
        return None
    token = scope.caller_token
    if token and header_problem(HEADER, f"Bearer {token}") is None:
        return token
    message = (
        f"The plugin '{plugin.id}' could not be started (stage: {Stage.AUTHORISE}): it is called with the caller's "
        "own token ('forward_authorization' in its entry), and this request came without one. Send it as "
        "'Authorization: Bearer …'."
    )
    raise IntegrationFailedError(
        ErrorKind.PLUGIN_CONNECTION_ERROR, message, stage=Stage.AUTHORISE, param="integrations"
    )


def session_of_caller(scope: RunScope, token: str, *, chain: bool) -> str:
    """What tells sessions of different tokens apart, and of different chains where each `chain` has its own."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f"{scope.chain_id} {digest}" if chain else digest
