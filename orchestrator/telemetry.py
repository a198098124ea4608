"""Logs: structlog, as JSON or for a terminal; the lines of libraries come through it too.

No line holds a body, a header or a secret: nobody may log them, and a processor takes out what was logged
under a telling name all the same. What is bound to structlog's context variables (the request id) is on
every line.
"""

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO, cast

import structlog

from orchestrator.core.redaction import NOTHING, Redaction
from orchestrator.settings import HIDDEN, LogFormat, LogLevel

# Libraries that say too much at the level we run at: the HTTP clients and MCP log URLs, which may hold keys,
# and at debug level whole bodies and headers.
QUIET_LOGGERS: Mapping[str, int] = {
    "alembic": logging.WARNING,
    "asyncio": logging.WARNING,
    "client": logging.CRITICAL,  # of the MCP SDK, like "mcp": what they log of a failure quotes messages
    "hpack": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpcore2": logging.WARNING,
    "httpx": logging.WARNING,
    "httpx2": logging.WARNING,
    "litestar": logging.WARNING,
    "mcp": logging.CRITICAL,
    "sqlalchemy": logging.WARNING,
    "sse_starlette": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,  # we log requests ourselves, with their id and without their query
    "uvicorn.error": logging.WARNING,
    "watchfiles": logging.WARNING,
    "websockets": logging.WARNING,
}

_SECRET_NAMES = frozenset(
    {
        "api_key",
        "apikey",
        "authorization",
        "body",
        "cookie",
        "env",
        "headers",
        "password",
        "secret",
        "token",
        "x_api_key",
    }
)
_SECRET_ENDINGS = ("_api_key", "_authorization", "_headers", "_password", "_secret", "_token")
_DEEPEST = 6


def configure_logging(
    level: LogLevel, log_format: LogFormat, stream: TextIO | None = None, redaction: Redaction = NOTHING
) -> None:
    """Send every log line of the process to `stream` (standard error by default), and nowhere else.

    What the patterns of `redaction` find is replaced in it.
    """
    out: TextIO = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact_secrets,
                *_renderers(log_format, out, redaction),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in QUIET_LOGGERS.items():
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(least, root.level))
    logging.captureWarnings(True)


def redact_secrets(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The second net: values under names such as `headers`, `token` or `env` do not reach the log."""
    for name in event.keys() - {"exc_info"}:
        event[name] = HIDDEN if _is_secret(name) else _redacted(event[name], 1)
    return event


def _renderers(log_format: LogFormat, stream: TextIO, redaction: Redaction) -> list[structlog.typing.Processor]:
    """Tracebacks come without local variables, which may hold secrets; strings are quoted, so that none can forge a line."""
    if log_format == "json" or (log_format == "auto" and not stream.isatty()):
        transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        render = structlog.processors.JSONRenderer(default=repr)
        return [structlog.processors.ExceptionRenderer(transform), _Patterns(redaction), render]
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
        repr_native_str=True,
    )
    # A traceback becomes text only there.
    return [console, _Patterns(redaction)]


class _Patterns:
    """Applies patterns to a line, be it rendered already or not."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction

    def __call__(self, logger: object, method: str, event: Any) -> Any:
        if not self._redaction.patterns:
            return event
        if isinstance(event, str):
            return self._redaction.text(event)
        # What JSON does not know is logged as its repr.
        known = json.loads(json.dumps(event, default=repr, ensure_ascii=False))
        return self._redaction.leaves(known, keys=False)


def _is_secret(name: str) -> bool:
    plain = name.lower().replace("-", "_")
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)


def _redacted(value: object, depth: int) -> object:
    if depth > _DEEPEST:
        return HIDDEN
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {key: HIDDEN if _is_secret(str(key)) else _redacted(inner, depth + 1) for key, inner in pairs}
    if isinstance(value, list | tuple):
        return [_redacted(inner, depth + 1) for inner in cast("list[object]", value)]
    return value
