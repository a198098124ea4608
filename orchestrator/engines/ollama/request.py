"""What is asked of Ollama, as bodies: https://github.com/ollama/ollama/blob/main/docs/api.md."""

import base64
import binascii
from collections.abc import Sequence
from typing import Final, TypeAlias, assert_never
from urllib.parse import unquote_to_bytes

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ImageInput, TextInput
from orchestrator.core.json_types import JsonObject, JsonValue, parse_object
from orchestrator.core.models import LoadSettings
from orchestrator.core.prompt import (
    AssistantMessage,
    PromptMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
    raw_prompt,
)
from orchestrator.core.request import ReasoningSetting
from orchestrator.core.tools import OfferedTool
from orchestrator.engines.held_turns import turn_schema
from orchestrator.engines.ollama.schema import fit_parameters

KeepAlive: TypeAlias = float | str
"""How long Ollama keeps a model after its last request: seconds (negative is for ever), or a text such as `10m`."""

NEVER_SILENTLY: Final[JsonObject] = {"truncate": False, "shift": False}
"""Without these Ollama drops the oldest messages of a prompt that is too long, and the oldest half of the context
when writing reaches its end. Newer servers load a model differently for `shift`: the request that loads must carry it
as well, or the first turn loads the model again."""


def refuse_what_ollama_lacks(settings: LoadSettings) -> None:
    """Refuse settings that no request can give Ollama: it has variables of its own environment for some of them.

    Raises:
        OrchestratorError: `invalid_value` on the first of them.
    """
    for name in ("flash_attention", "num_experts", "offload_kv_cache_to_gpu", "parallel"):
        if getattr(settings, name) is not None:
            message = f"Ollama takes no '{name}' with a request; leave it out."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=name)


def chat_body(model: str, request: Generate, runner: LoadSettings, keep_alive: KeepAlive | None) -> JsonObject:
    """The body that asks for `request` as a stream. What is not set is the server's own default for the model.

    Raises:
        OrchestratorError: `invalid_value` on `input` for an image that is no `data:` URL, on `response_format` for a
            schema that no grammar holds.
    """
    body: JsonObject = {
        "model": model,
        "messages": [wire_message(message) for message in request.messages],
        "stream": True,
        **NEVER_SILENTLY,
        **_lasting(keep_alive),
    }
    if request.tools:
        body["tools"] = [wire_tool(tool) for tool in request.tools]
    if request.reasoning is not None:
        body["think"] = _think(request.reasoning)
    if request.sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.sampling.logprobs}
    schema = turn_schema(request)
    if (
        schema is not None
    ):  # it has no word for a demanded call, and a format of the answer alone would forbid every call
        body["format"] = schema
    options = _sampling_options(request) | _runner_options(runner)
    return {**body, "options": options} if options else body


def raw_body(model: str, request: Generate, runner: LoadSettings, keep_alive: KeepAlive | None) -> JsonObject:
    """The body of `POST /api/generate` that has the model go on with the prompt of `request`, as it is."""
    body: JsonObject = {
        "model": model,
        "prompt": raw_prompt(request.messages),
        "raw": True,
        "stream": True,
        **NEVER_SILENTLY,
        **_lasting(keep_alive),
    }
    if request.sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.sampling.logprobs}
    options = _sampling_options(request) | _runner_options(runner)
    return {**body, "options": options} if options else body


def load_body(model: str, settings: LoadSettings, keep_alive: KeepAlive | None) -> JsonObject:
    """The body that only loads the model, with the settings that the turns after it have."""
    body: JsonObject = {"model": model, "messages": [], "stream": False, **NEVER_SILENTLY, **_lasting(keep_alive)}
    options = _runner_options(settings)
    return {**body, "options": options} if options else body


def embed_body(model: str, texts: Sequence[str], runner: LoadSettings, keep_alive: KeepAlive | None) -> JsonObject:
    """The body of `POST /api/embed`; a text that is too long is refused, not cut."""
    return {**load_embedding_body(model, runner, keep_alive), "input": list(texts), "truncate": False}


def load_embedding_body(model: str, settings: LoadSettings, keep_alive: KeepAlive | None) -> JsonObject:
    """The body of `POST /api/embed` that only loads: embedding models refuse to chat."""
    body: JsonObject = {"model": model, "input": [], **_lasting(keep_alive)}
    options = _runner_options(settings)
    return {**body, "options": options} if options else body


def wire_tool(tool: OfferedTool) -> JsonObject:
    """A tool under the name that the model is shown."""
    definition = tool.definition
    parameters = fit_parameters(definition.input_schema)
    return {
        "type": "function",
        "function": {"name": tool.name, "description": definition.description, "parameters": parameters},
    }


def wire_message(message: PromptMessage) -> JsonObject:
    """One message of the prompt. Reasoning goes along: the template decides what it keeps of it.

    Raises:
        OrchestratorError: `invalid_value` on `input` for an image that is no `data:` URL.
    """
    match message:
        case SystemMessage(content):
            return {"role": "system", "content": content}
        case UserMessage(parts):
            return _user_message(parts)
        case AssistantMessage(reasoning, content, calls):
            wire: JsonObject = {"role": "assistant", "content": content}
            if reasoning:
                wire["thinking"] = reasoning
            if calls:
                wire["tool_calls"] = [
                    {
                        "id": call.call_id,
                        "type": "function",
                        "function": {
                            "index": index,
                            "name": call.name,
                            "arguments": parse_object(call.arguments) or {},
                        },
                    }
                    for index, call in enumerate(calls)
                ]
            return wire
        case ToolMessage(call_id, name, content):
            return {"role": "tool", "content": content, "tool_name": name, "tool_call_id": call_id}
        case _:
            assert_never(message)


def _user_message(parts: tuple[TextInput | ImageInput, ...]) -> JsonObject:
    texts: list[str] = []
    images: list[JsonValue] = []
    for part in parts:
        match part:
            case TextInput(content):
                texts.append(content)
            case ImageInput(data_url):
                images.append(_base64_of(data_url))
            case _:
                assert_never(part)
    wire: JsonObject = {"role": "user", "content": "\n".join(texts)}
    return {**wire, "images": images} if images else wire


def _base64_of(data_url: str) -> str:
    """The bytes of a `data:` URL (RFC 2397) in the base64 that Ollama wants."""
    head, comma, data = data_url.partition(",")
    if not comma or not head.lower().startswith("data:"):
        raise OrchestratorError(ErrorKind.INVALID_VALUE, "An image is not a data: URL.", param="input")
    raw = unquote_to_bytes(data)
    if head.lower().endswith(";base64"):
        try:
            raw = base64.b64decode(b"".join(raw.split()), validate=True)
        except binascii.Error:
            message = "An image's data: URL is not valid base64."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="input") from None
    return base64.b64encode(raw).decode("ascii")


def _think(setting: ReasoningSetting) -> JsonValue:
    match setting:
        case "off":
            return False
        case "on":
            return True
        case "low" | "medium" | "high":
            return setting
        case _:
            assert_never(setting)


def _sampling_options(request: Generate) -> JsonObject:
    sampling = request.sampling
    options: JsonObject = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "top_k": sampling.top_k,
        "repeat_penalty": sampling.repeat_penalty,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "num_predict": request.max_output_tokens,
    }
    return {name: value for name, value in options.items() if value is not None}


def _runner_options(settings: LoadSettings) -> JsonObject:
    options: JsonObject = {"num_ctx": settings.context_length, "num_batch": settings.eval_batch_size}
    return {name: value for name, value in options.items() if value is not None}


def _lasting(keep_alive: KeepAlive | None) -> JsonObject:
    return {} if keep_alive is None else {"keep_alive": keep_alive}
