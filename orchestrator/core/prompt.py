"""The messages that an engine is sent: append-only along a chain, so that its prefix cache holds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from orchestrator.core.content import content_images
from orchestrator.core.items import ImageInput, InputItem, Message, OutputEntry, Reasoning, TextInput, ToolCall
from orchestrator.core.markup import plain_markup
from orchestrator.core.tools import provider_label


@dataclass(frozen=True, slots=True)
class SystemMessage:
    """The system prompt, always first."""

    content: str


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the user sent in one request; the items of an `input` array make one message."""

    parts: tuple[InputItem, ...]


@dataclass(frozen=True, slots=True)
class PromptToolCall:
    """A call as the model wrote it; `arguments` is the JSON text of an object."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """One turn of the model."""

    reasoning: str
    content: str
    calls: tuple[PromptToolCall, ...]


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """The result of one call, as text."""

    call_id: str
    name: str
    content: str


PromptMessage: TypeAlias = SystemMessage | UserMessage | AssistantMessage | ToolMessage


@dataclass(frozen=True, slots=True)
class PastResponse:
    """A response of the chain, as far as a prompt needs it."""

    input: tuple[InputItem, ...]
    output: tuple[OutputEntry, ...]
    _messages: dict[bool, Sequence[PromptMessage]] = field(
        default_factory=dict[bool, Sequence["PromptMessage"]], init=False, repr=False, compare=False
    )

    def messages(self, *, vision: bool) -> Sequence[PromptMessage]:
        """What a prompt has of it, made once: the whole chain is told again with every request at its end."""
        if vision not in self._messages:
            self._messages[vision] = (*input_messages(self.input), *turn_messages(self.output, vision=vision))
        return self._messages[vision]


@dataclass(frozen=True, slots=True)
class PastSegment:
    """Responses of the chain that follow each other, told already; no call in them has pictures.

    `cut` says that an output in them was cut for the model, `calls` whose results it was given.
    """

    told: tuple[PromptMessage, ...]
    cut: bool
    calls: tuple[str, ...]

    def messages(self, *, vision: bool) -> Sequence[PromptMessage]:
        """What a prompt has of them, whether the model sees pictures or not."""
        return self.told


Past: TypeAlias = PastResponse | PastSegment


def opening_messages(
    system_prompt: str | None,
    history: Sequence[Past],
    new_input: tuple[InputItem, ...],
    *,
    vision: bool = False,
) -> tuple[PromptMessage, ...]:
    """The prompt of a request's first turn: system prompt, the chain from its root, the new input."""
    messages: list[PromptMessage] = []
    if system_prompt:
        messages.append(SystemMessage(system_prompt))
    for past in history:
        messages.extend(past.messages(vision=vision))
    messages.extend(input_messages(new_input))
    return tuple(messages)


def input_messages(items: Sequence[InputItem]) -> list[PromptMessage]:
    """What a request said: one message of the user, unless a server's prompt has an assistant speak in between."""
    messages: list[PromptMessage] = []
    said: list[InputItem] = []
    for item in items:
        if isinstance(item, TextInput) and item.speaker == "assistant":
            if said:
                messages.append(UserMessage(tuple(said)))
                said = []
            messages.append(AssistantMessage("", item.content, ()))
        else:
            said.append(_framed(item))
    if said or not messages:
        messages.append(UserMessage(tuple(said)))
    return messages


def _framed(item: InputItem) -> InputItem:
    """A resource's text with its name around it, so that the model can tell it from what the user says."""
    origin = item.origin
    if origin is None or origin.kind == "prompt" or not isinstance(item, TextInput):
        return item
    where = f"{origin.name} of {provider_label(origin.provider)}"
    return TextInput(f"[resource {where}]\n{plain_markup(item.content)}\n[end of resource {where}]")


def turn_messages(entries: Iterable[OutputEntry], *, vision: bool = False) -> list[PromptMessage]:
    """What the model wrote, turn by turn, each followed by the results of its calls.

    With `vision` the pictures in them follow as a message of the user: no other kind may hold any with
    most engines. In the results themselves they are described, whether the model sees them or not.
    A call that was cut off stands in no prompt; a turn of which nothing is left stands in none either.
    """
    turns: dict[int, list[OutputEntry]] = {}
    for entry in entries:
        turns.setdefault(entry.turn, []).append(entry)
    messages: list[PromptMessage] = []
    for number in sorted(turns):
        messages.extend(_one_turn(turns[number], vision=vision))
    return messages


def _one_turn(entries: Sequence[OutputEntry], *, vision: bool) -> list[PromptMessage]:
    reasoning: list[str] = []
    content: list[str] = []
    calls: list[PromptToolCall] = []
    results: list[PromptMessage] = []
    pictures: list[InputItem] = []
    for entry in entries:
        match entry.item:
            case Reasoning(text):
                reasoning.append(text)
            case Message(text):
                content.append(text)
            case call:
                if entry.shown is not None:
                    calls.append(PromptToolCall(call.call_id, entry.shown.name, entry.shown.arguments))
                    results.append(ToolMessage(call.call_id, entry.shown.name, entry.shown.result))
                    if vision and isinstance(call, ToolCall):
                        pictures += _pictures(call, entry.shown.name)
    if not (reasoning or content or calls):
        return []
    seen = [UserMessage(tuple(pictures))] if pictures else []
    return [AssistantMessage("".join(reasoning), "".join(content), tuple(calls)), *results, *seen]


def _pictures(call: ToolCall, name: str) -> list[InputItem]:
    urls = content_images(call.output) if call.output else ()
    note = TextInput(f"[images in the result of {name}, call {call.call_id}]")
    return [note, *map(ImageInput, urls)] if urls else []


def lacks_pictures(entry: OutputEntry) -> bool:
    """Whether the output of a call of the chain is not here, and may hold pictures."""
    call, shown = entry.item, entry.shown
    if not isinstance(call, ToolCall) or call.output or shown is None:
        return False
    return any(sign in shown.result for sign in ("[image, ", "[resource, ", "[cut: "))
