"""What a chat template says about its model, by the names that stand in it; nothing is rendered here."""

import re
from typing import Final

from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import ReasoningSupport
from orchestrator.core.request import ReasoningSetting

_TAGS: Final = re.compile(r"\{[{%](.*?)[}%]\}", re.DOTALL)
_TOOLS: Final = re.compile(r"(?<![\w.'\"])tools(?![\w'\"])")
_SWITCH: Final = "enable_thinking"
_EFFORT: Final = "reasoning_effort"
_LEVELS: Final[tuple[ReasoningSetting, ...]] = ("low", "medium", "high")
_USUAL_EFFORT: Final = re.compile(
    r"reasoning_effort\s*(?:=|\|\s*default\()\s*['\"](low|medium|high)['\"]", re.IGNORECASE
)
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
    """`off` and `on` where the template has a switch for reasoning, the levels where it knows an effort.

    The default is what the template does when nobody touches either. The engine always sets the switch, to the default
    that is told here too, so that what is told is what is done.
    """
    tags = _TAGS.findall(template or "")
    switch, effort = (any(name in tag for tag in tags) for name in (_SWITCH, _EFFORT))
    if template is None or not (switch or effort):
        return None
    if not switch:
        found = _USUAL_EFFORT.search(template)
        usual = found.group(1) if found else "medium"
        return ReasoningSupport(_LEVELS, next(level for level in _LEVELS if level == usual))
    default = "on" if _ON_BY_DEFAULT.search(template) else "off"
    return ReasoningSupport(("off", *_LEVELS, "on") if effort else ("off", "on"), default)


def template_arguments(support: ReasoningSupport | None, asked: ReasoningSetting | None) -> JsonObject:
    """What the template is told, so that the model reasons as asked; None asks for the default."""
    if support is None:
        return {}
    setting = asked or support.default
    told: JsonObject = {_EFFORT: setting} if setting in _LEVELS else {}
    return told | {_SWITCH: setting != "off"} if "off" in support.allowed_options else told
