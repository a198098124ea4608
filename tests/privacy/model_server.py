"""A model server that says what it is told to, and repeats its caller's key wherever it can."""

import json
from typing import Any

from tests.integrations.programs.faulty_app import Message, Receive, Send

MODEL = "told"


class ToldModel:
    """`/v1/models` and `/v1/chat/completions`. What the user said last is the number of a script that it was `told`:
    the `calls` to make, what to `say` and to `think`, or `fail`, the status to fail with."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._scripts: list[dict[str, Any]] = []

    def told(self, script: dict[str, Any]) -> str:
        """What a user says to have this done."""
        self._scripts.append(script)
        return f"script {len(self._scripts) - 1}"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        authorization = dict(scope["headers"]).get(b"authorization", b"").decode()
        if authorization != f"Bearer {self.key}":
            return await _reply(send, 401, {"error": {"message": f"{authorization} is wrong"}})
        if scope["path"] == "/v1/models":
            return await _reply(send, 200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        messages: list[dict[str, Any]] = json.loads(body)["messages"]
        told = max(place for place, message in enumerate(messages) if message["role"] == "user")
        content = messages[told]["content"]
        text = content if isinstance(content, str) else content[0]["text"]
        script = self._scripts[int(text.split()[1])]
        if "fail" in script:
            return await _reply(send, script["fail"], {"error": {"message": f"{authorization} failed"}})
        calls: list[list[Any]] = script.get("calls", []) if told == len(messages) - 1 else []
        await _stream(send, _deltas(script, calls), "tool_calls" if calls else "stop")


def _deltas(script: dict[str, Any], calls: list[list[Any]]) -> list[dict[str, Any]]:
    if calls:
        thought = [{"reasoning_content": piece} for piece in _pieces(script.get("think", ""))]
        made = [
            {
                "index": index,
                "id": f"c{index}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
                },
            }
            for index, (name, arguments) in enumerate(calls)
        ]
        return [*thought, {"tool_calls": made}]
    return [{"content": piece} for piece in _pieces(script.get("say", "Done."))]


def _pieces(text: str) -> list[str]:
    """Three characters each, so that nothing secret is whole in any of them."""
    return [text[start : start + 3] for start in range(0, len(text), 3)]


async def _stream(send: Send, deltas: list[dict[str, Any]], reason: str) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    last: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": reason}
    usage: dict[str, int] = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    lines: list[dict[str, Any]] = [*({"choices": [choice]} for choice in choices), {"choices": [last], "usage": usage}]
    for line in [*map(json.dumps, lines), "[DONE]"]:
        await send({"type": "http.response.body", "body": f"data: {line}\n\n".encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _reply(send: Send, status: int, body: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
