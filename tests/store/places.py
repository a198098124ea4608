"""Where responses can be asked for: in a database, seen from one process or another, and in the twin."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio
from sqlalchemy import Connection, Engine, event

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.placed import PlacedCall
from orchestrator.core.prompt import AssistantMessage, opening_messages
from orchestrator.core.reading import READER, SERVICE, read_on, reads_on
from orchestrator.core.request import PluginRequest, RunRequest
from orchestrator.ports import (
    ResponseGraph,
    ResponseStore,
    ThreadStore,
)
from orchestrator.service.pictures import with_pictures
from orchestrator.store.chain_memory import ChainMemory
from orchestrator.store.database import Database
from orchestrator.store.graph import SqlResponseGraph
from orchestrator.store.responses import SqlResponseStore
from orchestrator.store.threads import SqlThreadStore


@dataclass(frozen=True, slots=True)
class Place:
    """One way to the responses: that of a process, or the twin's."""

    store: ResponseStore
    graph: ResponseGraph
    threads: ThreadStore


Ask: TypeAlias = Callable[[Place], Coroutine[Any, Any, object]]


class BrokenCommits:
    """In this, no commit of any database succeeds."""

    def __enter__(self) -> None:
        event.listen(Engine, "commit", self._break)

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "commit", self._break)

    def _break(self, connection: Connection) -> None:
        raise OSError("the disk is full")


def place(database: Database, memory: ChainMemory, segment_length: int) -> Place:
    return Place(
        SqlResponseStore(database, memory, segment_length=segment_length),
        SqlResponseGraph(database, memory),
        SqlThreadStore(database, memory),
    )


async def answer(place: Place, ask: Ask) -> object:
    """What came, or what was wrong with the question."""
    try:
        return await ask(place)
    except OrchestratorError as error:
        # What contradicts is told in the database's terms; that it is refused counts.
        return error.info if error.info.kind is not ErrorKind.STORE_ERROR else ErrorKind.STORE_ERROR


async def both(asked: Sequence[tuple[Place, Ask]]) -> list[object]:
    """The answers to questions that are put at the same time."""
    answers: dict[int, object] = {}

    async def put(index: int, place: Place, ask: Ask) -> None:
        answers[index] = await answer(place, ask)

    async with anyio.create_task_group() as group:
        for index, (place, ask) in enumerate(asked):
            group.start_soon(put, index, place, ask)
    return [answers[index] for index in range(len(asked))]


async def read_whole(place: Place, id: str, owner: str | None) -> list[object]:
    """Everything there is to read about one response by its id."""
    found: list[object] = [await place.graph.read_detail(id, owner)]
    if owner is not None:
        found += [
            await answer(place, lambda place: read_chain(place.store, id, owner)),
            await place.store.get_response(id, owner),
            await place.store.list_calls(id, owner),
            await place.store.read_run(id, owner),
        ]
    return found


async def read_chain(store: ResponseStore, id: str, owner: str) -> object:
    """The chain as it is told to two kinds of model, and what can be read on in it, however it was kept."""
    chain = await store.load_chain(id, owner)
    seen = await with_pictures(chain.responses, store, owner)
    told = opening_messages(chain.system_prompt, chain.responses, ())
    shown = opening_messages(chain.system_prompt, seen, (), vision=True)
    calls = [call.call_id for message in told if isinstance(message, AssistantMessage) for call in message.calls]
    outputs = await store.read_outputs(calls, owner)
    request = RunRequest("resp_new", "m", "m", (), chain.responses, integrations=(PluginRequest("mcp/clock"),))
    read = [read_on(reading(each), request, (), outputs.get(each)) for each in calls]
    return told, shown, reads_on(request, ()), read, chain.tool_names, chain.root_id


def reading(call_id: str) -> PlacedCall:
    """The model reads on in the output of a call."""
    return PlacedCall(0, 1, "call_reading", READER.name, "", {"call_id": call_id, "offset": 3}, READER.name, SERVICE)


async def dump(place: Place, ids: Sequence[str]) -> dict[str, object]:
    """All that can be read, by the responses' ids."""
    found: dict[str, object] = {
        id: [await read_whole(place, id, owner) for owner in ("ada", "bob", None)] for id in ids
    }
    return found | {"threads": [await place.threads.list_threads(owner, None, 100) for owner in ("ada", "bob")]}
