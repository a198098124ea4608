"""From OpenAI's bodies to what the service takes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, assert_never

from orchestrator.api.chat_request import check_functions, check_image, integration_requests
from orchestrator.api.openai_chat import wire_requests as w
from orchestrator.api.openai_chat.words import response_id_of
from orchestrator.api.strict_functions import NO_PARAMETERS
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import (
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    ReasoningInput,
    TextInput,
)
from orchestrator.core.json_types import canonical_json
from orchestrator.core.request import (
    JSON_OBJECT,
    NamedTool,
    ReasoningSetting,
    ResponseFormat,
    Sampling,
    ToolChoice,
)
from orchestrator.core.tools import ToolDefinition, schema_problem, text_content
from orchestrator.service.chat_request import ChatRequest

_UNSUPPORTED: Final = ("functions", "function_call", "audio", "prediction", "verbosity", "web_search_options")
_UNSUPPORTED_TEXT: Final = ("best_of", "echo", "suffix")
_RANDOM_SEED: Final = 2**32 - 1
"""What llama.cpp reads as: any."""
_Instructions = (w.SystemTurn, w.DeveloperTurn)
_EFFORTS: Final[Mapping[w.Effort, tuple[ReasoningSetting, ...]]] = {
    "none": ("off",),
    "minimal": ("low", "on"),
    "low": ("low", "on"),
    "medium": ("medium", "on"),
    "high": ("high", "on"),
    "xhigh": ("high", "on"),
    "max": ("high", "on"),
}
"""What each asks of a model; one that can only be switched on is."""


def to_chat_request(body: w.CompletionBody) -> ChatRequest:
    """The request in the service's words: the whole chat is in it, so what is stored of it is looked for.

    Raises:
        OrchestratorError: `invalid_value` with its path.
    """
    _refuse(body, _UNSUPPORTED)
    if body.modalities not in (None, ["text"]):
        raise _wrong("modalities", '"modalities" can only be ["text"]: models here write text.')
    _check_tier(body.service_tier)
    if body.top_logprobs is not None and not body.logprobs:
        raise _wrong("top_logprobs", '"top_logprobs" needs "logprobs": true.')
    _check_results(body)
    others = (at for at, turn in enumerate(body.messages) if not isinstance(turn, _Instructions))
    head = next(others, len(body.messages))
    prompt = "\n\n".join(_text(turn.content) for turn in body.messages[:head] if isinstance(turn, _Instructions))
    choice, functions = _tools(body)
    return ChatRequest(
        model=body.model,
        input=tuple(item for at, turn in enumerate(body.messages[head:], head) for item in _items(turn, at)),
        system_prompt=prompt if head else None,
        inherits=body.previous_response_id is not None,
        integrations=integration_requests(body.integrations or ()),
        sampling=_sampling(body),
        reasoning_wishes=() if body.reasoning_effort is None else _EFFORTS[body.reasoning_effort],
        demands_reasoning=True,
        max_output_tokens=body.max_completion_tokens or body.max_tokens,
        store=body.store is not False,
        previous_response_id=None if body.previous_response_id is None else response_id_of(body.previous_response_id),
        tool_choice=choice,
        response_format=_response_format(body),
        max_turns=body.max_turns,
        metadata=body.metadata or {},
        functions=functions,
        stateless=True,
        passes_over=True,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        max_tool_calls=body.max_tool_calls,
    )


def choices_of(chat: ChatRequest, body: w.CompletionBody | w.TextCompletionBody) -> list[ChatRequest]:
    """`chat` once for each choice; with a `seed` each has one of its own, that the next request gives it again."""
    seeds = [None if body.seed is None else _seed(body.seed + at) for at in range(body.n or 1)]
    return [replace(chat, sampling=replace(chat.sampling, seed=seed)) for seed in seeds]


def to_text_requests(body: w.TextCompletionBody) -> list[ChatRequest]:
    """One chat for each choice of each prompt.

    Raises:
        OrchestratorError: `invalid_value` with its path.
    """
    _refuse(body, _UNSUPPORTED_TEXT)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    chats = (
        ChatRequest(
            model=body.model,
            input=(TextInput(prompt, begins=True),),
            system_prompt="",
            sampling=_text_sampling(body),
            max_output_tokens=body.max_tokens,
            store=body.store is not False,
            raw=True,
        )
        for prompt in prompts
    )
    return [choice for chat in chats for choice in choices_of(chat, body)]


def _refuse(body: w.CompletionBody | w.TextCompletionBody, names: Sequence[str]) -> None:
    for name in names:
        if getattr(body, name) is not None:
            raise _wrong(name, f'"{name}" is not supported here: leave it out.')


def _check_tier(tier: str | None) -> None:
    if tier not in (None, "auto", "default"):
        raise _wrong("service_tier", 'There is one tier of service here: leave "service_tier" out, or say "auto".')


def _wrong(param: str, message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)


# ---- messages ---------------------------------------------------------------------------------


def _text(content: str | Sequence[w.TextPart | w.RefusalPart] | None) -> str:
    """The text of a message: its parts in lines of their own."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text if isinstance(part, w.TextPart) else part.refusal for part in content)


def _check_results(body: w.CompletionBody) -> None:
    """Results follow the message with their calls; what no message here calls, a response before these may have called."""
    called: dict[str, bool] = {}  # whether the result is still to come
    earlier = body.previous_response_id is not None
    for at, turn in enumerate(body.messages):
        if not isinstance(turn, w.ToolTurn):
            earlier = False
            open_calls = [call.id for call in turn.tool_calls or ()] if isinstance(turn, w.AssistantTurn) else []
            called = {**dict.fromkeys(called, False), **dict.fromkeys(open_calls, True)}
            continue
        id, where = turn.tool_call_id, f"messages.{at}.tool_call_id"
        if called.get(id):
            called[id] = False
        elif id in called:
            raise _wrong(
                where,
                f"\"{where}\": the call '{id[:64]}' has a result, or its results stand elsewhere: a message of the role 'tool' must follow the message with its call, with nothing but other results between.",
            )
        elif not earlier:
            raise _wrong(where, f"\"{where}\": there is no call '{id[:64]}' in the messages before it.")


def _items(turn: w.Turn, at: int) -> list[InputItem]:
    match turn:
        case w.SystemTurn(content):
            return [TextInput(_text(content), speaker="system", begins=True)]
        case w.DeveloperTurn(content):
            return [TextInput(_text(content), speaker="developer", begins=True)]
        case w.UserTurn(content, name):
            first, *rest = _user_items(content, at)
            return [replace(first, name=name or ""), *rest]
        case w.AssistantTurn():
            return _assistant_items(turn, at)
        case w.ToolTurn(content, call_id):
            if isinstance(content, str):
                return [FunctionOutput(call_id, text_content(content))]
            parts = canonical_json([{"type": "text", "text": part.text} for part in content])
            return [FunctionOutput(call_id, parts)]
        case _:
            assert_never(turn)


def _user_items(content: str | Sequence[w.TextPart | w.ImagePart], at: int) -> list[TextInput | ImageInput]:
    if isinstance(content, str):
        return [TextInput(content, begins=True)]
    items: list[TextInput | ImageInput] = [] if content else [TextInput("", begins=True)]
    for place, part in enumerate(content):
        begins = place == 0
        if isinstance(part, w.TextPart):
            items.append(TextInput(part.text, begins=begins))
        else:
            check_image(part.image_url.url, f"messages.{at}.content.{place}.image_url.url")
            items.append(ImageInput(part.image_url.url, begins=begins))
    return items


def _assistant_items(turn: w.AssistantTurn, at: int) -> list[InputItem]:
    for name in ("audio", "function_call"):
        if getattr(turn, name) is not None:
            where = f"messages.{at}.{name}"
            raise _wrong(where, f'"{where}" is not supported here: leave it out.')
    items: list[InputItem] = []
    if turn.reasoning_content:
        items.append(ReasoningInput(turn.reasoning_content, begins=True))
    text = _text(turn.content) or turn.refusal or ""
    if text:
        items.append(TextInput(text, speaker="assistant", begins=not items))
    for call in turn.tool_calls or ():
        called = call.function
        items.append(FunctionCallInput(call.id, called.name, called.arguments, begins=not items))
    return items


# ---- settings ---------------------------------------------------------------------------------


def _tools(body: w.CompletionBody) -> tuple[ToolChoice, tuple[ToolDefinition, ...]]:
    given = [tool.function for tool in body.tools or ()]
    functions = check_functions(
        [
            ToolDefinition(
                one.name,
                one.description or "",
                one.parameters or (NO_PARAMETERS if one.strict else {}),
                strict=bool(one.strict),
            )
            for one in given
        ],
        lambda at, field: f"tools.{at}.function.{field}",
    )
    match body.tool_choice:
        case w.FunctionChoice(named):
            choice: ToolChoice = NamedTool(named.name)
        case w.AllowedChoice(allowed):
            names = {one.function.name for one in allowed.tools}
            unknown = sorted(names - {function.name for function in functions})
            if unknown:
                raise _wrong("tool_choice", f"'{unknown[0]}' is not among the \"tools\".")
            choice = allowed.mode
            functions = tuple(function for function in functions if function.name in names)
        case None:
            choice = "auto"
        case word:
            choice = word
    if choice not in ("auto", "none") and not functions and not body.integrations:
        raise _wrong("tool_choice", '"tool_choice" demands a call, and no tools are given.')
    return choice, functions


def _response_format(body: w.CompletionBody) -> ResponseFormat | None:
    match body.response_format:
        case None | w.TextFormat():
            return None
        case w.ObjectFormat():
            return JSON_OBJECT
        case w.SchemaFormat(described):
            problem = schema_problem(described.schema)
            if problem is not None:
                param = "response_format.json_schema.schema"
                raise _wrong(param, f'"{param}" is not a JSON schema that can be used: {problem}.')
            return ResponseFormat(described.name, described.schema, bool(described.strict))


def _sampling(body: w.CompletionBody) -> Sampling:
    wanted = (body.top_logprobs or 0) if body.logprobs else None
    return Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        min_p=body.min_p,
        top_k=body.top_k,
        repeat_penalty=body.repeat_penalty,
        seed=_seed(body.seed),
        stop=_stops(body.stop),
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        logit_bias=_bias(body.logit_bias),
        logprobs=wanted,
    )


def _text_sampling(body: w.TextCompletionBody) -> Sampling:
    return Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        seed=_seed(body.seed),
        stop=_stops(body.stop),
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        logit_bias=_bias(body.logit_bias),
        logprobs=body.logprobs,
    )


def _stops(stop: w.Stop | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def _seed(seed: int | None) -> int | None:
    """Engines take 32 bits; what has more stands for some other number of 32 bits, always the same."""
    if seed is None or 0 <= seed < _RANDOM_SEED:
        return seed
    return int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4]) % _RANDOM_SEED


def _bias(given: Mapping[str, float] | None) -> tuple[tuple[int, float], ...]:
    for token in given or ():
        if not (token.isascii() and token.isdigit()):
            raise _wrong("logit_bias", f"\"logit_bias\" is by the ids of tokens, and '{token[:64]}' is none.")
    return tuple((int(token), bias) for token, bias in (given or {}).items())
