"""The messages that an engine is sent: append-only along a chain, so that its prefix cache holds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final, Literal, TypeAlias, assert_never

from orchestrator.core.content import content_images, content_text
from orchestrator.core.items import (
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    Message,
    OutputEntry,
    Reasoning,
    ReasoningInput,
    TextInput,
    ToolCall,
    heads_of,
)
from orchestrator.core.markup import plain_markup
from orchestrator.core.tools import provider_label

FAILED_CALL: Final = "[The call failed.]\n{text}"
"""What the model is shown of a call that its client says has failed."""
NO_RESULT: Final = "[The client gave no result of this call.]"
"""What the model is told of a function that its client was to run and never spoke of again."""

UserPart: TypeAlias = TextInput | ImageInput


@dataclass(frozen=True, slots=True)
class SystemMessage:
    """The system prompt, always first; another one only where a client's history has it."""

    content: str


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the user sent in one request, or in one message of a history that the client brings.

    `name` tells several who speak apart, empty where the client does not.
    """

    parts: tuple[UserPart, ...]
    name: str = ""


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
            silent = not (self.input or self.output)  # such as the beginning of a conversation
            self._messages[vision] = (
                *(() if silent else input_messages(self.input, vision=vision)),
                *turn_messages(self.output, vision=vision),
            )
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
    """The prompt of a request's first turn: system prompt, the chain from its root, the new input.

    What the system says at its beginning is one message.
    """
    messages: list[PromptMessage] = [SystemMessage(head.content) for head in latest_heads(history, new_input)]
    for past in history:
        messages.extend(past.messages(vision=vision))
    messages.extend(input_messages(new_input, vision=vision))
    said = [system_prompt or ""]
    for message in messages:
        if not isinstance(message, SystemMessage):
            break
        said.append(message.content)
    system = "\n\n".join(filter(None, said))  # many templates take one message of the system only
    rest = (
        message for place, message in enumerate(messages) if place >= len(said) - 1 and not _is_gap(messages, place)
    )
    return (*([SystemMessage(system)] if system else []), *rest)


def latest_heads(history: Sequence[Past], new_input: Sequence[InputItem] = ()) -> tuple[TextInput, ...]:
    """What heads the chat: the newest of the inputs that say something there counts."""
    if heads := heads_of(new_input):
        return heads
    pasts = (past for past in reversed(history) if isinstance(past, PastResponse))
    return next((heads for past in pasts if (heads := heads_of(past.input))), ())


def _is_gap(messages: Sequence[PromptMessage], place: int) -> bool:
    """Whether the user said nothing there, and need not: the model goes on from results."""
    message = messages[place]
    if not isinstance(message, UserMessage) or message.parts or place == 0:
        return False
    return isinstance(messages[place - 1], ToolMessage | UserMessage)


Side: TypeAlias = Literal["system", "user", "assistant", "tool"]


def side_of(item: InputItem) -> Side:
    """Whose message `item` is a part of."""
    match item:
        case TextInput(speaker="system" | "developer"):
            return "system"
        case TextInput(speaker="assistant") | ReasoningInput() | FunctionCallInput():
            return "assistant"
        case TextInput() | ImageInput():
            return "user"
        case FunctionOutput():
            return "tool"
        case _:
            assert_never(item)


def input_messages(items: Sequence[InputItem], *, vision: bool = False) -> list[PromptMessage]:
    """What a request said, message by message: one of the user, unless it brings others along.

    What one side says in a row is one message, unless an item `begins` another; what a server's prompt has an assistant
    say is a message each time. With `vision` the pictures in results follow these as a message of the user. What heads
    the chat is not among them.
    """
    messages: list[PromptMessage] = []
    for side, said in _groups(items[len(heads_of(items)) :]):
        match side:
            case "system":
                messages.append(SystemMessage("\n".join(item.content for item in said if isinstance(item, TextInput))))
            case "user":
                parts = [item for item in said if isinstance(item, TextInput | ImageInput)]
                messages.append(UserMessage(tuple(map(_framed, parts)), parts[0].name))
            case "assistant":
                messages.append(_said_by_assistant(said))
            case "tool":
                messages += _results(said, vision=vision)
            case _:
                assert_never(side)
    return messages or [UserMessage(())]


def _groups(items: Sequence[InputItem]) -> Iterator[tuple[Side, list[InputItem]]]:
    number = 0
    numbered: list[tuple[int, InputItem]] = []
    for index, item in enumerate(items):
        quoted = isinstance(item, TextInput) and item.origin is not None and item.speaker == "assistant"
        begins = quoted or (not isinstance(item, FunctionOutput) and item.begins)
        number += begins or index == 0 or side_of(item) != side_of(items[index - 1])
        numbered.append((number, item))
    for _, group in groupby(numbered, key=lambda pair: pair[0]):
        said = [item for _, item in group]
        yield side_of(said[0]), said


def _said_by_assistant(said: Sequence[InputItem]) -> AssistantMessage:
    reasoning = "".join(item.content for item in said if isinstance(item, ReasoningInput))
    content = "".join(item.content for item in said if isinstance(item, TextInput))
    calls = [item for item in said if isinstance(item, FunctionCallInput)]
    return AssistantMessage(
        reasoning, content, tuple(PromptToolCall(call.call_id, call.name, call.arguments) for call in calls)
    )


def _results(said: Sequence[InputItem], *, vision: bool) -> list[PromptMessage]:
    results: list[PromptMessage] = []
    pictures: list[UserPart] = []
    for item in [item for item in said if isinstance(item, FunctionOutput)]:
        text = plain_markup(content_text(item.output))
        failed = item.is_error and not item.of_server  # servers' stand as the run had them that asked
        results.append(ToolMessage(item.call_id, item.name, FAILED_CALL.format(text=text).rstrip() if failed else text))
        pictures += _pictures(item.call_id, item.output, item.name) if vision else ()
    return [*results, UserMessage(tuple(pictures))] if pictures else results


def answered(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    """`messages` with results right behind their calls, and a word in the place of each that a client never gave.

    Templates want a result for every call, and nothing between; clients may say something else first.
    """
    placed: list[PromptMessage | _Results] = []
    waiting: dict[str, _Results] = {}  # ids may be those of earlier calls once more: the latest call counts
    for message in messages:
        results = waiting.pop(message.call_id, None) if isinstance(message, ToolMessage) else None
        if results is not None and isinstance(message, ToolMessage):
            results.given.append(message)
        else:
            placed.append(message)
        if isinstance(message, AssistantMessage) and message.calls:
            placed.append(results := _Results(message.calls))
            waiting |= {call.call_id: results for call in message.calls}
    return [each for one in placed for each in (one.all() if isinstance(one, _Results) else (one,))]


@dataclass(frozen=True, slots=True)
class _Results:
    """What comes behind a message with calls."""

    calls: tuple[PromptToolCall, ...]
    given: list[ToolMessage] = field(default_factory=list[ToolMessage])

    def all(self) -> list[ToolMessage]:
        told = {result.call_id for result in self.given}
        lacking = (call for call in self.calls if call.call_id not in told)
        return [*self.given, *(ToolMessage(call.call_id, call.name, NO_RESULT) for call in lacking)]


def _framed(item: UserPart) -> UserPart:
    """A resource's text with its name around it, so that the model can tell it from what the user says."""
    # Where it begins, and who says it, is told by the message.
    item = replace(item, begins=False, name="") if item.begins or item.name else item
    origin = item.origin
    if origin is None or origin.kind == "prompt" or not isinstance(item, TextInput):
        return item
    where = f"{origin.name} of {provider_label(origin.provider)}"
    return TextInput(f"[resource {where}]\n{plain_markup(item.content)}\n[end of resource {where}]")


def turn_messages(entries: Iterable[OutputEntry], *, vision: bool = False) -> list[PromptMessage]:
    """What the model wrote, turn by turn, each followed by the results of its calls that the service has.

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
    pictures: list[UserPart] = []
    for entry in entries:
        match entry.item:
            case Reasoning(text):
                reasoning.append(text)
            case Message(text):
                content.append(text)
            case call:
                shown = entry.shown
                if shown is not None:
                    calls.append(PromptToolCall(call.call_id, shown.name, shown.arguments))
                    if shown.result is not None:
                        results.append(ToolMessage(call.call_id, shown.name, shown.result))
                    if vision and isinstance(call, ToolCall):
                        pictures += _pictures(call.call_id, call.output, shown.name)
    if not (reasoning or content or calls):
        return []
    seen = [UserMessage(tuple(pictures))] if pictures else []
    return [AssistantMessage("".join(reasoning), "".join(content), tuple(calls)), *results, *seen]


def _pictures(call_id: str, output: str, name: str) -> list[UserPart]:
    urls = content_images(output) if output else ()
    note = TextInput(f"[images in the result of {name}, call {call_id}]")
    return [note, *map(ImageInput, urls)] if urls else []


def lacks_pictures(entry: OutputEntry) -> bool:
    """Whether the output of a call of the chain is not here, and may hold pictures."""
    call, shown = entry.item, entry.shown
    if not isinstance(call, ToolCall) or call.output or shown is None:
        return False
    return any(sign in (shown.result or "") for sign in ("[image, ", "[resource, ", "[cut: "))


def raw_prompt(messages: Sequence[PromptMessage]) -> str:
    """The texts of what users said, and nothing else."""
    said = (part for message in messages if isinstance(message, UserMessage) for part in message.parts)
    return "".join(part.content for part in said if isinstance(part, TextInput))
