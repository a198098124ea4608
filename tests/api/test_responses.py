"""The graph of responses over HTTP: listing, chains, trees, deleting, cancelling, and who may."""

from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from orchestrator.testing import Call, FakeServer, Say, ScriptedEngine, Stall
from tests.api.house import House, fake_tool, house
from tests.api.test_auth import token_text
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

RESPONSES = "/api/v1/responses"
NOT_THERE = {
    "type": "invalid_request",
    "message": "There is no such response, or it is not stored, or it is somebody else's.",
    "code": "response_not_found",
    "param": "response_id",
}


async def chain_of(api: House, length: int, parent: str | None = None, **body: Any) -> list[str]:
    """Responses that continue each other; their ids."""
    ids: list[str] = []
    for number in range(length):
        made = await api.chat(input=f"question {number}", previous_response_id=parent, **body)
        parent = made.json()["response_id"]
        ids.append(made.json()["response_id"])
    return ids


def ids_in(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [entry["response_id"] for entry in reply.json()["responses"]]


async def test_a_listing_is_read_page_by_page_newest_first_or_oldest_first() -> None:
    async with house() as api:
        ids = await chain_of(api, 5)
        for order, expected in (("desc", ids[::-1]), ("asc", ids)):
            found: list[str] = []
            query: dict[str, Any] | None = {"limit": 2, "order": order}
            while query is not None:
                page = await api.client.get(RESPONSES, params=query)
                found += ids_in(page)
                cursor = page.json().get("next_cursor")
                query = None if cursor is None else {"limit": 2, "order": order, "cursor": cursor}
            assert found == expected


async def test_an_entry_tells_what_a_list_shows() -> None:
    async with house(ScriptedEngine([[Say("Good day to you.")]])) as api:
        [root, child] = await chain_of(api, 2, metadata={"ticket": "7"})
        [entry, _] = (await api.client.get(RESPONSES)).json()["responses"]
    assert entry.pop("created_at") <= entry.pop("ended_at")
    assert entry == {
        "response_id": child,
        "previous_response_id": root,
        "root_id": root,
        "depth": 1,
        "owner": "local",
        "model": "test/scripted",
        "status": "completed",
        "metadata": {"ticket": "7"},
        "input_preview": "question 1",
        "output_preview": "Good day to you.",
    }


async def test_filters_find_what_has_them_all() -> None:
    script = [[Call("now")], [Say("It is noon.")], [Say("Nothing.")]]
    server = FakeServer(tools=(fake_tool("now", tell_time),))
    async with house(ScriptedEngine(script), {"mcp/clock": server}) as api:
        timed = (await api.chat(integrations=["mcp/clock"], metadata={"kind": "a", "x.y": "ü"})).json()["response_id"]
        plain = (await api.chat(metadata={"kind": "a"})).json()["response_id"]
        created = (await api.client.get(f"{RESPONSES}/{plain}")).json()["created_at"]
        answers = {
            query: ids_in(await api.client.get(f"{RESPONSES}?{query}"))
            for query in (
                *(
                    "tool=now",
                    "plugin=mcp/clock",
                    "plugin=CLOCK",
                    "tool=other",
                    "server_label=clock",
                    "status=completed",
                ),
                *("status=failed", "metadata.kind=a", "metadata.kind=a&metadata.x.y=%C3%BC", "metadata.kind=b"),
                *(
                    "model=test/scripted",
                    "model=other",
                    "text=noon",
                    'text="is noon"',
                    "text=noth*",
                    "text=noon nothing",
                ),
                *(f"to={created}".replace("+", "%2B"), f"from={created}", "to=2001-01-01", "from=2001-01-01"),
                "tool=now&metadata.kind=a&status=completed&text=NOON&model=test/scripted",
            )
        }
    both = [plain, timed]
    assert list(answers.values()) == [
        *([timed], [timed], [timed], [], [], both),
        *([], both, [timed], []),
        *(both, [], [timed], [timed], [plain], []),
        *([timed], [plain], [], both),
        [timed],
    ]


async def test_a_search_shows_where_it_found_what() -> None:
    async with house(ScriptedEngine([[Say("The café is open until noon, and Café Noon too.")]])) as api:
        await api.chat(input="When?")
        [entry] = (await api.client.get(RESPONSES, params={"text": "cafe noo*"})).json()["responses"]
    text = entry["found"]["text"]
    assert [text[start:end] for start, end in entry["found"]["matches"]] == ["café", "noon", "Café", "Noon"]


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("limit=0", "invalid_value", "limit"),
        ("limit=101", "invalid_value", "limit"),
        ("limit=x", "invalid_value", "limit"),
        ("limit=1&limit=2", "invalid_value", "limit"),
        ("cursor=x", "invalid_value", "cursor"),
        ("cursor=%F0%9F%98%80", "invalid_value", "cursor"),
        ("status=done", "invalid_value", "status"),
        ("from=yesterday", "invalid_value", "from"),
        ("order=up", "invalid_value", "order"),
        ("text=%22%21%22", "invalid_value", "text"),
        ("text=" + "a+" * 40, "invalid_value", "text"),
        ("metadata.=x", "invalid_value", "metadata."),
        ("page=2", "unrecognized_keys", "page"),
    ],
)
async def test_a_query_that_is_not_understood_is_refused_by_name(query: str, code: str, param: str) -> None:
    async with house() as api:
        response = await api.client.get(f"{RESPONSES}?{query}")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)


@pytest.mark.parametrize(
    "text", ['"', "NEAR(a b)", "a AND", "words:x", "^a", "* *a", "a:*", "'a' & 'b'", "a\x00b", "\\"]
)
async def test_no_search_is_an_accident(text: str) -> None:
    async with house() as api:
        response = await api.client.get(RESPONSES, params={"text": text})
    assert response.status_code in (200, 400)


async def test_a_chain_and_a_tree_are_read_whole_or_in_pages() -> None:
    async with house() as api:
        [root, left, end] = await chain_of(api, 3)
        [right] = await chain_of(api, 1, root)
        path = f"{RESPONSES}/{end}"
        detail = (await api.client.get(f"{RESPONSES}/{root}")).json()
        chain = await api.client.get(f"{path}/chain")
        first = await api.client.get(f"{path}/chain", params={"limit": 2})
        rest = await api.client.get(f"{path}/chain", params={"limit": 2, "cursor": first.json()["next_cursor"]})
        tree = await api.client.get(f"{path}/tree")
        level = await api.client.get(f"{path}/tree", params={"limit": 3})
        last = await api.client.get(f"{path}/tree", params={"limit": 3, "cursor": level.json()["next_cursor"]})
    assert (detail["children"], detail["children_count"]) == ([left, right], 2)
    assert (ids_in(chain), ids_in(first), ids_in(rest)) == ([root, left, end], [root, left], [end])
    assert [each["input"][0]["content"] for each in chain.json()["responses"]] == [f"question {n}" for n in range(3)]
    assert (ids_in(tree), ids_in(level), ids_in(last)) == ([root, left, right, end], [root, left, right], [end])
    assert [reply.json().get("next_cursor") for reply in (chain, rest, tree, last)] == [None] * 4


async def test_deleting_takes_the_subtree_only_when_asked_and_the_id_is_unknown_from_then_on() -> None:
    async with house() as api:
        [root, child, grandchild] = await chain_of(api, 3)
        refused = await api.client.delete(f"{RESPONSES}/{child}")
        kept = await api.client.get(f"{RESPONSES}/{child}")
        deleted = await api.client.delete(f"{RESPONSES}/{child}", params={"subtree": "true"})
        gone = [
            *[await api.client.get(f"{RESPONSES}/{child}{more}") for more in ("", "/chain", "/tree")],
            await api.client.delete(f"{RESPONSES}/{child}"),
            await api.client.post(f"{RESPONSES}/{grandchild}/cancel"),
        ]
        continued = await api.chat(previous_response_id=child)
        left = ids_in(await api.client.get(RESPONSES))
        alone = await api.client.delete(f"{RESPONSES}/{root}")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (409, "response_has_children", "response_id")
    assert kept.status_code == 200
    assert deleted.json() == {
        "response_id": child,
        "deleted": True,
        "deleted_responses": [child, grandchild],
        "kept_by": [],
    }
    assert [(reply.status_code, reply.json()["error"]) for reply in gone] == [(404, NOT_THERE)] * 5
    assert (continued.status_code, left, alone.json()["deleted_responses"]) == (400, [root], [root])


async def test_a_running_response_is_cancelled_before_it_is_deleted() -> None:
    async with (
        house(ScriptedEngine([[Say("Well, "), Stall(anyio.Event()), Say("no.")]])) as api,
        anyio.create_task_group() as tasks,
    ):
        replies: list[httpx.Response] = []

        async def chat() -> None:
            replies.append(await api.chat())

        tasks.start_soon(chat)
        await api.generating(1)
        [running] = ids_in(await api.client.get(RESPONSES, params={"status": "in_progress"}))
        refused = await api.client.delete(f"{RESPONSES}/{running}")
        cancelled = [await api.client.post(f"{RESPONSES}/{running}/cancel") for _ in range(2)]
        deleted = await api.client.delete(f"{RESPONSES}/{running}")
        while not replies:
            await anyio.lowlevel.checkpoint()
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "response_not_finished")
        told = {"response_id": running, "status": "cancelled"}
        assert [(reply.status_code, reply.json()) for reply in cancelled] == [(200, told)] * 2
        assert (deleted.status_code, replies[0].json()["status"]) == (200, "cancelled")


async def test_a_run_of_another_process_is_asked_to_end_and_the_answer_does_not_wait_for_ever() -> None:
    async with (
        house(ScriptedEngine([[Say("Well, "), Stall(anyio.Event()), Say("no.")]])) as api,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(api.chat)
        await api.generating(1)
        [running] = ids_in(await api.client.get(RESPONSES))
        live = api.runs._live.pop(running)  # pyright: ignore[reportPrivateUsage] - as if another process had it
        reply = await api.client.post(f"{RESPONSES}/{running}/cancel")
        asked = await api.graph.cancels_requested("holder")
        api.runs._live[running] = live  # pyright: ignore[reportPrivateUsage] - and as it was again
        tasks.start_soon(api.runs.heed_cancels, api.graph.cancels_requested)
        with anyio.fail_after(5):
            await live.ended()
        assert (reply.status_code, reply.json()) == (202, {"response_id": running, "status": "in_progress"})
        assert asked == [(running, "cancelled by the client")]
        assert live.status == "cancelled"
        tasks.cancel_scope.cancel()


async def test_others_responses_are_read_only_by_name_with_a_permission_and_that_is_written_down() -> None:
    async with house(require_authentication=True) as api:
        keys = {
            name: {"x-api-key": await token_text(api, *permissions, owner=name)}
            for name, permissions in (("ada", ["chat"]), ("eve", ["chat"]), ("auditor", ["chat", "audit.read_all"]))
        }
        made = await api.client.post("/api/v1/chat", json={"model": "test/scripted", "input": "x"}, headers=keys["ada"])
        path = f"{RESPONSES}/{made.json()['response_id']}"

        async def statuses(who: str, query: str) -> list[int]:
            paths = (path, f"{path}/chain", f"{path}/tree", RESPONSES)
            return [(await api.client.get(f"{each}{query}", headers=keys[who])).status_code for each in paths]

        assert await statuses("ada", "") == await statuses("ada", "?owner=ada") == [200] * 4
        assert await statuses("eve", "") == await statuses("auditor", "") == [404, 404, 404, 200]
        assert await statuses("eve", "?owner=ada") == await statuses("eve", "?owner=*") == [403] * 4
        assert api.graph.readings == []
        assert await statuses("auditor", "?owner=ada") == await statuses("auditor", "?owner=*") == [200] * 4
        listed = [ids_in(await api.client.get(RESPONSES, headers=keys[who])) for who in ("ada", "eve", "auditor")]
        deleted = [(await api.client.delete(path, headers=keys[who])).status_code for who in ("eve", "auditor")]
    id = made.json()["response_id"]
    assert listed == [[id], [], []]
    assert deleted == [404, 404]
    assert api.graph.readings[:4] == [
        ("auditor", "response", f"ada {id}"),
        ("auditor", "chain", f"ada {id}"),
        ("auditor", "tree", f"ada {id}"),
        ("auditor", "responses", "ada"),
    ]
