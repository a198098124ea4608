"""What the store is given of a run: its items without what the rules of redaction find in them.

The run itself, its tool and its model have everything. What was taken out is remembered as long as the run
lasts, so that a run which is put away can be taken up as it was (`withheld`, `restored_items`).
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias, assert_never, cast

from orchestrator.core.approvals import Approve, Decision, Deny
from orchestrator.core.calls import ARGUMENTS_CHANGED
from orchestrator.core.content import content_text
from orchestrator.core.items import (
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    Message,
    Origin,
    ProviderInfo,
    Reasoning,
    ReasoningInput,
    TextInput,
    text_of,
    with_text,
)
from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json, parse_object
from orchestrator.core.markup import plain_markup
from orchestrator.core.placed import HANDED_OVER, Outcome, PlacedCall, PlacedItem, PlacedText
from orchestrator.core.reading import SERVICE, cut_alike, inner_piece
from orchestrator.core.redaction import NOTHING, Learned, Redaction, marker, parsed
from orchestrator.core.response import Cancelled, Completed, Ending, Failed
from orchestrator.core.tools import text_content

Rules: TypeAlias = Callable[[ProviderInfo | None], Redaction]
"""The rules for what a server is asked and answers; None is a server that nobody knows: all rules there are."""

_WHOLE: Final = marker("value")
_CUT: Final = re.compile(r"\n\[cut: \d+ bytes in all, [^\]]*\]\Z")
_AT_A_CUT: Final = 256
"""Characters before a cut that are left out: the beginning of something secret is not what a rule matches."""

_AS_IT_IS: Final = ("model",)
"""Parameters that hold no text of anybody's."""


class RunRedaction:
    """The redaction of one run. What it is given it returns as the store may have it."""

    def __init__(self, rules: Rules, general: Redaction) -> None:
        self._rules = rules
        self._texts = general
        self._calls: dict[str, tuple[ProviderInfo | None, Redaction]] = {}
        self._learned = Learned()
        self._withheld: dict[str, dict[str, Any]] = {}

    @property
    def withheld(self) -> JsonObject | None:
        """What was taken out so far, with its places."""
        return cast(JsonObject, self._withheld) if self._withheld else None

    def resume(self, items: Sequence[PlacedItem], withheld: JsonObject | None) -> None:
        """Go on after another process, or this one, put the run away."""
        self.items(items)
        self._withheld = cast("dict[str, dict[str, Any]]", dict(withheld or {}))

    def opening(
        self,
        said: Sequence[InputItem],
        system_prompt: str | None,
        parameters: JsonObject,
        metadata: dict[str, str],
    ) -> tuple[tuple[InputItem, ...], str | None, JsonObject, dict[str, str]]:
        """What a response begins with."""
        items: list[InputItem] = []
        for place, item in enumerate(said):
            put = self._input(item)
            if put != item:
                self._withhold("input", str(place), text_of(item))
            items.append(put)
        prompt = None if system_prompt is None else self._texts.text(system_prompt)
        kept = {
            name: value if name in _AS_IT_IS else self._texts.leaves(value, keys=False)
            for name, value in parameters.items()
        }
        if prompt != system_prompt:
            self._withhold("opening", "system_prompt", system_prompt)
        if kept != parameters:
            self._withhold("opening", "parameters", parameters)
        return tuple(items), prompt, kept, {name: self._texts.text(value) for name, value in metadata.items()}

    def items(self, placed: Sequence[PlacedItem]) -> list[PlacedItem]:
        """The items in their order; calls are looked at first, because paths tell there what is secret."""
        calls = {item.call_id: self._call(item) for item in placed if isinstance(item, PlacedCall)}
        return [calls[item.call_id] if isinstance(item, PlacedCall) else self._text(item) for item in placed]

    def outcome(self, call_id: str, outcome: Outcome) -> Outcome:
        """How a call ended."""
        put = self._outcome(self._rules_for(call_id), outcome, self._calls.get(call_id, (None, NOTHING))[0])
        if put != outcome:
            self._withhold_outcome(call_id, outcome)
        return put

    def decision(self, call_id: str, decision: Decision) -> Decision:
        """What somebody decided about a call."""
        rules = self._rules_for(call_id)
        match decision:
            case Approve(arguments):
                if arguments is None:
                    return decision
                put = self._arguments(rules, arguments, canonical_json(arguments))[0]
                if put != arguments:
                    self._withhold("edits", call_id, arguments)
                return Approve(put)
            case Deny(reason):
                return Deny(None if reason is None else self._plain(rules, reason))
            case _:
                assert_never(decision)

    def ending(self, ending: Ending) -> Ending:
        """How the response ends."""
        match ending:
            case Failed(error):
                return Failed(replace(error, message=self._plain(self._texts, error.message)))
            case Cancelled(reason):
                return Cancelled(self._plain(self._texts, reason))
            case Completed(str(stop_sequence)):
                return Completed(self._plain(self._texts, stop_sequence))
            case _:
                return ending

    def warnings(self, warnings: Sequence[str]) -> tuple[str, ...]:
        """What the response was warned about."""
        return tuple(self._plain(self._texts, warning) for warning in warnings)

    # ---- the parts ----------------------------------------------------------------------------

    def _rules_for(self, call_id: str) -> Redaction:
        """Those of now, and those of when the call was made: its plugin may have left the file meanwhile."""
        provider, then = self._calls.get(call_id, (None, NOTHING))
        return self._of(provider).joined(then)

    def _of(self, provider: ProviderInfo | None) -> Redaction:
        """What the service itself reads from is an output of any server."""
        return self._rules(None if provider == SERVICE else provider)

    def _plain(self, rules: Redaction, text: str) -> str:
        return self._learned.mask(rules.text(text))

    def _input(self, item: InputItem) -> InputItem:
        match item:
            case TextInput(content, origin):
                rules = self._texts if origin is None else self._rules(origin.provider)
                return replace(item, content=rules.text(content), origin=_masked_origin(origin, rules))
            case ImageInput(_, origin):
                rules = self._texts if origin is None else self._rules(origin.provider)
                return replace(item, origin=_masked_origin(origin, rules))
            case ReasoningInput(content):
                return replace(item, content=self._texts.text(content))
            case FunctionCallInput(arguments=arguments):
                put = self._texts.json_text(arguments, "arguments", self._learned)
                return replace(item, arguments=self._learned.mask(put))
            case FunctionOutput(output=output):
                put = self._learned.mask(self._texts.json_text(output, "result", self._learned))
                return replace(item, output=_readable(put, output))
            case _:
                assert_never(item)

    def _text(self, placed: PlacedText) -> PlacedText:
        content = self._plain(self._texts, placed.item.content)
        if content == placed.item.content:
            return placed
        self._withhold("texts", str(placed.position), placed.item.content)
        # Its tokens would spell out what is taken out.
        return replace(placed, item=Message(content) if isinstance(placed.item, Message) else Reasoning(content))

    def _call(self, call: PlacedCall) -> PlacedCall:
        rules = self._of(call.provider)
        self._calls[call.call_id] = call.provider, rules
        if call.provider is not None:
            self._texts = self._texts.joined(Redaction(rules.patterns))
        arguments, text = self._arguments(rules, call.arguments, call.arguments_text)
        edited = None if call.edited is None else self._arguments(rules, call.edited, canonical_json(call.edited))[0]
        put = replace(
            call,
            model_name=call.model_name if call.tool is not None else self._plain(rules, call.model_name),
            arguments_text=text,
            arguments=arguments,
            edited=edited,
            reason=None if call.reason is None else self._plain(rules, call.reason),
            outcome=None if call.outcome is None else self._outcome(rules, call.outcome, call.provider),
        )
        if put != call:
            self._withheld.setdefault("calls", {})[call.call_id] = {
                "model_name": call.model_name,
                "arguments_text": call.arguments_text,
                "arguments": call.arguments,
                "edited": call.edited,
                "reason": call.reason,
            }
            if call.outcome is not None:
                self._withhold_outcome(call.call_id, call.outcome)
        return put

    def _arguments(self, rules: Redaction, arguments: JsonObject | None, text: str) -> tuple[JsonObject | None, str]:
        put = rules.json_text(text, "arguments", self._learned)
        if arguments is not None:
            inner = rules.json(arguments, "arguments", self._learned)
            if inner != arguments:
                put = rules.text(json.dumps(inner, ensure_ascii=False))
        put = self._learned.mask(put)
        if arguments is None or put == text:
            return arguments, put
        again = parse_object(put)
        return ({"redacted": _WHOLE}, canonical_json({"redacted": _WHOLE})) if again is None else (again, put)

    def _outcome(self, rules: Redaction, outcome: Outcome, provider: ProviderInfo | None) -> Outcome:
        if outcome == HANDED_OVER:
            return outcome
        try:
            if rules and provider == SERVICE:
                piece = inner_piece(content_text(outcome.output), _AT_A_CUT)
                outcome = replace(outcome, output=text_content(piece), shown=piece)
            return self._looked_through(rules, outcome)
        except RecursionError:
            shown = None if outcome.shown is None else _WHOLE
            return replace(outcome, output=text_content(_WHOLE), structured=None, shown=shown)

    def _looked_through(self, rules: Redaction, outcome: Outcome) -> Outcome:
        output = self._content(rules, outcome.output)
        structured = outcome.structured
        if structured is not None:
            structured = self._learned.mask(rules.json_text(structured, "result", self._learned))
            if structured != outcome.structured and not _is_json(structured):
                structured = json.dumps(_WHOLE)
        # What a path told in one of them may stand in the other.
        output = _readable(self._learned.mask(output), output)
        shown = self._shown(rules, outcome, output, structured)
        return replace(outcome, output=output, structured=structured, shown=shown)

    def _content(self, rules: Redaction, content: str) -> str:
        parts = parsed(content)
        put = [self._part(rules, part) for part in cast("list[JsonValue]", parts)]
        return content if put == parts else json.dumps(put, ensure_ascii=False, separators=(",", ":"))

    def _part(self, rules: Redaction, part: JsonValue) -> JsonValue:
        match part:
            case {"type": "image" | "audio", "data": str()}:
                return self._members(rules, part, "data")
            case {"type": "resource", "resource": {"blob": str()} as resource}:
                return {**self._members(rules, part, "resource"), "resource": self._members(rules, resource, "blob")}
            case {"type": "resource", "resource": {"text": str(text)} as resource}:
                put = {**self._members(rules, resource, "text"), "text": self._result(rules, text)}
                return {**self._members(rules, part, "resource"), "resource": put}
            case {"type": "text", "text": str(text)}:
                return {**self._members(rules, part, "text"), "text": self._result(rules, text)}
            case _:
                return rules.leaves(part)

    def _members(self, rules: Redaction, value: JsonObject, but: str) -> JsonObject:
        """`value` with its members redacted, all `but` one."""
        return {name: inner if name == but else rules.leaves(inner) for name, inner in value.items()}

    def _result(self, rules: Redaction, text: str) -> str:
        cut = _CUT.search(text) if rules else None
        if cut is None:
            return self._learned.mask(rules.json_text(text, "result", self._learned))
        body = self._learned.mask(rules.json_text(text[: cut.start()], "result", self._learned))
        return body[:-_AT_A_CUT] + cut[0]

    def _shown(self, rules: Redaction, outcome: Outcome, output: str, structured: str | None) -> str | None:
        shown = outcome.shown
        if shown is None:
            return None
        was, now = _read(outcome.output, outcome.structured), _read(output, structured)
        if shown.endswith(was):
            return self._plain(rules, shown[: len(shown) - len(was)]) + now
        if shown.endswith(plain_markup(was)):
            return self._plain(rules, shown[: len(shown) - len(was)]) + plain_markup(now)
        head = shown[: shown.find("]\n") + 2] if shown.startswith(ARGUMENTS_CHANGED) else ""
        put = self._plain(rules, head)
        if put == head and now == was:
            return shown
        return put + cut_alike(shown[len(head) :], now)

    def _withhold(self, kind: str, place: str, value: object) -> None:
        self._withheld.setdefault(kind, {})[place] = value

    def _withhold_outcome(self, call_id: str, outcome: Outcome) -> None:
        call = self._withheld.setdefault("calls", {}).setdefault(call_id, {})
        call["outcome"] = {"output": outcome.output, "shown": outcome.shown, "structured": outcome.structured}


def merged(withheld: JsonObject, more: JsonObject) -> JsonObject:
    """What was withheld at first and what was later."""
    first, then = cast("dict[str, JsonObject]", withheld), cast("dict[str, JsonObject]", more)
    return {kind: {**first.get(kind, {}), **then.get(kind, {})} for kind in first | then}


def restored_items(items: Sequence[PlacedItem], withheld: JsonObject) -> tuple[PlacedItem, ...]:
    """The items as they were before redaction."""
    known = cast("dict[str, dict[str, Any]]", withheld)
    restored: list[PlacedItem] = []
    for item in items:
        if isinstance(item, PlacedCall):
            restored.append(_restored_call(item, known.get("calls", {}).get(item.call_id, {})))
        else:
            text: str = known.get("texts", {}).get(str(item.position), item.item.content)
            restored.append(replace(item, item=replace(item.item, content=text)))
    return tuple(restored)


def restored_input(said: Sequence[InputItem], withheld: JsonObject) -> tuple[InputItem, ...]:
    """The input as it was before redaction."""
    texts = cast("dict[str, dict[str, str]]", withheld).get("input", {})
    return tuple(with_text(item, texts[str(place)]) if str(place) in texts else item for place, item in enumerate(said))


def restored_decision(call_id: str, decision: Decision, withheld: JsonObject) -> Decision:
    """A decision that was written down, as it was made."""
    edits = cast("dict[str, dict[str, JsonObject]]", withheld).get("edits", {})
    return Approve(edits[call_id]) if isinstance(decision, Approve) and call_id in edits else decision


def restored_opening(withheld: JsonObject) -> tuple[str | None, JsonObject | None]:
    """System prompt and parameters where something was taken out of them, else None for each."""
    opening = cast("dict[str, dict[str, Any]]", withheld).get("opening", {})
    return opening.get("system_prompt"), opening.get("parameters")


def _restored_call(call: PlacedCall, known: dict[str, Any]) -> PlacedCall:
    outcome = known.get("outcome")
    if outcome is not None and call.outcome is not None:
        call = replace(call, outcome=replace(call.outcome, **outcome))
    return replace(call, **{name: value for name, value in known.items() if name != "outcome"})


def _masked_origin(origin: Origin | None, rules: Redaction) -> Origin | None:
    return None if origin is None else replace(origin, name=rules.text(origin.name))


def _read(output: str, structured: str | None) -> str:
    """What the model reads of a result, as `core/content.py` has it."""
    return (structured or "") if output == "[]" else content_text(output)


def _is_json(text: str) -> bool:
    try:
        parsed(text)
    except (ValueError, RecursionError):
        return False
    return True


def _readable(masked: str, content: str) -> str:
    """`masked`, unless it is no content any more."""
    return masked if masked == content or _is_json(masked) else text_content(_WHOLE)
