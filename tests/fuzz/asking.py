"""Sends many requests to the running service, and looks at everything that comes back."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import psutil

from orchestrator.api.errors import ERROR_TABLE, openai_error
from orchestrator.api.wire import ErrorEnvelope
from orchestrator.api.wire_anthropic_errors import AnthropicErrorEnvelope
from orchestrator.api.wire_openai_errors import OpenAIErrorEnvelope
from orchestrator.core.errors import ErrorInfo
from orchestrator.testing import SCRIPTED_MODEL
from tests.fuzz.grammar import KINDS, SECRETS, FuzzedRequest
from tests.fuzz.service import FuzzedService

_PLACE = re.compile(r"@(\w+):(\d+)")
_IDS = re.compile(
    r"\b(?:(resp)_[0-9a-f]{48}|(thread)_[0-9a-f]{48}|(call)_[0-9a-f]{24}|(job)_[0-9a-f]{10}|(conv)_[0-9a-f]{8,48}|(msg)_[0-9a-zA-Z_]{8,80})\b"
)
_ENDS = {
    "/v1/messages": ("message_start", "message_stop|error"),
    "/v1/responses": (r"response\..+", r"response\.(completed|failed|incomplete)|error"),
    "": (r"chat\.start", r"chat\.end"),
}
"""What a stream begins and ends with, by the path."""
_KIND = {"resp": "response", "conv": "conversation", "msg": "item"}
_MOST_IDS = 40
DEAD_ENGINE = (502, 503)
"""What is left of the server's errors: the engine failed, or cannot be reached."""
BAD_TOKEN = "sk-lm-Nobody00:canaryAsATokenHere00"


@dataclass
class Asked:
    """What came of the requests so far. `memory` is the resident memory after each, in bytes."""

    service: FuzzedService
    client: httpx.Client
    statuses: Counter[int] = field(default_factory=Counter[int])
    last_status: int = 0
    memory: list[int] = field(default_factory=list[int])
    pool: dict[str, list[str]] = field(default_factory=lambda: {kind: list[str]() for kind in KINDS})

    def __post_init__(self) -> None:
        self._process = psutil.Process(self.service.pid)

    def seed(self) -> None:
        """Some things to ask for: responses, a thread, calls, one that waits for an approval."""
        chat = {"model": SCRIPTED_MODEL, "input": "hello"}
        asking = {"type": "plugin", "id": "mcp/clock", "require_approval": "always"}
        for body in (chat, {**chat, "integrations": ["mcp/clock"]}, {**chat, "integrations": [asking]}):
            response = self._post("/api/v1/chat", body)
            if response.json().get("status") == "awaiting_approval":
                self.pool["pending"].append(response.json()["response_id"])
        self._post("/v1/conversations", {"items": [{"type": "message", "role": "user", "content": "hello"}]})
        token = self._post("/api/v1/tokens", {"name": "to be rotated", "permissions": ["chat"], "owner": "somebody"})
        self.pool["token"].append(token.json()["token"].partition(":")[0].removeprefix("sk-lm-"))

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        headers = {"x-api-key": self.service.tokens["admin"]}
        response = self.client.post(path, json=body, headers=headers)
        assert response.status_code in (200, 201), response.text
        self._learn(response.text)
        return response

    def ask(self, request: FuzzedRequest) -> None:
        """Send it; whatever it is, its answer keeps what every answer promises."""
        headers = list(request.headers)
        token = self.service.tokens.get(request.token, BAD_TOKEN if request.token == "bad" else None)
        if token is not None:
            headers.append(("x-api-key", token))
        content = (
            None if request.content is None else self._resolved(request.content.decode("latin-1")).encode("latin-1")
        )
        sent = [(name.encode(), value.encode("utf-8")) for name, value in headers]
        response = self.client.request(request.method, self._resolved(request.target), headers=sent, content=content)
        self.statuses[response.status_code] += 1
        self.memory.append(self._process.memory_info().rss)
        self.last_status = response.status_code
        self._learn(response.text)
        check_answer(request, response, [*self.service.secrets.values(), *SECRETS])

    def _resolved(self, text: str) -> str:
        def resolve(match: re.Match[str]) -> str:
            known = self.pool.get(match[1], [])
            return known[int(match[2]) % len(known)] if known else f"{match[1]}_none"

        return _PLACE.sub(resolve, text)

    def _learn(self, text: str) -> None:
        for match in _IDS.finditer(text[:20_000]):
            kind = next(found for found in match.groups() if found)
            known = self.pool[_KIND.get(kind, kind)]
            if match[0] not in known:
                known.append(match[0])
                del known[:-_MOST_IDS]

    def growth_in_the_second_half(self) -> int:
        """How many bytes more the process has than it had at half time, at its highest each."""
        half = len(self.memory) // 2
        return max(self.memory[half:]) - max(self.memory[:half])


def check_answer(request: FuzzedRequest, response: httpx.Response, secrets: list[str]) -> None:
    """No breakdown, an envelope for every error, and no secret in it."""
    told = f"{request}\n{response.status_code} {response.text[:2000]}"
    target = response.request.url.raw_path.decode()  # the client takes `..` out
    assert response.headers["X-Content-Type-Options"] == "nosniff", told
    assert "X-Request-Id" in response.headers, told
    assert not [secret for secret in secrets if secret in response.text], told
    if response.status_code < 400:
        if response.headers.get("Content-Type", "").startswith("text/event-stream"):
            check_stream(response.text, told, target)
        return
    if request.method == "HEAD":
        return
    assert response.headers["Content-Type"] == "application/json", told
    if target.startswith("/v1/messages"):
        anthropic = msgspec.json.decode(response.content, type=AnthropicErrorEnvelope)
        assert anthropic.error.message and anthropic.request_id == response.headers["request-id"], told
    elif target.startswith("/v1/"):
        error = msgspec.json.decode(response.content, type=OpenAIErrorEnvelope).error
        known = {(row.status, openai_error(ErrorInfo(kind, "")).code) for kind, row in ERROR_TABLE.items()}
        assert (response.status_code, error.code) in known or error.code is None, told
    else:
        native = msgspec.json.decode(response.content, type=ErrorEnvelope).error
        code = None if native.code is msgspec.UNSET else native.code
        assert (response.status_code, native.type, code) in {
            (row.status, row.type, row.code) for row in ERROR_TABLE.values()
        }, told
        assert native.message, told
    not_built = response.status_code == 501
    assert response.status_code < 500 or response.status_code in DEAD_ENGINE or not_built, told


def check_stream(text: str, told: str, target: str) -> None:
    """It begins with `chat.start` and ends with `chat.end`, or as its dialect begins and ends."""
    said = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    assert said, told
    if re.match("/v1/(chat/)?completions", target):
        assert said[-1] == "[DONE]" or "error" in json.loads(said[-1]), told
        return
    if target.startswith("/v1/responses"):
        assert said.pop() == "[DONE]", told
    events = [json.loads(one) for one in said]
    first, last = _ENDS[next(prefix for prefix in _ENDS if target.startswith(prefix))]
    assert re.fullmatch(first, events[0].get("type", "")), told
    assert re.fullmatch(last, events[-1].get("type", "")), told
