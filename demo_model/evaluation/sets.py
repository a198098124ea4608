"""The evaluation sets as they lie in the folder `sets`."""

import json
from dataclasses import dataclass
from typing import Any, cast

from demo_model.files import EVALUATION_SETS

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """The right call, and what the tool then returns."""

    tool: str
    arguments: JsonObject
    result: str


@dataclass(frozen=True, slots=True)
class CallCase:
    """A prompt that one call fulfils."""

    prompt: str
    expected: ExpectedCall


@dataclass(frozen=True, slots=True)
class SequenceCase:
    """A prompt that takes several calls, one after the other."""

    prompt: str
    expected: tuple[ExpectedCall, ...]


@dataclass(frozen=True, slots=True)
class PlainCase:
    """Turns that need no tool; the last answer has to contain a text, whatever its case."""

    turns: tuple[str, ...]
    expected: str
    with_tools: bool


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """One file of cases. `related`: tools that have a close relative in the training data."""

    tools: tuple[JsonObject, ...]
    trained_tools: tuple[JsonObject, ...]
    related: frozenset[str]
    calls: tuple[CallCase, ...]
    trained_calls: tuple[CallCase, ...]
    sequences: tuple[SequenceCase, ...]
    plain: tuple[PlainCase, ...]


@dataclass(frozen=True, slots=True)
class RefusalSet:
    """Results that are failures, and requests for tools that are not offered."""

    failures: tuple[str, ...]
    absent: tuple[str, ...]


def _read(name: str) -> JsonObject:
    return cast("JsonObject", json.loads((EVALUATION_SETS / f"{name}.json").read_text(encoding="utf-8")))


def _expected(entry: JsonObject) -> ExpectedCall:
    return ExpectedCall(entry["tool"], entry["arguments"], entry["result"])


def _calls(entries: list[JsonObject]) -> tuple[CallCase, ...]:
    return tuple(CallCase(entry["prompt"], _expected(entry)) for entry in entries)


def evaluation_set(name: str) -> EvaluationSet:
    """The set of calls with this name: `held_out`, `blind` or `blind2`."""
    entries = _read(name)
    return EvaluationSet(
        tools=tuple(entries["tools"]),
        trained_tools=tuple(entries.get("trained_tools", ())),
        related=frozenset(entries.get("related", ())),
        calls=_calls(entries["calls"]),
        trained_calls=_calls(entries.get("trained_calls", [])),
        sequences=tuple(
            SequenceCase(entry["prompt"], tuple(_expected(call) for call in entry["calls"]))
            for entry in entries["sequences"]
        ),
        plain=tuple(
            PlainCase(tuple(entry["turns"]), entry["expected"], entry["with_tools"])
            for entry in entries.get("plain", [])
        ),
    )


def refusal_set() -> RefusalSet:
    entries = _read("refusals")
    return RefusalSet(tuple(entries["failures"]), tuple(entries["absent"]))
