"""The queue before a model: in order, never too many, and nothing lost when somebody leaves."""

from collections.abc import Generator
from contextlib import contextmanager

import anyio
import pytest
from anyio.abc import TaskGroup

from orchestrator.engines.llama_cpp.slots import SlotQueue

pytestmark = pytest.mark.anyio


class Guests:
    """Tasks that want a slot and keep it until they are told to go."""

    def __init__(self, queue: SlotQueue, tasks: TaskGroup) -> None:
        self._queue = queue
        self._tasks = tasks
        self._leave: dict[str, anyio.Event] = {}
        self._scopes: dict[str, anyio.CancelScope] = {}
        self.inside: list[str] = []

    async def arrive(self, name: str) -> None:
        self._leave[name] = anyio.Event()
        self._tasks.start_soon(self._visit, name)
        await anyio.wait_all_tasks_blocked()

    async def leave(self, name: str) -> None:
        self._leave[name].set()
        await anyio.wait_all_tasks_blocked()

    def cancel(self, name: str) -> None:
        self._scopes[name].cancel()

    async def _visit(self, name: str) -> None:
        with anyio.CancelScope() as self._scopes[name]:
            async with self._queue.slot():
                self.inside.append(name)
                try:
                    await self._leave[name].wait()
                finally:
                    self.inside.remove(name)


@contextmanager
def within_a_bound() -> Generator[None, None, None]:
    with anyio.fail_after(5):
        yield


async def test_slots_are_given_in_the_order_in_which_they_were_asked_for() -> None:
    queue = SlotQueue(2)
    with within_a_bound():
        async with anyio.create_task_group() as tasks:
            guests = Guests(queue, tasks)
            for name in "abcd":
                await guests.arrive(name)
            assert (guests.inside, queue.taken, queue.waiting) == (["a", "b"], 2, 2)
            await guests.leave("b")
            assert guests.inside == ["a", "c"]
            await guests.leave("a")
            assert guests.inside == ["c", "d"]
            tasks.cancel_scope.cancel()
    assert (queue.taken, queue.waiting) == (0, 0)


async def test_one_who_is_cancelled_in_the_queue_is_passed_over() -> None:
    queue = SlotQueue(1)
    with within_a_bound():
        async with anyio.create_task_group() as tasks:
            guests = Guests(queue, tasks)
            for name in "abc":
                await guests.arrive(name)
            guests.cancel("b")
            await anyio.wait_all_tasks_blocked()
            assert queue.waiting == 1
            await guests.leave("a")
            assert guests.inside == ["c"]
            tasks.cancel_scope.cancel()


async def test_one_who_is_cancelled_at_the_moment_of_its_turn_gives_the_slot_back() -> None:
    queue = SlotQueue(1)
    with within_a_bound():
        async with anyio.create_task_group() as tasks:
            guests = Guests(queue, tasks)
            for name in "abc":
                await guests.arrive(name)
            guests.cancel("a")
            guests.cancel("b")
            await anyio.wait_all_tasks_blocked()
            assert guests.inside == ["c"]
            tasks.cancel_scope.cancel()
    assert (queue.taken, queue.waiting) == (0, 0)


async def test_a_closed_gate_lets_those_inside_finish_and_nobody_in() -> None:
    queue = SlotQueue(2)
    happened: list[str] = []

    async def replace() -> None:
        async with queue.emptied():
            happened.append("empty")
            await anyio.wait_all_tasks_blocked()
            happened.append(f"{queue.waiting} waiting")

    with within_a_bound():
        async with anyio.create_task_group() as tasks:
            guests = Guests(queue, tasks)
            await guests.arrive("a")
            tasks.start_soon(replace)
            await anyio.wait_all_tasks_blocked()
            await guests.arrive("b")
            assert (guests.inside, happened) == (["a"], [])
            await guests.leave("a")
            await anyio.wait_all_tasks_blocked()
            assert (guests.inside, happened) == (["b"], ["empty", "1 waiting"])
            tasks.cancel_scope.cancel()


async def test_a_gate_that_is_given_up_opens_again() -> None:
    queue = SlotQueue(1)
    with within_a_bound():
        async with anyio.create_task_group() as tasks:
            guests = Guests(queue, tasks)
            await guests.arrive("a")
            with anyio.move_on_after(0.01):
                async with queue.emptied():
                    pytest.fail("it is not empty")
            await guests.arrive("b")
            await guests.leave("a")
            assert guests.inside == ["b"]
            tasks.cancel_scope.cancel()


async def test_an_empty_queue_is_empty_at_once() -> None:
    queue = SlotQueue(1)
    with within_a_bound():
        async with queue.emptied():
            assert queue.taken == 0
