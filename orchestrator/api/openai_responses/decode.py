"""From the body of a request to what the service takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Final, cast

import msgspec
from msgspec import UnsetType

from orchestrator.api.absent import given
from orchestrator.api.openai_responses.decisions import SentDecisions, decided_setting
from orchestrator.api.openai_responses.decode_tools import AskedTools, about_server, asked_tools, told_tools
from orchestrator.api.openai_responses.heads import DIALECT
from orchestrator.api.openai_responses.history import References, input_items
from orchestrator.api.openai_responses.item_ids import RESPONSE
from orchestrator.api.openai_responses.wire_items import SentInput, SentReference
from orchestrator.api.openai_responses.wire_requests import (
    AnyJson,
    CompactBody,
    ConversationParam,
    InputTokensBody,
    Prompted,
    ReasoningParam,
    ResponseCreateBody,
    SchemaJson,
)
from orchestrator.api.openai_responses.words import openai_words
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import InputItem, TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.request import JSON_OBJECT, ReasoningSetting, ResponseFormat, Sampling
from orchestrator.core.tools import schema_problem
from orchestrator.service.chat_request import ChatRequest

EFFORTS: Final[dict[str, tuple[ReasoningSetting, ...]]] = {
    "none": ("off",),
    "minimal": ("low", "on"),
    "low": ("low", "on"),
    "medium": ("medium", "on"),
    "high": ("high", "on"),
    "xhigh": ("high", "on"),
}
_REPEATED: Final = (
    *(
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "max_output_tokens",
        "top_logprobs",
        "max_tool_calls",
        "parallel_tool_calls",
        "background",
    ),
    *("user", "safety_identifier", "prompt_cache_key", "include"),
)
"""What a response says again of its request as it was said."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `conversation` is the id of the one that it belongs to, `tools` say where its servers stand."""

    chat: ChatRequest
    tools: AskedTools
    conversation: str | None


def references_of(said: SentInput | UnsetType, first: int = 0) -> list[tuple[str, str]]:
    """The ids of stored items that the input refers to from its item `first` on, each with its path."""
    if isinstance(said, str | UnsetType):
        return []
    items = enumerate(said[first:], first)
    return [(item.id, f"input.{place}.id") for place, item in items if isinstance(item, SentReference)]


def asked_response(body: ResponseCreateBody, references: References) -> Asked:
    """The request in the service's words.

    Raises:
        OrchestratorError: `invalid_value` with its path, or `not_implemented`.
    """
    conversation = conversation_of(body)
    tools = asked_tools(body)
    previous = previous_of(body)
    stateless = previous is None and conversation is None
    said = _said(body, references)
    chat = replace(
        _chat(body, tools, conversation),
        input=_headed(said) if stateless else said,
        previous_response_id=previous,
        stateless=stateless,
    )
    return Asked(chat, tools, conversation)


def _wanted_logprobs(body: ResponseCreateBody) -> int | None:
    included = given(body.include) or []
    return given(body.top_logprobs) or (0 if "message.output_text.logprobs" in included else None)


def _chat(body: ResponseCreateBody, tools: AskedTools, conversation: str | None) -> ChatRequest:
    """The settings of a request."""
    return ChatRequest(
        model=body.model,
        input=(),
        system_prompt=given(body.instructions),
        inherits=False,
        integrations=tools.integrations,
        functions=tools.functions,
        sampling=Sampling(
            temperature=given(body.temperature),
            top_p=given(body.top_p),
            presence_penalty=given(body.presence_penalty),
            frequency_penalty=given(body.frequency_penalty),
            logprobs=_wanted_logprobs(body),
        ),
        max_output_tokens=given(body.max_output_tokens),
        store=body.store,
        tool_choice=tools.choice,
        response_format=response_format(body),
        metadata=given(body.metadata) or {},
        reasoning_wishes=EFFORTS.get(_effort(body.reasoning) or "", ()),
        demands_reasoning=True,
        demands_results=True,
        parallel_tool_calls=given(body.parallel_tool_calls) is not False,
        max_tool_calls=given(body.max_tool_calls),
        background=body.background,
        dialect=settings_of(body, conversation),
        passes_over=True,
    )


def decided_response(
    body: ResponseCreateBody, references: References, sent: SentDecisions, calls: Sequence[str]
) -> Asked:
    """The request that decides about `calls` as what goes on from them: what it says beside is its input.

    Raises:
        OrchestratorError: as `asked_response`; `invalid_value` where it names another response.
    """
    conversation = conversation_of(body)
    previous = previous_of(body)
    if previous not in (None, sent.response_id):
        raise _wrong("previous_response_id", "is another response than the one whose calls are decided about")
    tools = asked_tools(body)
    stateless = previous is None and conversation is None
    said = () if isinstance(body.input, UnsetType) else input_items(body.input, references, sent.first)
    chat = replace(
        _chat(body, tools, conversation),
        input=said,
        inherits=stateless,  # who sends the whole chat again said its instructions when it began
        previous_response_id=sent.response_id,
        # A choice binds the first turn only, and that one has been.
        tool_choice="none" if tools.choice == "none" else "auto",
    )
    settings = {**chat.dialect, **decided_setting(sent.response_id, calls)}
    return Asked(replace(chat, dialect=settings), tools, conversation)


def _headed(said: tuple[InputItem, ...]) -> tuple[InputItem, ...]:
    """The input of a whole chat, in which what the system says first heads the chat; alone it is what is asked."""
    first = list(takewhile(_is_of_system, said))
    if len(first) == len(said):
        return said
    heads = (replace(item, heads=True) for item in first if isinstance(item, TextInput))
    return (*heads, *said[len(first) :])


def _is_of_system(item: InputItem) -> bool:
    return isinstance(item, TextInput) and item.speaker in ("system", "developer")


def _said(body: Prompted, references: References) -> tuple[InputItem, ...]:
    if isinstance(body.input, UnsetType):
        raise OrchestratorError(ErrorKind.MISSING_REQUIRED_PARAMETER, '"input" is required', param="input")
    found = input_items(body.input, references)
    if not found:
        raise OrchestratorError(ErrorKind.INVALID_VALUE, '"input" must not be empty.', param="input")
    return found


def asked_prompt(body: InputTokensBody, references: References) -> Asked:
    """The request whose prompt is to be counted.

    Raises:
        OrchestratorError: as `asked_response`.
    """
    conversation = conversation_of(body)
    tools = asked_tools(body)
    whole = conversation is None and previous_of(body) is None
    said = _said(body, references)
    chat = ChatRequest(
        model=body.model,
        input=_headed(said) if whole else said,
        system_prompt=given(body.instructions),
        inherits=False,
        integrations=tools.integrations,
        functions=tools.functions,
        previous_response_id=previous_of(body),
        tool_choice=tools.choice,
        response_format=response_format(body),
        reasoning_wishes=EFFORTS.get(_effort(body.reasoning) or "", ()),
        demands_reasoning=True,
    )
    return Asked(chat, tools, conversation)


def asked_compaction(body: CompactBody, references: References, wish: str) -> ChatRequest:
    """The request whose answer is the chat in short: all that was said, and the `wish` for it.

    Raises:
        OrchestratorError: as `asked_response`; `invalid_value` where nothing was said.
    """
    said = () if isinstance(body.input, UnsetType) else input_items(body.input, references)
    previous = previous_of(body)
    if not said and previous is None:
        message = "There is nothing to put in short: send 'input', or 'previous_response_id'."
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="input")
    return ChatRequest(
        model=body.model,
        input=(*said, TextInput(wish, begins=True)),
        system_prompt=given(body.instructions) or "",
        previous_response_id=previous,
        dialect={"api": DIALECT},
    )


def previous_of(body: Prompted | CompactBody) -> str | None:
    """The response to continue.

    Raises:
        OrchestratorError: it is no response's id.
    """
    previous = given(body.previous_response_id)
    if previous is not None and not previous.startswith(RESPONSE):
        message = f'"previous_response_id" must start with "{RESPONSE}".'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="previous_response_id")
    return previous


def conversation_of(body: Prompted) -> str | None:
    """The id of the conversation to go on with.

    Raises:
        OrchestratorError: there is a previous response as well.
    """
    named = given(body.conversation)
    conversation = named.id if isinstance(named, ConversationParam) else named
    if conversation is not None and given(body.previous_response_id) is not None:
        message = '"conversation" and "previous_response_id" both say what goes on: send one of them.'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="conversation")
    return conversation


def response_format(body: Prompted) -> ResponseFormat | None:
    """What the answer has to look like.

    Raises:
        OrchestratorError: its schema cannot be used.
    """
    wanted = given(body.text)
    match None if wanted is None else given(wanted.format):
        case AnyJson():
            return JSON_OBJECT
        case SchemaJson(name=name, schema=schema, strict=strict):
            problem = schema_problem(schema)
            if problem is not None:
                raise _wrong("text.format.schema", f"is not a JSON schema that can be used: {problem}")
            return ResponseFormat(name, schema, strict=given(strict) is True)
        case _:
            return None


def settings_of(body: ResponseCreateBody, conversation: str | None) -> JsonObject:
    """What the response says again of its request; without content and without secrets."""
    said = cast("dict[str, Any]", msgspec.to_builtins(body))
    settings: JsonObject = {"api": DIALECT, **{name: said[name] for name in _REPEATED if name in said}}
    if isinstance(body.tools, list):
        settings["tools"] = [*told_tools(body.tools)]
    if "tool_choice" in said:
        settings["tool_choice"] = said["tool_choice"]
    if "text" in said:
        settings["text"] = {"format": {"type": "text"}, "verbosity": "medium", **said["text"]}
    if isinstance(body.reasoning, ReasoningParam):
        summary = given(body.reasoning.summary) or given(body.reasoning.generate_summary)
        settings["reasoning"] = {"effort": given(body.reasoning.effort), "summary": summary}
    if conversation is not None:
        settings["conversation"] = conversation
    return settings


def in_openai_words(error: OrchestratorError, tools: AskedTools) -> OrchestratorError:
    """The error of a request with these `tools` in this dialect's words, at the fields that it has."""
    info = about_server(openai_words(error.info), tools)
    places = tools.integration_places
    head, _, rest = (info.param or "").partition(".")
    param = _RENAMED.get(head)
    if head == "integrations":
        number, _, field = rest.partition(".")
        place = places[int(number)] if number.isdigit() and int(number) < len(places) else None
        param = "tools" if place is None else ".".join(filter(None, ("tools", str(place), field)))
    message = info.message.replace("'integrations'", "'tools'")
    return OrchestratorError(
        info.kind, message, param=param or info.param, retry_after_seconds=error.retry_after_seconds
    )


_RENAMED: Final = {
    "system_prompt": "instructions",
    "reasoning": "reasoning.effort",
    "response_format": "text.format",
    "thread_id": "conversation",
    "approvals": "input",
    "logprobs": "top_logprobs",
    "response_id": "input",
}


def _effort(reasoning: ReasoningParam | UnsetType) -> str | None:
    return None if isinstance(reasoning, UnsetType) else given(reasoning.effort)


def _wrong(path: str, problem: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, f'"{path}" {problem}.', param=path)
