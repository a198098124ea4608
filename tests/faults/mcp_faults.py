"""The table of what an MCP server can do wrong, and what is said then: `orchestrator/FAULTS.md` is made of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

Outcome: TypeAlias = Literal["does not connect", "the call fails", "the call works"]
Way: TypeAlias = Literal["stdio", "HTTP"]
Kind: TypeAlias = Literal["plugin", "ephemeral"]

PAGE: Final = Path(__file__).parents[2] / "orchestrator" / "FAULTS.md"
STDIO_SECONDS: Final = 2.0
"""The deadline of connecting to a process that does not answer: it needs some of it to start."""
SECONDS: Final = 1.0
"""Any other deadline that passes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row for one way of reaching a server. `mode` is what the misbehaving server is told.

    `why` is the end of the error, whole, with SECONDS for the deadline and ELSEWHERE for an address; a server
    that does not connect says at which `stage`. Over HTTP, a plugin and an ephemeral server are used at the
    same time; `of_plugin` is the plugin's stage and reason where they are others.
    """

    what: str
    way: Way
    mode: str
    outcome: Outcome
    stage: str = ""
    why: str = ""
    of_plugin: tuple[str, str] | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """How a request can have the server: what runs here comes from `mcp.json` only."""
        return ("plugin", "ephemeral") if self.way == "HTTP" else ("plugin",)

    @property
    def deadline(self) -> float | None:
        """Seconds until it ends, where a deadline ends it."""
        if "SECONDS" not in self.why:
            return None
        return STDIO_SECONDS if self.way == "stdio" and self.outcome == "does not connect" else SECONDS

    def told(self, kind: Kind, address: str, elsewhere: str) -> str | None:
        """The whole message that a request gets, which has the server at `address`; None where its call works."""
        stage, why = (kind == "plugin" and self.of_plugin) or (self.stage, self.why)
        why = why.replace("SECONDS", f"{self.deadline or 0:g}").replace("ELSEWHERE", elsewhere)
        match self.outcome, kind:
            case "the call works", _:
                return None
            case "the call fails", _:
                return f"The tool 'first' of '{'mcp/x' if kind == 'plugin' else 'x'}' gave no result: {why}."
            case "does not connect", "plugin":
                return f"The plugin 'mcp/x' could not be started (stage: {stage}): {why}."
            case "does not connect", "ephemeral":
                return f"The MCP server 'x' at {address} could not be connected (stage: {stage}): {why}."


_NO_ANSWER: Final = "there was no answer within SECONDS s"
_LATE: Final = f"{_NO_ANSWER}, so the call was cancelled"
_LINES: Final = "; its last lines were: "
_LOGIN: Final = "it answered 401 Unauthorized; where it has a login, run `orchestrator plugins login mcp/x`"
_BOTH: Final = "it answered 404 Not Found; asked in the older way, by HTTP with SSE: it did the same"
_NOT_MCP: Final = "its answer is not a valid MCP message"
CUT: Final = "the connection broke (peer closed connection without sending complete message body (received 10 bytes, expected 1000))"
_UNCONNECTED: Final = "does not connect"
_FAILS: Final = "the call fails"
_WORKS: Final = "the call works"

FAULTS: Final = (
    Fault("exits before the handshake", "stdio", "exits before the handshake", _UNCONNECTED, "initialise", f"it exited with status 7{_LINES}missing API key | the key ••• is wrong"),
    Fault("is not there", "HTTP", "nobody", _UNCONNECTED, "connect", "connection refused"),
    Fault("hangs up before the handshake", "HTTP", "hangs up", _UNCONNECTED, "initialise", "the connection broke (Server disconnected without sending a response)"),
    Fault("writes garbage", "stdio", "writes only garbage", _UNCONNECTED, "initialise", f"{_NO_ANSWER}{_LINES}(standard output, not MCP) Welcome to the server! | (standard output, not MCP) {{not json"),
    Fault("writes garbage", "HTTP", "says-hello", _UNCONNECTED, "initialise", "it answered with text/html instead of an MCP message"),
    Fault("answers a call with garbage", "stdio", "answers the call with no result", _FAILS, "", _NOT_MCP),
    Fault("answers a call with garbage", "HTTP", "answers-with-garbage", _FAILS, "", _NOT_MCP),
    Fault("hangs while its name is looked up", "HTTP", "silent name", _UNCONNECTED, "resolve", _NO_ANSWER),
    Fault("hangs while it is connected", "HTTP", "silent port", _UNCONNECTED, "connect", _NO_ANSWER),
    Fault("hangs at the TLS handshake", "HTTP", "silent TLS", _UNCONNECTED, "TLS", _NO_ANSWER),
    Fault("hangs at the handshake", "stdio", "hangs at initialise", _UNCONNECTED, "initialise", _NO_ANSWER),
    Fault("hangs at the handshake", "HTTP", "hangs", _UNCONNECTED, "initialise", _NO_ANSWER),
    Fault("hangs when it is to list its tools", "stdio", "hangs at list", _UNCONNECTED, "list tools", _NO_ANSWER),
    Fault("hangs when it is to list its tools", "HTTP", "hangs-at-list", _UNCONNECTED, "list tools", _NO_ANSWER),
    Fault("hangs in the call", "stdio", "is mute in the call", _FAILS, "", _LATE),
    Fault("hangs in the call", "HTTP", "hangs-in-the-call", _FAILS, "", _LATE),
    Fault("hangs when it is to end", "stdio", "ignores every request to end", _WORKS),
    Fault("hangs when it is to end", "HTTP", "hangs-at-the-end", _WORKS),
    Fault("dies in the call", "stdio", "dies in the call", _FAILS, "", "it exited with status 9"),
    Fault("is killed in the call", "stdio", "is killed in the call", _FAILS, "", "it was ended by SIGKILL"),
    Fault("dies in the call", "HTTP", "breaks-off", _FAILS, "", CUT),
    Fault("answers another call", "stdio", "answers another call", _FAILS, "", _LATE),
    Fault("answers another call", "HTTP", "answers-another-call", _FAILS, "", _LATE),
    Fault("sends 100 MB", "stdio", "writes without end", _FAILS, "", "it wrote a message of more than 33554432 bytes"),
    Fault("sends 100 MB", "HTTP", "sends-too-much", _FAILS, "", "it answered with more than 33554432 bytes"),
    Fault("floods us with notifications", "stdio", "floods", _WORKS),
    Fault("floods us with notifications", "HTTP", "floods", _WORKS),
    Fault("closes its input", "stdio", "closes its input", _UNCONNECTED, "initialise", "it closed its input"),
    Fault("closes its output", "stdio", "closes its output", _UNCONNECTED, "initialise", "it closed its output"),
    Fault("answers 401", "HTTP", "401", _UNCONNECTED, "HTTP status", "it answered 401 Unauthorized", of_plugin=("authorise", _LOGIN)),
    Fault("answers 403", "HTTP", "403", _UNCONNECTED, "HTTP status", "it answered 403 Forbidden"),
    Fault("answers 404", "HTTP", "404", _UNCONNECTED, "HTTP status", "it answered 404 Not Found", of_plugin=("HTTP status", _BOTH)),
    Fault("answers 429", "HTTP", "429", _UNCONNECTED, "HTTP status", "it answered 429 Too Many Requests"),
    Fault("answers 500", "HTTP", "500", _UNCONNECTED, "HTTP status", "it answered 500 Internal Server Error"),
    Fault("answers a call with 503", "HTTP", "fails-in-the-call", _FAILS, "", "it answered 503 Service Unavailable"),
    Fault("redirects inward", "HTTP", "redirect-away", _UNCONNECTED, "HTTP status", "it redirects (307) to ELSEWHERE, which is not followed"),
)  # fmt: skip

INTRODUCTION: Final = """\
# What MCP servers can do wrong

Each row is a test (`tests/faults/test_mcp_faults.py`) through `POST /api/v1/chat`, beside a chat with a healthy
server that must not notice. A server that does not connect is a 424 with `plugin_connection_error` or
`mcp_connection_error` before anything is generated. A call that fails is a `tool_call` with `is_error: true`: the
model reads why, and the chat goes on. In every row no file descriptor, task or process is left behind.

Over HTTP the row holds for a plugin of `mcp.json` and for an ephemeral server. SECONDS is `CONNECT_TIMEOUT` or
`TOOL_TIMEOUT`, or the entry's own `timeout`.

| a server that … | over | what becomes of it | at stage | why, in the error |
| --- | --- | --- | --- | --- |
"""
MORE: Final = """
Tests of their own show these:

* Two requests use a `shared` server, and it dies in the call of one: both calls fail, once, and the next request gets
  a new server.
* A server over stdio is stuck after a call that got no answer: once it was silent for 30 seconds, the next request
  asks whether it is there, and where it does not answer within 10 seconds, goes on with a new process. `last_failure`
  of `GET /plugins/{id}` has the reason, at the stage `health check`.
* A server leaves three calls in a row without an answer: the next request gets a new one. `last_failure` has the
  reason, at the stage `call`. (A server that ends by itself when it was connected has the stage `open` there.)
* A server changes its tools between two turns of a run: the run goes on with the tools that it began with, a call of
  one that is gone fails, and the next run is offered the new ones.

`python3 -m tests.faults.mcp_faults` writes this page.
"""


def page() -> str:
    """The table as Markdown."""
    return INTRODUCTION + "".join(_lines(fault) for fault in FAULTS) + MORE


def _lines(fault: Fault) -> str:
    told = {"": (fault.stage, fault.why)}
    if fault.of_plugin is not None:
        told = {" (ephemeral)": (fault.stage, fault.why), " (plugin)": fault.of_plugin}
    return "".join(
        f"| {fault.what} | {fault.way}{which} | {fault.outcome} | {stage} | {why.replace('|', '&#124;')} |\n"
        for which, (stage, why) in told.items()
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
