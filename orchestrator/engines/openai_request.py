"""A turn as the body of `POST /v1/chat/completions`: the fields that every such server understands."""

from collections.abc import Callable
from typing import Final, assert_never

from orchestrator.core.commands import Generate
from orchestrator.core.items import ImageInput, TextInput
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.prompt import (
    AssistantMessage,
    PromptMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
    UserPart,
    raw_prompt,
)
from orchestrator.core.request import JSON_OBJECT, ResponseFormat
from orchestrator.core.tools import OfferedTool

_OF_CHATS: Final = frozenset({"messages", "tools", "logprobs", "top_logprobs", "parallel_tool_calls"})


def parameters(tool: OfferedTool) -> JsonObject:
    """The schema of a tool's arguments. One without a type is that of an object."""
    schema = tool.definition.input_schema
    return schema if "type" in schema else {"type": "object", "properties": {}, **schema}


def completion_body(
    model: str, request: Generate, schema_of: Callable[[OfferedTool], JsonObject] = parameters
) -> JsonObject:
    """The body that asks for `request` as a stream with counters. Unset sampling is the server's own.

    `schema` fits the input schema of a tool to what the server can take. Tools are left out when there are none: with an empty list some servers still render a tool prompt.
    """
    body: JsonObject = {
        "model": model,
        "messages": [wire_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = [wire_tool(tool, schema_of(tool)) for tool in request.tools]
    sampling = request.sampling
    settings: JsonObject = {
        "max_tokens": request.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "top_k": sampling.top_k,
        "repeat_penalty": sampling.repeat_penalty,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": {str(token): bias for token, bias in sampling.logit_bias} or None,
        "logprobs": None if sampling.logprobs is None else True,
        "top_logprobs": sampling.logprobs or None,
        "parallel_tool_calls": False if request.tools and not request.parallel_tool_calls else None,
    }
    return body | {name: value for name, value in settings.items() if value is not None}


def raw_body(model: str, request: Generate) -> JsonObject:
    """The body that asks `POST /v1/completions` to go on with the prompt of `request`, as it is."""
    body = {name: value for name, value in completion_body(model, request).items() if name not in _OF_CHATS}
    likely = request.sampling.logprobs
    told: JsonObject = {} if likely is None else {"logprobs": max(1, likely)}  # servers read 0 as none
    return {**body, "prompt": raw_prompt(request.messages), **told}


def wire_tool(tool: OfferedTool, schema: JsonObject) -> JsonObject:
    """A tool under the name that the model is shown."""
    description = tool.definition.description
    function: JsonObject = {"name": tool.name, "description": description, "parameters": schema}
    if tool.definition.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def wire_tool_choice(request: Generate) -> JsonObject:
    """The field that demands a call, where one is demanded."""
    choice = request.tool_choice
    if isinstance(choice, OfferedTool):
        return {"tool_choice": {"type": "function", "function": {"name": choice.name}}}
    return {} if choice == "auto" else {"tool_choice": choice}


def wire_response_format(response_format: ResponseFormat) -> JsonObject:
    """The field that holds the message to a schema."""
    if response_format == JSON_OBJECT:
        return {"response_format": {"type": "json_object"}}
    schema: JsonObject = {
        "name": response_format.name,
        "schema": response_format.schema,
        "strict": response_format.strict,
    }
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def wire_message(message: PromptMessage) -> JsonObject:
    """One message of the prompt. Reasoning goes along: the template decides what it keeps of it."""
    match message:
        case SystemMessage(content):
            return {"role": "system", "content": content}
        case UserMessage(parts, name):
            named: JsonObject = {"name": name} if name else {}
            return {"role": "user", **named, "content": _user_content(parts)}
        case AssistantMessage(reasoning, content, calls):
            wire: JsonObject = {"role": "assistant", "content": content}
            if reasoning:
                wire["reasoning_content"] = reasoning
            if calls:
                wire["tool_calls"] = [
                    {
                        "id": call.call_id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments},
                    }
                    for call in calls
                ]
            return wire
        case ToolMessage(call_id, name, content):
            return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}
        case _:
            assert_never(message)


def has_images(request: Generate) -> bool:
    """Whether any message of the prompt shows a picture."""
    return any(
        isinstance(part, ImageInput)
        for message in request.messages
        if isinstance(message, UserMessage)
        for part in message.parts
    )


def _user_content(parts: tuple[UserPart, ...]) -> JsonValue:
    """Text alone is one string: many templates cannot read a list of parts."""
    if all(isinstance(part, TextInput) for part in parts):
        return "\n".join(part.content for part in parts if isinstance(part, TextInput))
    wire: list[JsonValue] = []
    for part in parts:
        match part:
            case TextInput(content):
                wire.append({"type": "text", "text": content})
            case ImageInput(data_url):
                wire.append({"type": "image_url", "image_url": {"url": data_url}})
    return wire
