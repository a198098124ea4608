"""What the tools of a stored response answered, given again without asking anybody."""

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import TypeAlias

from orchestrator.core.calls import executed_arguments
from orchestrator.core.content import content_text
from orchestrator.core.items import ProviderInfo
from orchestrator.core.json_types import JsonObject, canonical_json
from orchestrator.core.placed import Outcome, PlacedCall, PlacedItem
from orchestrator.core.tools import ToolKey, ToolResult, readable_content, text_content, tool_key

AnswerKey: TypeAlias = tuple[ToolKey, str]
"""What was asked: the tool, and the canonical text of its arguments."""

UNANSWERED = "The replay did not run this call: nothing is stored that {tool} answered to these arguments."


def answer_key(provider: ProviderInfo, tool: str, arguments: JsonObject) -> AnswerKey:
    """What is asked by calling `tool` with `arguments`."""
    return tool_key(provider, tool), canonical_json(arguments)


def key_of(call: PlacedCall) -> AnswerKey | None:
    """What `call` asked; None where it was no call of a tool."""
    if call.tool is None or call.provider is None:
        return None
    return answer_key(call.provider, call.tool, executed_arguments(call))


class RecordedAnswers:
    """The outcomes of the calls in `items`, each to be given once in their order, and the last one from then on."""

    def __init__(self, items: Iterable[PlacedItem]) -> None:
        self._answers: defaultdict[AnswerKey, deque[Outcome]] = defaultdict(deque)
        for item in items:
            key = key_of(item) if isinstance(item, PlacedCall) else None
            if key is None or not isinstance(item, PlacedCall):
                continue
            if item.outcome is not None and item.outcome.status != "invalid":
                self._answers[key].append(item.outcome)

    def next(self, key: AnswerKey) -> Outcome | None:
        """What is to be answered now, which counts as given."""
        answers = self._answers.get(key)
        if not answers:
            return None
        return answers.popleft() if len(answers) > 1 else answers[0]


def stored_result(outcome: Outcome | None, tool: str) -> ToolResult:
    """The answer that was recorded, or that there is none."""
    if outcome is None:
        told = UNANSWERED.format(tool=tool)
        return ToolResult(text_content(told), told, is_error=True, status="refused")
    text = content_text(readable_content(outcome.output, outcome.structured))
    return ToolResult(outcome.output, text, outcome.is_error, outcome.structured, "replayed")
