"""What clients of OpenAI write in many forms, and what they are told where it cannot be."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from openai import pydantic_function_tool
from pydantic import BaseModel

from orchestrator.api.openai_chat.decode import to_chat_request
from orchestrator.api.openai_chat.wire_requests import CompletionBody, UserTurn
from orchestrator.api.openai_chat.words import CHAT_FIELDS, in_words_of
from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.json_types import JsonObject
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.prompt import raw_prompt
from orchestrator.core.response import Counters
from orchestrator.testing import SCRIPTED_MODEL, SCRIPTED_TRAITS, Break, Call, FakeServer, Say, ScriptedEngine
from tests.api.house import fake_tool, house
from tests.clients.test_openai_chat import HELLO, client_of

pytestmark = pytest.mark.anyio

CALLS: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
}
RESULT: dict[str, Any] = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}


class City(BaseModel):
    """A city."""

    name: str


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the client's own, of what it parsed itself
async def test_what_the_clients_own_parser_returns_can_be_sent_back() -> None:
    turns = [Call("City", {"name": "Oslo"})], [Say('{"name":"Rome"}')], [Say("Sunny.")]
    async with client_of(*turns) as (client, home):
        history: list[Any] = [HELLO]
        called = await client.chat.completions.parse(
            model=SCRIPTED_MODEL, messages=history, tools=[pydantic_function_tool(City)]
        )
        message = called.choices[0].message
        assert message.tool_calls is not None
        assert message.tool_calls[0].function.parsed_arguments == City(name="Oslo")
        history += [message, {**RESULT, "tool_call_id": message.tool_calls[0].id, "name": "City"}]
        parsed = await client.chat.completions.parse(model=SCRIPTED_MODEL, messages=history, response_format=City)
        assert parsed.choices[0].message.parsed == City(name="Rome")
        history += [parsed.choices[0].message, HELLO]
        last = await client.chat.completions.create(model=SCRIPTED_MODEL, messages=history)
        stored = await home.store.get_response(last.choices[0].model_dump()["response_id"], "local")
        assert stored is not None and stored.depth == 2, "it is one chain"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
        "messages.0.content.0.type",
        "text",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content.0.type", "heard"),
    ({"messages": [{"role": "function", "name": "f", "content": "?"}]}, "messages.0.role", "'tool'"),
    ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools.0.type", "'custom'"),
    ({"tools": 7}, "tools", "array"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "stream"),
    ({"messages": [HELLO, CALLS, HELLO, RESULT]}, "messages.3.tool_call_id", "must follow"),
    ({"messages": [HELLO, CALLS, RESULT, RESULT]}, "messages.3.tool_call_id", "must follow"),
    ({"messages": [HELLO, RESULT]}, "messages.1.tool_call_id", "no call"),
    ({"previous_response_id": "chatcmpl-none"}, "previous_response_id", "resp_none"),
    ({"seed": 2**63}, "seed", "between"),
    ({"echo": 0}, "echo", "not supported"),
]


@pytest.mark.parametrize(("changes", "param", "why"), REFUSED)
async def test_what_is_openais_alone_or_out_of_order_is_told_by_its_name(
    changes: dict[str, Any], param: str, why: str
) -> None:
    async with house() as home:
        path = "/v1/completions" if "echo" in changes else "/v1/chat/completions"
        asked = {"prompt": "?"} if "echo" in changes else {"messages": [HELLO]}
        answer = await home.client.post(path, json={"model": SCRIPTED_MODEL, **asked, **changes})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, param)
        assert why in error["message"]


async def test_what_asks_for_nothing_is_taken_and_a_chat_may_be_long() -> None:
    idle: dict[str, Any] = {"functions": [], "function_call": "none", "verbosity": "medium", "prompt_cache_options": {}}
    async with house() as home:
        messages = [HELLO, {"role": "assistant", "content": "Hi."}] * 1000 + [CALLS, RESULT, HELLO]
        answer = await home.client.post(
            "/v1/chat/completions",
            json={"model": SCRIPTED_MODEL, "messages": messages, "reasoning_effort": "none", **idle},
        )
        assert answer.status_code == 200, answer.text
        text = {"prompt": "?", "best_of": 1, "suffix": "", "echo": False}
        answer = await home.client.post("/v1/completions", json={"model": SCRIPTED_MODEL, **text})
        assert answer.status_code == 200, answer.text


async def test_an_answer_is_continued_by_its_own_id() -> None:
    async with client_of([Say("One.")], [Say("Two.")]) as (client, home):
        first = await client.chat.completions.create(model=SCRIPTED_MODEL, messages=[HELLO])
        second = await client.chat.completions.create(
            model=SCRIPTED_MODEL, messages=[HELLO], extra_body={"previous_response_id": first.id}
        )
        stored = await home.store.get_response(second.choices[0].model_dump()["response_id"], "local")
        assert stored is not None and stored.previous_response_id == first.choices[0].model_dump()["response_id"]


def test_every_seed_is_one_of_the_engines_and_never_its_word_for_any() -> None:
    def seed(wanted: int | None) -> int | None:
        body = CompletionBody(model="m", messages=[UserTurn("?")], seed=wanted)
        return to_chat_request(body).sampling.seed

    assert [seed(wanted) for wanted in (None, 0, 7, 2**32 - 2)] == [None, 0, 7, 2**32 - 2]
    found = [seed(wanted) for wanted in (-1, 2**32 - 1, 2**40, 0)]
    assert len(set(found)) == 4
    assert all(one is not None and 0 <= one < 2**32 - 1 for one in found)


@pytest.mark.parametrize("choices", [1, 2])
async def test_a_stream_that_failed_ends_with_the_failure(choices: int) -> None:
    broken = OrchestratorError(ErrorKind.EXCEED_CONTEXT_SIZE, "Too long.", param="input")
    engine = ScriptedEngine([[Say("Half of it"), Break(broken)]])
    async with house(engine) as home:
        body = {"model": SCRIPTED_MODEL, "messages": [HELLO], "n": choices}
        answer = await home.client.post("/v1/chat/completions", json={**body, "stream": True})
        *before, last = answer.text.strip().split("\n\n")
        error = {
            "message": "Too long.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
        assert httpx.Response(200, text=last.removeprefix("data: ")).json() == {"error": error}
        assert all('"finish_reason":null' in chunk for chunk in before if chunk != ": keep-alive")
        answer = await home.client.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()) == (400, {"error": error})


@pytest.mark.parametrize("at_once", [1, 64])
@pytest.mark.parametrize("stream", [False, True])
async def test_many_prompts_take_turns_and_each_is_counted_once(at_once: int, stream: bool) -> None:
    engine = ScriptedEngine([[Say("So.")]], counters=Counters(10, 5, 0, 8, 0.5, 0.25))
    async with house(engine, max_concurrent_runs=at_once) as home:
        prompts = [f"Prompt {number}" for number in range(20)]
        options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        answer = await home.client.post(
            "/v1/completions", json={"model": SCRIPTED_MODEL, "prompt": prompts, "n": 2, **options}
        )
        told: dict[str, Any] = {} if stream else answer.json()
        if stream:
            *chunks, last, done = answer.text.strip().split("\n\n")
            assert done == "data: [DONE]"
            told = httpx.Response(200, text=last.removeprefix("data: ")).json()
            assert sum('"finish_reason":"stop"' in chunk for chunk in chunks) == 40
        else:
            assert [(one["index"], one["text"]) for one in told["choices"]] == [(at, "So.") for at in range(40)]
        assert (told["usage"]["prompt_tokens"], told["usage"]["completion_tokens"]) == (200, 200)
        assert len(engine.requests) == 40


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_could_not_begin_in_its_turn_ends_the_answer_with_its_error(stream: bool) -> None:
    def script(request: Generate) -> list[Say]:
        engine.model = replace(engine.model, type="embedding")  # nobody can chat with it from now on
        return [Say("So.")]

    engine = ScriptedEngine(script)
    async with house(engine, max_concurrent_runs=1) as home:
        body = {"model": SCRIPTED_MODEL, "prompt": ["x", "y"], "stream": stream}
        answer = await home.client.post("/v1/completions", json=body)
        last = answer.text.strip().split("\n\n")[-1].removeprefix("data: ")
        assert httpx.Response(200, text=last).json()["error"]["param"] == "model"
        assert answer.status_code == (200 if stream else 400)


async def test_how_likely_the_tokens_of_a_text_were_is_told_as_that_route_tells_it() -> None:
    once = TokenLogprob(LikelyToken("Once ", -0.5, b"Once "), (LikelyToken("Twice", -1.5), LikelyToken("Once ", -0.5)))
    more = TokenLogprob(LikelyToken("more", -0.25, b"more"))
    async with client_of([Say("Once ", (once,)), Say("more", (more,))]) as (client, home):
        answer = await client.completions.create(model=SCRIPTED_MODEL, prompt="?", logprobs=2)
        told: dict[str, Any] = {
            "tokens": ["Once ", "more"],
            "token_logprobs": [-0.5, -0.25],
            "top_logprobs": [{"Twice": -1.5, "Once ": -0.5}, {}],
            "text_offset": [0, 5],
        }
        assert answer.choices[0].logprobs is not None and answer.choices[0].logprobs.model_dump() == told
        assert home.engine.requests[0].sampling.logprobs == 2
        stream = await client.completions.create(model=SCRIPTED_MODEL, prompt="?", logprobs=0, stream=True)
        offsets = [
            choice.logprobs.text_offset
            for chunk in [chunk async for chunk in stream]
            for choice in chunk.choices
            if choice.logprobs
        ]
        assert offsets == [[0], [5]]


def test_a_failure_is_told_in_the_words_of_the_dialect() -> None:
    kept = ErrorInfo(ErrorKind.INVALID_VALUE, "No.", "model")
    assert in_words_of(CHAT_FIELDS, kept) == kept
    inner = ErrorInfo(ErrorKind.INVALID_VALUE, "No.", "input.3.x")
    assert in_words_of(CHAT_FIELDS, inner).param == "messages.3.x"


async def test_each_choice_has_a_seed_of_its_own_that_the_next_request_gives_it_again() -> None:
    async with client_of() as (client, home):
        for _ in range(2):
            await client.chat.completions.create(model=SCRIPTED_MODEL, messages=[HELLO], n=3, seed=5, store=False)
            await client.completions.create(model=SCRIPTED_MODEL, prompt="?", n=2, seed=2**32 - 2)
        seeds = [request.sampling.seed for request in home.engine.requests]
        assert seeds[:5] == seeds[5:]
        assert (sorted(seeds[:3], key=str), len(set(seeds))) == ([5, 6, 7], 5)


async def test_an_answer_that_a_filter_cut_is_told_so() -> None:
    engine = ScriptedEngine([[Say("a b"), Call("weather", {})]], finish_as="content_filter")
    body = {
        "model": SCRIPTED_MODEL,
        "messages": [HELLO],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
    }
    async with house(engine) as home:
        answer = (await home.client.post("/v1/chat/completions", json=body)).json()
        [choice] = answer["choices"]
        assert (choice["finish_reason"], choice["status"]) == ("content_filter", "incomplete")
        stored = await home.store.get_response(choice["response_id"], "local")
        assert stored is not None and stored.incomplete_reason == "content_filter"
        sent = {"model": SCRIPTED_MODEL, "messages": [HELLO], "max_tokens": 9}
        told = await home.client.post("/v1/messages", json=sent, headers={"anthropic-version": "2023-06-01"})
        assert told.json()["stop_reason"] == "refusal"


async def test_a_call_that_waits_for_approval_is_told_and_is_no_whole_answer() -> None:
    async def never(arguments: JsonObject) -> str:
        raise AssertionError("it was not approved")

    clock = FakeServer([fake_tool("now", never)])
    body = {
        "model": SCRIPTED_MODEL,
        "messages": [HELLO],
        "integrations": [{"type": "plugin", "id": "mcp/clock", "require_approval": "always"}],
    }
    async with house(ScriptedEngine([[Call("now", {"zone": "UTC"})]]), {"mcp/clock": clock}) as home:
        [choice] = (await home.client.post("/v1/chat/completions", json=body)).json()["choices"]
        [waits] = choice["pending_approvals"]
        assert (choice["finish_reason"], choice["status"]) == ("length", "awaiting_approval")
        assert (waits["tool"], waits["arguments"]) == ("now", {"zone": "UTC"})
        answer = await home.client.post("/v1/chat/completions", json={**body, "stream": True})
        last = httpx.Response(200, text=answer.text.strip().split("\n\n")[-2].removeprefix("data: ")).json()
        assert last["choices"][0]["pending_approvals"][0]["tool"] == "now"


@pytest.mark.parametrize("can", [True, False])
async def test_a_text_is_completed_without_a_template_where_the_engine_can(can: bool) -> None:
    engine = ScriptedEngine([[Say("So.")]], traits=replace(SCRIPTED_TRAITS, raw=can))
    async with house(engine) as home:
        body = {"model": SCRIPTED_MODEL, "prompt": "Once"}
        answer = (await home.client.post("/v1/completions", json=body)).json()
        assert answer["choices"][0]["text"] == "So."
        [request] = engine.requests
        assert (request.raw, raw_prompt(request.messages), request.tools) == (can, "Once", ())
        [node] = home.store.nodes.values()
        assert node.new.parameters["raw"] is True
        await home.client.post("/v1/chat/completions", json={"model": SCRIPTED_MODEL, "messages": [HELLO]})
        assert not engine.requests[-1].raw
