"""What is wrong with an entry of `mcp.json` once it is known which tools its server has. Pure."""

from collections.abc import Iterable

from orchestrator.core.approvals import NEVER, ApprovalPolicy


def unknown_names(
    tools: Iterable[str], allowed_tools: tuple[str, ...] | None = None, approval: ApprovalPolicy = NEVER
) -> tuple[str, ...]:
    """Of each name in the entry that none of `tools` has, a sentence that says where it stands.

    A guard of a tool that was renamed guards nothing, and nothing else would show it.
    """
    known = frozenset(tools)
    named = (
        ("allowed_tools", allowed_tools or (), ""),
        ("require_approval.always", approval.always.tool_names, ": nothing is guarded by it"),
        ("require_approval.never", approval.never.tool_names, ""),
    )
    return tuple(
        f"its '{key}' in mcp.json names '{name}', which the server does not have{so}"
        for key, names, so in named
        for name in dict.fromkeys(names)
        if name not in known
    )
