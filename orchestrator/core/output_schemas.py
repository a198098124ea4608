"""Results held against what their tool's definition promises. Nothing fails by it: the result is kept and told of."""

import json

from orchestrator.core.json_types import JsonObject
from orchestrator.core.redaction import holds_marker
from orchestrator.core.tools import ANSWER_CUT, schema_problems


def output_problem(schema: JsonObject | None, structured: str | None, *, is_error: bool) -> str | None:
    """What is wrong with `structured` (JSON text), as the rest of a sentence about the result; None: nothing.

    A tool that failed owes nothing. A broken schema checks nothing.
    https://modelcontextprotocol.io/specification/2025-11-25/server/tools#output-schema
    """
    if schema is None or is_error:
        return None
    if structured is None:
        return "has no structured output, which the tool's output schema promises"
    problems = schema_problems(schema, json.loads(structured))
    return None if problems is None else f"does not match the tool's output schema: {problems}"


def kept_output_problem(
    schema: JsonObject | None, output: str | None, structured: str | None, *, is_error: bool
) -> str | None:
    """The same of a result as it is kept: of one that was cut, deleted or redacted nothing is said."""
    if output is None or ANSWER_CUT in output or holds_marker(structured or ""):
        return None
    return output_problem(schema, structured, is_error=is_error)
