"""Logs: one way out, a request id on each line, and nothing in them that should not be."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from orchestrator.core.redaction import Redaction
from orchestrator.core.redaction_rules import parse_patterns
from orchestrator.settings import LogFormat, LogLevel
from orchestrator.telemetry import configure_logging, redact_secrets

SECRET = "hunter2-very-secret"


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, old = list(root.handlers), root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.configure(**old)
    structlog.contextvars.clear_contextvars()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def logs(level: LogLevel = "info", log_format: LogFormat = "json", stream: io.StringIO | None = None) -> io.StringIO:
    stream = stream or io.StringIO()
    configure_logging(level, log_format, stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_carries_what_is_bound_to_the_request() -> None:
    stream = logs()
    structlog.contextvars.bind_contextvars(request_id="req_1")
    structlog.stdlib.get_logger("ours").info("said %s", "so", turns=2)
    logging.getLogger("library").warning("from %s", "elsewhere")
    told = [{key: line[key] for key in line if key != "timestamp"} for line in lines(stream)]
    assert told == [
        {"event": "said so", "turns": 2, "request_id": "req_1", "level": "info", "logger": "ours"},
        {"event": "from elsewhere", "request_id": "req_1", "level": "warning", "logger": "library"},
    ]


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("library", ["httpx", "httpx2", "httpcore", "mcp.client.streamable_http", "sqlalchemy.engine"])
def test_libraries_that_log_addresses_and_content_are_quiet(library: str, level: LogLevel) -> None:
    stream = logs(level)
    logging.getLogger(library).info("POST https://h.example/mcp?key=%s", SECRET)
    logging.getLogger(library).debug(SECRET)
    assert stream.getvalue() == ""


def test_the_level_holds_for_everybody() -> None:
    stream = logs("error")
    structlog.stdlib.get_logger("ours").warning("quiet")
    logging.getLogger("httpx").warning("quiet")
    structlog.stdlib.get_logger("ours").error("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_values_under_telling_names_do_not_reach_the_log() -> None:
    stream = logs()
    structlog.stdlib.get_logger("ours").warning(
        "careless",
        headers={"x": SECRET},
        Authorization=SECRET,
        api_key=SECRET,
        nested=[{"env": {"A": SECRET}, "deep": ({"x-api-key": SECRET, "kept": 1},)}],
        input_tokens=7,
        token_id="t1",
    )
    assert SECRET not in stream.getvalue()
    line = lines(stream)[0]
    assert line["nested"] == [{"env": "(hidden)", "deep": [{"x-api-key": "(hidden)", "kept": 1}]}]
    assert (line["input_tokens"], line["token_id"]) == (7, "t1")


def test_what_is_nested_without_end_is_cut_not_followed() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    told = redact_secrets(None, "info", {"event": "e", "loop": loop})
    assert json.dumps(told).endswith('"(hidden)"' + "}" * 7)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_comes_without_local_variables(log_format: LogFormat) -> None:
    stream = logs(log_format=log_format)

    def failing() -> None:
        local = SECRET
        raise ValueError(f"{len(local)} characters")

    try:
        failing()
    except ValueError:
        structlog.stdlib.get_logger("ours").exception("it broke")
    assert "19 characters" in stream.getvalue()
    assert "failing" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_auto_is_colour_on_a_terminal_and_json_elsewhere() -> None:
    terminal = Terminal()
    logs(log_format="auto", stream=terminal)
    structlog.stdlib.get_logger("ours").info("hello")
    assert "\x1b[" in terminal.getvalue()
    elsewhere = logs(log_format="auto")
    structlog.stdlib.get_logger("ours").info("hello")
    assert lines(elsewhere)[0]["event"] == "hello"


def test_the_console_elsewhere_has_no_colour_and_no_value_can_forge_a_line() -> None:
    stream = logs(log_format="console")
    structlog.stdlib.get_logger("ours").info("hello", path="/a\n2026 [error] forged\x1b[31m")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_warnings_of_python_are_logged() -> None:
    stream = logs()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "old thing" in lines(stream)[0]["event"]


def test_configuring_again_does_not_double_the_lines() -> None:
    logs()
    stream = logs()
    logging.getLogger("library").warning("once")
    assert len(lines(stream)) == 1


@pytest.mark.parametrize(("log_format", "markers"), [("json", 4), ("console", 5)])
def test_what_patterns_find_does_not_reach_the_log(log_format: LogFormat, markers: int) -> None:
    """A traceback on a console quotes the line of code as well."""
    stream = io.StringIO()
    configure_logging("info", log_format, stream, Redaction(parse_patterns({"pin": "P-[0-9]+"})))
    try:
        raise ValueError("it was P-12")
    except ValueError:
        structlog.stdlib.get_logger("ours").exception("with P-13", details=[{"x": "P-14", "y": (1, None)}])
    logging.getLogger("library").warning("also %s", "P-15")
    assert "P-1" not in stream.getvalue()
    assert stream.getvalue().count("[redacted:pin]") == markers
