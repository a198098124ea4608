"""Who asks, and what they may do."""

from dataclasses import dataclass, field

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.permissions import Permission, allows, plugin_tools
from orchestrator.ports import TokenLimits


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Without authentication it is `local`, who may do everything.

    `token` is the text that was sent to authenticate with, where one was; it must be in nothing that is
    written or shown. What the token uses up is counted under its `account`.
    """

    owner: str = "local"
    token_id: str | None = None
    permissions: frozenset[str] = frozenset({"admin"})
    limits: TokenLimits = field(default_factory=TokenLimits)
    token: str | None = field(default=None, compare=False, repr=False)
    account: str | None = None

    def require(self, permission: Permission, message: str, *, param: str | None = None) -> None:
        """Refuse what the caller may not do.

        Raises:
            OrchestratorError: `permission_denied` with `message`.
        """
        if not allows(self.permissions, permission):
            raise OrchestratorError(ErrorKind.PERMISSION_DENIED, message, param=param)

    def plugin_tools(self, plugin_id: str, *, param: str | None = None) -> tuple[str, ...]:
        """Patterns of the tools of the plugin that the caller may call.

        Raises:
            OrchestratorError: `permission_denied` where it may not use the plugin at all.
        """
        patterns = plugin_tools(self.permissions, plugin_id)
        if not patterns:
            held = allows(self.permissions, "plugins")
            why = "the API token allows other plugins only" if held else "the API token does not allow plugins"
            message = f"Permission denied to use plugin '{plugin_id}': {why}."
            raise OrchestratorError(ErrorKind.PERMISSION_DENIED, message, param=param)
        return patterns

    def may_use(self, plugin_id: str) -> bool:
        """Whether the caller may use the plugin, or at least some of its tools."""
        return bool(plugin_tools(self.permissions, plugin_id))

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do everything."""
        return allows(self.permissions, "admin")
