"""What the strict mode says and takes, as data. What is not listed here is not there for its clients.

Source: recordings of LM Studio's server, and its documentation of the same routes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.core.errors import ErrorKind

ROUTES: Final = ("/api/v1/chat", "/api/v1/models")
"""Its routes; what lies below the second is its own, too, but for `OURS`."""
OURS: Final = ("pause", "resume", "cancel")
"""Last parts of paths below `ROUTES` that are extensions, and stay as they are."""

CHAT_KEYS: Final = frozenset(
    {
        *("model", "input", "system_prompt", "integrations", "stream", "store", "previous_response_id"),
        *("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "presence_penalty"),
        *("max_output_tokens", "reasoning", "context_length"),
    }
)
INPUT_KEYS: Final[Mapping[str, str]] = {"text": "content", "image": "data_url"}
"""The one key of each kind of input, besides its `type`."""
INTEGRATION_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "plugin": frozenset({"type", "id", "allowed_tools"}),
    "ephemeral_mcp": frozenset({"type", "server_label", "server_url", "allowed_tools", "headers"}),
}
LOAD_KEYS: Final = frozenset(
    {
        *("model", "context_length", "eval_batch_size", "flash_attention", "num_experts"),
        *("offload_kv_cache_to_gpu", "echo_load_config"),
    }
)

STATS: Final = (
    "input_tokens",
    "total_output_tokens",
    "reasoning_output_tokens",
    "tokens_per_second",
    "time_to_first_token_seconds",
    "model_load_time_seconds",
)
NO_STATS: Final[Mapping[str, int]] = dict.fromkeys(STATS[:-1], 0)
REPLY: Final = ("model_instance_id", "output", "stats", "response_id")
ITEMS: Final[Mapping[str, tuple[str, ...]]] = {
    "message": ("type", "content"),
    "reasoning": ("type", "content"),
    "tool_call": ("type", "tool", "arguments", "output", "provider_info"),
    "invalid_tool_call": ("type", "reason", "metadata"),
}
EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat.start": ("type", "model_instance_id"),
    "model_load.start": ("type", "model_instance_id"),
    "model_load.progress": ("type", "model_instance_id", "progress"),
    "model_load.end": ("type", "model_instance_id", "load_time_seconds"),
    "prompt_processing.start": ("type",),
    "prompt_processing.progress": ("type", "progress"),
    "prompt_processing.end": ("type",),
    "reasoning.start": ("type",),
    "reasoning.delta": ("type", "content"),
    "reasoning.end": ("type",),
    "message.start": ("type",),
    "message.delta": ("type", "content"),
    "message.end": ("type",),
    "tool_call.start": ("type",),
    "tool_call.name": ("type", "tool_name", "provider_info"),
    "tool_call.arguments": ("type", "tool", "arguments", "provider_info"),
    "tool_call.success": ("type", "tool", "arguments", "output", "provider_info"),
    "tool_call.failure": ("type", "reason", "metadata"),
    "error": ("type", "error"),
    "chat.end": ("type", "result"),
}

MODEL: Final = (
    *("type", "publisher", "key", "display_name", "architecture", "quantization", "size_bytes", "params_string"),
    *("loaded_instances", "max_context_length", "format", "capabilities", "description", "variants"),
    "selected_variant",
)
DOWNLOAD: Final = ("job_id", "status", "total_size_bytes", "started_at", "completed_at")
DOWNLOAD_STATUS: Final = (*DOWNLOAD, "downloaded_bytes", "bytes_per_second", "estimated_completion")

LOADED: Final = ("type", "instance_id", "load_time_seconds", "status", "load_config")
LOAD_CONFIG: Final = (
    *("context_length", "eval_batch_size", "flash_attention", "num_experts", "offload_kv_cache_to_gpu"),
)

BAD_TOKEN: Final = "Malformed LM Studio API token provided: ***"
"""Without the first ten characters of the token, which the original says: no part of a secret is said again."""

UNKNOWN_ENDPOINT_STATUS: Final = 200


@dataclass(frozen=True, slots=True)
class StrictError:
    """What differs for an error; there is no `code` but null."""

    status: int
    type: str
    code: None = None


ERRORS: Final[Mapping[ErrorKind, StrictError]] = {
    ErrorKind.EXCEED_CONTEXT_SIZE: StrictError(400, "exceed_context_size_error"),
    ErrorKind.PERMISSION_DENIED: StrictError(403, "invalid_request"),
    ErrorKind.PLUGIN_CONNECTION_ERROR: StrictError(424, "plugin_connection_error"),
    ErrorKind.MCP_CONNECTION_ERROR: StrictError(424, "mcp_connection_error"),
    ErrorKind.ENGINE_ERROR: StrictError(500, "internal_error"),
}
"""Rows that differ from those of `api/errors.py`."""
NULL_CODE: Final = frozenset({ErrorKind.PERMISSION_DENIED})
"""Errors whose `code` is null; where there is none otherwise, the key is absent."""
