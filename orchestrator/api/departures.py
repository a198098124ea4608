"""Clients that go away while they are waited for or waiting."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from litestar.types import Receive

from orchestrator.core.errors import OrchestratorError

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client went away before it had sent its request, or before it had its reply."""


async def wait_for_departure(receive: Receive) -> None:
    """Return once the client is gone; its body has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(receive: Receive, work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work`, which is cancelled when the client goes away.

    Raises:
        OrchestratorError: what `work` raised.
        ClientGoneError: the client was gone first.
    """
    outcome: list[T] = []
    failure: OrchestratorError | None = None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            await wait_for_departure(receive)
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            outcome.append(await work())
        except OrchestratorError as error:  # out of the group, which would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not outcome:
        raise ClientGoneError
    return outcome[0]
