"""Slots go round the owners, and nobody loses one."""

import anyio
import anyio.abc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.service.fair_queue import FairQueue

pytestmark = pytest.mark.anyio


def nothing(position: int) -> None:
    pass


async def in_order(queue: FairQueue, owners: list[str]) -> list[str]:
    """The owners in the order in which their requests got the one slot, all of them waiting from the start."""
    admitted: list[str] = []
    async with anyio.create_task_group() as tasks, queue.slot("first", nothing):
        for owner in owners:
            await started(tasks, queue, owner, admitted)
    return admitted


async def started(tasks: anyio.abc.TaskGroup, queue: FairQueue, owner: str, admitted: list[str]) -> None:
    async def request(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        told = anyio.Event()
        moved = False

        def move(position: int) -> None:
            nonlocal moved
            if not moved:
                moved = True
                task_status.started()
            told.set()

        async with queue.slot(owner, move):
            admitted.append(owner)

    await tasks.start(request)


async def test_an_owner_with_many_requests_does_not_keep_the_others_waiting() -> None:
    assert await in_order(FairQueue(1), ["a", "a", "a", "b", "c"]) == ["a", "b", "c", "a", "a"]


@given(st.lists(st.sampled_from("abc"), max_size=8))
def test_every_request_gets_its_turn_and_an_owner_waits_one_round_at_most(owners: list[str]) -> None:
    admitted = anyio.run(in_order, FairQueue(1), owners)
    assert sorted(admitted) == sorted(owners)
    for owner in set(owners):
        first = admitted.index(owner)
        assert len(set(admitted[:first])) == first  # nobody had a second turn before everybody's first


async def test_a_waiter_hears_its_place_and_that_its_wait_is_over() -> None:
    queue, heard = FairQueue(1), list[int]()
    async with anyio.create_task_group() as tasks:

        async def wait(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            def moved(position: int) -> None:
                heard.append(position)
                if len(heard) == 1:
                    task_status.started()

            async with queue.slot("b", moved):
                pass

        async with queue.slot("x", heard.append):
            leaves = anyio.CancelScope()

            async def leave(*, task_status: anyio.abc.TaskStatus[None]) -> None:
                with leaves:
                    async with queue.slot("a", lambda _: task_status.started()):
                        raise AssertionError("it left before its turn")

            await tasks.start(leave)
            await tasks.start(wait)
            assert (queue.taken, queue.waiting) == (1, 2)
            leaves.cancel()
            with anyio.fail_after(5):
                while queue.waiting == 2:
                    await anyio.lowlevel.checkpoint()
    assert heard == [2, 1, 0]
    assert (queue.taken, queue.waiting) == (0, 0)


async def test_a_request_that_does_not_wait_hears_nothing() -> None:
    heard = list[int]()
    async with FairQueue(1).slot("a", heard.append):
        pass
    assert heard == []


async def test_a_larger_number_of_slots_lets_waiters_in_at_once() -> None:
    queue, inside = FairQueue(1), anyio.Event()

    async def wait() -> None:
        async with queue.slot("b", nothing):
            inside.set()

    async with anyio.create_task_group() as tasks, queue.slot("a", nothing):
        tasks.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        queue.resize(2)
        with anyio.fail_after(5):
            await inside.wait()
