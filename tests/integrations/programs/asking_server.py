"""An MCP server that asks its client back, over standard input and output, in the family that its argument names.

A second argument is the schema of another form to ask with.

`handshake`: it sends requests of its own during a call. `stateless`: it answers `input_required`.
"""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

NAMES = ["ask", "knock", "visit", "sample", "roots", "progress", "flood", "log", "hush", "wait", "change"]
ASKS: dict[str, dict[str, Any]] = {
    "ask": {
        "method": "elicitation/create",
        "params": {
            "message": "Your name?",
            "requestedSchema": {"type": "object", "properties": {"name": {"type": "string", "default": "Ada"}}},
        },
    },
    "visit": {
        "method": "elicitation/create",
        "params": {"mode": "url", "message": "Log in.", "elicitationId": "e1"}
        | {"url": os.environ.get("VISIT", "https://login.example/x")},
    },
    "sample": {
        "method": "sampling/createMessage",
        "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "Say hi."}}], "maxTokens": 50},
    },
    "knock": {"method": "ping"},
    "roots": {"method": "roots/list", "params": {}},
}
# Closed, so that a model that has to call a tool can write nothing but `{}`.
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
STATELESS = sys.argv[1] == "stateless"
if len(sys.argv) > 2:  # another form
    ASKS["ask"]["params"]["requestedSchema"] = json.loads(sys.argv[2])
CAPABILITIES: dict[str, Any] = {
    "tools": {"listChanged": True},
    "resources": {"listChanged": True},
    "prompts": {"listChanged": True},
    "logging": {},
}
state: dict[str, Any] = {"capabilities": {}, "level": None, "pings": 0, "lists": 0, "cancels": 0}
backlog: list[dict[str, Any]] = []


def read() -> dict[str, Any]:
    if backlog:
        return backlog.pop(0)
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def notify(method: str, **params: Any) -> None:
    send(method=method, params=params)


def text(said: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said if isinstance(said, str) else json.dumps(said)}]}


def answer_to(id_: str) -> Any:
    """The answer to a request of ours; what else comes meanwhile is kept for later."""
    kept: list[dict[str, Any]] = []
    while True:
        message = read()
        if message.get("id") == id_ and "method" not in message:
            backlog[:0] = kept
            return message["result"] if "result" in message else {"error": message["error"]["message"]}
        kept.append(message)


def call(request: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a tool; None where there is none."""
    params = request["params"]
    name = params["name"]
    token = params.get("_meta", {}).get("progressToken")
    if name in ASKS and STATELESS:
        answers = params.get("inputResponses")
        if answers is None:
            wanted = {"it": ASKS[name]}
            return {"resultType": "input_required", "inputRequests": wanted, "requestState": "kept"}
        return text({**answers["it"], "state": params.get("requestState")})
    if name in ASKS:
        send(id="s1", **ASKS[name])
        return text(answer_to("s1"))
    match name:
        case "progress":
            for step in (1, 2, 3):
                notify("notifications/progress", progressToken=token, progress=step, total=3, message=f"step {step}")
        case "flood":
            for step in range(5_000):
                notify("notifications/progress", progressToken=token, progress=step)
                notify("notifications/message", level="info", logger="flood", data={"step": step})
        case "log":
            notify("notifications/message", level="warning", logger="desk", data="the secret is hunter22")
            return text({name: state[name] for name in ("level", "pings", "lists", "cancels")})
        case "hush":
            return None
        case "wait":
            return None
        case "change":
            NAMES.reverse()
            for what in ("tools", "resources", "prompts"):
                notify(f"notifications/{what}/list_changed")
        case _:
            pass
    return text("done")


def results(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is answered to a request: one result, or nothing."""
    method = request["method"]
    params = request.get("params", {})
    match method:
        case "initialize":
            state["capabilities"] = params["capabilities"]
            yield {
                "protocolVersion": "2025-11-25",
                "capabilities": CAPABILITIES,
                "serverInfo": {"name": "desk", "version": "1"},
            }
        case "server/discover":
            yield {
                "supportedVersions": ["2026-07-28"],
                "capabilities": CAPABILITIES,
                "ttlMs": 0,
                "cacheScope": "private",
            }
        case "tools/list":
            yield {"tools": [{"name": name, "inputSchema": NO_ARGUMENTS} for name in NAMES], **caching()}
        case "tools/call":
            result = call(request)
            if result is not None:
                yield result
        case "logging/setLevel":
            state["level"] = params["level"]
            yield {}
        case "ping":
            state["pings"] += 1
            yield {}
        case "resources/list":
            state["lists"] += 1
            last = params.get("cursor") == "2"
            page = [{"uri": f"file:///{'b' if last else 'a'}", "name": "paper", "size": 3, "mimeType": "text/plain"}]
            yield {"resources": page, **({} if last else {"nextCursor": "2"}), **caching()}
        case "resources/templates/list":
            yield {"resourceTemplates": [{"uriTemplate": "file:///{name}", "name": "papers"}], **caching()}
        case "resources/read":
            if params["uri"] != "file:///a":
                return send(id=request["id"], error={"code": -32002, "message": "no such resource"})
            kinds = [{"text": "alpha"}, {"blob": "AAAA", "mimeType": "image/png"}]
            yield {"contents": [{"uri": "file:///a", **kind} for kind in kinds], **caching()}
        case "prompts/list":
            yield {"prompts": [{"name": "greet", "arguments": [{"name": "who", "required": True}]}], **caching()}
        case "prompts/get":
            who = params.get("arguments", {}).get("who")
            if who is None:
                return send(id=request["id"], error={"code": -32602, "message": "who?"})
            greeting = {"role": "user", "content": {"type": "text", "text": f"Greet {who}."}}
            yield {"messages": [greeting, {"role": "assistant", "content": {"type": "text", "text": "Hello."}}]}
        case _:
            send(id=request["id"], error={"code": -32601, "message": f"Method not found: {method}"})


def caching() -> dict[str, Any]:
    return {"ttlMs": 0, "cacheScope": "private"} if STATELESS else {}


while True:
    message = read()
    if "id" in message and "method" in message:
        if message["method"] in (("initialize", "ping") if STATELESS else ("server/discover",)):
            send(id=message["id"], error={"code": -32601, "message": "Method not found"})
            continue
        for result in results(message):
            send(id=message["id"], result=result)
    elif message.get("method") == "notifications/cancelled":
        state["cancels"] += 1
