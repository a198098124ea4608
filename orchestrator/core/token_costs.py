"""What the definition of a tool costs in every prompt that offers it."""

from typing import Final

from orchestrator.core.json_types import canonical_json
from orchestrator.core.tools import ToolDefinition

BYTES_PER_TOKEN: Final = 4
"""Of English and JSON, with the tokenizers of today's models, roughly; the estimate says that it is one."""

MANY_TOOLS: Final = 40
MANY_TOKENS: Final = 8_000
"""From here on a warning is due: models choose worse among many tools, and pay for each in every turn."""


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
