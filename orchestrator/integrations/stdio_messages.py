"""The lines that a stdio server writes, and the messages in them. Pure."""

import json
import re
from typing import Final, cast

import mcp_types as types

from orchestrator.core.json_types import JsonValue
from orchestrator.integrations.mcp_transport import MAX_MESSAGE_BYTES
from orchestrator.integrations.results import clean
from orchestrator.integrations.server_errors import NOT_MCP, TOO_DEEP


class LineTooLongError(Exception):
    """A line exceeds what a message may hold."""


class LineSplitter:
    """Cuts a stream of bytes into lines, each byte copied once; a line is bounded by `limit` bytes."""

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self._limit = limit
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their ends.

        Raises:
            LineTooLongError: a line, complete or not, exceeds the limit.
        """
        lines: list[bytes] = []
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._append(chunk[start:end])
            lines.append(bytes(self._pending))
            self._pending.clear()
            start = end + 1
        self._append(chunk[start:])
        return lines

    def _append(self, part: bytes) -> None:
        if len(self._pending) + len(part) > self._limit:
            raise LineTooLongError
        self._pending += part


def read_message(line: bytes) -> types.JSONRPCMessage | None:
    """The message in `line`; None where it is none.

    A broken answer to a request becomes an error answer to it, so that nobody waits for it; halves
    of surrogate pairs are replaced.
    """
    try:
        return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        pass
    try:
        value: object = json.loads(line.decode("utf-8", "replace"))
        document = clean(cast(JsonValue, value))
    except ValueError:
        return None
    except RecursionError:
        return _deep_answer(line)
    try:
        return types.jsonrpc_message_adapter.validate_python(document, by_name=False)
    except ValueError:
        return _broken_answer(document)


_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_ID: Final = re.compile(rb'\s*:\s*("(?:[^"\\]|\\.)*"|-?\d{1,18})\s*[,}]')


def _deep_answer(line: bytes) -> types.JSONRPCError | None:
    """What `read_message` makes of an answer that is nested too deeply to be read: its id is found without reading it."""
    depth, id_ = 0, None
    for token in _TOKEN.finditer(line):
        if token[0] in b"{[":
            depth += 1
        elif token[0] in b"}]":
            depth -= 1
        elif depth == 1 and token[0] == b'"method"':
            return None
        elif depth == 1 and token[0] == b'"id"':
            id_ = _ID.match(line, token.end()) or id_
    if id_ is None:
        return None
    error = types.ErrorData(code=types.PARSE_ERROR, message=TOO_DEEP)
    return types.JSONRPCError(jsonrpc="2.0", id=json.loads(id_[1]), error=error)


def _broken_answer(document: JsonValue) -> types.JSONRPCError | None:
    match document:
        case {"id": str() | int() as id_} if not isinstance(id_, bool) and "method" not in document:
            error = types.ErrorData(code=types.PARSE_ERROR, message=NOT_MCP)
            return types.JSONRPCError(jsonrpc="2.0", id=id_, error=error)
        case _:
            return None
