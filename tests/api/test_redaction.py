"""Redaction over HTTP: the tool, the model and the client of a run have everything; what is kept of it has not."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.items import TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import ToolMessage, UserMessage
from orchestrator.core.redaction import Redaction
from orchestrator.core.redaction_rules import parse_paths, parse_patterns
from orchestrator.core.tools import text_content
from orchestrator.testing import Call, FakeServer, MemoryStore, Say, ScriptedEngine, Think
from tests.api.house import House, fake_tool, house
from tests.api.test_approvals import APPROVE, decide, error_of

pytestmark = pytest.mark.anyio

CARD, PASSWORD = "4111 1111 1111 1111", "hunter2-true"
RULES = Redaction(parse_patterns(["card"]), parse_paths(["arguments.password"]))
VAULT = {"type": "plugin", "id": "mcp/vault"}
ASKING = {**VAULT, "require_approval": "always"}
LOGIN = Call("login", {"user": "ada", "password": PASSWORD})


async def log_in(arguments: JsonObject) -> str:
    return f"{arguments['user']} used {arguments['password']} and pays with {CARD}"


def vault() -> FakeServer:
    return FakeServer([fake_tool("login", log_in)])


def engine(*turns: Any) -> ScriptedEngine:
    return ScriptedEngine(
        turns or [[Think("It is hunter2-true."), LOGIN], [Say("Done with "), Say("4111 1111 "), Say("1111 1111.")]]
    )


def everything(api: House) -> str:
    """All that the store was ever given and still has."""
    return repr([(node.new, node.items, node.ending, node.decisions) for node in api.store.nodes.values()])


async def test_the_run_has_everything_and_the_store_has_not() -> None:
    server, model = vault(), engine()
    async with house(model, {"mcp/vault": server}, redaction=RULES) as api:
        reply = (await api.chat(input=f"My card is {CARD}.", integrations=[VAULT], metadata={"card": CARD})).json()
        stored = (await api.client.get(f"/api/v1/responses/{reply['response_id']}")).json()
        call = (await api.client.get(f"/api/v1/tool-calls/{reply['output'][1]['call_id']}")).json()
        kept = everything(api)
    assert server.calls == [("login", {"user": "ada", "password": PASSWORD})]
    told = model.requests[1].messages[-1]
    assert isinstance(told, ToolMessage)
    assert told.content == f"ada used {PASSWORD} and pays with {CARD}"
    assert [item.get("content") for item in reply["output"]] == ["It is hunter2-true.", None, f"Done with {CARD}."]
    assert reply["output"][1]["arguments"] == {"user": "ada", "password": PASSWORD}
    assert CARD not in kept and PASSWORD not in kept
    hidden = text_content("ada used [redacted:password] and pays with [redacted:card]")
    expected = {"user": "ada", "password": "[redacted:password]"}
    assert (call["arguments"], call["output"]) == (expected, hidden)
    assert stored["input"] == [{"type": "text", "content": "My card is [redacted:card]."}]
    assert stored["metadata"] == {"card": "[redacted:card]"}
    assert [item.get("content") for item in stored["output"]] == [
        "It is [redacted:password].",
        None,
        "Done with [redacted:card].",
    ]


async def test_who_continues_a_response_reads_what_is_kept() -> None:
    model = engine()
    async with house(model, {"mcp/vault": vault()}, redaction=RULES) as api:
        first = (await api.chat(input=f"My card is {CARD}.", integrations=[VAULT])).json()
        await api.chat(previous_response_id=first["response_id"])
    prompt = model.requests[-1].messages
    assert prompt[0] == UserMessage((TextInput("My card is [redacted:card]."),))
    assert CARD not in repr(prompt) and PASSWORD not in repr(prompt)


async def test_an_approved_call_runs_with_its_true_arguments_and_its_run_goes_on_as_it_was() -> None:
    server, model = vault(), engine()
    async with house(model, {"mcp/vault": server}, redaction=RULES) as api:
        reply = (await api.chat(input=f"My card is {CARD}.", integrations=[ASKING])).json()
        waiting = (await api.client.get(f"/api/v1/responses/{reply['response_id']}")).json()
        kept = everything(api)
        done = (await decide(api, reply, APPROVE)).json()
        after = everything(api)
    assert reply["pending_approvals"][0]["arguments"] == {"user": "ada", "password": PASSWORD}
    assert waiting["pending_approvals"][0]["arguments"] == {"user": "ada", "password": "[redacted:password]"}
    assert server.calls == [("login", {"user": "ada", "password": PASSWORD})]
    assert model.requests[-1].messages[0] == UserMessage((TextInput(f"My card is {CARD}."),))
    assert done["output"][-1] == {"type": "message", "content": f"Done with {CARD}."}
    for text in (kept, after):
        assert CARD not in text and PASSWORD not in text


async def test_edited_arguments_that_were_decided_before_others_are_the_true_ones_too() -> None:
    server = vault()
    model = engine([LOGIN, Call("login", {"user": "bob", "password": PASSWORD})], [Say("Done.")])
    async with house(model, {"mcp/vault": server}, redaction=RULES) as api:
        reply = (await api.chat(integrations=[ASKING])).json()
        edited = {"decision": "approve", "arguments": {"user": "eve", "password": "other-true"}}
        await decide(api, reply, edited)
        kept = everything(api)
        await decide(api, {**reply, "pending_approvals": reply["pending_approvals"][1:]}, APPROVE)
        after = everything(api)
    assert sorted(server.calls, key=repr) == [
        ("login", {"user": "bob", "password": PASSWORD}),
        ("login", {"user": "eve", "password": "other-true"}),
    ]
    for text in (kept, after):
        assert "other-true" not in text and PASSWORD not in text


class ForgetfulStore(MemoryStore):
    """As one whose encryption key is gone."""

    async def suspend_response(self, response_id: str, suspension: Any, stats: Any, at: Any) -> None:
        await super().suspend_response(response_id, replace(suspension, withheld=None), stats, at)


async def test_without_the_key_a_redacted_call_is_approved_with_arguments_or_not_at_all() -> None:
    server = vault()
    async with house(engine(), {"mcp/vault": server}, redaction=RULES, store=ForgetfulStore()) as api:
        reply = (await api.chat(integrations=[ASKING])).json()
        refused = await decide(api, reply, APPROVE)
        done = await decide(api, reply, {**APPROVE, "arguments": {"user": "ada", "password": "typed-again"}})
    assert error_of(refused) == (409, "approval_conflict", "approvals")
    assert "were redacted and cannot be read any more" in refused.json()["error"]["message"]
    assert done.status_code == 200
    assert server.calls == [("login", {"user": "ada", "password": "typed-again"})]


async def test_a_run_that_fails_or_is_cancelled_says_nothing_secret_in_the_store() -> None:
    async with house(
        engine([Call("nothing", f'{{"password": "{PASSWORD}", "x": "{CARD}"')], [Say("Oh.")]),
        {"mcp/vault": vault()},
        redaction=RULES,
    ) as api:
        reply = (await api.chat(integrations=[VAULT])).json()
        kept = everything(api)
    assert reply["output"][0]["type"] == "invalid_tool_call"
    assert CARD not in kept and PASSWORD not in kept
