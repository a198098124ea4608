"""Brings the pictures in earlier tool results along, for a model that sees them."""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.core.items import OutputEntry, ToolCall
from orchestrator.core.prompt import Past, PastResponse, lacks_pictures
from orchestrator.ports import ResponseStore


async def with_pictures(history: Sequence[Past], store: ResponseStore, owner: str) -> tuple[Past, ...]:
    """`history` with those outputs that a chain comes without because they are long, where they may hold pictures."""
    responses = [past for past in history if isinstance(past, PastResponse)]
    entries = [entry for past in responses for entry in past.output if lacks_pictures(entry)]
    if not entries:
        return tuple(history)
    ids = [entry.item.call_id for entry in entries if isinstance(entry.item, ToolCall)]
    outputs = await store.read_outputs(ids, owner)

    def whole(entry: OutputEntry) -> OutputEntry:
        if not isinstance(entry.item, ToolCall) or not lacks_pictures(entry):
            return entry
        return replace(entry, item=replace(entry.item, output=outputs.get(entry.item.call_id, "")))

    return tuple(
        replace(past, output=tuple(map(whole, past.output))) if isinstance(past, PastResponse) else past
        for past in history
    )
