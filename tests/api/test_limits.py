"""How much of a request is taken: each limit has its error, in the envelope, and what is within it is served."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from orchestrator.api.decode import parse_json
from orchestrator.api.json_shape import shape_problem
from orchestrator.api.limits import RequestLimits
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.request import Limits
from orchestrator.testing import FakeServer
from tests.api.house import CHAT, House, chat_body, fake_tool, house

pytestmark = pytest.mark.anyio

LIMITS = RequestLimits(
    body_bytes=20_000,
    url_bytes=300,
    headers=20,
    header_bytes=2_000,
    body_seconds=0.05,
    json_depth=8,
    json_values=50,
    input_items=3,
    integrations=2,
    metadata_keys=1,
)
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def api() -> AsyncGenerator[House]:
    async def done(_: object) -> str:
        return "done"

    tools = FakeServer([fake_tool("one", done), fake_tool("two", done)])
    async with house(servers={"mcp/tools": tools}, limits=Limits(max_tools=1), request_limits=LIMITS) as running:
        yield running


def nested(depth: int) -> Any:
    return {} if depth == 1 else {"properties": nested(depth - 1)}


TEXT = {"type": "text", "content": "hi"}

CASES: list[tuple[str, dict[str, Any], dict[str, str], int, str, str | None]] = [
    ("many items of input", {"input": [TEXT] * 4}, {}, 400, "invalid_value", "input"),
    ("many integrations", {"integrations": ["mcp/tools"] * 3}, {}, 400, "invalid_value", "integrations"),
    ("many servers", {"mcp_servers": [{}] * 3}, {}, 400, "invalid_value", "mcp_servers"),
    ("many keys of metadata", {"metadata": {"a": "b", "c": "d"}}, {}, 400, "invalid_value", "metadata"),
    ("a long key of metadata", {"metadata": {"a" * 65: "b"}}, {}, 400, "invalid_value", "metadata." + "a" * 64 + "…"),
    ("a long text of metadata", {"metadata": {"a": "b" * 513}}, {}, 400, "invalid_value", "metadata.a"),
    ("many tools", {"integrations": ["mcp/tools"]}, {}, 400, "invalid_value", "integrations"),
    ("a large body", {"input": "x" * 20_000}, {}, 413, "request_too_large", None),
    ("many values", {"stop": list(range(60))}, {}, 413, "request_too_large", None),
    ("a deep body", {"x": nested(9)}, {}, 400, "invalid_json", None),
    ("many headers", {}, {f"X-{n}": "x" for n in range(20)}, 431, "headers_too_large", None),
    ("large headers", {}, {"X-Large": "x" * 2000}, 431, "headers_too_large", None),
    ("another encoding", {}, {"Content-Type": "application/json; charset=utf-16"}, 415, "unsupported_media_type", None),
    ("something compressed", {}, {"Content-Encoding": "gzip"}, 415, "unsupported_media_type", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "param"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_what_is_too_much_is_refused(
    api: House, body: dict[str, Any], headers: dict[str, str], status: int, code: str, param: str | None
) -> None:
    response = await api.client.post(CHAT, content=json.dumps(chat_body(**body)).encode(), headers=JSON | headers)
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"], error.get("param")) == (
        status,
        "invalid_request",
        code,
        param,
    )
    assert api.engine.requests == []


async def test_what_is_within_the_limits_is_served(api: House) -> None:
    body = {"input": [TEXT] * 3, "metadata": {"a" * 64: "b" * 512}, "stop": list("abcdefgh")}
    assert (await api.chat(**body)).status_code == 200
    one = {"type": "plugin", "id": "mcp/tools", "allowed_tools": ["one"]}
    assert (await api.chat(integrations=[one])).status_code == 200


@pytest.mark.parametrize("path", [CHAT, "/health", "/nope", "/api/v1/tool-calls"])
async def test_a_long_address_is_refused_everywhere(api: House, path: str) -> None:
    response = await api.client.get(f"{path}?q={'x' * 300}")
    assert (response.status_code, response.json()["error"]["code"]) == (414, "url_too_long")


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_a_body_that_nobody_would_read_is_refused_by_its_announced_length(api: House, method: str) -> None:
    for announced in ("20001", "9" * 40):
        response = await api.client.request(method, "/api/v1/models", headers={"Content-Length": announced})
        assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_body_that_does_not_come_is_given_up(api: House) -> None:
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope: Any = {
        **{
            "type": "http",
            "method": "POST",
            "path": CHAT,
            "raw_path": CHAT.encode(),
            "query_string": b"",
            "scheme": "http",
        },
        "headers": headers,
    }
    first = [{"type": "http.request", "body": b'{"model', "more_body": True}]
    sent: list[Any] = []

    async def receive() -> Any:
        return first.pop() if first else await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    with anyio.fail_after(10):
        await api.app(scope, receive, send)
    assert (sent[0]["status"], json.loads(sent[1]["body"])) == (
        408,
        {
            "error": {
                "type": "invalid_request",
                "message": "The body of the request did not arrive within 0.05 seconds.",
                "code": "request_timeout",
            }
        },
    )


STRANGE: list[tuple[str, bytes, str]] = [
    ("a key twice", b'{"model": "a", "model": "b"}', "the key 'model' stands twice in one object"),
    ("a key twice, once escaped", rb'{"a": {"\u0061b": 1, "ab": 2}}', "the key 'ab' stands twice in one object"),
    ("not a number", b'{"temperature": NaN}', "invalid character"),
    ("infinity", b'{"temperature": -Infinity}', "invalid"),
    ("a float beyond floats", b'{"temperature": 1e400}', "number out of range"),
    ("a number of 5000 digits", b'{"top_k": -1' + b"0" * 5000 + b"}", "value out of range"),
    ("half a surrogate pair", rb'{"input": "\ud800"}', "truncated"),
    ("the second half alone", rb'{"input": "\udc00 "}', "invalid"),
    ("a byte that is no UTF-8", b'{"input": "\xff"}', "it is not UTF-8"),
    ("an overlong form", b'{"input": "\xc0\x80"}', "it is not UTF-8"),
    ("a surrogate in UTF-8", b'{"input": "\xed\xa0\x80"}', "it is not UTF-8"),
    ("a byte order mark", b'\xef\xbb\xbf{"model": "a"}', "it begins with a byte order mark, which is to be left out"),
    ("UTF-16", '{"model": "a"}'.encode("utf-16"), "invalid character"),
    ("a raw NUL", b'{"input": "a\x00b"}', "invalid character"),
    ("something after it", b"{} {}", "trailing characters"),
    ("two commas", b'{"a": [1,,2]}', "invalid character"),
    ("nothing", b"  ", "it is empty"),
]


@pytest.mark.parametrize(("body", "why"), [case[1:] for case in STRANGE], ids=[case[0] for case in STRANGE])
async def test_what_is_not_quite_json_is_refused_with_the_reason(api: House, body: bytes, why: str) -> None:
    response = await api.client.post(CHAT, content=body, headers=JSON)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "invalid_json")
    assert why in error["message"]


@pytest.mark.parametrize("field", ["temperature", "top_k", "seed", "max_output_tokens", "repeat_penalty", "ttl"])
async def test_a_number_of_400_digits_is_out_of_range(api: House, field: str) -> None:
    for number in (10**400, -(10**400)):
        response = await api.chat(**{field: number})
        told = response.json()["error"]
        assert (response.status_code, told["code"], told["param"]) == (400, "invalid_value", field)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'[{"a": "b"}, {"a": "b"}]', None),
        (rb'{"a": "\"a\": [[[", "b\\": 1, "b": 2}', None),
        (b'["a", "a", {"a": ["a"]}]', None),
        (b"]]]}", None),
        (b'{"a": 1, "b": {"a": 1}, "c": 1}', None),
        (b'"' + rb"\"" * 200_000, None),
        (b"[" * 5, ErrorKind.INVALID_JSON),
        (b"[[[[[]]]]]", ErrorKind.INVALID_JSON),
        (b'{"a" :1,"\\q":2,"\\q"  :3}', ErrorKind.INVALID_JSON),
        (b"[1,2,3,4,5,6,7,8,9,10]", ErrorKind.REQUEST_TOO_LARGE),
        (b"[[],[],[],[],[],[]]", ErrorKind.REQUEST_TOO_LARGE),
    ],
)
async def test_only_depth_number_and_keys_outside_of_texts_count(body: bytes, problem: ErrorKind | None) -> None:
    found = shape_problem(body, 4, 9)
    assert (None if found is None else found.kind) == problem


async def test_a_body_that_nobody_has_looked_at_cannot_exhaust_the_stack() -> None:
    for text in (b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(OrchestratorError) as raised:
            parse_json(text)
        assert raised.value.info.kind is ErrorKind.INVALID_JSON


async def test_requests_from_one_address_are_limited_with_a_wrong_token_and_without_one() -> None:
    async with house(requests_per_minute=3) as api:
        answers = [await api.client.get("/api/v1/models", headers={"x-api-key": "sk-lm-aaaaaaaa:" + "b" * 20})]
        answers += [await api.client.get("/api/v1/models") for _ in range(3)]
        _, key = await api.tokens.create_token("busy", ["models.read"])
        mine = [await api.client.get("/api/v1/models", headers={"x-api-key": key}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    told = answers[-1].json()["error"]
    assert (told["code"], told["message"]) == (
        "rate_limited",
        "Whoever has this address is limited to 3 requests a minute. Try again later.",
    )
    assert [answer.status_code for answer in mine] == [200, 200, 200, 429]
