"""What the definition of a tool costs in every prompt that offers it."""

from collections.abc import Sequence
from typing import Final

from orchestrator.core.json_types import canonical_json
from orchestrator.core.request import Limits
from orchestrator.core.tools import OfferedTool, ToolDefinition

BYTES_PER_TOKEN: Final = 4
"""Of English and JSON, with the tokenizers of today's models, roughly; the estimate says that it is one."""


def definition_text(name: str, tool: ToolDefinition) -> str:
    """The definition as engines are given it, under the `name` that the model is shown."""
    return canonical_json(
        {
            "type": "function",
            "function": {"name": name, "description": tool.description, "parameters": tool.input_schema},
        }
    )


def estimated_tokens(text: str) -> int:
    """About how many tokens `text` is."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def offer_warnings(tools: int, tokens: int, limits: Limits) -> tuple[str, ...]:
    """What is to be said of an offer of so many `tools`, whose definitions cost about `tokens`."""
    if tools <= limits.warn_tools and tokens <= limits.warn_tool_tokens:
        return ()
    count = "1 tool is" if tools == 1 else f"{tools} tools are"
    each = f"{count} offered, and their definitions cost about {tokens} tokens in every turn"
    return (f"{each}: models choose worse among many; name the needed ones in 'allowed_tools'",)


def warnings_about(offered: Sequence[OfferedTool], limits: Limits) -> tuple[str, ...]:
    """The same of what is `offered`, by an estimate."""
    tokens = sum(estimated_tokens(definition_text(tool.name, tool.definition)) for tool in offered)
    return offer_warnings(len(offered), tokens, limits)
