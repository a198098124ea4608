"""Another owner's id takes as long as one that there never was, and is answered alike: nobody learns which ids exist.

Each route is asked in 160 pairs, 40 on Postgres: the lookups are the same statements there, so that 40 are to find what only its
plans could do, an index that is not used for one of the two, which costs each request that much and not one in four. A difference of the median of more than 0.15 ms, or a tenth of the request if that is more,
is found with 99.9 % confidence. Its power is computed
(`paired.power`): where three pairs in four show more than the effect it is found in 99.9 % of all runs of 160 pairs; where nine in
ten do, in 99 % of those of 40. And it is shown by `test_a_difference_is_found`: where requests for another's id
are held up by three times that effect, the same judgement finds it on the same machine, under the same load.
"""

import itertools
import json
import os
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from orchestrator import app as composition
from orchestrator.core.download_claims import DownloadClaim
from orchestrator.core.downloads import DownloadJob, DownloadPlan
from orchestrator.service.tokens import TokenService
from orchestrator.settings import load_settings
from orchestrator.store.database import open_database
from orchestrator.store.encryption import Sealer
from orchestrator.store.jobs import SqlJobStore
from orchestrator.store.tokens import SqlTokenStore
from orchestrator.testing import SCRIPTED_MODEL, Call, Say
from tests.faults.whole import Model
from tests.timing.paired import LEAST_EFFECT_NS, PAIRS, RELATIVE_EFFECT, Ask, compare, judge, power

pytest_plugins = ("tests.store.databases",)
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

V1: Final = "/api/v1"
CHAT: Final[Mapping[str, Any]] = {"model": SCRIPTED_MODEL, "input": "hello"}
UNKNOWN: Final = {
    "response": ["resp_" + f"{n:048x}" for n in range(1, 400)],
    "thread": ["thread_" + f"{n:048x}" for n in range(1, 400)],
    "call": ["call_" + f"{n:024x}" for n in range(1, 400)],
    "job": ["job_" + f"{n:010x}" for n in range(1, 400)],
}
ROUTES: Final[list[tuple[str, str, str, Any]]] = [
    ("GET", f"{V1}/responses/ID", "response", None),
    ("GET", f"{V1}/responses/ID/chain", "response", None),
    ("GET", f"{V1}/responses/ID/tree", "response", None),
    ("GET", f"{V1}/responses/diff?a=ID&b=ID", "response", None),
    ("POST", f"{V1}/responses/ID/cancel", "response", None),
    ("DELETE", f"{V1}/responses/ID", "response", None),
    ("POST", f"{V1}/responses/ID/fork", "response", {"input": "hello"}),
    ("POST", f"{V1}/responses/ID/replay", "response", {}),
    ("POST", f"{V1}/responses/ID/approvals", "response", {"approvals": [{"call_id": "call_" + "0" * 24, "decision": "deny"}]}),
    ("POST", f"{V1}/chat", "response", {**CHAT, "previous_response_id": "ID"}),
    ("POST", f"{V1}/chat", "thread", {**CHAT, "thread_id": "ID"}),
    ("GET", f"{V1}/threads/ID", "thread", None),
    ("POST", f"{V1}/threads", "response", {"response_id": "ID"}),
    ("DELETE", f"{V1}/threads/ID", "thread", None),
    ("GET", f"{V1}/tool-calls/ID", "call", None),
    ("GET", f"{V1}/models/download/status/ID", "job", None),
    ("POST", f"{V1}/models/download/ID/cancel", "job", None),
    ("POST", f"{V1}/models/download/ID/pause", "job", None),
    ("POST", f"{V1}/models/download/ID/resume", "job", None),
    ("GET", f"{V1}/responses/ID/replay", "response", None),
    ("GET", f"{V1}/responses/ID/chain/replay", "response", None),
    ("POST", f"{V1}/responses/ID/chain/replay", "response", {}),
    ("GET", f"{V1}/responses/ID/elicitations", "response", None),
    ("POST", f"{V1}/responses/ID/elicitations/elicit_1", "response", {"action": "decline"}),
    ("POST", f"{V1}/plugins/mcp/clock/tools/get_current_time/call", "response", {"previous_response_id": "ID"}),
    ("POST", f"{V1}/chat", "response", {**CHAT, "previous_response_id": "ID", "stream": True}),
    ("GET", f"{V1}/responses/ID?stream=true", "response", None),
    ("GET", "/v1/responses/ID", "response", None),
    ("POST", "/v1/responses", "response", {**CHAT, "previous_response_id": "ID"}),
]  # fmt: skip


@dataclass
class House:
    """The application, the tokens of an owner and of a stranger, and the owner's ids by their kinds."""

    app: Callable[[Any, Any, Any], Awaitable[None]]
    owner: str
    stranger: str
    ids: dict[str, list[str]]

    async def ask(self, method: str, target: str, body: Any, token: str) -> tuple[int, Any]:
        """Ask in process, without a client whose own time would count."""
        path, _, query = target.partition("?")
        content = b"" if body is None else json.dumps(body).encode()
        headers = [(b"host", b"localhost"), (b"x-api-key", token.encode()), (b"content-type", b"application/json")]
        scope: dict[str, Any] = {
            **{
                "type": "http",
                "method": method,
                "path": path,
                "raw_path": path.encode(),
                "query_string": query.encode(),
            },
            **{"headers": headers, "scheme": "http", "client": ("127.0.0.1", 1), "state": {}},
        }
        told: list[Any] = []
        incoming = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> Any:
            return incoming.pop() if incoming else await anyio.sleep_forever()

        async def send(message: Any) -> None:
            told.append(message)

        await self.app(scope, receive, send)
        answer = b"".join(message.get("body", b"") for message in told[1:])
        return told[0]["status"], json.loads(answer) if answer.startswith(
            b"{"
        ) and b"\n" not in answer.strip() else answer.decode()


def model(*_: object) -> list[Model]:
    """A model that calls the first tool, and then is done."""
    turns: list[list[Call | Say]] = [[Say("Fine.")]]
    return [Model(turns)]


@asynccontextmanager
async def opened(folder: Path, url: str) -> AsyncGenerator[House]:
    """The whole service over this database, with things of an owner in it, and a stranger's token."""
    given = {"DATA_DIR": str(folder), "MCP_USER_CONFIG": str(folder / "none.json"), "DATABASE_URL": url}
    given |= {"REQUIRE_AUTHENTICATION": "true", "LOG_LEVEL": "error"}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"clock": {"command": "clock-mcp"}}}))
    read = load_settings(
        {"HOME": os.environ["HOME"], **{f"ORCHESTRATOR_{name}": text for name, text in given.items()}},
        overrides={"mcp_config": str(folder / "mcp.json")},
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(composition, "engines_of", model)
        async with composition.open_app(read) as app:
            database = await open_database(url)
            try:
                tokens = TokenService(SqlTokenStore(database, Sealer(read.encryption_key, read.encryption_key_file)))
                _, mine = await tokens.create_token("owner", ["admin"])
                rights = ["chat", "plugins", "audit.read", "models.manage"]
                _, stranger = await tokens.create_token("stranger", rights)
                house = House(app, mine, stranger, {})
                house.ids = await made(house, mine, SqlJobStore(database))
                yield house
            finally:
                await database.aclose()


async def made(house: House, token: str, jobs: SqlJobStore) -> dict[str, list[str]]:
    """Something of each kind, of the token's owner."""

    async def post(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        status, told = await house.ask("POST", f"{V1}{path}", body, token)
        assert status == 200, told
        return told

    chats = [await post("/chat", CHAT) for _ in range(4)]
    chats += [await post("/chat", {**CHAT, "previous_response_id": chats[0]["response_id"]}) for _ in range(4)]
    threads = [await post("/chat", {**CHAT, "mcp_servers": []}) for _ in range(4)]
    call = "/plugins/mcp/clock/tools/get_current_time/call"
    calls = [await post(call, {"arguments": {"timezone": "UTC"}}) for _ in range(4)]
    plan = DownloadPlan("hugging_face", "ada/model")
    job = DownloadJob("job_0123456789", "ada/model", None, plan, "paused", datetime.now(UTC))
    await jobs.create_job(job)
    claim = DownloadClaim(
        "job_9876543210", "owner-of-the-job", job.id, "ada/model", None, datetime.now(UTC), "paused", 0
    )
    await jobs.claim_job(claim)
    return {
        "response": [chat["response_id"] for chat in chats],
        "thread": [chat["thread_id"] for chat in threads],
        "call": re.findall(r"call_[0-9a-f]{24}", json.dumps(calls)),
        "job": [claim.id],
    }


def in_place(body: Any, identity: str) -> Any:
    """The body with the id where it belongs."""
    return json.loads(json.dumps(body).replace('"ID"', f'"{identity}"'))


def asker(house: House, row: tuple[str, str, str, Any], ids: list[str], told: set[str]) -> Ask:
    """Asks for one of the ids after the other; what is `told` has no id in it."""
    method, target, _, body = row
    asked = [(target.replace("ID", identity), in_place(body, identity), identity) for identity in ids]
    turn = itertools.cycle(asked)

    async def ask() -> None:
        place, content, identity = next(turn)
        status, answer = await house.ask(method, place, content, house.stranger)
        told.add(f"{status} {json.dumps(answer).replace(identity, 'ID')}")

    return ask


async def test_whether_an_id_is_anothers_or_nobodys_cannot_be_told(database_url: str, tmp_path: Path) -> None:
    found: list[str] = []
    pairs = PAIRS if database_url.startswith("sqlite") else PAIRS // 4
    async with opened(tmp_path, database_url) as house:
        for row in ROUTES:
            there = house.ids[row[2]]
            never = UNKNOWN[row[2]][: len(there)]
            told: set[str] = set()
            verdict = await compare(asker(house, row, there, told), asker(house, row, never, told), pairs)
            assert len(told) == 1, told
            assert next(iter(told))[0] == "4", told
            if verdict.differs:
                found.append(f"{row[:2]}: {verdict}")
    assert found == []


async def test_a_difference_is_found(sqlite_url: str, tmp_path: Path) -> None:
    """The positive control: what the test above would say of a lookup that is longer by three times the effect."""
    row = ROUTES[0]
    async with opened(tmp_path, sqlite_url) as house:
        there, never = house.ids["response"], UNKNOWN["response"][:8]
        plain = asker(house, row, there, set())
        without = await compare(plain, asker(house, row, never, set()))
        delay = 3 * max(LEAST_EFFECT_NS, RELATIVE_EFFECT * without.typical)

        async def held_up() -> None:
            await plain()
            until = time.perf_counter_ns() + delay
            while time.perf_counter_ns() < until:
                pass

        found = await compare(held_up, asker(house, row, never, set()))
    assert (without.differs, found.differs) == (False, True), (without, found)


def test_the_judgement_takes_noise_for_noise_and_a_shift_for_a_shift() -> None:
    noise = [(-1) ** n * (n % 40) * 20_000 for n in range(160)]
    assert not judge(noise, 1_000_000).differs
    assert judge([one + 800_000 for one in noise], 1_000_000).differs
    assert judge([one - 800_000 for one in noise], 1_000_000).differs
    assert not judge([one + 100_000 for one in noise], 1_000_000).differs
    assert not judge([1, 2, 3], 1_000_000).differs


def test_the_power_is_what_is_said_of_it() -> None:
    assert power(PAIRS, 0.75) > 0.999
    assert power(PAIRS // 4, 0.9) > 0.99
    assert power(PAIRS, 0.5) < 0.001


def test_the_power_is_that_of_the_judgement() -> None:
    """Trials with a fixed seed: of each, as many pairs as fall out lie beyond the effect."""
    chance = random.Random(7)
    trials, share = 2000, 0.8
    drawn = [[300_000 if chance.random() < share else 0 for _ in range(PAIRS // 4)] for _ in range(trials)]
    found = sum(judge(differences, 1_000_000).differs for differences in drawn) / trials
    assert abs(found - power(PAIRS // 4, share)) < 0.05
