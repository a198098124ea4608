"""A turn as a worker is asked for it.

Measured with llama.cpp b11549: `tool_choice: "required"` lets the model write as much text as it likes before the
call, a named tool is treated as `auto`, and `response_format` beside tools forbids every call. What holds is a schema
for the whole message with `tool_choice: "none"`, which still shows the tools to the model in the same prompt (so the
prefix cache holds as well).
"""

from orchestrator.core.commands import Generate
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import ReasoningSupport
from orchestrator.engines.held_turns import turn_schema
from orchestrator.engines.llama_cpp.templates import template_arguments
from orchestrator.engines.loose_schemas import grammar_schema
from orchestrator.engines.openai_request import completion_body, parameters, raw_body


def turn_body(model: str, request: Generate, support: ReasoningSupport | None) -> JsonObject:
    """The body of `request` for a worker. `support` are the reasoning settings that the model offers."""
    if request.raw:
        # The end of the turn tells then which of the stop sequences ended it.
        told: JsonObject = {"verbose": True} if request.sampling.stop else {}
        return {**raw_body(model, request), "return_progress": True, **told}
    held = constraint(request)
    body = completion_body(model, request, schema_of=lambda tool: grammar_schema(parameters(tool)))
    body |= {"return_progress": True, **held}
    arguments = template_arguments(support, request.reasoning)
    if arguments:
        body["chat_template_kwargs"] = arguments
    if held and support is not None and (request.reasoning or support.default) == "off":
        body["thinking_budget_tokens"] = 0  # a schema lets the model reason first, whatever its template was told
    return body


def constraint(request: Generate) -> JsonObject:
    """The fields that hold the model to what `request` demands; empty where it may write as it likes."""
    schema = turn_schema(request)
    if schema is None:
        return {}
    wire_format: JsonObject = {"type": "json_schema", "json_schema": {"name": "turn", "schema": schema, "strict": True}}
    return (
        {"tool_choice": "none", "response_format": wire_format} if request.tools else {"response_format": wire_format}
    )
