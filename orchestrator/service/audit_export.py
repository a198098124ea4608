"""Exports as text: JSON Lines, CSV and Parquet, written piece by piece with a bounded part of them in memory."""

import csv
import importlib
import importlib.util
import io
import json
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from typing import Any, Final, Literal, TypeAlias

import anyio.to_thread
import msgspec

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.storable_text import storable
from orchestrator.ports.audit import ExportedCall

ExportFormat: TypeAlias = Literal["jsonl", "csv", "parquet"]
EXPORT_FORMATS: Final[tuple[ExportFormat, ...]] = ("jsonl", "csv", "parquet")
MEDIA_TYPES: Final = {
    "jsonl": "application/jsonl",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
COLUMNS: Final = ExportedCall._fields
_WHOLE_NUMBERS: Final = (
    *("turn", "position", "duration_ms"),
    *("journaled_sequence", "decided_sequence", "settled_sequence"),
)
_JSON: Final = ("arguments", "decision_arguments")
ROW_GROUP: Final = 20_000

FORMULA_MARKS: Final = ("=", "+", "-", "@", "\t", "\r", "'")
"""A spreadsheet takes a cell that begins with one of these for a formula: it gets an apostrophe in front, as does
what begins with an apostrophe itself and an empty text, so that readers can undo it."""

_encode: Final = msgspec.json.Encoder().encode


async def written(pages: AsyncIterable[Sequence[ExportedCall]], form: ExportFormat) -> AsyncGenerator[bytes]:
    """The export as bytes, about as many at a time as a page has.

    Raises:
        OrchestratorError: `not_implemented` where Parquet is asked for and its library is not installed.
    """
    match form:
        case "jsonl":
            async for page in pages:
                yield await anyio.to_thread.run_sync(json_lines, page)
        case "csv":
            yield _csv_text([COLUMNS])
            async for page in pages:
                yield await anyio.to_thread.run_sync(_csv_text, [_cells(call) for call in page])
        case "parquet":
            require_parquet()
            async for piece in _parquet(pages):
                yield piece


def require_parquet() -> None:
    """See that Parquet can be written and read.

    Raises:
        OrchestratorError: `not_implemented`.
    """
    if importlib.util.find_spec("pyarrow") is None:
        message = "Parquet needs the library pyarrow, which is not installed: pip install 'orchestrator[parquet]'."
        raise OrchestratorError(ErrorKind.NOT_IMPLEMENTED, message, param="format")


def json_lines(page: Sequence[ExportedCall]) -> bytes:
    """One object a line; arguments are objects in it."""
    return b"".join([_json_line(call) for call in page])


def _json_line(call: ExportedCall) -> bytes:
    record: dict[str, Any] = dict(zip(COLUMNS, call, strict=True))
    for name in _JSON:
        if record[name] is not None:
            record[name] = msgspec.Raw(record[name].encode())
    try:
        return _encode(record) + b"\n"
    except UnicodeEncodeError:  # models write lone surrogates, which UTF-8 cannot carry: they go out as escapes
        return _encode_surrogates(record) + b"\n"


def _encode_surrogates(record: dict[str, Any]) -> bytes:
    for name in _JSON:
        if record[name] is not None:
            record[name] = json.loads(bytes(record[name]))
    return json.dumps(record, separators=(",", ":")).encode()


def _cells(call: ExportedCall) -> list[Any]:
    return [_cell(value) for value in call]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        value = storable(value)
        return "'" + value if not value or value.startswith(FORMULA_MARKS) else value
    return value


def _csv_text(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


async def _parquet(pages: AsyncIterable[Sequence[ExportedCall]]) -> AsyncGenerator[bytes]:
    """A row group for every `ROW_GROUP` rows: what has been handed out is not kept."""
    pa: Any = importlib.import_module("pyarrow")  # it has no types
    pq: Any = importlib.import_module("pyarrow.parquet")

    types = {"is_error": pa.bool_(), **dict.fromkeys(_WHOLE_NUMBERS, pa.int64())}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    sink = _Sink()
    writer = pq.ParquetWriter(sink, schema, compression="zstd")
    waiting: list[ExportedCall] = []

    def write() -> bytes:
        columns = [
            [storable(value) if isinstance(value, str) else value for value in column]
            for column in zip(*waiting, strict=True)
        ]
        writer.write_table(pa.table(columns, schema=schema))
        return sink.taken()

    async for page in pages:
        waiting += page
        if len(waiting) >= ROW_GROUP:
            yield await anyio.to_thread.run_sync(write)
            waiting.clear()
    if waiting:
        yield await anyio.to_thread.run_sync(write)
    writer.close()
    yield sink.taken()


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
