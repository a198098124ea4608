"""From the body of a chat to what the service takes: what no single field can say of itself."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

import msgspec
from msgspec import UnsetType

from orchestrator.api.absent import given
from orchestrator.api.strict_functions import strict_problem
from orchestrator.api.thread_dialect import reasoning_wishes, server_requests
from orchestrator.api.wire_requests import (
    ChatBody,
    EphemeralIntegration,
    FunctionResult,
    ImageInput,
    InputEntry,
    IntegrationEntry,
    MessageInput,
    PluginIntegration,
    PromptToUse,
    RequireApproval,
    TextInput,
    ToolToCall,
)
from orchestrator.core import items
from orchestrator.core.approvals import NEVER, ApprovalPolicy, parse_approval_policy
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.request import (
    EphemeralRequest,
    IntegrationRequest,
    NamedTool,
    PluginRequest,
    ResponseFormat,
    Sampling,
    ToolChoice,
    WantedPrompt,
)
from orchestrator.core.tools import ToolDefinition, schema_problem, text_content
from orchestrator.service.chats import ChatRequest

RESPONSE_PREFIX: Final = "resp_"
_DATA_URL: Final = re.compile(r"data:image/[A-Za-z0-9][A-Za-z0-9.+-]{0,63};base64,", re.IGNORECASE)


def to_chat_request(body: ChatBody, *, interactive: bool = False) -> ChatRequest:
    """The request in the service's words; `interactive` says that its client hears what servers ask.

    Raises:
        OrchestratorError: `invalid_value` with its path.
    """
    return ChatRequest(
        model=body.model,
        input=input_items(body.input),
        system_prompt=given(body.system_prompt),
        integrations=(*integration_requests(given(body.integrations) or ()), *server_requests(body.mcp_servers)),
        sampling=_sampling(body),
        reasoning=given(body.reasoning),
        max_output_tokens=given(body.max_output_tokens),
        context_length=given(body.context_length),
        store=body.store,
        previous_response_id=_previous(body),
        ttl_seconds=given(body.ttl),
        tool_choice=_tool_choice(body),
        response_format=_response_format(body),
        max_turns=given(body.max_turns),
        metadata=given(body.metadata) or {},
        interactive=interactive,
        reasoning_wishes=reasoning_wishes(body),
        background=given(body.background) or False,
        functions=_functions(body),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        max_tool_calls=given(body.max_tool_calls),
    )


def _sampling(body: ChatBody) -> Sampling:
    stop = given(body.stop)
    return Sampling(
        temperature=given(body.temperature),
        top_p=given(body.top_p),
        min_p=given(body.min_p),
        top_k=given(body.top_k),
        repeat_penalty=given(body.repeat_penalty),
        seed=given(body.seed),
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
    )


def input_items(said: str | Sequence[InputEntry]) -> tuple[items.InputItem, ...]:
    """What the user says, in the service's words.

    Raises:
        OrchestratorError: `invalid_value` for a picture that is none, or where nothing is said.
    """
    entries = [TextInput(said)] if isinstance(said, str) else said
    found: list[items.InputItem] = []
    for index, entry in enumerate(entries):
        match entry:
            case TextInput(content) | MessageInput(content):
                found.append(items.TextInput(content))
            case ImageInput(data_url):
                check_image(data_url, f"input.{index}.data_url")
                found.append(items.ImageInput(data_url))
            case FunctionResult(call_id, output, is_error):
                found.append(items.FunctionOutput(call_id, text_content(output), is_error))
            case _:
                assert_never(entry)
    if not any(not isinstance(item, items.TextInput) or item.content for item in found):
        raise OrchestratorError(ErrorKind.INVALID_VALUE, '"input" must not be empty.', param="input")
    return tuple(found)


def check_image(data_url: str, param: str) -> None:
    head = _DATA_URL.match(data_url)
    try:
        if head is not None and base64.b64decode(data_url[head.end() :], validate=True):
            return
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        pass
    message = f'"{param}" must be a picture as a data:image/…;base64,… URL.'
    raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)


def check_functions(
    functions: Sequence[ToolDefinition], place: Callable[[int, str], str] = lambda at, field: f"tools.{at}.{field}"
) -> tuple[ToolDefinition, ...]:
    """The client's functions, each with a name of its own and a schema that can be read, and held where it is strict.

    Raises:
        OrchestratorError: `invalid_value` on the first that is not, at the `place` of its field.
    """
    names: set[str] = set()
    for index, function in enumerate(functions):
        problem = schema_problem(function.input_schema)
        if function.name in names:
            message = f"There are two functions with the name '{function.name}'."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=place(index, "name"))
        if problem is not None:
            where = place(index, "parameters")
            message = f'"{where}" is not a JSON schema that can be used: {problem}.'
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=where)
        lax = strict_problem(function.input_schema) if function.strict else None
        if lax is not None:
            where = place(index, "parameters")
            message = f'"{where}" is no schema of a strict function: {lax}. Change it, or leave "strict" out.'
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=where)
        names.add(function.name)
    return tuple(functions)


def _functions(body: ChatBody) -> tuple[ToolDefinition, ...]:
    tools = given(body.tools) or ()
    return check_functions(
        [ToolDefinition(tool.name, given(tool.description) or "", given(tool.parameters) or {}) for tool in tools]
    )


def integration_requests(entries: Sequence[IntegrationEntry]) -> tuple[IntegrationRequest, ...]:
    """Entries of `integrations` in the service's words."""
    return tuple(_integration(entry) for entry in entries)


def _integration(entry: IntegrationEntry) -> IntegrationRequest:
    match entry:
        case str():
            return PluginRequest(entry)
        case PluginIntegration():
            return PluginRequest(
                entry.id,
                _names(entry.allowed_tools),
                approval=_approval(entry.require_approval),
                resources=tuple(given(entry.resources) or ()),
                prompt=_prompt(entry.prompt),
            )
        case EphemeralIntegration():
            headers: Mapping[str, str] = given(entry.headers) or {}
            return EphemeralRequest(
                entry.server_label,
                entry.server_url,
                _names(entry.allowed_tools),
                headers,
                approval=_approval(entry.require_approval),
                resources=tuple(given(entry.resources) or ()),
                prompt=_prompt(entry.prompt),
            )
        case _:
            assert_never(entry)


def _approval(wanted: RequireApproval | UnsetType) -> ApprovalPolicy:
    return NEVER if isinstance(wanted, UnsetType) else parse_approval_policy(msgspec.to_builtins(wanted))


def _prompt(prompt: PromptToUse | UnsetType) -> WantedPrompt | None:
    return None if isinstance(prompt, UnsetType) else WantedPrompt(prompt.name, given(prompt.arguments) or {})


def _names(names: list[str] | UnsetType) -> tuple[str, ...] | None:
    return None if isinstance(names, UnsetType) else tuple(names)


def _previous(body: ChatBody) -> str | None:
    previous = given(body.previous_response_id)
    if previous is not None and not previous.startswith(RESPONSE_PREFIX):
        message = f'"previous_response_id" must start with "{RESPONSE_PREFIX}".'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="previous_response_id")
    return previous


def _tool_choice(body: ChatBody) -> ToolChoice:
    choice: ToolChoice
    match body.tool_choice:
        case ToolToCall(tool, server):
            choice = NamedTool(tool, given(server))
        case "required":
            choice = "required"
        case "none":
            return "none"
        case _:
            return "auto"
    if not given(body.integrations) and not given(body.tools):
        message = '"tool_choice" demands a tool call, and no integrations offer any tools.'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="tool_choice")
    return choice


def _response_format(body: ChatBody) -> ResponseFormat | None:
    wanted = given(body.response_format)
    if wanted is None:
        return None
    described = wanted.json_schema
    problem = schema_problem(described.schema)
    if problem is not None:
        param = "response_format.json_schema.schema"
        message = f'"{param}" is not a JSON schema that can be used: {problem}.'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)
    return ResponseFormat(described.name, described.schema, described.strict)
