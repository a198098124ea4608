"""The prose and the examples of the OpenAPI document."""

from typing import Final

from orchestrator.core.json_types import JsonObject

INTRODUCTION: Final = """\
A self-hosted agent backend with MCP at its centre. Chats can use the tools of MCP servers: plugins that
are installed in `mcp.json`, and servers that a request brings along. Every tool call is written down
before it runs.

**Errors** are always `{"error": {"type", "message", "code"?, "param"?}}`; `param` is the path of the
field, such as `integrations.0.server_url`. An unknown route is a 404 `unknown_endpoint`, a wrong method a
405 `method_not_allowed`.

**Origins.** Bodies must be sent as `application/json`. The `Host` has to be one that the service
listens on, and pages of other origins are refused with a 403 `forbidden_origin` unless they are
configured.

**Authentication**, where it is required: `Authorization: Bearer sk-lm-…` or `x-api-key: sk-lm-…`.

What is marked as an extension is ours; all else is spoken as LM Studio speaks it."""

CHAT: Final = """\
Sends a message and receives what the model says and does: reasoning, messages, tool calls and their
results, in the order in which they happened. A stored response has a `response_id`, which a later request
can continue by `previous_response_id`; several may continue the same one.

Whatever can be refused is refused before the model says anything, with a status, also with
`stream: true`. When generating fails after that, a JSON reply has the status of the error. A client that
goes away ends the request; what there is by then is stored as `incomplete`."""

STREAM: Final = """\
With `"stream": true` the reply is `text/event-stream`. Each event has an increasing `id:`, its name in
`event:` and a `StreamEvent` in `data:`; `chat.start` is always first and `chat.end` always last, and
`chat.end.result` equals the reply without streaming. In between come, as they occur,
`model_load.start`, `model_load.progress`, `model_load.end`; `prompt_processing.start`,
`prompt_processing.progress`, `prompt_processing.end` for each turn; `reasoning.start`, `reasoning.delta`,
`reasoning.end`; `message.start`, `message.delta`, `message.end`; `tool_call.start`, `tool_call.name`,
`tool_call.arguments`, then `tool_call.success` or `tool_call.failure`; and `error`. Comment lines keep an
idle connection open, and `: queued N` tells a request that waits for its model how many are served before it is,
itself included. Asked for by the header `X-Stream-Extensions: true`, that is the event `queue.position` instead; its
`position` 0 says that the wait is over.

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

LOAD: Final = """\
Loads a model and answers when it is in memory. It stays until it is unloaded, or until it was idle for `ttl` seconds.
Loading a model again makes a further instance of it, `key:2`, where the engine can have several; else that is a 501
`not_implemented`. A setting that the engine cannot apply is an `invalid_value` on that setting.

What does not fit into memory is refused with `insufficient_resources`, an extension; nothing is unloaded for it in
vain. Nobody has to load anything: a chat loads the model that it names, for `MODEL_TTL` seconds beyond its last use."""

LOAD_EXAMPLES: Final[JsonObject] = {
    "With a context": {"model": "publisher/model", "context_length": 16384, "echo_load_config": True},
    "For an hour of idleness": {"model": "publisher/model", "ttl": 3600},
}

UNLOAD: Final = """\
Unloads an instance once the requests that use it are done, and answers then. What somebody else loaded in Ollama can
be unloaded, too."""

METRICS: Final = """\
An extension, in Prometheus' text format: `orchestrator_runs_live`, `orchestrator_requests_queued` and
`orchestrator_slots_taken` of each instance, `orchestrator_instances_loaded`, `orchestrator_http_requests_total` by the
template of the route, and the histogram `orchestrator_run_seconds`. A token needs the permission `models.read`."""

DOWNLOAD: Final = """\
Begins to download a model, or joins a download of the same one that is under way: however many ask, there is one
job. It goes on when the client leaves, and after a restart of the service.

`model` is one of

* a Hugging Face link, `https://huggingface.co/<publisher>/<name>`, to a repository of GGUF files. `quantization` says
  which; without it `Q4_K_M` is taken, or the nearest to it that there is. The link of a single file is taken as well.
  Split files come whole, and an image projector (`mmproj`) along with them. The files lie in `MODELS_DIR` as
  `publisher/name/*.gguf` once all of them are there and have the SHA-256 that the hub promises. `HF_ENDPOINT` and
  `HF_TOKEN` of the service's environment are honoured.
* a name of Ollama's catalogue, `qwen3:8b` or `hf.co/<publisher>/<name>:<quantization>`, which Ollama pulls.

What cannot be fetched, for want of a file, of permission or of room on the disk, is refused at once."""

DOWNLOAD_EXAMPLES: Final[JsonObject] = {
    "From Hugging Face": {"model": "https://huggingface.co/publisher/name-GGUF", "quantization": "Q4_K_M"},
    "By Ollama": {"model": "qwen3:8b"},
}

JOB_ACTIONS: Final = {
    "pause": "Stops it and keeps what has come. The reply comes when no more bytes move.",
    "resume": "Goes on with a download that was paused, or that failed, from where it ended.",
    "cancel": "Ends it and throws away what has come. Its `status` is `failed` then, its `state` `cancelled`.",
}
