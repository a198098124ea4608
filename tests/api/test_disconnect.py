"""A client that goes away stops its request, in both modes, over a real server."""

import json
from typing import Any

import anyio
import httpx
import pytest

from orchestrator.ports import NewResponse
from orchestrator.testing import MemoryStore, Say, ScriptedEngine, Stall
from tests.api.house import CHAT, House, chat_body, house, served

pytestmark = pytest.mark.anyio


class Watched(MemoryStore):
    """A store that tells of the responses that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[NewResponse] = []

    async def open_response(self, response: NewResponse) -> None:
        await super().open_response(response)
        self.opened.append(response)


async def status_of_the_only_response(api: House, store: Watched) -> tuple[str, str | None, int]:
    """What became of it, once the engine's slot is free again."""
    await api.generating(0)
    with anyio.fail_after(5):
        while True:
            for opened in store.opened:
                stored = await store.get_response(opened.id, opened.owner)
                assert stored is not None
                if stored.status != "in_progress":
                    return stored.status, stored.incomplete_reason, len(stored.output)
            await anyio.lowlevel.checkpoint()


def stalling() -> ScriptedEngine:
    return ScriptedEngine([[Say("Once upon"), Stall(anyio.Event())]])


async def test_leaving_a_stream_stops_the_request_and_keeps_what_was_written() -> None:
    store = Watched()
    async with house(stalling(), store=store) as api, served(api.app) as client:
        async with client.stream("POST", CHAT, json=chat_body(stream=True)) as response:
            async for line in response.aiter_lines():
                if "upon" in line:
                    break
        assert await status_of_the_only_response(api, store) == ("incomplete", "client_gone", 1)


async def test_leaving_while_a_reply_is_awaited_stops_the_request_and_keeps_what_was_written() -> None:
    store = Watched()
    async with house(stalling(), store=store) as api, served(api.app) as client:
        async with anyio.create_task_group() as asking:
            asking.start_soon(lambda: client.post(CHAT, json=chat_body()))
            await api.generating(1)
            asking.cancel_scope.cancel()
        assert await status_of_the_only_response(api, store) == ("incomplete", "client_gone", 1)


class Slow(Watched):
    """A store that takes its time to open a response."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = anyio.Event(), anyio.Event()

    async def open_response(self, response: NewResponse) -> None:
        self.asked.set()
        await self.go_on.wait()
        await super().open_response(response)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_leaving_before_the_beginning_never_reaches_the_model(stream: bool) -> None:
    store = Slow()
    async with house(stalling(), store=store) as api, served(api.app) as client:
        async with anyio.create_task_group() as asking:
            asking.start_soon(lambda: client.post(CHAT, json=chat_body(stream=stream)))
            with anyio.fail_after(5):
                await store.asked.wait()
            asking.cancel_scope.cancel()
        await client.get("/health")  # later than the departure on its way through the server
        await anyio.wait_all_tasks_blocked()
        store.go_on.set()
        assert await status_of_the_only_response(api, store) == ("incomplete", "client_gone", 0)
        assert api.engine.requests == []


async def test_leaving_in_the_middle_of_a_body_starts_nothing() -> None:
    sent = anyio.Event()

    async def half_a_body():
        yield b'{"model": '
        sent.set()
        await anyio.sleep_forever()

    store = Watched()
    async with house(stalling(), store=store) as api, served(api.app) as client:
        async with anyio.create_task_group() as asking:
            headers = {"Content-Type": "application/json"}
            asking.start_soon(lambda: client.post(CHAT, content=half_a_body(), headers=headers))
            with anyio.fail_after(5):
                await sent.wait()
            asking.cancel_scope.cancel()
        assert (await client.get("/health")).status_code == 200
        assert store.opened == []


async def test_one_client_leaving_does_not_touch_another() -> None:
    go_on = anyio.Event()
    engine = ScriptedEngine([[Say("Once upon"), Stall(go_on), Say(" a time.")]])
    async with house(engine) as api, served(api.app) as client:
        replies: list[httpx.Response] = []

        async def stay() -> None:
            replies.append(await client.post(CHAT, json=chat_body()))

        async with anyio.create_task_group() as staying:
            staying.start_soon(stay)
            await api.generating(1)
            async with anyio.create_task_group() as leaving:
                leaving.start_soon(lambda: client.post(CHAT, json=chat_body()))
                await api.generating(2)
                leaving.cancel_scope.cancel()
            await api.generating(1)
            go_on.set()
        assert replies[0].json()["output"] == [{"type": "message", "content": "Once upon a time."}]


@pytest.mark.parametrize("breaks_at", ["http.response.start", "http.response.body"])
async def test_a_connection_that_cannot_be_written_to_ends_the_request(breaks_at: str) -> None:
    store = Watched()
    body = json.dumps(chat_body(stream=True)).encode()
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": CHAT,
        "query_string": b"",
        "scheme": "http",
        "headers": headers,
    }
    incoming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return incoming.pop() if incoming else await anyio.sleep_forever()

    async def send(message: Any) -> None:
        if message["type"] == breaks_at:
            raise OSError("broken pipe")

    async with house(stalling(), store=store) as api:
        with anyio.fail_after(5):
            await api.app(scope, receive, send)
        status = await status_of_the_only_response(api, store)
    assert status[:2] == ("incomplete", "client_gone")
