"""The words of this dialect: ids that lead back to ours, and errors that name its own fields."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from orchestrator.core.errors import ErrorInfo

RESPONSE: Final = "resp_"
CHAT: Final = "chatcmpl-"
TEXT: Final = "cmpl-"

CHAT_FIELDS: Final[Mapping[str, str]] = {
    "input": "messages",
    "system_prompt": "messages",
    "reasoning": "reasoning_effort",
    "max_output_tokens": "max_completion_tokens",
}
TEXT_FIELDS: Final[Mapping[str, str]] = {"input": "prompt", "max_output_tokens": "max_tokens"}


def response_id_of(text: str) -> str:
    """The response that an id of this dialect stands for; any other text as it is."""
    return RESPONSE + text.removeprefix(CHAT) if text.startswith(CHAT) else text


def in_words_of(fields: Mapping[str, str], info: ErrorInfo) -> ErrorInfo:
    """`info` with the field's name in this dialect."""
    head, dot, rest = (info.param or "").partition(".")
    return replace(info, param=fields[head] + dot + rest) if head in fields else info
