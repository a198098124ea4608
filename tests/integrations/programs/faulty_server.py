"""A stdio server that misbehaves as its first argument says; all modes but one speak the older
family of the protocol, with its handshake.

A second argument names a file that gets a line at each start.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MODE = sys.argv[1]
tools: list[dict[str, Any]] = [{"name": name, "inputSchema": {"type": "object"}} for name in ("first", "second")]
cancelled: list[object] = []
called: list[object] = []
MODERN = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def hang() -> None:
    while True:
        time.sleep(3600)


def initialise(id_: object) -> None:
    if MODE == "hangs at initialise":
        hang()
    if MODE == "answers initialise with nonsense":
        return send({"id": id_, "result": {"protocolVersion": 5}})
    if MODE == "speaks an unknown version":
        version = "1999-01-01"
    else:
        version = "2025-06-18"
    capabilities = {} if MODE == "has no tools" else {"tools": {"listChanged": True}}
    send(
        {
            "id": id_,
            "result": {
                "protocolVersion": version,
                "capabilities": capabilities,
                "serverInfo": {"name": "faulty", "version": "0"},
            },
        }
    )


def discover(id_: object) -> None:
    """The stateless family's first question, which only one mode answers."""
    if MODE != "wants input":
        return send({"id": id_, "error": {"code": -32601, "message": "Method not found"}})
    capabilities: dict[str, Any] = {"tools": {}}
    send({"id": id_, "result": {**MODERN, "supportedVersions": ["2026-07-28"], "capabilities": capabilities}})


def list_tools(id_: object, params: dict[str, Any]) -> None:
    match MODE:
        case "hangs at list":
            hang()
        case "dies at list":
            sys.stderr.write("cannot list with key hunter22\n")
            sys.exit(5)
        case "lists nonsense":
            send({"id": id_, "result": {"tools": "hunter22"}})
        case "lists without end":
            send({"id": id_, "result": {"tools": tools, "nextCursor": "again"}})
        case "lists too much":
            send({"id": id_, "result": {"tools": tools * 600, "nextCursor": "again"}})
        case "lists in pages":
            page = int(params.get("cursor", "0"))
            following = {"nextCursor": str(page + 1)} if page < 2 else {}
            send(
                {"id": id_, "result": {"tools": [{"name": f"t{page}", "inputSchema": {"type": "object"}}], **following}}
            )
        case "has no tools":
            send({"id": id_, "error": {"code": -32601, "message": "Method not found"}})
        case "lists unusable tools":
            loop = {"type": "object", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
            names: dict[str, Any] = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}
            large: dict[str, Any] = {
                "type": "object",
                "$defs": names | {"d40": {}},
                "properties": {"a": {"$ref": "#/$defs/d0"}},
            }
            deep: dict[str, Any] = {}
            for _ in range(150):
                deep = {"not": deep}
            bad: list[Any] = [
                5,
                {"inputSchema": {"type": "object"}},
                {"name": "bare"},
                {"name": "text", "inputSchema": "hunter22"},
                {"name": "list", "inputSchema": {"type": "array"}},
                {"name": "large", "inputSchema": large},
                {"name": "deep", "inputSchema": {"type": "object", "properties": {"a": deep}}},
                {"name": "odd", "inputSchema": {"type": "object"}, "description": 5},
                {"name": "long", "inputSchema": {"type": "object", "description": "x" * 1_100_000}},
                {"name": "out", "inputSchema": {"type": "object"}, "outputSchema": 5},
            ]
            send({"id": id_, "result": {"tools": [*bad, {"name": "loop", "inputSchema": loop}, *tools]}})
        case "refuses to list at length":
            send({"id": id_, "error": {"code": -32603, "message": f"{'x' * 1961} hunter22 {'y' * 300_000}."}})
        case "refuses to list":
            send({"id": id_, "error": {"code": -32603, "message": "no key hunter22"}})
        case "wants input":
            send({"id": id_, "result": {**MODERN, "tools": tools}})
        case _:
            send({"id": id_, "result": {"tools": tools}})


def call(id_: object, name: str) -> None:
    text = [{"type": "text", "text": f"{len(cancelled)} cancelled"}]
    if MODE == "tells its process":
        if name == "first":  # answers once it is told to
            while not Path(sys.argv[2] + ".go").exists():
                time.sleep(0.01)
        text = [{"type": "text", "text": str(os.getpid())}]
    if name not in [tool["name"] for tool in tools]:
        return send({"id": id_, "error": {"code": -32602, "message": f"Unknown tool: {name}"}})
    if name != "first":
        return send({"id": id_, "result": {"content": text, "resultType": "complete"}})
    match MODE:
        case "is mute in the call":
            pass
        case "dies in the call":
            os._exit(9)
        case "is killed in the call":
            os.kill(os.getpid(), signal.SIGKILL)
        case "refuses at length":
            send({"id": id_, "error": {"code": -32603, "message": f"{'x' * 1990} hunter22 {'y' * 300_000}."}})
        case "refuses the call":
            send({"id": id_, "error": {"code": -32602, "message": "Invalid params, and the key is hunter22"}})
        case "answers the call with nonsense":
            send({"id": id_, "result": {"content": [{"type": "text", "text": 5}]}})
        case "answers with content of later revisions":
            hologram = {"type": "hologram", "depth": 3}
            send({"id": id_, "result": {"content": [hologram, {"type": "text", "text": "after"}]}})
        case "answers the call too deeply":
            deep = "[" * 5000 + "]" * 5000
            write(f'{{"jsonrpc":"2.0","id":{id_},"result":{{"content":[],"structuredContent":{{"a":{deep}}}}}}}\n')
        case "answers the call in a batch":
            text = json.dumps([{"jsonrpc": "2.0", "id": id_, "result": {"content": text}}], indent=1)
            write(f"{text}\n")
        case "answers the call with no result":
            send({"id": id_, "result": 5})
        case "dies in the second call":
            called.append(id_)
            if len(called) > 1:
                os._exit(9)
        case "answers another call":
            send({"id": 4711, "result": {"content": text}})
        case "breaks its own output schema":
            send({"id": id_, "result": {"content": text, "structuredContent": {"n": "not a number"}}})
        case "wants input":
            schema: dict[str, Any] = {"type": "object", "properties": {}}
            request: dict[str, Any] = {
                "method": "elicitation/create",
                "params": {"message": "Who?", "requestedSchema": schema},
            }
            send({"id": id_, "result": {"resultType": "input_required", "inputRequests": {"who": request}}})
        case "answers half a surrogate":
            write(f'{{"jsonrpc":"2.0","id":{id_},"result":{{"content":[{{"type":"text","text":"a\\ud83d"}}]}}}}\n')
        case "writes without end":
            while True:
                write("x" * 1_000_000)
        case "asks for input":
            send({"id": 1, "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}})
            answer = json.loads(sys.stdin.readline())
            send({"id": id_, "result": {"content": [{"type": "text", "text": answer["error"]["message"]}]}})
        case "grows":
            tools.append({"name": "third", "inputSchema": {"type": "object"}})
            send({"method": "notifications/tools/list_changed"})
            send({"id": id_, "result": {"content": text}})
        case "withdraws its tools":
            tools.pop()
            send({"method": "notifications/tools/list_changed"})
            send({"id": id_, "result": {"content": text}})
        case "floods":
            for count in range(2000):
                send({"method": "notifications/message", "params": {"level": "info", "data": f"line {count}"}})
            send({"id": id_, "result": {"content": text}})
        case _:
            send({"id": id_, "result": {"content": text}})


def begin() -> None:
    if len(sys.argv) > 2:
        with Path(sys.argv[2]).open("a") as starts:
            starts.write(f"{os.getpid()}\n")
    match MODE:
        case "exits before the handshake":
            sys.stderr.write("missing API key\nthe key hunter22 is wrong\n")
            sys.exit(7)
        case "exits silently":
            sys.exit(0)
        case "writes only garbage":
            write("Welcome to the server!\n{not json\n")
            hang()
        case "writes garbage first":
            write("Welcome to the server!\n\n{not json\n[]\n")
        case "closes its output":
            os.close(1)
            hang()
        case "closes its input":
            sys.stdin.readline()
            os.close(0)
            send({"id": 1, "error": {"code": -32601, "message": "Method not found"}})
            hang()
        case "writes a long error":
            sys.stderr.write("e" * 1_000_000 + "\n" + "the end\n")
            sys.exit(1)
        case "ignores every request to end":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "leaves a child behind":
            # It holds our pipes open as well.
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
            tools[0]["description"] = str(child.pid)
        case "breaks its own output schema":
            schema: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
            tools[0]["outputSchema"] = schema
        case _:
            pass


def serve() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        id_, params = message.get("id"), message.get("params", {})
        match message.get("method"):
            case "server/discover":
                discover(id_)
            case "initialize":
                initialise(id_)
            case "tools/list":
                list_tools(id_, params)
            case "tools/call":
                call(id_, params["name"])
            case "prompts/get":
                messages = [{"role": "user", "content": {"type": "hologram"}}]
                send({"id": id_, "result": {"messages": messages}})
            case "notifications/cancelled":
                cancelled.append(params["requestId"])
            case str() if id_ is not None:
                send({"id": id_, "error": {"code": -32601, "message": "Method not found"}})
            case _:
                pass


begin()
serve()
if MODE == "ignores every request to end":
    hang()
