"""What stands in the bodies of the routes, by the names on the wire.

`tests/fuzz/test_grammar.py` holds every name here to the OpenAPI document, and every route with a body to a row here:
what the document calls otherwise would be a 400 each time, and would try nothing.
"""

from typing import Any, Final, cast

from hypothesis import strategies as st

from orchestrator.core.json_types import JsonObject
from orchestrator.testing import SCRIPTED_MODEL
from tests.fuzz.values import V1, anything, ids, integrations, moments, said, texts

Fields = dict[str, st.SearchStrategy[Any]]

model: Final = st.just(SCRIPTED_MODEL)
flag: Final = st.booleans()
few: Final = st.integers(0, 3)
metadata: Final = st.dictionaries(texts, texts, max_size=2)
zone: Final[st.SearchStrategy[Any]] = st.sampled_from([{}, {"timezone": "UTC"}, {"timezone": "Nowhere"}])
said_as_messages: Final = st.lists(
    st.fixed_dictionaries({"role": st.just("user"), "content": said}), min_size=1, max_size=2
)
said_as_items: Final = st.lists(
    st.fixed_dictionaries({"type": st.just("message"), "role": st.just("user"), "content": said}),
    min_size=1,
    max_size=2,
)
function: Final[st.SearchStrategy[JsonObject]] = st.just(
    {"name": "fly", "description": "Flies.", "parameters": {"type": "object", "properties": {}}}
)
tool_for_a_replay: Final = st.sampled_from(["live", "stored"])
allowed: Final = st.lists(st.sampled_from(["mcp/clock/get_current_time", "mcp/clock/fly", "x"]), max_size=2)
sampling: Final[Fields] = {"temperature": few, "top_p": st.sampled_from([0.1, 1, 2]), "stream": flag, "store": flag}
responses: Final[Fields] = {
    "input": said | said_as_items,
    "instructions": texts,
    "previous_response_id": ids("response"),
    "conversation": ids("conversation"),
}
threads: Final[st.SearchStrategy[Any]] = st.just({"type": "create"}) | st.fixed_dictionaries(
    {"type": st.just("continue"), "previous_message_id": ids("response")}
)
called: Final[JsonObject] = {
    "type": "mcp_tool_use",
    "id": "mcptoolu_1",
    "name": "fly",
    "server_name": "clock",
    "input": {},
}
blocks: Final[st.SearchStrategy[Any]] = st.lists(
    st.one_of(
        texts.map(lambda text: {"type": "text", "text": text}),
        texts.map(
            lambda text: {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}
        ),
        st.sampled_from([called, {"type": "tool_use", "id": "toolu_1", "name": "fly", "input": {}}]),
        texts.map(lambda text: {"type": "tool_result", "tool_use_id": "toolu_1", "content": text, "is_error": True}),
        anything,
    ),
    max_size=3,
)
said_as_blocks: Final = said_as_messages | st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": said | blocks}), max_size=4
)
messages: Final[Fields] = {
    "system": texts,
    "tools": st.just([{"name": "fly", "input_schema": {"type": "object"}}]),
    "tool_choice": st.sampled_from([{"type": "auto"}, {"type": "none"}]),
}

NEEDED: Final[dict[str, Fields]] = {
    f"{V1}/chat": {"model": model, "input": said},
    f"{V1}/responses/{{response_id}}/approvals": {
        "approvals": st.lists(
            st.fixed_dictionaries(
                {"call_id": ids("call"), "decision": st.sampled_from(["approve", "deny", "x"])},
                optional={"arguments": anything, "reason": texts},
            ),
            max_size=2,
        )
    },
    f"{V1}/responses/{{response_id}}/elicitations/{{elicitation_id}}": {
        "action": st.sampled_from(["accept", "decline", "cancel"])
    },
    f"{V1}/responses/{{response_id}}/fork": {},
    f"{V1}/responses/{{response_id}}/replay": {},
    f"{V1}/responses/{{response_id}}/chain/replay": {},
    f"{V1}/threads": {"response_id": ids("response")},
    f"{V1}/models/load": {"model": model},
    f"{V1}/models/unload": {"instance_id": model},
    f"{V1}/models/download": {
        "model": st.sampled_from(["qwen3:8b", "hf.co/a/b", "https://huggingface.co/a/b", "\0", ""]) | texts
    },
    "/v1/chat/completions": {"model": model, "messages": said_as_messages},
    "/v1/completions": {"model": model, "prompt": said},
    "/v1/embeddings": {"model": model, "input": said},
    "/v1/responses": {"model": model, "input": said | said_as_items},
    "/v1/responses/input_tokens": {"model": model, "input": said},
    "/v1/responses/compact": {"model": model, "input": said},
    "/v1/conversations": {},
    "/v1/conversations/{conversation_id}": {"metadata": metadata},
    "/v1/conversations/{conversation_id}/items": {"items": said_as_items},
    "/v1/messages": {"model": model, "messages": said_as_blocks, "max_tokens": st.integers(1, 50)},
    "/v1/messages/count_tokens": {"model": model, "messages": said_as_blocks},
    f"{V1}/plugins/mcp/{{label}}/tools/{{tool}}/call": {},
    f"{V1}/plugins/mcp/{{label}}/resources/read": {"uri": st.sampled_from(["file:///x", "clock://now", "http://a"]) | texts},
    f"{V1}/plugins/mcp/{{label}}/prompts/{{prompt}}/get": {},
    f"{V1}/plugins/mcp/{{label}}/definitions/approve": {},
    f"{V1}/integrations/check": {"integrations": integrations},
    f"{V1}/tokens": {
        "name": texts,
        "permissions": st.lists(st.sampled_from(["chat", "plugins:mcp/clock", "x"]), min_size=1, max_size=2),
    },
    f"{V1}/tokens/{{token_id}}/rotate": {},
}  # fmt: skip
"""What each must have."""

MORE: Final[dict[str, Fields]] = {
    f"{V1}/chat": {
        "integrations": integrations, "stream": flag, "store": flag, "previous_response_id": ids("response"), "thread_id": ids("thread"),
        "metadata": metadata, "system_prompt": texts, "tool_choice": st.sampled_from(["auto", "none", "required"]), "reasoning": st.sampled_from(["off", "high"]),
        "max_turns": st.integers(1, 3), "background": flag,
    },
    f"{V1}/responses/{{response_id}}/approvals": {"stream": flag, "integrations": integrations},
    f"{V1}/responses/{{response_id}}/elicitations/{{elicitation_id}}": {"content": anything},
    f"{V1}/responses/{{response_id}}/fork": {
        "at": st.fixed_dictionaries({"call_id": ids("call")}) | st.fixed_dictionaries({"position": few}), "arguments": zone,
        "output": st.fixed_dictionaries({"text": texts}) | anything, "input": said, "stream": flag, "system_prompt": texts, "integrations": integrations,
    },
    f"{V1}/responses/{{response_id}}/replay": {"tools": tool_for_a_replay, "allow_tools": allowed, "model": model | texts, "stream": flag},
    f"{V1}/responses/{{response_id}}/chain/replay": {"from": st.just("root") | ids("response"), "tools": tool_for_a_replay, "allow_tools": allowed, "model": model},
    f"{V1}/models/load": {"context_length": anything, "ttl": anything, "parallel": few, "echo_load_config": flag},
    f"{V1}/models/download": {"quantization": texts},
    "/v1/chat/completions": {**sampling, "tools": st.lists(function.map(lambda one: {"type": "function", "function": one}), max_size=1),
                             "max_tokens": few, "n": few, "integrations": integrations, "previous_response_id": ids("response"), "metadata": metadata},
    "/v1/completions": {**sampling, "max_tokens": few, "stop": texts, "echo": flag},
    "/v1/embeddings": {"encoding_format": st.sampled_from(["float", "base64", "x"]), "dimensions": anything},
    "/v1/responses": {**sampling, **responses, "background": flag, "metadata": metadata, "truncation": st.sampled_from(["auto", "disabled"]),
                      "tools": st.lists(function.map(lambda one: {"type": "function", **one}), max_size=1), "include": anything},
    "/v1/responses/input_tokens": {**responses, "truncation": st.sampled_from(["auto", "disabled"])},
    "/v1/responses/compact": {name: responses[name] for name in ("instructions", "previous_response_id")},
    "/v1/conversations": {"items": said_as_items, "metadata": metadata},
    "/v1/messages": {**messages, "stream": flag, "temperature": few, "integrations": integrations, "previous_response_id": ids("response"), "store": flag,
                     "thread": threads, "stop_sequences": st.lists(texts, max_size=2)},
    "/v1/messages/count_tokens": {**messages},
    f"{V1}/plugins/mcp/{{label}}/tools/{{tool}}/call": {"arguments": zone | anything, "previous_response_id": ids("response"), "stream": flag},
    f"{V1}/plugins/mcp/{{label}}/resources/read": {"previous_response_id": ids("response")},
    f"{V1}/plugins/mcp/{{label}}/prompts/{{prompt}}/get": {"arguments": st.dictionaries(texts, texts, max_size=1), "previous_response_id": ids("response")},
    f"{V1}/plugins/mcp/{{label}}/definitions/approve": {"tool": st.sampled_from(["get_current_time", "fly"]), "digest": texts},
    f"{V1}/integrations/check": {"model": model, "mcp_servers": anything, "input": said},
    f"{V1}/tokens": {"owner": texts, "limits": st.fixed_dictionaries({}, optional={"requests_per_minute": few}) | anything, "expires_at": moments},
    f"{V1}/tokens/{{token_id}}/rotate": {"grace_seconds": st.sampled_from([0, 60, 2592000, -1, 10**20])},
}  # fmt: skip
"""What each may have besides."""


FORK: Final = f"{V1}/responses/{{response_id}}/fork"
at_a_call: Final[st.SearchStrategy[Any]] = st.fixed_dictionaries(
    {"at": MORE[FORK]["at"]}, optional={name: MORE[FORK][name] for name in ("arguments", "output", "stream")}
)


def right_body(path: str) -> st.SearchStrategy[JsonObject]:
    """A body for this route as it should be, with a few of the fields that it may have."""
    if path == FORK:
        goes_on = st.fixed_dictionaries({"input": said}, optional={"stream": flag, "system_prompt": texts})
        return cast("st.SearchStrategy[JsonObject]", st.one_of(goes_on, at_a_call))
    more = MORE.get(path, {})
    if not more:
        return cast("st.SearchStrategy[JsonObject]", st.fixed_dictionaries(NEEDED[path]))
    names = st.lists(st.sampled_from(sorted(more)), max_size=3, unique=True)
    chosen = names.flatmap(lambda some: st.fixed_dictionaries({**{name: more[name] for name in some}, **NEEDED[path]}))
    return cast("st.SearchStrategy[JsonObject]", chosen)
