"""Foreign text made fit for a terminal: what a model, a tool or a server wrote must not control it."""

import json
import unicodedata
from collections.abc import Mapping
from typing import cast

from msgspec import UNSET, UnsetType

from orchestrator.core.json_types import JsonValue

KEPT = frozenset("\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}")
HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
ARGUMENTS_LENGTH = 400
OUTPUT_LENGTH = 600
OUTPUT_LINES = 8


def visible(text: str) -> str:
    """`text` with every character that moves the cursor, changes colours or reorders text replaced."""
    return "".join(character if _harmless(character) else "\N{REPLACEMENT CHARACTER}" for character in text)


def one_line(text: str) -> str:
    """`text` without line breaks."""
    return " ".join(visible(text).split())


def arguments_text(arguments: Mapping[str, JsonValue]) -> str:
    """The arguments of a call as a reader of code expects them, shortened."""
    pairs = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    return shortened(one_line(", ".join(pairs)), ARGUMENTS_LENGTH)


def output_text(output: str, structured: str | UnsetType = UNSET) -> str:
    """What a tool answered, as `result_text` has it, shortened."""
    lines = visible(result_text(output, structured)).strip().splitlines()
    cut = lines[:OUTPUT_LINES]
    text = shortened("\n".join(cut), OUTPUT_LENGTH)
    return text if len(lines) == len(cut) else f"{text}\n… ({len(lines) - len(cut)} more lines)"


def shortened(text: str, length: int) -> str:
    """At most `length` characters of `text`, and how many are left out."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text) - length} more characters)"


def _harmless(character: str) -> bool:
    return character in KEPT or unicodedata.category(character) not in HARMFUL


def result_text(output: str, structured: str | UnsetType) -> str:
    """What a tool answered: its content, or its structured output where the content is empty."""
    text = content_text(output)
    return text if text.strip() or isinstance(structured, UnsetType) else structured


def content_text(output: str) -> str:
    """The texts of a content array, other parts by their type; what is no content array as it is."""
    try:
        parts: object = json.loads(output)
    except ValueError:
        return output
    if not isinstance(parts, list):
        return output
    return "\n".join(_part_text(part) for part in cast("list[object]", parts))


def _part_text(part: object) -> str:
    if not isinstance(part, dict):
        return str(part)
    fields = cast("dict[str, object]", part)
    text = fields.get("text")
    return text if isinstance(text, str) else f"({fields.get('type', 'a part without a type')})"
