"""What a chat template says about its model, by the names that stand in it; nothing is rendered here."""

import re
from typing import Final

from orchestrator.core.models import ReasoningSupport
from orchestrator.core.request import ReasoningSetting

_TAGS: Final = re.compile(r"\{[{%](.*?)[}%]\}", re.DOTALL)
_TOOLS: Final = re.compile(r"(?<![\w.'\"])tools(?![\w'\"])")
# How templates think unless they are told not to: an undefined variable is falsy, so each of them names the exception.
_ON_BY_DEFAULT: Final = re.compile(
    r"enable_thinking\s+is\s+(?:sameas\s*\(?\s*)?false"
    r"|enable_thinking\s*==\s*false"
    r"|enable_thinking\s+is\s+defined\s+and\s+not\s+enable_thinking"
    r"|enable_thinking\s+is\s+not\s+defined\s+or"
    r"|(?:enable_thinking\s+is\s+not\s+defined|not\s+enable_thinking\s+is\s+defined)\s*-?%\}\s*\{%-?\s*set\s+enable_thinking\s*=\s*true"
    r"|enable_thinking\s*\|\s*default\(\s*(?:value\s*=\s*)?true"
    r"|enable_thinking\s+if\s+enable_thinking\s+is\s+(?:not\s+none|defined)\s+else\s+true",
    re.IGNORECASE,
)


def is_trained_for_tool_use(template: str | None) -> bool:
    """Whether the template renders tools at all."""
    return template is not None and any(_TOOLS.search(tag) for tag in _TAGS.findall(template))


def reasoning_support(template: str | None) -> ReasoningSupport | None:
    """`off` and `on` where the template has a switch for reasoning, with what it does when nobody touches that.

    The engine always sets the switch, to the default that is told here too, so that what is told is what is done.
    """
    if template is None or not any("enable_thinking" in tag for tag in _TAGS.findall(template)):
        return None
    options: tuple[ReasoningSetting, ...] = ("off", "on")
    return ReasoningSupport(options, "on" if _ON_BY_DEFAULT.search(template) else "off")
