"""The chat, in the OpenAPI document."""

from typing import Final, cast

from orchestrator.api.chat import CHAT_PATH, RESPONSE_ID_HEADER
from orchestrator.api.openapi.parts import JSON, WITH_BODY, Section, body, errors, reference, success
from orchestrator.api.wire import BackgroundReply, ChatReply
from orchestrator.api.wire_events import WireEvent
from orchestrator.api.wire_requests import ChatBody
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject, JsonValue

CHAT: Final = """\
Sends a message and receives what the model says and does: reasoning, messages, tool calls and their
results, in the order in which they happened. A stored response has a `response_id`, which a later request
can continue by `previous_response_id`; several may continue the same one.

Whatever can be refused is refused before the model says anything, with a status, also with
`stream: true`. When generating fails after that, a JSON reply has the status of the error. A client that
goes away ends the request; what there is by then is stored as `incomplete`.

A request with a field of the older dialect (`mcp_servers`, `thread_id`, `reasoning_effort`, `enable_thinking`) is
answered in it: tool calls are `mcp_call`, and `thread_id` takes the place of `response_id`. Send it back to append
to the same thread. Two requests that append to one thread at the same time do not both succeed: the second is
refused, with a 409. Fields of both dialects do not go together.

With `"background": true` a response goes on without its client. Once it has begun, the answer is a 202 with its id;
`GET /api/v1/responses/{id}` reads it, `?stream=true` follows it, `POST /api/v1/responses/{id}/cancel` ends it."""

STREAM: Final = """\
With `"stream": true` the reply is `text/event-stream`. Each event has an increasing `id:`, its name in
`event:` and a `StreamEvent` in `data:`; `chat.start` is always first and `chat.end` always last, and
`chat.end.result` equals the reply without streaming. In between come, as they occur,
`model_load.start`, `model_load.progress`, `model_load.end`; `prompt_processing.start`,
`prompt_processing.progress`, `prompt_processing.end` for each turn; `reasoning.start`, `reasoning.delta`,
`reasoning.end`; `message.start`, `message.delta`, `message.end`; `tool_call.start`, `tool_call.name`,
`tool_call.arguments`, then `tool_call.success` or `tool_call.failure`; `function_call.start`, `function_call.delta`,
`function_call.end`, where the request has `tools` of its own; and `error`. Comment lines keep an
idle connection open, and `: queued N` tells a request that waits for its model how many are served before it is,
itself included. Asked for by the header `X-Stream-Extensions: true`, that is the event `queue.position` instead; its
`position` 0 says that the wait is over. With that header `tool_call.approval_required` tells at once of a call that
waits for approval; `chat.end` lists such calls in any case. Such a stream has `tool_call.progress` as well, where a server
reports how far a call is; `elicitation.requested` and `elicitation.resolved`, where it asks the user
(`POST /api/v1/responses/{id}/elicitations/{elicitation_id}` answers); `sampling.completed`, where the model wrote
something for it; and `warning`, where something about the request is worth a look: the reply has that in `warnings`.

```
id: 1
event: chat.start
data: {"type":"chat.start","model_instance_id":"publisher/model","response_id":"resp_…"}
```"""

EXAMPLES: Final[JsonObject] = {
    "A question": {"model": "publisher/model", "input": "What is the Model Context Protocol?"},
    "A plugin and an ephemeral server": {
        "model": "publisher/model",
        "input": "What time is it in Tokyo, and what is the top trending model?",
        "integrations": [
            "mcp/clock",
            {
                "type": "ephemeral_mcp",
                "server_label": "huggingface",
                "server_url": "https://huggingface.co/mcp",
                "allowed_tools": ["model_search"],
            },
        ],
        "temperature": 0,
    },
    "A stream that continues a chat": {
        "model": "publisher/model",
        "input": "And in Paris?",
        "previous_response_id": "resp_4ef013eba0def1ed23f19dde72b67974c579113f544086de",
        "stream": True,
    },
}

REPLY_EXAMPLE: Final[JsonObject] = {
    "model_instance_id": "publisher/model",
    "output": [
        {
            "type": "tool_call",
            "tool": "now",
            "arguments": {"zone": "Asia/Tokyo"},
            "output": '[{"type":"text","text":"2026-03-01T09:30:00+09:00"}]',
            "provider_info": {"type": "plugin", "plugin_id": "mcp/clock"},
            "call_id": "call_0123456789abcdef01234567",
            "is_error": False,
            "duration_ms": 12,
        },
        {"type": "message", "content": "It is half past nine in the morning in Tokyo."},
    ],
    "stats": {
        "input_tokens": 212,
        "total_output_tokens": 41,
        "reasoning_output_tokens": 0,
        "tokens_per_second": 38.2,
        "time_to_first_token_seconds": 0.41,
    },
    "response_id": "resp_4ef013eba0def1ed23f19dde72b67974c579113f544086de",
    "status": "completed",
}

IN_CHAT: Final = (
    *WITH_BODY,
    ErrorKind.INVALID_UNION,
    ErrorKind.EXCEED_CONTEXT_SIZE,
    ErrorKind.INSUFFICIENT_RESOURCES,
    ErrorKind.UNKNOWN_MODEL,
    ErrorKind.RESPONSE_NOT_FINISHED,
    ErrorKind.THREAD_CONFLICT,
    ErrorKind.PLUGIN_CONNECTION_ERROR,
    ErrorKind.MCP_CONNECTION_ERROR,
    ErrorKind.RATE_LIMITED,
    ErrorKind.STORE_ERROR,
    ErrorKind.NOT_IMPLEMENTED,
    ErrorKind.ENGINE_ERROR,
    ErrorKind.ENGINE_UNAVAILABLE,
)
"""Everything that can become of a run."""


def _begun() -> JsonObject:
    return success("It goes on in the background.", "BackgroundReply", headers=[RESPONSE_ID_HEADER])


def _chat() -> JsonObject:
    reply = success("The reply, or its stream.", "ChatReply", headers=[RESPONSE_ID_HEADER])
    content = cast(JsonObject, reply["content"])
    content[JSON] = {
        "schema": {"oneOf": [reference("ChatReply"), reference("ThreadChatReply")]},
        "example": REPLY_EXAMPLE,
    }
    events: list[JsonValue] = [reference(name) for name in ("StreamEvent", "ThreadChatStart", "ThreadChatEnd")]
    content["text/event-stream"] = {"schema": {"anyOf": events}}
    return {
        "operationId": "chat",
        "tags": ["Chat"],
        "summary": "Chat with a model",
        "description": CHAT + "\n\n" + STREAM,
        "requestBody": body("ChatBody", EXAMPLES),
        "responses": {"200": reply, "202": _begun(), **errors(IN_CHAT)},
    }


SECTION: Final = Section(
    "Chat",
    "Chat with a model that calls MCP tools.",
    {CHAT_PATH: {"post": _chat()}},
    (ChatBody, ChatReply, BackgroundReply, WireEvent),
)
