"""Turns that must begin with a call, or end in JSON: one schema, and the text that follows it read back as a call.

Where llama.cpp writes, here or inside Ollama, a JSON schema for the whole message is what holds. A call is then one of
its alternatives, `{"tool_call": {"name": …, "arguments": …}}`, the final message the other; the tools stand in the
prompt as ever.
"""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Final

from orchestrator.core.commands import Generate
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.inputs import CallArgumentsArrived, GenerationFinished, TextArrived
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.logprobs import TokenLogprob
from orchestrator.core.request import ResponseFormat
from orchestrator.core.tools import OfferedTool
from orchestrator.engines.held_schemas import held_schema
from orchestrator.engines.loose_schemas import grammar_schema, rehomed
from orchestrator.engines.openai_request import parameters
from orchestrator.ports import CallBegun, GenerationChunk

CALL_KEY: Final = "tool_call"


def turn_schema(request: Generate) -> JsonObject | None:
    """What the whole message of `request` must match; None where the model may write as it likes.

    Raises:
        OrchestratorError: as `answer_schema`.
    """
    key = call_key(request)
    if key is None:
        return None if request.response_format is None else answer_schema(request.response_format)
    tools = (request.tool_choice,) if isinstance(request.tool_choice, OfferedTool) else request.tools
    definitions: JsonObject = {}
    alternatives: list[JsonValue] = []
    for number, tool in enumerate(tools):
        place = f"tool_{number}"
        definitions[place] = rehomed(call_schema(tool), f"#/$defs/{place}")
        call = _object({"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{place}"}})
        alternatives.append(_object({key: call}))
    if request.tool_choice == "auto" and request.response_format is not None:
        definitions["answer"] = rehomed(answer_schema(request.response_format), "#/$defs/answer")
        alternatives.append({"$ref": "#/$defs/answer"})
    return {"$defs": definitions, "anyOf": alternatives}


def call_schema(tool: OfferedTool) -> JsonObject:
    """What the grammar of a call's arguments is made of: of a strict function all of its schema, where it can be held."""
    schema = parameters(tool)
    if tool.definition.strict:
        with suppress(OrchestratorError):
            return held_schema(schema)
    return grammar_schema(schema)


def answer_schema(response_format: ResponseFormat) -> JsonObject:
    """What the grammar of a final message is made of: all of its schema, or, where it is not `strict`, what can be held.

    Raises:
        OrchestratorError: `invalid_value` on the schema: a strict one that cannot be held.
    """
    schema = response_format.schema
    return held_schema(schema) if response_format.strict else grammar_schema(schema)


def call_key(request: Generate) -> str | None:
    """What a call begins with, and the final message of `request` does not; None where a text is always a text."""
    if not request.tools or (request.tool_choice == "auto" and request.response_format is None):
        return None
    key, told = CALL_KEY, request.response_format
    if told is not None:
        text = json.dumps(told.schema)
        while key in text:
            key += "_"
    return key


async def with_calls(
    chunks: AsyncGenerator[GenerationChunk, None], key: str | None
) -> AsyncGenerator[GenerationChunk, None]:
    """`chunks`, with a call in place of the text that spells one. Closing the generator closes `chunks`."""
    reader = None if key is None else _CallReader(key)
    async with aclosing(chunks):
        async for chunk in chunks:
            if reader is None:
                yield chunk
            elif isinstance(chunk, TextArrived):
                for read in reader.feed(chunk):
                    yield read
            elif isinstance(chunk, GenerationFinished):
                for read in reader.end():
                    yield read
                called = reader.called and chunk.reason == "stop"
                yield replace(chunk, reason="tool_calls") if called else chunk
            else:
                yield chunk


class _CallReader:
    """Text until it can be no call any more is text; once it is one, what follows are its arguments."""

    def __init__(self, key: str) -> None:
        quoted = re.escape(json.dumps(key))
        self._head = re.compile(
            rf'\s*\{{\s*{quoted}\s*:\s*\{{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{{)'
        )
        self._may_begin = re.compile(rf"\s*(?:\{{\s*(?:{_beginnings(json.dumps(key))})?)?$")
        self._is_call = re.compile(rf"\s*\{{\s*{quoted}")
        self._waiting = ""
        self._likely: tuple[TokenLogprob, ...] = ()
        self._seen = ""
        self._plain = False
        self.called = False

    def feed(self, arrived: TextArrived) -> list[GenerationChunk]:
        """What can be told by now. How likely the tokens of a call were nobody is told: they are none of the message."""
        if self._plain:
            return [arrived]
        self._waiting += arrived.text
        self._likely += arrived.logprobs
        if self.called:
            return self._arguments(self._waiting.rstrip(" \t\r\n}"))
        head = self._head.match(self._waiting)
        if head is not None:
            self.called = True
            name: str = json.loads(head.group(1))
            self._waiting = self._waiting[head.end() :]
            return [CallBegun(0, name), *self._arguments(self._waiting.rstrip(" \t\r\n}"))]
        if self._is_call.match(self._waiting) or self._may_begin.match(self._waiting):
            return []
        self._plain = True
        return self.end()

    def end(self) -> list[GenerationChunk]:
        """What was held back. The two braces around a whole call are none of its arguments."""
        if not self.called:
            text, self._waiting = self._waiting, ""
            return [TextArrived(text, self._likely)] if text else []
        whole = self._seen + self._waiting
        try:
            _, length = json.JSONDecoder().raw_decode(whole)
        except ValueError:  # the limit of tokens cut it off
            length = len(whole)
        return self._arguments(self._waiting[: max(0, length - len(self._seen))])

    def _arguments(self, text: str) -> list[GenerationChunk]:
        self._waiting = self._waiting[len(text) :]
        self._seen += text
        return [CallArgumentsArrived(0, text)] if text else []


def _beginnings(text: str) -> str:
    """A pattern of every proper beginning of `text`."""
    return "|".join(re.escape(text[:length]) for length in range(len(text), 0, -1))


def _object(properties: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
