"""`GET /metrics`: numbers about runs, queues, instances and requests, and nothing that anybody said."""

import anyio
import pytest

from orchestrator.testing import SCRIPTED_MODEL, Say, ScriptedEngine, Stall
from tests.api.house import House, chat_body, house, served

pytestmark = pytest.mark.anyio

LABELS = f'{{engine="scripted",instance="{SCRIPTED_MODEL}"}}'


async def metrics(api: House) -> dict[str, float]:
    """Every sample, by its name and labels."""
    response = await api.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def queued(api: House) -> None:
    """Wait until a request waits for a slot."""
    with anyio.fail_after(5):
        while not any(one.queue is not None and one.queue.waiting for one in api.instances.instances()):
            await anyio.lowlevel.checkpoint()


async def test_what_is_under_way_is_counted_and_what_was_is_measured() -> None:
    gate = anyio.Event()
    during: dict[str, float] = {}
    async with house(ScriptedEngine([[Say("secret"), Stall(gate)]], parallel=1)) as api:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(lambda: api.chat(input="a secret"))
            await queued(api)
            during |= await metrics(api)
            gate.set()
        after = await metrics(api)
        text = (await api.client.get("/metrics")).text
    assert during["orchestrator_runs_live"] == 2
    assert during[f"orchestrator_slots_taken{LABELS}"] == 1
    assert during[f"orchestrator_requests_queued{LABELS}"] == 1
    assert during['orchestrator_instances_loaded{engine="scripted"}'] == 1
    assert during['orchestrator_engine_up{engine="scripted"}'] == 1
    assert after["orchestrator_runs_live"] == 0
    assert after[f"orchestrator_requests_queued{LABELS}"] == 0
    assert after['orchestrator_run_seconds_count{status="completed"}'] == 2
    chats = 'orchestrator_http_requests_total{method="POST",route="/api/v1/chat",status="200"}'
    assert after[chats] == 2
    assert "secret" not in text


async def test_what_a_client_makes_up_is_no_label() -> None:
    async with house() as api:
        await api.client.request("BREW", "/coffee/for/me")
        text = (await api.client.get("/metrics")).text
    assert 'method="other",route="unknown",status="404"' in text
    assert "BREW" not in text and "coffee" not in text


async def test_with_authentication_metrics_need_the_permission_to_read_models() -> None:
    async with house(require_authentication=True) as api:
        _, chatter = await api.tokens.create_token("chatter", ["chat"])
        _, reader = await api.tokens.create_token("reader", ["models.read"])
        told = [
            (await api.client.get("/metrics", headers={"Authorization": f"Bearer {token}"})).status_code
            for token in (chatter, reader)
        ]
    assert told == [403, 200]


@pytest.mark.parametrize("asked", ["true", None])
async def test_a_place_in_the_queue_is_a_comment_or_an_event_where_asked_for(asked: str | None) -> None:
    gate = anyio.Event()
    async with house(ScriptedEngine([[Say("a"), Stall(gate)]], parallel=1)) as api, served(api.app) as client:
        text = ""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api.chat)
            await api.generating(1)
            headers = {} if asked is None else {"X-Stream-Extensions": asked}
            async with client.stream("POST", "/api/v1/chat", json=chat_body(stream=True), headers=headers) as stream:
                async for part in stream.aiter_text():
                    text += part
                    if "queue" in text:
                        gate.set()
    blocks = [block for block in text.split("\n\n") if "queue" in block]
    if asked is None:
        assert blocks == [": queued 1", ": queued 0"]
    else:
        assert [block.splitlines()[1:] for block in blocks] == [
            ["event: queue.position", f'data: {{"type":"queue.position","position":{place}}}'] for place in (1, 0)
        ]


async def test_a_reply_without_a_stream_says_nothing_of_the_queue() -> None:
    gate = anyio.Event()
    async with house(ScriptedEngine([[Say("a"), Stall(gate)]], parallel=1)) as api:
        bodies: list[str] = []

        async def ask() -> None:
            bodies.append((await api.chat()).text)

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ask)
            await queued(api)
            gate.set()
    assert len(bodies) == 2
    assert not any("queue" in body for body in bodies)
