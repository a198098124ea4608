"""The files that install plugins, as the settings have them."""

from orchestrator.core.errors import OrchestratorError
from orchestrator.integrations.mcp_config import McpConfigFiles, config_layers
from orchestrator.settings import Settings


def plugin_files(settings: Settings) -> McpConfigFiles:
    """The files, not read yet."""
    layers = config_layers(
        settings.mcp_user_config,
        settings.mcp_config,
        settings.mcp_config_added,
        project_required=settings.mcp_config_given,
    )
    return McpConfigFiles(layers)


def plugin_ids(settings: Settings) -> list[str]:
    """The plugins that are installed and not disabled; none where a file cannot be read, which the log tells."""
    try:
        config = plugin_files(settings).load()
    except OrchestratorError:
        return []
    return [plugin.id for plugin in config.plugins if not plugin.disabled]
