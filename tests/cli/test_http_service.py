"""The service's sockets, its orderly start and its orderly end."""

import os
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest

from orchestrator.cli.command_error import CommandError
from orchestrator.cli.http_service import AsgiApp, HttpService, listen, single_exception
from orchestrator.settings import Settings, load_settings

pytestmark = pytest.mark.anyio
SETTINGS = load_settings({"ORCHESTRATOR_PORT": "0"})
END_SECONDS = 10.0


class Application:
    """Answers `/`, and on `/slow` only when it is told to; writes down what happens to it."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.story: list[str] = []
        self.asked = anyio.Event()
        self.may_answer = anyio.Event()
        self._failure = failure

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[AsgiApp]:
        if self._failure is not None:
            raise self._failure
        self.story.append("open")
        yield self._answer
        self.story.append("closed")

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            self.asked.set()
            await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answer"})
        self.story.append(f"answered {scope['path']}")


def url(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.port}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_requests_in_flight_finish_and_then_closes_everything(number: signal.Signals) -> None:
    application, answers = Application(), list[bytes]()
    sockets, settings = listen(SETTINGS)
    service, ready = HttpService(application.open(), sockets), anyio.Event()

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=url(settings), trust_env=False) as client:
            answers.append((await client.get("/slow", timeout=END_SECONDS)).content)

    with anyio.fail_after(END_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.serve, ready.set)
            await ready.wait()
            tasks.start_soon(ask)
            await application.asked.wait()
            os.kill(os.getpid(), number)
            application.may_answer.set()
    assert answers == [b"answer"]
    assert application.story == ["open", "answered /slow", "closed"]


async def test_a_second_stop_does_not_wait_for_requests() -> None:
    application, statuses = Application(), list[int]()
    sockets, settings = listen(SETTINGS)
    service, ready = HttpService(application.open(), sockets), anyio.Event()

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=url(settings), trust_env=False) as client:
            statuses.append((await client.get("/slow", timeout=END_SECONDS)).status_code)

    with anyio.fail_after(END_SECONDS / 2):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.serve, ready.set)
            await ready.wait()
            tasks.start_soon(ask)
            await application.asked.wait()
            service.stop()
            service.stop()
    assert (statuses, application.story) == ([500], ["open", "closed"])


async def test_the_answer_names_no_server_software() -> None:
    application = Application()
    sockets, settings = listen(SETTINGS)
    service, ready = HttpService(application.open(), sockets), anyio.Event()
    with anyio.fail_after(END_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.serve, ready.set)
            await ready.wait()
            async with httpx.AsyncClient(base_url=url(settings), trust_env=False) as client:
                answer = await client.get("/")
                assert (answer.content, "server" in answer.headers) == (b"answer", False)
            service.stop()


async def test_a_stop_before_the_start_opens_and_closes_without_serving() -> None:
    application = Application()
    service = HttpService(application.open(), listen(SETTINGS)[0])
    service.stop()
    with anyio.fail_after(END_SECONDS):
        await service.serve(lambda: application.story.append("ready"))
    assert application.story == ["open", "closed"]


async def test_an_application_that_cannot_open_ends_the_service_with_its_own_error() -> None:
    sockets, _ = listen(SETTINGS)
    service = HttpService(Application(CommandError("no database")).open(), sockets)
    with pytest.raises(BaseExceptionGroup) as raised:
        await service.serve()
    assert str(single_exception(raised.value)) == "no database"
    assert [bound.fileno() for bound in sockets] == [-1]


def test_several_errors_stay_together() -> None:
    group = BaseExceptionGroup("two", [ValueError("a"), ValueError("b")])
    assert single_exception(BaseExceptionGroup("outer", [group])) is group


def test_port_0_takes_a_free_one_and_says_which() -> None:
    sockets, settings = listen(SETTINGS)
    assert settings == replace(SETTINGS, port=sockets[0].getsockname()[1])
    assert settings.port != 0
    for bound in sockets:
        bound.close()


def test_a_name_is_listened_on_at_all_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def addresses(host: str, port: int, type: int) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in ("127.0.0.1", "127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    sockets, settings = listen(replace(SETTINGS, host="box"))
    names = [bound.getsockname() for bound in sockets]
    assert names == [("127.0.0.1", settings.port), ("127.0.0.2", settings.port)]
    for bound in sockets:
        bound.close()


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError) as raised:
            listen(replace(SETTINGS, port=port))
    expected = f"port {port} of 127.0.0.1 is taken: stop what listens there, or choose another one with --port"
    assert raised.value.info.message == expected


def test_an_address_that_is_not_of_this_machine_is_told_in_one_line() -> None:
    with pytest.raises(
        CommandError, match=r"^192\.0\.2\.1 port 0 cannot be listened on: Cannot assign requested address$"
    ):
        listen(replace(SETTINGS, host="192.0.2.1"))
