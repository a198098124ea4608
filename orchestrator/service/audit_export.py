"""Exports as text: JSON Lines, CSV and Parquet, written piece by piece with a bounded part of them in memory."""

import importlib
import importlib.util
import io
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal, Protocol, TypeAlias

import anyio.to_thread
import msgspec

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.storable_text import storable
from orchestrator.ports.audit import ExportedCall, ExportedDefinition

ExportFormat: TypeAlias = Literal["jsonl", "csv", "parquet"]
EXPORT_FORMATS: Final[tuple[ExportFormat, ...]] = ("jsonl", "csv", "parquet")
MEDIA_TYPES: Final = {
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
COLUMNS: Final = ExportedCall._fields
_WHOLE_NUMBERS: Final = (
    *("turn", "position", "duration_ms"),
    *("journaled_sequence", "decided_sequence", "settled_sequence"),
)
_JSON: Final = ("arguments", "decision_arguments")
ROW_GROUP: Final = 20_000
LARGE_ROW_GROUP: Final = 64_000_000
"""Bytes."""

_REPEATED: Final = (
    *("owner", "token_id", "model", "model_name", "tool", "provider_type", "provider_name", "definition_digest"),
    *("server_address", "server_name", "server_version", "status", "decision", "decided_by", "decided_token_id"),
)
"""Columns with few values: the others would be put into a dictionary for nothing."""

_SOUGHT: Final = (*_REPEATED, "call_id", "response_id", "is_error", "duration_ms", "created_at", "settled_at")
"""Columns of which a reader learns the range of each row group."""

FORMULA_MARKS: Final = ("=", "+", "-", "@", "\t", "\r", "'")
"""A spreadsheet takes a cell that begins with one of these for a formula: it gets an apostrophe in front, as does
what begins with an apostrophe itself and an empty text, so that readers can undo it."""

_JSON_PLACES: Final = tuple(COLUMNS.index(name) for name in _JSON)
_TEXTS: Final = frozenset(
    {
        *("owner", "token_id", "model", "model_name", "tool", "provider_name", "arguments", "arguments_text", "reason"),
        *("output", "structured", "shown", "decision_reason", "decision_arguments", "decided_by", "decided_token_id"),
        *("server_address", "server_name", "server_version"),
    }
)
"""What people, models and servers write: of everything else it is known which characters it has."""

_encode_lines: Final = msgspec.json.Encoder().encode_lines
_JsonLine: Final[Any] = msgspec.defstruct("_JsonLine", [(name, Any) for name in COLUMNS])
"""A line as msgspec writes it fastest."""


class _Form(Protocol):
    """A way to write pages down. The page before is handed out, and the next one read, while this one is written."""

    def begun(self) -> bytes: ...

    def page(self, calls: Sequence[ExportedCall]) -> bytes: ...

    def ended(self) -> bytes: ...


async def written(pages: AsyncGenerator[Sequence[ExportedCall]], form: ExportFormat) -> AsyncGenerator[bytes]:
    """The export as bytes, about as many at a time as a page has.

    Raises:
        OrchestratorError: `not_implemented` where Parquet is asked for and its library is not installed.
    """
    writer = _form(form)
    async with aclosing(pages):
        if begun := writer.begun():
            yield begun
        page = await anext(pages, None)
        while page is not None:
            piece, page = await _written_and_read(writer, page, pages)
            if piece:
                yield piece
    if ended := await anyio.to_thread.run_sync(writer.ended):
        yield ended


async def _written_and_read(
    writer: _Form, page: Sequence[ExportedCall], pages: AsyncGenerator[Sequence[ExportedCall]]
) -> tuple[bytes, Sequence[ExportedCall] | None]:
    """A page as bytes, and the one after it, which is read meanwhile; None: there is none."""
    piece = b""
    following: Sequence[ExportedCall] | None = None
    failure: OrchestratorError | None = None

    async def read() -> None:
        nonlocal following, failure
        try:
            following = await anext(pages, None)
        except OrchestratorError as error:  # told when the page before it is out
            failure = error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        piece = await anyio.to_thread.run_sync(writer.page, page)
    if failure is not None:
        raise failure
    return piece, following


DEFINITIONS_MEDIA_TYPE: Final = "application/jsonl"


async def definition_lines(pages: AsyncGenerator[Sequence[ExportedDefinition]]) -> AsyncGenerator[bytes]:
    """The definitions as JSON Lines, an object with `digest` and `definition` each; in ASCII, whatever is in them."""
    async with aclosing(pages):
        async for page in pages:
            lines = [json.dumps(each._asdict(), sort_keys=True, separators=(",", ":")) + "\n" for each in page]
            yield "".join(lines).encode()


def _form(form: ExportFormat) -> _Form:
    match form:
        case "jsonl":
            return _JsonLines()
        case "csv":
            return _Csv()
        case "parquet":
            require_parquet()
            return _Parquet()


def require_parquet() -> None:
    """See that Parquet can be written and read.

    Raises:
        OrchestratorError: `not_implemented`.
    """
    if importlib.util.find_spec("pyarrow") is None:
        message = "Parquet needs the library pyarrow, which is not installed: pip install 'orchestrator[parquet]'."
        raise OrchestratorError(ErrorKind.NOT_IMPLEMENTED, message, param="format")


# ---- JSON Lines -------------------------------------------------------------------------------


class _JsonLines:
    """One object a line; arguments are objects in it."""

    def begun(self) -> bytes:
        return b""

    def page(self, calls: Sequence[ExportedCall]) -> bytes:
        try:
            return _encode_lines([_line(call) for call in calls])
        except UnicodeEncodeError:  # models write lone surrogates, which UTF-8 cannot carry: they go out as escapes
            return b"".join([_line_with_escapes(call) for call in calls])

    def ended(self) -> bytes:
        return b""


def _line(call: ExportedCall) -> Any:
    values = list[Any](call)
    for place in _JSON_PLACES:
        if values[place] is not None:
            values[place] = msgspec.Raw(values[place].encode())
    return _JsonLine(*values)


def _line_with_escapes(call: ExportedCall) -> bytes:
    try:
        return _encode_lines([_line(call)])
    except UnicodeEncodeError:
        record: dict[str, Any] = dict(zip(COLUMNS, call, strict=True))
        for name in _JSON:
            if record[name] is not None:
                record[name] = json.loads(record[name])
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"


# ---- CSV --------------------------------------------------------------------------------------


class _Csv:
    """Column by column: to look at every cell by itself takes twice as long."""

    def begun(self) -> bytes:
        return ",".join(COLUMNS).encode() + b"\r\n"

    def page(self, calls: Sequence[ExportedCall]) -> bytes:
        columns = [
            [_cell(value) for value in column] if name in _TEXTS else _plain_cells(name, column)
            for name, column in zip(COLUMNS, zip(*calls, strict=True), strict=True)
        ]
        return "".join([",".join(row) + "\r\n" for row in zip(*columns, strict=True)]).encode()

    def ended(self) -> bytes:
        return b""


def _cell(text: str | None) -> str:
    if text is None:
        return ""
    text = storable(text)
    if not text or text.startswith(FORMULA_MARKS):
        text = "'" + text
    if '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return f'"{text}"' if "," in text or "\n" in text or "\r" in text else text


def _plain_cells(name: str, column: Sequence[Any]) -> list[str]:
    if name == "is_error":
        return ["true" if value else "false" for value in column]
    return ["" if value is None else str(value) for value in column]


# ---- Parquet ----------------------------------------------------------------------------------


class _Parquet:
    """A row group for every `ROW_GROUP` rows, or what is as large: what has been handed out is not kept."""

    def __init__(self) -> None:
        self._pa: Any = importlib.import_module("pyarrow")  # it has no types
        parquet: Any = importlib.import_module("pyarrow.parquet")
        types = {"is_error": self._pa.bool_(), **dict.fromkeys(_WHOLE_NUMBERS, self._pa.int64())}
        self._schema = self._pa.schema([(name, types.get(name, self._pa.string())) for name in COLUMNS])
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(
            self._sink, self._schema, compression="zstd", use_dictionary=list(_REPEATED), write_statistics=list(_SOUGHT)
        )
        self._waiting: list[Any] = []
        self._rows = self._bytes = 0

    def begun(self) -> bytes:
        return b""

    def page(self, calls: Sequence[ExportedCall]) -> bytes:
        columns = [
            [None if text is None else storable(text) for text in column] if name in _TEXTS else column
            for name, column in zip(COLUMNS, zip(*calls, strict=True), strict=True)
        ]
        batch = self._pa.record_batch(columns, schema=self._schema)
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        return self._group() if self._rows >= ROW_GROUP or self._bytes >= LARGE_ROW_GROUP else b""

    def ended(self) -> bytes:
        last = self._group() if self._waiting else b""
        self._writer.close()
        return last + self._sink.taken()

    def _group(self) -> bytes:
        self._writer.write_table(self._pa.Table.from_batches(self._waiting), row_group_size=ROW_GROUP + self._rows)
        self._waiting.clear()
        self._rows = self._bytes = 0
        return self._sink.taken()


class _Sink(io.RawIOBase):
    """A file that only grows, and whose beginning is taken away while it does."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._parts.append(bytes(data))
        self._length += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._length

    def taken(self) -> bytes:
        """What was written since it was asked last."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
