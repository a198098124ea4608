"""Requests that are nearly right: of every route, with ids that are there and ids that are not, and bodies to a letter or two.

`@kind:N` in a path, a query or a body stands for the Nth id of that kind that the service has told so far.
"""

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote

from hypothesis import strategies as st

from orchestrator.core.json_types import JsonObject
from orchestrator.testing import SCRIPTED_MODEL
from tests.api.test_validation_properties import bodies, places, values

V1: Final = "/api/v1"
CHAT: Final = f"{V1}/chat"
KINDS: Final = ("response", "thread", "call", "job", "token", "pending")
SECRETS: Final = ("canary-in-a-header", "canary-in-a-url", "canary-in-a-query", "canary-as-a-token")


@dataclass(frozen=True)
class FuzzedRequest:
    """A request as it is sent, but for the ids and for the token, of which it has the name."""

    method: str
    target: str
    token: str
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None


strange_texts: Final = st.sampled_from(
    ["", "\0", "a\0b", "é", "🦜", "' OR 1=1 --", "%", "_", "..", "../..", "a/b", "\u202e", "\x10", "x" * 3000, "null", "-1",
     "1e999", "9" * 30, "NaN", "2026-13-45", "2026-01-01T00:00:00+99:99", "0001-01-01T00:00:00+14:00", "resp_", "\ufeff"]
)  # fmt: skip
texts: Final = strange_texts | st.text(st.characters(codec="utf-8"), max_size=8)
numbers: Final = st.sampled_from(["0", "1", "2", "100", "1000", "-1", "1.5", "2147483648", "9" * 20, "x"])
moments: Final = st.sampled_from(
    [
        "2026-01-01",
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:00:00+02:00",
        "9999-12-31T23:59:59Z",
        "0001-01-01",
        "tomorrow",
    ]
)


anything: Final[st.SearchStrategy[Any]] = cast("st.SearchStrategy[Any]", values) | texts


def ids(kind: str) -> st.SearchStrategy[str]:
    """An id that is there, mostly; else one that could be, or something strange."""
    could_be = {"response": "resp_" + "0" * 48, "thread": "thread_" + "1" * 48, "call": "call_" + "2" * 24}
    there = st.integers(0, 20).map(lambda n: f"@{kind}:{n}")
    return st.one_of(there, there, there, there, there, st.just(could_be.get(kind, "job_0123456789")), texts)


def now_and_then(draw: st.DrawFn, percent: int) -> bool:
    """About so often; numbers in the middle of a range are not drawn more often than others."""
    return 300 <= draw(st.integers(0, 999)) < 300 + 7 * percent


@st.composite
def nearly(draw: st.DrawFn, right: st.SearchStrategy[JsonObject]) -> JsonObject:
    """A right body in which a few places are dropped, replaced, or given company."""
    body = deepcopy(draw(right))
    for _ in range(draw(st.integers(1, 2))):
        container, key = draw(st.sampled_from(places(body) or [(body, "model")]))
        what = draw(st.sampled_from(["drop", "replace", "replace", "add"]))
        if what == "replace" or isinstance(container, list):
            container[key] = draw(anything)
        elif what == "drop":
            container.pop(key, None)
        else:
            container[draw(texts)] = draw(values)
    return body


def spoilt(body: JsonObject) -> st.SearchStrategy[bytes]:
    """The body as text, now and then one that no library would write."""
    plain = json.dumps(body)
    return st.sampled_from(
        [b"\xef\xbb\xbf" + plain.encode(), plain.encode("utf-16"), plain[:-1].encode(), b"", b"[]", b"null",
         (plain[:-1] + ', "model": "x"}').encode(), (plain[:-1] + ', "temperature": NaN}').encode(),
         (plain[:-1] + ', "top_k": 1' + "0" * 400 + "}").encode(), (plain[:-1] + r', "system_prompt": "\ud800"}').encode(),
         (plain[:-1] + r', "system_prompt": "a\u0000b"}').encode(), plain.encode() + b"\xff", b'{"a":' * 300,
         (plain[:-1] + ', "input": [' + ",".join(['{"type": "text", "content": "x"}'] * 1100) + "]}").encode()]
    )  # fmt: skip


server_urls: Final = st.sampled_from(
    ["http://127.0.0.1:9/mcp", "http://me:canary-in-a-url@127.0.0.1:9/", "http://127.0.0.1:9/?key=canary-in-a-query",
     "http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/", "ftp://127.0.0.1/", "http://", "//x", "http://127.0.0.1:99999/",
     "http://0x7f000001/", "http://127.0.0.1:9/\0", "http://[fe80::1%25eth0]/"]
)  # fmt: skip
integrations: Final = st.lists(
    st.sampled_from(["mcp/clock", "mcp/clock", "mcp/gone", "mcp/nope", "clock"])
    | st.fixed_dictionaries(
        {"type": st.just("plugin"), "id": st.just("mcp/clock")},
        optional={
            "allowed_tools": st.lists(st.sampled_from(["get_current_time", "fly"]), max_size=2),
            "require_approval": st.sampled_from(["never", "always"]),
        },
    )
    | st.fixed_dictionaries(
        {"type": st.just("ephemeral_mcp"), "server_label": st.sampled_from(["own", "a b"]), "server_url": server_urls},
        optional={"headers": st.just({"X-Key": "canary-in-a-header"}) | st.just({"Host": "x"}) | st.just({"a\r\nb": "c"})},
    ),
    max_size=2,
)  # fmt: skip

said: Final = st.sampled_from(["hello", "hello", "fail", "a\0b", "\x10", "x" * 4000])
chats: Final[st.SearchStrategy[Any]] = st.fixed_dictionaries(
    {"model": st.just(SCRIPTED_MODEL), "input": said},
    optional={
        "integrations": integrations,
        "stream": st.booleans(),
        "store": st.booleans(),
        "previous_response_id": ids("response"),
        "thread_id": ids("thread"),
        "metadata": st.dictionaries(texts, texts, max_size=2),
        "system_prompt": texts,
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
        "reasoning": st.sampled_from(["off", "high"]),
        "max_turns": st.integers(1, 3),
    },
)  # fmt: skip
threaded: Final[st.SearchStrategy[JsonObject]] = st.fixed_dictionaries(
    {"model": st.just(SCRIPTED_MODEL), "input": said, "thread_id": ids("thread")}, optional={"stream": st.booleans()}
)
whole_bodies: Final[st.SearchStrategy[JsonObject]] = bodies
approvals: Final[st.SearchStrategy[Any]] = st.fixed_dictionaries(
    {
        "approvals": st.lists(
            st.fixed_dictionaries(
                {"call_id": ids("call"), "decision": st.sampled_from(["approve", "deny", "x"])},
                optional={"arguments": anything, "reason": texts},
            ),
            max_size=2,
        )
    },
    optional={"stream": st.booleans(), "integrations": integrations},
)


odd_headers: Final[st.SearchStrategy[tuple[tuple[str, str], ...]]] = st.sampled_from(
    [(("Content-Encoding", "gzip"),), (("Origin", "https://evil.example"),), (("Host", "evil.example"),),
     (("X-Request-Id", "a b"),), (("X-Stream-Extensions", "true"),), (("Last-Event-ID", "\x80"),), (("Accept", "text/html"),),
     (("X-Large", "x" * 70_000),), tuple((f"X-{n}", "x") for n in range(140)), (("Authorization", "Bearer canary-as-a-token"),),
     (("Authorization", "Basic Y2FuYXJ5"),), (("Range", "bytes=0-1"),), (("Cookie", "a=canary-in-a-header"),)]
)  # fmt: skip


def options(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonObject]:
    """A body of which everything may be left out."""
    return st.fixed_dictionaries({}, optional=fields)


BODIES: Final[dict[tuple[str, str], st.SearchStrategy[JsonObject]]] = {
    ("POST", f"{V1}/responses/{{response_id}}/approvals"): approvals,
    ("POST", f"{V1}/responses/{{response_id}}/elicitations/{{elicitation_id}}"): options(
        action=st.sampled_from(["accept", "decline", "cancel"]), content=anything
    ),
    ("POST", f"{V1}/responses/{{response_id}}/fork"): options(
        input=texts, before=ids("call"), at=numbers, tool_output=anything, stream=st.booleans(), store=st.booleans()
    ),
    ("POST", f"{V1}/responses/{{response_id}}/replay"): options(
        tools=st.sampled_from(["live", "recorded"]), model=texts, engine=texts, stream=st.booleans()
    ),
    ("POST", f"{V1}/models/load"): options(model=st.just(SCRIPTED_MODEL) | texts, context_length=anything, ttl=anything),
    ("POST", f"{V1}/models/unload"): options(instance_id=st.just(SCRIPTED_MODEL) | texts),
    ("POST", f"{V1}/models/download"): options(
        model=st.sampled_from(["qwen3:8b", "hf.co/a/b", "https://huggingface.co/a/b", "\0", ""]) | texts, quantization=texts
    ),
    ("POST", "/v1/embeddings"): options(model=st.just(SCRIPTED_MODEL) | texts, input=anything, dimensions=anything),
    ("POST", f"{V1}/plugins/mcp/{{label}}/tools/{{tool}}/call"): options(arguments=anything, previous_response_id=ids("response")),
    ("POST", f"{V1}/plugins/mcp/{{label}}/definitions/approve"): options(tools=anything, digest=texts),
    ("POST", f"{V1}/integrations/check"): options(integrations=integrations, model=st.just(SCRIPTED_MODEL)),
    ("POST", f"{V1}/tokens"): options(
        name=texts, permissions=st.lists(st.sampled_from(["chat", "plugins:mcp/clock", "x"]), max_size=2), owner=texts,
        limits=anything, expires_at=moments,
    ),
    ("POST", f"{V1}/tokens/{{token_id}}/rotate"): options(grace_seconds=anything),
}  # fmt: skip

PATH_VALUES: Final[dict[str, st.SearchStrategy[str]]] = {
    "response_id": ids("response") | ids("pending"),
    "thread_id": ids("thread"),
    "call_id": ids("call"),
    "job_id": ids("job"),
    "token_id": ids("token"),
    "elicitation_id": texts,
    "label": st.sampled_from(["clock", "clock", "gone", "CLOCK"]) | texts,
    "tool": st.just("get_current_time") | texts,
}
QUERY_VALUES: Final = {
    "limit": numbers,
    "since": moments,
    "until": moments,
    "cursor": texts | st.just("kwEC") | st.just("g" * 40),
    "a": ids("response"),
    "b": ids("response"),
    "response_id": ids("response"),
}


@st.composite
def headers_of(draw: st.DrawFn, with_body: bool) -> tuple[tuple[str, str], ...]:
    """What goes along, mostly what should."""
    found: list[tuple[str, str]] = []
    if with_body:
        strange = ["text/plain", "application/json; charset=utf-16", "", "é"]
        media_type = draw(st.sampled_from(strange)) if now_and_then(draw, 3) else "application/json"
        found.append(("Content-Type", media_type))
    return (*found, *(draw(odd_headers) if now_and_then(draw, 10) else ()))


@st.composite
def requests(draw: st.DrawFn, operations: Sequence[tuple[str, str, Sequence[str]]]) -> FuzzedRequest:
    """A request to one of these routes: method, path, names of its query."""
    method, path, query = ("POST", CHAT, ()) if now_and_then(draw, 40) else draw(st.sampled_from(operations))
    key = (method, path)
    for name, strategy in PATH_VALUES.items():
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", _written(draw(strategy)))
    named = draw(st.lists(st.sampled_from(query), max_size=3, unique=not now_and_then(draw, 5))) if query else []
    pairs = [f"{quote(name, safe='')}={_written(draw(QUERY_VALUES.get(name, texts)))}" for name in named]
    if now_and_then(draw, 4):
        pairs.append(f"{_written(draw(texts))}={_written(draw(texts))}")
    target = path + ("?" + "&".join(pairs) if pairs else "")
    token = draw(st.sampled_from(["other", "narrow", "none", "bad"])) if now_and_then(draw, 12) else "admin"
    content: bytes | None = None
    if key[1] == CHAT or key in BODIES:
        right = BODIES[key] if key in BODIES else draw(st.sampled_from([chats, chats, chats, threaded, whole_bodies]))
        body = draw(nearly(right) if now_and_then(draw, 50) else right)
        content = draw(spoilt(body)) if now_and_then(draw, 12) else json.dumps(body).encode()
    if now_and_then(draw, 2):
        method = draw(st.sampled_from(["PUT", "PATCH", "OPTIONS", "HEAD", "DELETE", "POST", "GET"]))
    return FuzzedRequest(method, target, token, draw(headers_of(content is not None)), content)


def _written(text: str) -> str:
    return text if re.fullmatch(r"@[a-z]+:[0-9]+", text) else quote(text, safe="")
