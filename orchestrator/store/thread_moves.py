"""Moving threads: pointers to responses, changed by compare-and-swap."""

from datetime import datetime

from sqlalchemy import Connection, delete, exists, insert, select, update

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import NewResponse
from orchestrator.store.search_tables import threads
from orchestrator.store.tables import output_items, responses


def move_thread(connection: Connection, response: NewResponse) -> None:
    """Let the thread of a response that is being opened point to it; see `ResponseStore.open_response`.

    Responses are locked before threads, here as everywhere.
    """
    move = response.thread
    if move is None:
        return
    at = response.created_at
    if move.newest is None:
        made = {"id": move.thread_id, "owner": response.owner, "newest_response_id": response.id}
        connection.execute(insert(threads), made | {"created_at": at, "updated_at": at})
        return
    unmoved = update(threads).where(
        threads.c.id == move.thread_id,
        threads.c.owner == response.owner,
        threads.c.newest_response_id == move.newest,
    )
    if connection.execute(unmoved.values(newest_response_id=response.id, updated_at=at)).rowcount == 0:
        raise thread_conflict()


def take_back_threads(connection: Connection, response_id: str, at: datetime) -> None:
    """Let threads leave a response that failed and called nothing for the one before it; see `ResponseStore.save_response`.

    Whoever appends to a thread cannot choose what to continue: what failed would stand in each of its prompts, as often
    as its client tries again. What a call did is done, and the model is to know of it.
    """
    called = exists().where(output_items.c.response_id == responses.c.id, output_items.c.call_id.is_not(None))
    nothing = select(responses.c.previous_response_id).where(responses.c.id == response_id, ~called)
    row = connection.execute(nothing).one_or_none()
    if row is None:
        return
    mine = threads.c.newest_response_id == response_id
    if row.previous_response_id is None:
        connection.execute(delete(threads).where(mine))
    else:
        moved = {"newest_response_id": row.previous_response_id, "updated_at": at}
        connection.execute(update(threads).where(mine).values(moved))


def thread_conflict() -> OrchestratorError:
    """Somebody was faster."""
    message = "Another request moved or deleted this thread meanwhile. Read it, and ask again."
    return OrchestratorError(ErrorKind.THREAD_CONFLICT, message, param="thread_id")
