"""What a server may want while it works on a request: to report progress, to ask the user, to use the model.

Source: MCP, "Progress", "Elicitation" and "Sampling", in both protocol families.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import AssistantMessage, UserMessage
from orchestrator.core.tools import argument_problems

LONGEST_NOTE: Final = 1000
"""How many characters of what a server says beside its results are passed on."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call is; `total` and `message` are None where the server does not tell."""

    progress: float
    total: float | None = None
    message: str | None = None


ElicitationMode: TypeAlias = Literal["form", "url", "sampling"]


@dataclass(frozen=True, slots=True)
class Elicitation:
    """A question to the user: to fill in a form, to visit `url`, or to let a server use the model.

    `schema` is the JSON schema of a form's answer, an object; the other modes have none.
    """

    message: str
    mode: ElicitationMode = "form"
    schema: JsonObject | None = None
    url: str | None = None


ElicitationAction: TypeAlias = Literal["accept", "decline", "cancel"]


@dataclass(frozen=True, slots=True)
class ElicitationAnswer:
    """What the user did: accepted (`content` is the filled-in form), declined, or made no choice."""

    action: ElicitationAction
    content: JsonObject | None = None


CANCELLED: Final = ElicitationAnswer("cancel")
DECLINED: Final = ElicitationAnswer("decline")


def checked_answer(asked: Elicitation, answer: ElicitationAnswer) -> ElicitationAnswer | str:
    """`answer` as the server gets it, with the schema's defaults for what was left out; or what is wrong with it."""
    if answer.action != "accept" or asked.schema is None:
        if answer.content:
            return "only an accepted form has content"
        return replace(answer, content=None)
    content = {**form_defaults(asked.schema), **(answer.content or {})}
    problems = argument_problems(asked.schema, content)
    return f"it does not match the requested schema: {problems}" if problems else replace(answer, content=content)


def form_defaults(schema: JsonObject) -> JsonObject:
    """The defaults that a form's fields have."""
    fields = schema.get("properties")
    if not isinstance(fields, dict):
        return {}
    return {name: field["default"] for name, field in fields.items() if isinstance(field, dict) and "default" in field}


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """A server wants the model to write something; `max_tokens` is what it asks for, not what it gets."""

    messages: tuple[UserMessage | AssistantMessage, ...]
    max_tokens: int
    system_prompt: str | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SamplingReply:
    """What the model wrote for a server."""

    text: str
    model: str
    stop_reason: Literal["endTurn", "maxTokens"]
    output_tokens: int | None = None


ServerPolicy: TypeAlias = Literal["off", "ask", "on"]
"""Whether servers may do something: never, when the user agrees each time, or always."""


def clipped(text: str, longest: int = LONGEST_NOTE) -> str:
    """`text`, or its beginning where it is longer than `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def consent_to_sample(asked: SamplingRequest) -> Elicitation:
    """The question whether a server may use the model, with what it would write to it."""
    lines = [] if asked.system_prompt is None else [f"system: {asked.system_prompt}"]
    for message in asked.messages:
        if isinstance(message, AssistantMessage):
            lines.append(f"assistant: {message.content}")
        else:
            lines += [f"user: {getattr(part, 'content', '[image]')}" for part in message.parts]
    shown = clipped("\n".join(lines), 20 * LONGEST_NOTE)
    return Elicitation(
        f"The server wants the model to answer this, in up to {asked.max_tokens} tokens:\n{shown}", "sampling"
    )
