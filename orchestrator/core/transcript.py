"""The visible conversation as a chain of digests, by which a client that sends its whole history is known again.

A transcript is what such a client keeps of a chat: who said what, the calls of its own functions and their results. It
has neither the system prompt, which comes anew with every request, nor reasoning, nor what tools of servers were asked
and answered, nor what was taken from servers: clients do not send these back. What the model said counts without its
white space, which clients trim; what others said counts as it stands.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, assert_never, cast

from orchestrator.core.items import (
    FunctionCallInput,
    FunctionOutput,
    ImageInput,
    InputItem,
    Message,
    OutputItem,
    TextInput,
    asked_of_client,
    heads_of,
    origin_of,
)
from orchestrator.core.json_types import JsonObject, JsonValue, canonical_json, parse_object
from orchestrator.core.prompt import Side, side_of

EMPTY: Final = hashlib.sha256(b"transcript").hexdigest()
"""The digest of a conversation in which nothing was said."""


def extended_transcript(digest: str, said: Sequence[InputItem], output: Sequence[OutputItem]) -> str:
    """The digest of a conversation that was `digest` before a response and what it was asked."""
    for _, message in _messages(said):
        digest = _next(digest, message)
    calls = asked_of_client(output)
    text = "".join(item.content for item in output if isinstance(item, Message))
    return _next(digest, _of_assistant(text, [(call.call_id, call.name, call.arguments) for call in calls]))


def chain_transcript(digest: str, chain: Sequence[tuple[Sequence[InputItem], Sequence[OutputItem]]]) -> str:
    """The digest of a conversation that was `digest` before responses that follow each other: what each was asked, and its output.

    Where nothing is asked, a response goes on with the message of the one before it.
    """
    joined: list[tuple[Sequence[InputItem], list[OutputItem]]] = []
    for said, output in chain:
        if said or not joined:
            joined.append((said, [*output]))
        else:
            joined[-1][1].extend(output)
    for said, output in joined:
        digest = extended_transcript(digest, said, output)
    return digest


def transcript_prefixes(items: Sequence[InputItem]) -> tuple[tuple[str, int], ...]:
    """The digests of what comes before some last part of `items`, the longest first, each with the number of its items.

    What has nothing that is seen is left out, and what the assistant goes on after: a response ends with its words,
    and one that said nothing is not that which said what stands there.
    """
    digest = EMPTY
    found: list[tuple[str, int]] = []
    for end, message in _messages(items):
        digest = _next(digest, message)
        if end < len(items) and digest != EMPTY and _side_of(items[end]) != "assistant":
            found.append((digest, end))
    return tuple(reversed(found))


def _next(digest: str, message: JsonObject | None) -> str:
    if message is None:
        return digest
    return hashlib.sha256(f"{digest}{canonical_json(message)}".encode("utf-8", "surrogatepass")).hexdigest()


def _messages(items: Sequence[InputItem]) -> Iterator[tuple[int, JsonObject | None]]:
    """The messages that `items` are, each with the number of items up to its end; None is one of which nothing is seen."""
    end = len(heads_of(items))
    for side, group in groupby(items[end:], key=_side_of):
        said = list(group)
        match side:
            case "assistant":
                end += len(said)
                yield (
                    end,
                    _of_assistant(
                        "".join(item.content for item in said if isinstance(item, TextInput) and item.origin is None),
                        [
                            (item.call_id, item.name, item.arguments)
                            for item in said
                            if isinstance(item, FunctionCallInput) and not item.of_server
                        ],
                    ),
                )
            case "user" | "system":
                for message in _split(said):
                    end += len(message)
                    yield end, _of_others(side, message)
            case "tool":
                for item in said:
                    end += 1
                    yield end, _result(cast(FunctionOutput, item))
            case _:
                assert_never(side)


def _side_of(item: InputItem) -> Side:
    """Whose message `item` is a part of; what servers were asked and answered is within that of the assistant."""
    of_server = isinstance(item, FunctionCallInput | FunctionOutput) and item.of_server
    return "assistant" if of_server else side_of(item)


def _split(said: Sequence[InputItem]) -> Iterator[list[InputItem]]:
    """What one side says in a row, message by message."""
    message: list[InputItem] = []
    for item in said:
        if message and isinstance(item, TextInput | ImageInput) and item.begins:
            yield message
            message = []
        message.append(item)
    yield message


def _of_assistant(text: str, calls: Sequence[tuple[str, str, str]]) -> JsonObject | None:
    said = "".join(text.split())
    if not said and not calls:
        return None
    made: list[JsonValue] = [[call_id, name, _arguments(arguments)] for call_id, name, arguments in calls]
    return {"role": "assistant", "content": said, "calls": made}


def _arguments(text: str) -> JsonValue:
    """Equal for texts of the same object: clients write them anew."""
    value = parse_object(text)
    return text if value is None else value


def _of_others(role: str, said: Sequence[InputItem]) -> JsonObject | None:
    parts: list[JsonValue] = []
    texts: list[str] = []
    for item in [item for item in said if isinstance(item, TextInput | ImageInput) and origin_of(item) is None]:
        if isinstance(item, TextInput):
            texts.append(item.content)
        else:
            if texts:
                parts.append("\n".join(texts))
                texts = []
            parts.append({"image": hashlib.sha256(item.data_url.encode("utf-8", "surrogatepass")).hexdigest()})
    if texts:
        parts.append("\n".join(texts))
    first = cast("TextInput | ImageInput", said[0])  # users and systems say nothing else
    named: JsonObject = {"name": first.name} if first.name else {}
    return {"role": role, "content": parts, **named} if parts else None


def _result(item: FunctionOutput) -> JsonObject:
    return {"role": "tool", "call_id": item.call_id, "content": cast(JsonValue, json.loads(item.output))}
