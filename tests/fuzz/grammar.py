"""Requests that are nearly right: of every route, with ids that are there and ids that are not, and bodies to a letter or two.

`@kind:N` in a path, a query or a body stands for the Nth id of that kind that the service has told so far.
"""

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from hypothesis import strategies as st

from orchestrator.core.json_types import JsonObject
from orchestrator.testing import SCRIPTED_MODEL
from tests.api.test_validation_properties import bodies, places, values
from tests.fuzz.values import V1, anything, ids, moments, numbers, said, texts
from tests.fuzz.wire_bodies import NEEDED, right_body

CHAT: Final = f"{V1}/chat"
KINDS: Final = ("response", "thread", "call", "job", "token", "pending", "conversation", "item")
SECRETS: Final = ("canary-in-a-header", "canary-in-a-url", "canary-in-a-query", "canary-as-a-token")


@dataclass(frozen=True)
class FuzzedRequest:
    """A request as it is sent, but for the ids and for the token, of which it has the name."""

    method: str
    target: str
    token: str
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None


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


threaded: Final[st.SearchStrategy[JsonObject]] = st.fixed_dictionaries(
    {"model": st.just(SCRIPTED_MODEL), "input": said, "thread_id": ids("thread")}, optional={"stream": st.booleans()}
)
whole_bodies: Final[st.SearchStrategy[JsonObject]] = bodies
odd_headers: Final[st.SearchStrategy[tuple[tuple[str, str], ...]]] = st.sampled_from(
    [(("Content-Encoding", "gzip"),), (("Origin", "https://evil.example"),), (("Host", "evil.example"),),
     (("X-Request-Id", "a b"),), (("X-Stream-Extensions", "true"),), (("Last-Event-ID", "\x80"),), (("Accept", "text/html"),),
     (("X-Large", "x" * 70_000),), tuple((f"X-{n}", "x") for n in range(140)), (("Authorization", "Bearer canary-as-a-token"),),
     (("Authorization", "Basic Y2FuYXJ5"),), (("Range", "bytes=0-1"),), (("Cookie", "a=canary-in-a-header"),)]
)  # fmt: skip


PATH_VALUES: Final[dict[str, st.SearchStrategy[str]]] = {
    "response_id": ids("response") | ids("pending"),
    "thread_id": ids("thread"),
    "call_id": ids("call"),
    "job_id": ids("job"),
    "token_id": ids("token"),
    "elicitation_id": texts,
    "label": st.sampled_from(["clock", "clock", "gone", "CLOCK"]) | texts,
    "tool": st.just("get_current_time") | texts,
    "prompt": texts,
    "model_id": st.just(SCRIPTED_MODEL) | texts,
    "conversation_id": ids("conversation"),
    "item_id": ids("item"),
}
QUERY_VALUES: Final = {
    "limit": numbers,
    "from": moments,
    "to": moments,
    "cursor": texts | st.just("kwEC") | st.just("g" * 40),
    "after": ids("item"),
    "a": ids("response"),
    "b": ids("response"),
    "response_id": ids("response"),
    "order": st.sampled_from(["asc", "desc", "x"]),
    "bucket": st.sampled_from(["hour", "day", "x"]),
    "format": st.sampled_from(["jsonl", "csv", "openai", "x"]),
    "status": st.sampled_from(["completed", "failed", "incomplete", "success", "x"]),
    "is_error": st.sampled_from(["true", "false", "x"]),
    "subtree": st.sampled_from(["true", "false", "x"]),
    "duration_min": numbers,
    "duration_max": numbers,
    "starting_after": numbers,
    "plugin": st.just("mcp/clock") | texts,
    "server_label": st.just("clock") | texts,
    "tool": st.just("get_current_time") | texts,
    "model": st.just(SCRIPTED_MODEL) | texts,
    "metadata": texts,
}


def right_requests(path: str) -> st.SearchStrategy[FuzzedRequest]:
    """Requests with a body to this route, as they should be."""
    placed = st.fixed_dictionaries({name: some for name, some in PATH_VALUES.items() if f"{{{name}}}" in path})
    json_type = (("Content-Type", "application/json"),)

    def request(names: dict[str, str], body: JsonObject) -> FuzzedRequest:
        return FuzzedRequest("POST", _placed(path, names), "admin", json_type, json.dumps(body).encode())

    return st.builds(request, placed, right_body(path))


def _placed(path: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", _written(value))
    return path


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
    template = path
    path = _placed(path, {name: draw(some) for name, some in PATH_VALUES.items() if f"{{{name}}}" in path})
    named = draw(st.lists(st.sampled_from(query), max_size=3, unique=not now_and_then(draw, 5))) if query else []
    pairs = [f"{quote(name, safe='')}={_written(draw(QUERY_VALUES.get(name, texts)))}" for name in named]
    if now_and_then(draw, 4):
        pairs.append(f"{_written(draw(texts))}={_written(draw(texts))}")
    target = path + ("?" + "&".join(pairs) if pairs else "")
    token = draw(st.sampled_from(["other", "narrow", "none", "bad"])) if now_and_then(draw, 12) else "admin"
    content: bytes | None = None
    if method == "POST" and template in NEEDED:
        own = right_body(template)
        right = draw(st.sampled_from([own, own, own, threaded, whole_bodies])) if template == CHAT else own
        body = draw(nearly(right) if now_and_then(draw, 50) else right)
        content = draw(spoilt(body)) if now_and_then(draw, 12) else json.dumps(body).encode()
    if now_and_then(draw, 2):
        method = draw(st.sampled_from(["PUT", "PATCH", "OPTIONS", "HEAD", "DELETE", "POST", "GET"]))
    return FuzzedRequest(method, target, token, draw(headers_of(content is not None)), content)


def _written(text: str) -> str:
    return text if re.fullmatch(r"@[a-z]+:[0-9]+", text) else quote(text, safe="")
