"""The table of what an MCP server can do wrong, and what is said then: `orchestrator/FAULTS.md` is made of it."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Outcome: TypeAlias = Literal["does not connect", "the call fails", "the call works"]
Way: TypeAlias = Literal["stdio", "HTTP"]

DEADLINE: Final = 3.0
"""Seconds, of connecting and of a call, in the tests."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row for one way of reaching a server. `mode` is what the misbehaving server is told; `said` is in the
    error, with SECONDS for the deadline and ELSEWHERE for an address.
    """

    what: str
    way: Way
    mode: str
    outcome: Outcome
    said: str = ""


_NO_ANSWER: Final = "there was no answer within SECONDS s"
_LATE: Final = f"{_NO_ANSWER}, so the call was cancelled"

FAULTS: Final = (
    Fault("exits before the handshake", "stdio", "exits before the handshake", "does not connect", "(stage: start): it exited with status 7"),
    Fault("writes garbage", "stdio", "writes only garbage", "does not connect", f"(stage: initialise): {_NO_ANSWER}"),
    Fault("writes garbage", "HTTP", "says-hello", "does not connect", "(stage: initialise): it answered with the error -32600: Unexpected content type: text/html"),
    Fault("answers a call with garbage", "stdio", "answers the call with no result", "the call fails", ""),
    Fault("answers a call with garbage", "HTTP", "answers-with-garbage", "the call fails", "it answered with the error -32700: Failed to parse JSON response"),
    Fault("hangs at the TLS handshake", "HTTP", "silent TLS", "does not connect", f"(stage: TLS): {_NO_ANSWER}"),
    Fault("hangs at the handshake", "stdio", "hangs at initialise", "does not connect", f"(stage: initialise): {_NO_ANSWER}"),
    Fault("hangs at the handshake", "HTTP", "hangs", "does not connect", f"(stage: initialise): {_NO_ANSWER}"),
    Fault("hangs when it is to list its tools", "stdio", "hangs at list", "does not connect", f"(stage: list tools): {_NO_ANSWER}"),
    Fault("hangs when it is to list its tools", "HTTP", "hangs-at-list", "does not connect", f"(stage: list tools): {_NO_ANSWER}"),
    Fault("hangs in the call", "stdio", "is mute in the call", "the call fails", _LATE),
    Fault("hangs in the call", "HTTP", "hangs-in-the-call", "the call fails", _LATE),
    Fault("dies in the call", "stdio", "dies in the call", "the call fails", "it exited with status 9"),
    Fault("is killed in the call", "stdio", "is killed in the call", "the call fails", "it was killed by SIGKILL"),
    Fault("dies in the call", "HTTP", "breaks-off", "the call fails", "peer closed connection without sending complete message body"),
    Fault("answers another call", "stdio", "answers another call", "the call fails", _LATE),
    Fault("answers another call", "HTTP", "answers-another-call", "the call fails", _LATE),
    Fault("sends 100 MB", "stdio", "writes without end", "the call fails", "33554432 bytes"),
    Fault("sends 100 MB", "HTTP", "sends-too-much", "the call fails", "it answered with more than 33554432 bytes"),
    Fault("floods us with notifications", "stdio", "floods", "the call works"),
    Fault("floods us with notifications", "HTTP", "floods", "the call works"),
    Fault("closes its input", "stdio", "closes its input", "does not connect", "(stage: "),
    Fault("closes its output", "stdio", "closes its output", "does not connect", "(stage: "),
    Fault("answers 401", "HTTP", "401", "does not connect", "it answered 401 Unauthorized"),
    Fault("answers 403", "HTTP", "403", "does not connect", "(stage: HTTP status): it answered 403 Forbidden."),
    Fault("answers 404", "HTTP", "404", "does not connect", "(stage: HTTP status): it answered 404 Not Found."),
    Fault("answers 429", "HTTP", "429", "does not connect", "(stage: HTTP status): it answered 429 Too Many Requests."),
    Fault("answers 500", "HTTP", "500", "does not connect", "(stage: HTTP status): it answered 500 Internal Server Error."),
    Fault("answers a call with 503", "HTTP", "fails-in-the-call", "the call fails", "it answered 503 Service Unavailable."),
    Fault("redirects inward", "HTTP", "redirect-away", "does not connect", "(stage: HTTP status): it redirects (307) to ELSEWHERE, which is not followed."),
)  # fmt: skip


def page() -> str:
    """The table as Markdown."""
    lines = [
        "# What MCP servers can do wrong",
        "",
        "Each row is a test (`tests/faults/test_mcp_faults.py`), beside a healthy request that must not notice. A server that",
        "does not connect is `plugin_connection_error` or `mcp_connection_error` (424) before anything is generated; a call",
        "that fails is a `tool_call` with `is_error: true`, and the model reads why. In every row no file descriptor, task or",
        "process is left behind. `python3 -m tests.faults.mcp_faults` writes this page.",
        "",
        "| a server that … | over | what becomes of it | what is said |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {fault.what} | {fault.way} | {fault.outcome} | {f'`…{fault.said}…`' if fault.said else ''} |"
        for fault in FAULTS
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from pathlib import Path

    (Path(__file__).parents[2] / "orchestrator" / "FAULTS.md").write_text(page(), "utf-8")
