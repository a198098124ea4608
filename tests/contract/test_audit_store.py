"""What every `AuditStore` promises: the twin, SQLite and Postgres list, find and count alike."""

from dataclasses import replace
from datetime import timedelta
from functools import reduce

import pytest

from orchestrator.core.commands import Outcome
from orchestrator.core.items import EphemeralProvider, PluginProvider
from orchestrator.core.json_types import JsonObject
from orchestrator.core.response import Completed
from orchestrator.core.tools import text_content
from orchestrator.ports.audit import (
    ArgumentPattern,
    AuditedCall,
    CallFilter,
    CallPlace,
    DurationCount,
    ListedCall,
)
from orchestrator.store import audit_export, audit_query
from tests.store.samples import (
    CLOCK_SERVER,
    DOCS_SERVER,
    MINUTE,
    NOON,
    OFFERED,
    STATS,
    answered,
    call,
    cut_call,
    ephemeral_call,
    invented_call,
    new_response,
    settled,
)
from tests.store.stores import Stores

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

ARGUMENTS: tuple[JsonObject, ...] = (
    {"path": "/etc/passwd", "depth": 3},
    {"path": "/etc/hosts", "files": [{"name": "a.py"}, {"name": "b[1].py"}], "on": True},
    {"path": "/home/100%_é*?\\", "options": {"deep": {"er": None}}},
    {"path": "/ETC/x", "zone": "\x00\x10"},
)


@pytest.fixture
async def journal(stores: Stores) -> Stores:
    """Eleven calls of two owners: every status, both kinds of server, one response that is not stored."""
    store = stores.responses
    await store.open_response(new_response("resp_a"))
    asked = [call(place, f"call_{place}", arguments=arguments) for place, arguments in enumerate(ARGUMENTS)]
    for place, placed in enumerate(asked):
        await store.journal_calls("resp_a", [placed], NOON + place * MINUTE)
    for place, placed in enumerate(asked[:3]):
        outcome = answered("ok", duration_ms=10 * place)
        await store.record_outcome("resp_a", placed.call_id, outcome, NOON + place * MINUTE + timedelta(seconds=1))
    last = [invented_call(4, "call_4"), cut_call(5, "call_5"), settled(call(6, "call_6"), answered("x", 30))]
    await store.save_response("resp_a", Completed(), STATS, last, [], NOON + 9 * MINUTE)

    await store.open_response(replace(new_response("resp_b"), owner="bob", model_key="other/model"))
    failed = Outcome("failed", text_content("no"), "no", is_error=True, duration_ms=400)
    refused = Outcome("refused", text_content("no"), "no", is_error=True)
    both = [settled(ephemeral_call(0, "call_b0"), failed), settled(ephemeral_call(1, "call_b1"), refused)]
    await store.save_response("resp_b", Completed(), STATS, both, [], NOON + MINUTE)
    await store.open_response(replace(new_response("resp_c", stored=False), owner="bob"))
    await store.journal_calls(
        "resp_c", [replace(call(0, "call_c0"), server=CLOCK_SERVER), invented_call(1, "call_c1")], NOON + 2 * MINUTE
    )
    return stores


async def ids(stores: Stores, wanted: CallFilter, *, newest_first: bool = True, size: int = 50) -> list[str]:
    """Every page, one after the other."""
    found: list[str] = []
    after: CallPlace | None = None
    while True:
        page = await stores.audit.list_calls(wanted, after, size, newest_first=newest_first)
        assert len(page.calls) <= size
        found += [entry.call_id for entry in page.calls]
        after = page.next
        if after is None:
            return found


IN_ORDER = "0 1 b0 b1 2 c0 c1 3 4 5 6".split()
DIGEST = OFFERED[1].digest


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (CallFilter(), IN_ORDER),
        (CallFilter(owner="ada"), "0 1 2 3 4 5 6".split()),
        (CallFilter(owner="nobody"), []),
        (CallFilter(tool="search"), ["b0", "b1"]),
        (CallFilter(plugin_id="mcp/clock"), "0 1 2 c0 3 5 6".split()),
        (CallFilter(server_label="docs"), ["b0", "b1"]),
        (CallFilter(server_label="mcp/clock"), []),
        (CallFilter(plugin_id="MCP/Clock"), "0 1 2 c0 3 5 6".split()),
        (CallFilter(plugin_id="mcp/cl"), []),
        (CallFilter(server_label="DOCS", status="refused"), ["b1"]),
        (CallFilter(server_address="https://docs.example/mcp"), ["b0", "b1"]),
        (CallFilter(server_address="python3"), ["c0"]),
        (CallFilter(server_address="https://docs.example/mcp", status="failed"), ["b0"]),
        (CallFilter(server_address="https://docs.example"), []),
        (CallFilter(status="journaled"), ["c0", "3"]),
        (CallFilter(status="invalid"), ["c1", "4", "5"]),
        (CallFilter(is_error=True), "b0 b1 c1 4 5".split()),
        (CallFilter(is_error=False, owner="bob"), ["c0"]),
        (CallFilter(response_id="resp_b"), ["b0", "b1"]),
        (CallFilter(model="other/model"), ["b0", "b1"]),
        (CallFilter(definition_digest=DIGEST, status="failed"), ["b0"]),
        (CallFilter(since=NOON + 2 * MINUTE, until=NOON + 9 * MINUTE), ["2", "c0", "c1", "3"]),
        (CallFilter(duration_min=10, duration_max=30), ["1", "2", "6"]),
        (CallFilter(duration_min=400), ["b0"]),
        (CallFilter(duration_max=0, is_error=False), ["0"]),
        (CallFilter(owner="ada", tool="now", is_error=False, status="succeeded", duration_min=5), ["1", "2", "6"]),
        (CallFilter(arguments=(ArgumentPattern("path", "/etc/*"),)), ["0", "1"]),
        (CallFilter(arguments=(ArgumentPattern("path", "/etc/hosts"),)), ["1"]),
        (CallFilter(arguments=(ArgumentPattern("path", "*s*"),)), ["0", "1"]),
        (CallFilter(arguments=(ArgumentPattern("path", "/???/x"),)), ["3"]),
        (CallFilter(arguments=(ArgumentPattern("path", "*"),)), ["0", "1", "2", "3"]),
        (CallFilter(arguments=(ArgumentPattern("path", "/home/100%_é\\*\\?\\\\"),)), ["2"]),
        (CallFilter(arguments=(ArgumentPattern("path", "?home/100%_*"),)), ["2"]),
        (CallFilter(arguments=(ArgumentPattern("path", "/home/1%*"),)), []),
        (CallFilter(arguments=(ArgumentPattern("depth", "3"),)), ["0"]),
        (CallFilter(arguments=(ArgumentPattern("on", "true"), ArgumentPattern("path", "/etc/*"))), ["1"]),
        (CallFilter(arguments=(ArgumentPattern("files[].name", "b[1]*"),)), ["1"]),
        (CallFilter(arguments=(ArgumentPattern("files[].name", "?[1].py"),)), ["1"]),
        (CallFilter(arguments=(ArgumentPattern("files[].name", "*.py"),)), ["1"]),
        (CallFilter(arguments=(ArgumentPattern("options.deep.er", "null"),)), ["2"]),
        (CallFilter(arguments=(ArgumentPattern("zone", "\x00\x10"),)), ["3"]),
        (CallFilter(arguments=(ArgumentPattern("path", "/etc/*"),), owner="bob"), []),
        (CallFilter(arguments=(ArgumentPattern("to", "moon"),)), ["4"]),
    ],
    ids=lambda value: repr(sorted(value.given().items())) if isinstance(value, CallFilter) else "",
)
async def test_each_question_has_its_answer_in_either_order_and_by_any_page(
    journal: Stores, wanted: CallFilter, expected: list[str]
) -> None:
    calls = [f"call_{name}" for name in expected]
    assert await ids(journal, wanted, newest_first=False) == calls
    assert await ids(journal, wanted) == calls[::-1]
    assert await ids(journal, wanted, size=1) == calls[::-1]
    assert await ids(journal, wanted, size=2, newest_first=False) == calls


async def test_a_page_that_has_looked_at_enough_ends_and_says_where_to_go_on(
    journal: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a bound cuts off comes with the next page, whichever way it is looked for."""
    monkeypatch.setattr(audit_query, "MOST_LOOKED_AT", 2)
    monkeypatch.setattr(audit_query, "MOST_COUNTED", 1)
    for wanted, expected in (
        (CallFilter(arguments=(ArgumentPattern("path", "*s*"),)), ["1", "0"]),
        (CallFilter(arguments=(ArgumentPattern("path", "/etc/*"),)), ["1", "0"]),
        (CallFilter(owner="bob", is_error=True), ["c1", "b1", "b0"]),
        (CallFilter(duration_min=10, duration_max=30), ["6", "2", "1"]),
    ):
        assert await ids(journal, wanted, size=1) == [f"call_{name}" for name in expected]


async def test_every_spelling_of_a_label_is_found(stores: Stores) -> None:
    await stores.responses.open_response(new_response("resp_a"))
    for place, label in enumerate(("my_notes", "My-Notes", "my notes", "mynotes")):
        placed = replace(call(place, f"call_{place}"), provider=PluginProvider(f"mcp/{label}"))
        await stores.responses.journal_calls("resp_a", [placed], NOON + place * MINUTE)
    assert await ids(stores, CallFilter(plugin_id="mcp/my-notes")) == ["call_1", "call_0"]
    counts = await stores.audit.count_calls(CallFilter(plugin_id="MCP/MY_NOTES"), None)
    assert sum(count.calls for count in counts) == 2


DEEP: JsonObject = reduce(lambda inner, _: {"in": inner}, range(40), {"path": "/deep"})
LONG: tuple[JsonObject, ...] = (
    {"path": "/" + "a" * 300 + "/secret.env"},
    {"path": "/" + "a" * 300 + "/b*[?].txt", "on": True},
    {"files": [f"/file/{number}" for number in range(100)], "path": "/late/secret.env"},
    DEEP,
    {"n" * 300: "far"},
    {"path": "a\x00b"},
    {"path": "/" + "a" * 300},
)


@pytest.mark.parametrize("by_index", [False, True], ids=["all", "by index"])
async def test_no_value_is_missed_because_it_is_long_late_or_deep(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, *, by_index: bool
) -> None:
    """Where the index alone is asked, what stands late or deep is missed: the page says so, counts do not miss it."""
    if by_index:
        monkeypatch.setattr(audit_query, "MOST_LOOKED_AT", 3)
    await stores.responses.open_response(new_response("resp_a"))
    for place, arguments in enumerate(LONG):
        placed = call(place, f"call_{place}", arguments=arguments)
        await stores.responses.journal_calls("resp_a", [placed], NOON + place * MINUTE)
    for path, glob, expected in (
        ("path", "*secret.env", [0, 2]),
        ("path", "/aaa*", [0, 1, 6]),
        ("path", "/" + "a" * 300 + "*", [0, 1, 6]),
        ("path", "/" + "a" * 300, [6]),
        ("path", "/" + "a" * 280 + "*secret.env", [0]),
        ("path", "/*b\\*[\\?].t?t", [1]),
        ("path", "/*b\\*[\\?].t", []),
        ("path", "/late/secret.env", [2]),
        ("path", "/late/*", [2]),
        ("files[]", "/file/99", [2]),
        ("in." * 40 + "path", "/d*", [3]),
        ("n" * 300, "far", [4]),
        ("n" * 300, "f?r", [4]),
        ("n" * 301, "far", []),
        ("path", "a?b", [5]),
        ("path", "a?0000b", []),
        ("path", "a??????", []),
    ):
        wanted = CallFilter(arguments=(ArgumentPattern(path, glob),))
        page = await stores.audit.list_calls(wanted, None, 10, newest_first=False)
        listed, place = [found.call_id for found in page.calls], page.next
        while place is not None:
            rest = await stores.audit.list_calls(wanted, place, 10, newest_first=False)
            listed, place = listed + [found.call_id for found in rest.calls], rest.next
        calls = [f"call_{number}" for number in expected]
        assert listed == calls, glob
        assert sum(count.calls for count in await stores.audit.count_calls(wanted, None)) == len(expected), glob


async def test_a_listed_call_says_who_what_when_and_how(journal: Stores) -> None:
    page = await journal.audit.list_calls(CallFilter(response_id="resp_b"), None, 1)
    assert page.calls == (
        ListedCall(
            call_id="call_b1",
            response_id="resp_b",
            turn=1,
            position=1,
            owner="bob",
            token_id="abcd1234",
            model="other/model",
            model_name="docs_search",
            tool="search",
            provider=EphemeralProvider("docs"),
            server=DOCS_SERVER,
            definition_digest=DIGEST,
            arguments={},
            status="refused",
            is_error=True,
            duration_ms=0,
            created_at=NOON + MINUTE,
            settled_at=NOON + MINUTE,
        ),
    )
    assert page.next == CallPlace(NOON + MINUTE, "call_b1")


async def test_a_call_is_shown_whole_to_its_owner_and_to_who_may_see_all(journal: Stores) -> None:
    whole = await journal.audit.get_call("call_1", "ada")
    assert whole is not None
    placed, outcome = call(1, "call_1", arguments=ARGUMENTS[1]), answered("ok", duration_ms=10)
    expected = AuditedCall(
        listed=replace(whole.listed, status="succeeded", arguments=ARGUMENTS[1], owner="ada", model="demo/model"),
        arguments=ARGUMENTS[1],
        arguments_text=placed.arguments_text,
        reason=None,
        output=outcome.output,
        structured=outcome.structured,
        shown=outcome.shown,
        definition=OFFERED[0].definition.as_json(),
        arguments_salt=whole.arguments_salt,
        output_salt=whole.output_salt,
        links=whole.links,
    )
    assert whole == expected
    assert await journal.audit.get_call("call_1", None) == whole
    assert await journal.audit.get_call("call_1", "bob") is None
    assert await journal.audit.get_call("call_unknown", None) is None


async def test_calls_are_counted_by_tool_time_and_how_they_ended(journal: Stores) -> None:
    clock, docs = PluginProvider("mcp/clock"), EphemeralProvider("docs")
    assert set(await journal.audit.count_calls(CallFilter(), None)) == {
        DurationCount(0, "now", clock, "succeeded", False, 0, 1),
        DurationCount(0, "now", clock, "succeeded", False, 10, 1),
        DurationCount(0, "now", clock, "succeeded", False, 20, 1),
        DurationCount(0, "now", clock, "succeeded", False, 30, 1),
        DurationCount(0, "now", clock, "journaled", False, None, 2),
        DurationCount(0, "now", clock, "invalid", True, 0, 1),
        DurationCount(0, None, None, "invalid", True, 0, 2),
        DurationCount(0, "search", docs, "failed", True, 400, 1),
        DurationCount(0, "search", docs, "refused", True, 0, 1),
    }
    minute = int(NOON.timestamp()) // 60
    by_minute = await journal.audit.count_calls(CallFilter(owner="ada", status="succeeded"), 60)
    assert sorted(count.bucket - minute for count in by_minute) == [0, 1, 2, 9]


async def test_events_are_numbered_and_listed_the_newest_first(stores: Stores) -> None:
    for number in range(3):
        await stores.audit.record_event("reading", NOON, "carol", None, {"number": number})
    events = await stores.audit.list_events(None, 2)
    assert [(event.sequence, event.details) for event in events] == [(3, {"number": 2}), (2, {"number": 1})]
    assert [event.sequence for event in await stores.audit.list_events(2, 2)] == [1]


async def test_the_definitions_of_calls_are_there_once_each_by_digest(
    journal: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def definitions(wanted: CallFilter) -> dict[str, JsonObject]:
        found = [each async for page in journal.audit.export_definitions(wanted) for each in page]
        assert [each.digest for each in found] == sorted({each.digest for each in found})
        return {each.digest: each.definition for each in found}

    monkeypatch.setattr(audit_export, "DEFINITIONS_PAGE", 1)
    calls = (await journal.audit.list_calls(CallFilter(), None, 50)).calls
    whole = [await journal.audit.get_call(call.call_id, None) for call in calls]
    known = {call.listed.definition_digest: call.definition for call in whole if call is not None}
    del known[None]
    assert len(known) == 2
    assert await definitions(CallFilter()) == known
    [clock] = {call.definition_digest for call in calls if call.tool == "now"}
    assert await definitions(CallFilter(tool="now", is_error=False)) == {clock: known[clock]}
    assert await definitions(CallFilter(tool="now", arguments=(ArgumentPattern("depth", "3"),))) == {
        clock: known[clock]
    }
    assert await definitions(CallFilter(owner="nobody")) == {}
