"""Reading on where an output was cut for the model: a tool of the service itself, answered from the journal.

It is offered from the turn after the first cut on, and in every later request of the chain that brings
integrations: until then the prompt has no word of it. Its calls are judged and journaled like any other.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from orchestrator.core.content import content_text
from orchestrator.core.items import OutputEntry, PluginProvider, ToolCall
from orchestrator.core.markup import plain_markup
from orchestrator.core.placed import Outcome, PlacedCall
from orchestrator.core.prompt import Past, PastResponse, PastSegment
from orchestrator.core.request import RunRequest
from orchestrator.core.tools import (
    OfferedTool,
    ToolAnnotations,
    ToolDefinition,
    ToolKey,
    cut_text,
    offer_tools,
    readable_content,
    text_content,
)

SERVICE: Final = PluginProvider("orchestrator")
"""Who provides it. No plugin of `mcp.json` can have this id: theirs begin with `mcp/`."""

READER: Final = ToolDefinition(
    name="read_tool_output",
    description="Read on in the output of an earlier tool call that was cut because of its length.",
    input_schema={
        "type": "object",
        "properties": {
            "call_id": {"type": "string", "description": "The id that the notice at the cut gives."},
            "offset": {"type": "integer", "minimum": 0, "description": "Where to read on, in bytes."},
        },
        "required": ["call_id", "offset"],
        "additionalProperties": False,
    },
    annotations=ToolAnnotations(read_only=True, destructive=False, idempotent=True, open_world=False),
)

_NOTICE: Final = "\n[cut: the output goes on. "
_NOTICE_LENGTH: Final = 256
_NOTICE_FOUND: Final = re.compile(
    r"\n\[cut: the output goes on\. \d+ of \d+ bytes are shown; (?P<reader>\S+)"
    r' with call_id "(?P<call_id>[^"]*)" and offset \d+ reads on\]\Z'
)
_REST_IS_KEPT: Final = "the journal has the rest"
_END: Final = "[end of the output]"
_PIECE: Final = re.compile(
    r"(?P<first>\[bytes (?P<start>\d+) to \d+ of \d+\]\n)(?P<body>.*)\n(?P<last>\[[^\n\]]*\])", re.DOTALL
)
_NO_INTEGRATION: Final = -1


def reading_tool(offered: Sequence[OfferedTool], earlier: Mapping[ToolKey, str]) -> OfferedTool:
    """The tool under a name that no other tool has, the chain's own where it has given one."""
    names = {tool.name for tool in offered}
    taken = {key: name for key, name in earlier.items() if name not in names}
    taken |= {("offered", name): name for name in names}
    return offer_tools([(_NO_INTEGRATION, SERVICE, [READER])], taken)[0]


def shown_output(text: str, call_id: str, limit_bytes: int, reader: str) -> str:
    """What the model is shown of an output: all of it, or its beginning and how to read on."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit_bytes:
        return text
    if limit_bytes < 2 * _NOTICE_LENGTH:  # too little room to read in
        return cut_text(text, limit_bytes, kept=_REST_IS_KEPT)
    # The notice depends on where it stands; its length hardly does.
    end = _boundary(data, max(0, limit_bytes - len(_notice(call_id, len(data), len(data), reader))))
    return data[:end].decode("utf-8", "ignore") + _notice(call_id, end, len(data), reader)


def _notice(call_id: str, end: int, total: int, reader: str) -> str:
    return f'{_NOTICE}{end} of {total} bytes are shown; {reader} with call_id "{call_id}" and offset {end} reads on]'


def cut_alike(shown: str, text: str) -> str:
    """`text`, cut as `shown` is, which is what was left of another text."""
    limit_bytes = len(shown.encode("utf-8", "replace"))
    if plain_markup(shown) == shown:
        text = plain_markup(text)
    found = _NOTICE_FOUND.search(shown)
    if found is None:
        return cut_text(text, limit_bytes, kept=_REST_IS_KEPT)
    return shown_output(text, found["call_id"], limit_bytes, found["reader"])


def inner_piece(text: str, margin: int) -> str:
    """A piece of an output as the tool gives it, without `margin` characters where it was cut out of the rest."""
    found = _PIECE.fullmatch(text)
    if found is None:
        return text
    body = found["body"]
    start = 0 if found["start"] == "0" else margin
    end = len(body) if found["last"] == _END else max(start, len(body) - margin)
    return f"{found['first']}{body[start:end]}\n{found['last']}"


def was_cut(shown: str | None) -> bool:
    """Whether that is what `shown_output` left of a longer output."""
    return shown is not None and shown.endswith("reads on]") and _NOTICE in shown[-_NOTICE_LENGTH:]


def reads_on(request: RunRequest, entries: Iterable[OutputEntry]) -> bool:
    """Whether the chain, `entries` of this run included, has something cut, and the request has tools to offer."""
    if not request.integrations or request.tool_choice == "none":
        return False
    return any(_has_cut(past) for past in request.history) or _any_cut(entries)


def _has_cut(past: Past) -> bool:
    return past.cut if isinstance(past, PastSegment) else _any_cut(past.output)


def _any_cut(entries: Iterable[OutputEntry]) -> bool:
    return any(entry.shown is not None and was_cut(entry.shown.result) for entry in entries)


def told_segment(past: Sequence[PastResponse]) -> PastSegment:
    """These responses as they are told to a model that sees no pictures."""
    entries = [entry for each in past for entry in each.output]
    calls = tuple(call.call_id for call in map(_readable, entries) if call is not None)
    told = tuple(message for each in past for message in each.messages(vision=False))
    return PastSegment(told, _any_cut(entries), calls)


def unread(call: PlacedCall, request: RunRequest, entries: Iterable[OutputEntry]) -> str | None:
    """The id of the call that `call` reads, where only the store has its output; `entries` are this run's own."""
    found = _wanted(call, request, entries)
    if found is None:
        return None
    call_id, made = found
    if made is not None and made.output and (made.structured is not None or made.output != "[]"):
        return None
    return call_id


def read_on(
    call: PlacedCall, request: RunRequest, entries: Iterable[OutputEntry], stored: str | None = None
) -> Outcome:
    """The outcome of a call of the tool; `stored` is the output where it is `unread`, None where it is gone."""
    offset = (call.arguments or {}).get("offset")
    found = _wanted(call, request, entries)
    content = stored
    if found is None:
        content = None
    elif stored is None and found[1] is not None:
        content = readable_content(found[1].output, found[1].structured) or None
    if content is None:
        wanted = (call.arguments or {}).get("call_id")
        return _outcome(f'There is no tool call with the id "{wanted}" in this chat.', is_error=True)
    limits = request.limits
    text = content_text(content) if limits.raw_results else plain_markup(content_text(content))
    return _outcome(_piece(text, offset if isinstance(offset, int) else 0, limits.max_tool_output_model_bytes))


def _wanted(
    call: PlacedCall, request: RunRequest, entries: Iterable[OutputEntry]
) -> tuple[str, ToolCall | None] | None:
    """The id of the call that `call` reads in, and that call; None in its place where only the store has it."""
    wanted = (call.arguments or {}).get("call_id")
    for past in (*request.history, PastResponse((), tuple(entries))):
        for call_id, made in _readable_in(past):
            if call_id == wanted:
                return call_id, made
    return None


def _readable_in(past: Past) -> Iterator[tuple[str, ToolCall | None]]:
    if isinstance(past, PastSegment):
        yield from ((call_id, None) for call_id in past.calls)
        return
    for made in map(_readable, past.output):
        if made is not None:
            yield made.call_id, made


def _readable(entry: OutputEntry) -> ToolCall | None:
    """The call whose result the model was given."""
    return entry.item if isinstance(entry.item, ToolCall) and entry.shown is not None else None


def _outcome(text: str, *, is_error: bool = False) -> Outcome:
    return Outcome("succeeded", text_content(text), text, is_error=is_error)


def _piece(text: str, offset: int, limit_bytes: int) -> str:
    data = text.encode("utf-8", "replace")
    if offset >= len(data):
        return f"[nothing more: the output has {len(data)} bytes]"
    start = _boundary(data, offset)
    ends = f"[bytes {start} to {len(data)} of {len(data)}]\n\n[read on at offset {len(data)}]"
    # At least one character, of up to four bytes, whatever the limit: reading must come to an end.
    end = _boundary(data, start + max(4, limit_bytes - len(ends)))
    last = _END if end >= len(data) else f"[read on at offset {end}]"
    return f"[bytes {start} to {end} of {len(data)}]\n{data[start:end].decode('utf-8', 'ignore')}\n{last}"


def _boundary(data: bytes, position: int) -> int:
    """The last position up to `position` at which a character begins or the text ends."""
    position = min(position, len(data))
    while 0 < position < len(data) and data[position] & 0xC0 == 0x80:
        position -= 1
    return position
