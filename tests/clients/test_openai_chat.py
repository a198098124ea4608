"""OpenAI's own Python client speaks to `/v1/chat/completions` and its kin, over a real server."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.items import ClientProvider, FunctionOutput, ImageInput, Message, TextInput, ToolCall
from orchestrator.core.json_types import JsonObject
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.models import Model, ReasoningSupport
from orchestrator.core.prompt import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from orchestrator.core.request import JSON_OBJECT, Sampling
from orchestrator.core.stream import MessageDelta
from orchestrator.core.tools import text_content
from orchestrator.service.retelling import retold
from orchestrator.testing import SCRIPTED_MODEL, Break, Call, FakeServer, Say, ScriptedEngine, Stall, Think
from tests.api.house import House, fake_tool, house, served

pytestmark = pytest.mark.anyio

HELLO: ChatCompletionMessageParam = {"role": "user", "content": "hello"}
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": False,
    },
}
ALL_SEEING = Model(
    SCRIPTED_MODEL,
    "scripted",
    "llm",
    "test",
    "Scripted",
    max_context_length=4096,
    vision=True,
    reasoning=ReasoningSupport(("off", "on"), "off"),
)


@asynccontextmanager
async def client_of(
    *turns: Sequence[Any], servers: dict[str, FakeServer] | None = None, model: Model | None = None, **options: Any
) -> AsyncGenerator[tuple[openai.AsyncOpenAI, House]]:
    """The client, and what it talks to, whose model says these turns."""
    engine = ScriptedEngine(turns or [[Say("Hi there.")]], model=model)
    async with house(engine, servers, **options) as home, served(home.app) as server:
        async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client:
            yield client, home


async def chunks_of(stream: Any) -> list[ChatCompletionChunk]:
    return [chunk async for chunk in stream]


async def test_a_chat_is_answered_and_stored() -> None:
    async with client_of([Think("hm"), Say("Hi there.")]) as (client, home):
        raw = await client.chat.completions.with_raw_response.create(model=SCRIPTED_MODEL, messages=[HELLO])
        answer = raw.parse()
        response_id = raw.headers["X-Response-Id"]
        assert answer.id == f"chatcmpl-{response_id.removeprefix('resp_')}"
        assert answer.model_dump(exclude={"id", "created", "system_fingerprint"}, exclude_unset=True) == {
            "object": "chat.completion",
            "model": SCRIPTED_MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "Hi there.",
                        "refusal": None,
                        "reasoning_content": "hm",
                    },
                    "logprobs": None,
                    "finish_reason": "stop",
                    "response_id": response_id,
                }
            ],
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 8},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
        }
        stored = await home.store.get_response(response_id, "local")
        assert stored is not None and stored.input == (TextInput("hello", begins=True),)


async def test_a_stream_says_the_same_and_counts_where_that_is_asked_for() -> None:
    async with client_of([Think("hm"), Say("Hi there.")]) as (client, _):
        stream = await client.chat.completions.create(
            model=SCRIPTED_MODEL, messages=[HELLO], stream=True, stream_options={"include_usage": True}
        )
        chunks = await chunks_of(stream)
        said = [choice.delta for chunk in chunks for choice in chunk.choices]
        assert "".join(delta.content or "" for delta in said) == "Hi there."
        assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in said) == "hm"
        assert said[0].role == "assistant"
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-2:] == [None, "stop"]
        assert len({chunk.id for chunk in chunks}) == 1
        assert chunks[-1].choices == [] and chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 15
        plain = await client.chat.completions.create(model=SCRIPTED_MODEL, messages=[HELLO], stream=True)
        assert all(chunk.usage is None for chunk in await chunks_of(plain))


async def test_functions_are_called_by_the_client_and_their_results_go_on_in_the_same_graph() -> None:
    turns = ([Say("I look."), Call("weather", {"city": "Oslo"}), Call("weather", '{"city":"Rome"}')], [Say("Sunny.")])
    async with client_of(*turns) as (client, home):
        history: list[Any] = [{"role": "system", "content": "Be brief."}, HELLO]
        first = await client.chat.completions.create(model=SCRIPTED_MODEL, messages=history, tools=[WEATHER])
        [choice] = first.choices
        assert choice.finish_reason == "tool_calls" and choice.message.content == "I look."
        calls = choice.message.tool_calls
        assert calls is not None
        assert [call.model_dump(include={"type", "function"}) for call in calls] == [
            {"type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
            {"type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}},
        ]
        history.append(choice.message.model_dump())
        history += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
        raw = await client.chat.completions.with_raw_response.create(
            model=SCRIPTED_MODEL, messages=history, tools=[WEATHER], parallel_tool_calls=False
        )
        assert raw.parse().choices[0].message.content == "Sunny."
        stored = await home.store.get_response(raw.headers["X-Response-Id"], "local")
        assert stored is not None and stored.previous_response_id == choice.model_dump()["response_id"]
        told = text_content("sunny")
        assert stored.input == tuple(FunctionOutput(call.id, told, name="weather") for call in calls)
        journal = await home.store.list_calls(stored.previous_response_id or "", "local")
        assert [(call.status, call.output, call.provider) for call in journal] == [
            ("answered", told, ClientProvider())
        ] * 2
        prompt = home.engine.requests[-1]
        assert not prompt.parallel_tool_calls
        assert [type(message) for message in prompt.messages] == [
            SystemMessage,
            UserMessage,
            AssistantMessage,
            ToolMessage,
            ToolMessage,
        ]
        history += [{"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "Thanks."}]
        raw = await client.chat.completions.with_raw_response.create(model=SCRIPTED_MODEL, messages=history)
        third = await home.store.get_response(raw.headers["X-Response-Id"], "local")
        assert third is not None and third.depth == 2 and third.input == (TextInput("Thanks.", begins=True),)


async def test_calls_are_streamed_as_they_are_written() -> None:
    async with client_of([Call("weather", {"city": "Oslo"})]) as (client, _):
        stream = await client.chat.completions.create(
            model=SCRIPTED_MODEL,
            messages=[HELLO],
            tools=[WEATHER],
            stream=True,
            tool_choice={"type": "function", "function": {"name": "weather"}},
        )
        chunks = await chunks_of(stream)
        parts = [part for chunk in chunks for part in chunk.choices[0].delta.tool_calls or ()]
        assert [(part.index, part.function and part.function.name) for part in parts] == [(0, "weather"), (0, None)]
        assert "".join((part.function and part.function.arguments) or "" for part in parts) == '{"city":"Oslo"}'
        assert parts[0].id is not None and parts[0].id.startswith("call_")
        assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_tools_of_servers_run_on_the_server() -> None:
    async def add(arguments: JsonObject) -> str:
        return "3"

    desk = FakeServer([fake_tool("add", add)])
    turns = ([Say("I add."), Call("add", {"a": 1})], [Say("It is 3.")])
    async with client_of(*turns, servers={"mcp/desk": desk}) as (client, home):
        for streamed in (False, True):
            home.engine.requests.clear()
            answer: Any = await client.chat.completions.create(
                model=SCRIPTED_MODEL,
                messages=[{"role": "user", "content": f"add, {streamed}"}],
                extra_body={"integrations": ["mcp/desk"]},
                stream=streamed,
            )
            if streamed:
                said = [chunk.choices[0].delta.content or "" for chunk in await chunks_of(answer)]
                assert "".join(said) == "I add.\n\nIt is 3."
            else:
                assert answer.choices[0].message.content == "I add.\n\nIt is 3."
                stored = await home.store.get_response(answer.choices[0].response_id, "local")
                assert stored is not None
                assert [type(entry.item) for entry in stored.output] == [Message, ToolCall, Message]
        assert desk.calls == [("add", {"a": 1})] * 2


async def test_settings_reach_the_engine_and_choices_are_responses_of_their_own() -> None:
    async with client_of([Say("Hi.")], model=ALL_SEEING) as (client, home):
        answer = await client.chat.completions.create(
            model=SCRIPTED_MODEL,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look."},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    ],
                }
            ],
            n=3,
            temperature=1.5,
            top_p=0.5,
            stop="END",
            seed=7,
            max_completion_tokens=20,
            presence_penalty=0.5,
            frequency_penalty=-0.5,
            logit_bias={"7": -100},
            logprobs=True,
            top_logprobs=2,
            reasoning_effort="low",
            response_format={"type": "json_object"},
            metadata={"ticket": "42"},
        )
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        assert len({choice.model_dump()["response_id"] for choice in answer.choices}) == 3
        assert answer.usage is not None and answer.usage.completion_tokens == 15
        [request] = {id(one): one for one in home.engine.requests[:1]}.values()
        assert request.sampling == Sampling(
            temperature=1.5,
            top_p=0.5,
            seed=7,
            stop=("END",),
            presence_penalty=0.5,
            frequency_penalty=-0.5,
            logit_bias=((7, -100.0),),
            logprobs=2,
        )
        assert (request.reasoning, request.response_format, request.max_output_tokens) == ("on", JSON_OBJECT, 20)
        assert request.messages == (UserMessage((TextInput("Look."), ImageInput("data:image/png;base64,AAAA"))),)
        stream = await client.chat.completions.create(model=SCRIPTED_MODEL, messages=[HELLO], n=2, stream=True)
        said = ["", ""]
        for chunk in await chunks_of(stream):
            for choice in chunk.choices:
                said[choice.index] += choice.delta.content or ""
        assert said == ["Hi.", "Hi."]


async def test_how_likely_the_tokens_were_is_told() -> None:
    likely = TokenLogprob(LikelyToken("Hi", -0.5, b"Hi"), (LikelyToken("Ho", -1.5),))
    async with client_of([Say("Hi", (likely,))]) as (client, home):
        answer = await client.chat.completions.create(
            model=SCRIPTED_MODEL, messages=[HELLO], logprobs=True, top_logprobs=1
        )
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None and logprobs.content is not None
        assert [token.model_dump() for token in logprobs.content] == [
            {
                "token": "Hi",
                "logprob": -0.5,
                "bytes": [72, 105],
                "top_logprobs": [{"token": "Ho", "logprob": -1.5, "bytes": None}],
            }
        ]
        stored = await home.store.get_response(answer.choices[0].model_dump()["response_id"], "local")
        assert stored is not None and [entry.item for entry in stored.output] == [Message("Hi", (likely,))]
        assert MessageDelta("Hi", (likely,)) in retold(stored)


async def test_what_is_not_stored_is_not_looked_up_either() -> None:
    async with client_of() as (client, home):
        raw = await client.chat.completions.with_raw_response.create(
            model=SCRIPTED_MODEL, messages=[HELLO], store=False
        )
        assert "X-Response-Id" not in raw.headers and raw.parse().id.startswith("chatcmpl-")
        assert all(not node.new.stored for node in home.store.nodes.values())


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER, WEATHER]}, "tools.1.function.name"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"messages": [{"role": "tool", "tool_call_id": "call_x", "content": "?"}]}, "messages.0.tool_call_id"),
        ({"messages": [{"role": "pope", "content": "?"}]}, "messages.0"),
        ({"messages": [{"role": "assistant", "audio": {"id": "x"}}]}, "messages.0.audio"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
            "messages.0.content.0.image_url.url",
        ),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "fly"}}]},
                },
            },
            "tool_choice",
        ),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
async def test_what_cannot_be_is_an_error_that_names_the_field(changes: dict[str, Any], param: str) -> None:
    async with client_of() as (client, home):
        with pytest.raises(openai.BadRequestError) as caught:
            body: dict[str, Any] = {"messages": [HELLO], **changes}
            await client.chat.completions.create(model=SCRIPTED_MODEL, messages=body.pop("messages"), extra_body=body)
        assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
        assert home.engine.requests == []


async def test_only_some_functions_can_be_allowed() -> None:
    async with client_of() as (client, home):
        await client.chat.completions.create(
            model=SCRIPTED_MODEL,
            messages=[HELLO],
            tools=[WEATHER, {"type": "function", "function": {"name": "fly"}}],
            tool_choice={
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "fly"}}]},
            },
        )
        [request] = home.engine.requests
        assert [tool.name for tool in request.tools] == ["fly"] and request.tool_choice == "required"


async def test_failures_are_the_clients_own_exceptions() -> None:
    broken = OrchestratorError(ErrorKind.ENGINE_ERROR, "The engine broke.")
    async with client_of([Say("Hi"), Break(broken)]) as (client, _):
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.chat.completions.create(model="nobody/knows", messages=[HELLO])
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.InternalServerError) as failed:
            await client.chat.completions.create(model=SCRIPTED_MODEL, messages=[HELLO])
        assert failed.value.code == "engine_error"
        stream = await client.chat.completions.create(model=SCRIPTED_MODEL, messages=[HELLO], stream=True)
        with pytest.raises(openai.APIError, match="The engine broke"):
            await chunks_of(stream)
        with pytest.raises(openai.NotFoundError) as lost:
            await client.get("/nowhere", cast_to=object)
        assert lost.value.code == "unknown_endpoint"


async def test_a_key_is_asked_for_in_openais_words() -> None:
    async with client_of(require_authentication=True) as (client, _):
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()
        assert caught.value.code == "invalid_api_key"


async def test_a_client_that_goes_away_ends_its_request() -> None:
    for n in (1, 2):
        async with client_of([Say("Hi"), Stall(anyio.Event())]) as (client, home):
            stream = await client.chat.completions.create(model=SCRIPTED_MODEL, messages=[HELLO], stream=True, n=n)
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            await stream.close()
            await home.generating(0)
            with anyio.fail_after(5):
                while any(node.ending is None for node in home.store.nodes.values()):
                    await anyio.lowlevel.checkpoint()


async def test_models_are_listed_and_shown() -> None:
    written = replace(ALL_SEEING, modified_at=datetime.fromtimestamp(1_700_000_000.5, UTC))
    async with client_of(model=written) as (client, _):
        assert [model.id async for model in client.models.list()] == [SCRIPTED_MODEL]
        shown = await client.models.retrieve(SCRIPTED_MODEL)
        assert shown.model_dump(exclude_unset=True) == {
            "id": SCRIPTED_MODEL,
            "created": 1_700_000_000,
            "object": "model",
            "owned_by": "test",
        }
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nobody/knows")


async def test_texts_are_completed() -> None:
    async with client_of([Say("and then.")]) as (client, home):
        answer = await client.completions.create(model=SCRIPTED_MODEL, prompt=["Once", "Twice"], max_tokens=9)
        assert [(choice.index, choice.text, choice.finish_reason) for choice in answer.choices] == [
            (0, "and then.", "stop"),
            (1, "and then.", "stop"),
        ]
        assert home.engine.requests[0].max_output_tokens == 9
        stream = await client.completions.create(
            model=SCRIPTED_MODEL, prompt="Once", stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "and then."
        assert chunks[-1].usage is not None
        with pytest.raises(openai.BadRequestError) as caught:
            await client.completions.create(model=SCRIPTED_MODEL, prompt="Once", echo=True)
        assert caught.value.param == "echo"
