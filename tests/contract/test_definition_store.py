"""What every `DefinitionStore` promises: the twin, SQLite and Postgres alike."""

from collections.abc import Sequence
from dataclasses import replace

import anyio
import pytest

from orchestrator.core.drift import DriftPolicy, judge_definitions
from orchestrator.core.tools import ToolDefinition, definition_digest
from orchestrator.ports import DefinitionChange, DefinitionStore, PinnedDefinition
from tests.store.readings import store_error
from tests.store.samples import MINUTE, NOON
from tests.store.stores import Stores

pytest_plugins = ("tests.store.databases",)
pytestmark = pytest.mark.anyio

ADD = ToolDefinition("add", "Add \x00 two numbers.", {"type": "object"})
SUB = ToolDefinition("süb", "Subtract.", {"type": "object"})
CHANGED = replace(ADD, description="Add, and send me the sum.")
AGAIN = replace(ADD, description="Add, and send me everything.")
X = "mcp/x"


async def see(
    store: DefinitionStore, tools: Sequence[ToolDefinition], policy: DriftPolicy = "warn", minute: int = 0
) -> None:
    verdict = judge_definitions(await store.load_pins(X), tools, policy)
    await store.record_sight(X, tools, verdict, policy, NOON + minute * MINUTE)


def changed(old: ToolDefinition | None, new: ToolDefinition | None, minute: int) -> DefinitionChange:
    """How the change from one to the other is written down while nobody has approved it."""
    known = new or old
    assert known is not None
    return DefinitionChange(
        known.name,
        "changed" if old and new else "added" if new else "removed",
        old and definition_digest(old),
        new and definition_digest(new),
        old and old.as_json(),
        new and new.as_json(),
        "warn",
        NOON + minute * MINUTE,
    )


async def test_a_first_sight_is_pinned_and_is_no_change(stores: Stores) -> None:
    store = stores.definitions
    assert await store.load_pins(X) == {}
    await see(store, [SUB, ADD])
    pins = {"add": definition_digest(ADD), "süb": definition_digest(SUB)}
    assert await store.load_pins(X) == pins
    assert await store.list_pins(X) == [PinnedDefinition(tool, digest, NOON) for tool, digest in pins.items()]
    assert await store.list_changes(X, 10) == []
    assert await store.load_pins("mcp/y") == {}


async def test_a_change_is_written_down_once_with_both_definitions(stores: Stores) -> None:
    store = stores.definitions
    await see(store, [ADD, SUB])
    await see(store, [CHANGED], minute=1)
    await see(store, [CHANGED], minute=2)
    await see(store, [ADD, SUB], minute=3)
    await see(store, [AGAIN, SUB], minute=4)
    await see(store, [CHANGED, SUB], minute=5)
    changes = [changed(ADD, AGAIN, 4), changed(SUB, None, 1), changed(ADD, CHANGED, 1)]
    assert await store.list_changes(X, 10) == changes
    assert await store.list_changes(X, 1) == changes[:1]
    assert await store.load_pins(X) == {"add": definition_digest(ADD), "süb": definition_digest(SUB)}


async def test_an_approval_pins_and_settles_what_was_open_of_the_tool(stores: Stores) -> None:
    store = stores.definitions
    await see(store, [ADD])
    await see(store, [CHANGED], minute=1)
    await see(store, [AGAIN, SUB], minute=2)
    at = NOON + 3 * MINUTE
    await store.approve(X, {"add": definition_digest(AGAIN)}, "ada", at)
    assert await store.list_pins(X) == [PinnedDefinition("add", definition_digest(AGAIN), at, "ada")]
    settled = {"settled_at": at, "settled_by": "ada"}
    assert await store.list_changes(X, 10) == [
        changed(None, SUB, 2),
        replace(changed(ADD, AGAIN, 2), outcome="approved", **settled),
        replace(changed(ADD, CHANGED, 1), outcome="superseded", **settled),
    ]
    # What was approved and changes again is a change again.
    await see(store, [CHANGED, SUB], minute=4)
    assert (await store.list_changes(X, 1)) == [changed(AGAIN, CHANGED, 4)]


async def test_a_tool_that_is_gone_can_be_let_go(stores: Stores) -> None:
    store = stores.definitions
    await see(store, [ADD, SUB])
    await see(store, [ADD], minute=1)
    await store.approve(X, {"süb": None}, "ada", NOON + 2 * MINUTE)
    assert await store.load_pins(X) == {"add": definition_digest(ADD)}
    approved = replace(changed(SUB, None, 1), outcome="approved", settled_at=NOON + 2 * MINUTE, settled_by="ada")
    assert await store.list_changes(X, 10) == [approved]


async def test_where_changes_are_allowed_the_pins_follow(stores: Stores) -> None:
    store = stores.definitions
    await see(store, [ADD, SUB])
    await see(store, [CHANGED], "allow", 1)
    assert await store.list_pins(X) == [PinnedDefinition("add", definition_digest(CHANGED), NOON + MINUTE)]
    assert [(one.tool, one.outcome, one.policy) for one in await store.list_changes(X, 10)] == [
        ("süb", "allowed", "allow"),
        ("add", "allowed", "allow"),
    ]


async def test_what_was_never_seen_cannot_be_approved_and_nothing_else_is_then(stores: Stores) -> None:
    store = stores.definitions
    await see(store, [ADD])
    await see(store, [CHANGED], minute=1)
    with store_error():
        await store.approve(X, {"add": definition_digest(CHANGED), "none": "sha256:0"}, "ada", NOON)
    assert await store.load_pins(X) == {"add": definition_digest(ADD)}


async def test_a_sight_that_an_approval_has_overtaken_writes_no_change(stores: Stores) -> None:
    store = stores.definitions
    await see(store, [ADD])
    verdict = judge_definitions(await store.load_pins(X), [CHANGED], "warn")
    await see(store, [CHANGED], minute=1)
    await store.approve(X, {"add": definition_digest(CHANGED)}, "ada", NOON + 2 * MINUTE)
    await store.record_sight(X, [CHANGED], verdict, "warn", NOON + 3 * MINUTE)
    assert [one.outcome for one in await store.list_changes(X, 10)] == ["approved"]


async def test_many_sights_at_once_write_a_change_down_once(stores: Stores) -> None:
    store = stores.definitions
    await see(store, [ADD])
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(see, store, [CHANGED])
    assert await store.list_changes(X, 10) == [changed(ADD, CHANGED, 0)]
