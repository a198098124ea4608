"""What `/v1/messages` refuses, how it says so, and what becomes of messages that do not come to their end."""

from typing import Any

import anthropic
import anyio
import httpx
import pytest

from orchestrator.core.errors import ErrorKind, OrchestratorError, Overrun
from orchestrator.core.request import Limits
from orchestrator.testing import SCRIPTED_MODEL, Break, Call, FakeServer, Say, ScriptedEngine, Stall
from tests.api.anthropic_messages.clients import anthropic_house, told
from tests.api.anthropic_messages.test_client import ASK, CALLS, CLOCK, PIXEL, USE_CLOCK, WEATHER, seen
from tests.api.house import fake_tool, house, served
from tests.api.test_stream import tell_time

pytestmark = pytest.mark.anyio

TOOLSET: Any = {"type": "mcp_toolset", "mcp_server_name": "clock"}
PDF: Any = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}


def _picture(kind: str) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": PIXEL}}


def saying(*content: Any, role: str = "user") -> dict[str, Any]:
    """A request whose first message has this content."""
    return {"messages": [{"role": role, "content": list(content)}, {"role": "user", "content": "Hi"}]}


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ('"max_tokens" is required', {"max_tokens": None}),
    ('"messages.0.content.0.type" is not supported here', saying({"type": "search_result"})),
    ('"messages.0.content.0.source" is a file of which no text', saying(PDF)),
    (
        '"messages.0.content.0.source" is somewhere else',
        saying({**PDF, "source": {"type": "url", "url": "https://a.b"}}),
    ),
    ('"messages.0.content.0.source" names a file', saying({**PDF, "source": {"type": "file", "file_id": "file_1"}})),
    ("citations.enabled", saying({**PDF, "citations": {"enabled": True}})),
    ("\"messages.0.content.0\" is a 'document'", saying(PDF, role="assistant")),
    ('"container" is not supported here', {"container": "container_1"}),
    ('"tools.0.type" is not supported here', {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ('"tools.0.defer_loading" is not supported here', {"tools": [{**WEATHER, "defer_loading": True}]}),
    ('"tools.1.name" is the name of another tool', {"tools": [WEATHER, WEATHER]}),
    (
        '"tools.0.input_schema" is not a JSON schema',
        {"tools": [{**WEATHER, "input_schema": {"type": "object", "properties": {"a": {"type": "nothing"}}}}]},
    ),
    ('"tools.0.mcp_server_name" names no server', {"tools": [TOOLSET]}),
    ('"tools.1.mcp_server_name" names a server that has another', {"tools": [TOOLSET] * 2, "mcp_servers": [USE_CLOCK]}),
    (
        '"mcp_servers.0.tool_configuration" is said by',
        {
            "tools": [TOOLSET],
            "mcp_servers": [{**USE_CLOCK, "tool_configuration": {"allowed_tools": ["now"], "enabled": True}}],
        },
    ),
    ('"mcp_servers.1.name" is the name of another', {"mcp_servers": [USE_CLOCK, USE_CLOCK]}),
    ('"tool_choice" demands a call', {"tool_choice": {"type": "any"}}),
    ('"messages" must end with a message of the user', {"messages": [{"role": "assistant", "content": "The"}]}),
    ('"messages" must not be empty', {"messages": [{"role": "user", "content": ""}]}),
    (
        '"messages.0.content.0.source.url" must be a data: URL',
        saying({"type": "image", "source": {"type": "url", "url": "https://pictures.example/1.png"}}),
    ),
    (
        "\"messages.0.content.0\" is a 'tool_use'",
        saying({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}),
    ),
    ("messages: There is no function call", saying({"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"})),
    (
        '"messages.4.content.0.tool_use_id" must be the id of a',
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]},
                {"role": "user", "content": "Wait."},
                {"role": "assistant", "content": "I wait."},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]},
            ]
        },
    ),
    ('"messages.0.content.0.source.media_type" must be', saying(_picture("image/tiff"))),
    (
        "tools.0.configs.later: 'clock' has no tool 'later'",
        {
            "tools": [{**TOOLSET, "default_config": {"enabled": False}, "configs": {"later": {"enabled": True}}}],
            "mcp_servers": [USE_CLOCK],
        },
    ),
    (
        "mcp_servers.0.tool_configuration.allowed_tools.0: 'clock' has no tool 'later'",
        {"mcp_servers": [{**USE_CLOCK, "tool_configuration": {"allowed_tools": ["later"]}}]},
    ),
    ('"previous_response_id" must start with', {"previous_response_id": "thread_1"}),
    ('"thinking.budget_tokens" must be less', {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
    (
        "thinking: Model 'test/scripted' does not",
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096},
    ),
    ('"output_config.format.schema" is not', {"output_format": {"type": "json_schema", "schema": {"type": "no"}}}),
    (
        "does not see images",
        saying({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}),
    ),
]


def body_of(error: anthropic.APIError) -> Any:
    """The envelope that the client got."""
    return error.body


async def test_what_cannot_be_is_refused_by_the_name_of_its_field() -> None:
    async with house(servers=CLOCK) as api:
        for expected, change in REFUSED:
            body = {name: value for name, value in {**ASK, **change}.items() if value is not None}
            reply = await api.client.post("/v1/messages", json=body, headers={"anthropic-version": "2023-06-01"})
            error = reply.json()
            assert (reply.status_code, error["type"], error["error"]["type"]) == (400, "error", "invalid_request_error")
            assert expected in error["error"]["message"]
            assert error["request_id"] == reply.headers["request-id"] == reply.headers["x-request-id"]
        assert api.engine.requests == []


async def test_every_error_below_the_path_is_told_as_anthropic_tells_it() -> None:
    async with anthropic_house(require_authentication=True) as (api, client):
        _, token = await api.tokens.create_token("mine", ["chat"])
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await client.messages.create(**ASK)
        for known in (client.with_options(api_key=token), client.with_options(api_key=None, auth_token=token)):
            assert (await known.messages.create(**ASK)).content[0].text == "Hi."
            with pytest.raises(anthropic.NotFoundError) as unknown:
                await known.messages.create(**{**ASK, "model": "no/model"})
        elsewhere = await api.client.post("/v1/messages/batches", json={})
        wrong = await api.client.get("/v1/messages")
        large: httpx.Response = await api.client.post("/v1/messages", content=b"{}", headers={"content-type": "a/b"})
    assert body_of(refused.value)["error"]["type"] == "authentication_error"
    assert refused.value.request_id == body_of(refused.value)["request_id"]
    assert body_of(unknown.value)["error"]["type"] == "not_found_error"
    assert (elsewhere.status_code, elsewhere.json()["error"]["type"]) == (404, "not_found_error")
    assert (wrong.status_code, wrong.json()["error"]["type"], set(wrong.headers["allow"].split(", "))) == (
        405,
        "invalid_request_error",
        {"OPTIONS", "POST"},
    )
    assert (large.status_code, large.json()["error"]["type"]) == (401, "authentication_error")


async def test_a_token_that_asks_too_often_is_told_when_to_come_back() -> None:
    async with anthropic_house(requests_per_minute=1) as (_, client):
        await client.messages.create(**ASK)
        with pytest.raises(anthropic.RateLimitError) as refused:
            await client.messages.create(**ASK)
    assert body_of(refused.value)["error"]["type"] == "rate_limit_error"
    assert int(refused.value.response.headers["retry-after"]) >= 1


async def test_an_engine_that_breaks_is_an_error_in_either_mode() -> None:
    broken = Break(OrchestratorError(ErrorKind.ENGINE_ERROR, "It broke."))
    async with anthropic_house(ScriptedEngine([[Say("Once "), broken]])) as (_, client):
        with pytest.raises(anthropic.APIStatusError) as whole:
            await client.messages.create(**ASK)
        events: list[str] = []
        with pytest.raises(anthropic.APIStatusError) as streamed:
            async for event in await client.messages.create(**ASK, stream=True):
                events += [event.type]
    assert (whole.value.status_code, body_of(whole.value)["error"]) == (
        502,
        {"type": "api_error", "message": "It broke."},
    )
    assert body_of(streamed.value)["error"] == {"type": "api_error", "message": "It broke."}
    assert events == ["message_start", "content_block_start", "content_block_delta", "content_block_stop"]


@pytest.mark.parametrize(
    ("overrun", "message"),
    [
        (Overrun(16008, 2048), "prompt is too long: 16008 tokens > 2048 maximum"),
        (None, "prompt is too long: The prompt is longer than the context."),
    ],
)
@pytest.mark.parametrize("before", [[], [Say("Once ")]], ids=["before it starts", "in the middle"])
async def test_a_prompt_that_is_too_long_is_told_in_the_words_that_clients_look_for(
    before: list[Say], overrun: Overrun | None, message: str
) -> None:
    too_long = OrchestratorError(
        ErrorKind.EXCEED_CONTEXT_SIZE, "The prompt is longer than the context.", param="input", overrun=overrun
    )
    async with anthropic_house(ScriptedEngine([[*before, Break(too_long)]])) as (_, client):
        with pytest.raises(anthropic.APIStatusError) as whole:
            await client.messages.create(**ASK)
        with pytest.raises(anthropic.APIStatusError) as streamed:
            async for _ in await client.messages.create(**ASK, stream=True):
                pass
    assert whole.value.status_code == 400
    assert body_of(whole.value)["error"] == {"type": "invalid_request_error", "message": message}
    assert body_of(streamed.value)["error"] == {"type": "invalid_request_error", "message": message}


async def test_a_silent_stream_has_pings_that_clients_count() -> None:
    go_on = anyio.Event()
    engine = ScriptedEngine([[Stall(go_on), Say("Hi.")]])
    async with house(engine, keep_alive_seconds=0.01) as api, served(api.app) as client:
        events: list[str] = []
        with anyio.fail_after(10):
            async with client.stream("POST", "/v1/messages", json={**ASK, "stream": True}) as response:
                async for line in response.aiter_lines():
                    events += [line] if line.startswith("event:") else []
                    if events.count("event: ping") == 3:
                        go_on.set()
    assert events[0] == "event: message_start"
    assert events.count("event: ping") >= 3
    assert events[-1] == "event: message_stop"


async def test_leaving_a_stream_ends_the_message() -> None:
    async with anthropic_house(ScriptedEngine([[Say("Once upon"), Stall(anyio.Event())]])) as (api, client):
        async with client.messages.stream(**ASK) as stream:
            async for text in stream.text_stream:
                assert text == "Once "
                break
        await api.generating(0)


async def test_limits_say_why_a_message_stopped() -> None:
    cut = ScriptedEngine([[Say("Once")]], finish_as="length")
    async with anthropic_house(cut) as (_, client):
        assert (await client.messages.create(**ASK)).stop_reason == "max_tokens"
    async with anthropic_house(ScriptedEngine(CALLS), CLOCK, limits=Limits(max_turns=1)) as (_, client):
        message = await client.beta.messages.create(**ASK, mcp_servers=[USE_CLOCK])
    assert message.stop_reason == "pause_turn"


async def test_choices_of_tools_toolsets_and_pictures_reach_the_run() -> None:
    servers = {"clock": FakeServer([fake_tool("now", tell_time), fake_tool("zones", tell_time)])}
    engine = ScriptedEngine([[Say("Yes.")]])
    async with anthropic_house(engine, servers) as (_, client):
        await client.beta.messages.create(
            **ASK,
            tools=[
                {**WEATHER, "input_examples": [{"place": "Rome"}]},
                {**TOOLSET, "default_config": {"enabled": False}, "configs": {"now": {"enabled": True}}},
            ],
            mcp_servers=[USE_CLOCK],
            tool_choice={"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
        )
        await client.messages.create(**ASK, tools=[WEATHER], tool_choice={"type": "none"})
        counted = await client.beta.messages.count_tokens(
            model=SCRIPTED_MODEL, messages=ASK["messages"], tools=[WEATHER, TOOLSET], mcp_servers=[USE_CLOCK]
        )
        alone = await client.messages.count_tokens(model=SCRIPTED_MODEL, messages=ASK["messages"])
        switched_off = {**TOOLSET, "configs": {"now": {"enabled": False}, "zones": {}}}
        await client.beta.messages.create(**ASK, tools=[switched_off], mcp_servers=[USE_CLOCK])
        inherited = {
            **TOOLSET,
            "default_config": {"enabled": False},
            "configs": {"now": {}, "zones": {"enabled": True}},
        }
        await client.beta.messages.create(**ASK, tools=[inherited], mcp_servers=[USE_CLOCK])
    first, second, third, fourth = engine.requests
    assert [[tool.name for tool in request.tools] for request in (third, fourth)] == [["zones"], ["zones"]]
    assert [tool.name for tool in first.tools] == ["get_weather", "now"]
    assert 'Example of its input: {"place":"Rome"}' in first.tools[0].definition.description
    assert (first.tool_choice, first.parallel_tool_calls) == (first.tools[0], False)
    assert second.tools == ()
    assert counted.input_tokens > alone.input_tokens > 0


async def test_calls_that_nobody_offers_or_that_are_no_object_are_told_all_the_same() -> None:
    engine = ScriptedEngine([[Call("absent", {}), Call("now", "[")], [Call("get_weather", "nonsense")]])
    async with anthropic_house(engine, CLOCK) as (_, client):
        ask = {**ASK, "mcp_servers": [USE_CLOCK], "tools": [WEATHER]}
        async with client.beta.messages.stream(**ask) as stream:
            message = await stream.get_final_message()
    blocks = [told(block) for block in message.content]
    assert [block["type"] for block in blocks] == [
        "mcp_tool_use",
        "mcp_tool_result",
        "mcp_tool_use",
        "mcp_tool_result",
        "tool_use",
    ]
    assert [block["server_name"] for block in blocks if block["type"] == "mcp_tool_use"] == ["unknown", "clock"]
    assert [block["is_error"] for block in blocks if block["type"] == "mcp_tool_result"] == [True, True]
    assert (blocks[-1]["input"], message.stop_reason) == ({"arguments": "nonsense"}, "tool_use")


async def test_a_history_that_is_not_stored_is_told_to_the_model_as_it_is() -> None:
    engine = ScriptedEngine([[Say("Noon.")]])
    history: list[Any] = [
        {"role": "user", "content": "When?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "of somebody"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "now", "server_name": "clock", "input": {}},
                {
                    "type": "mcp_tool_result",
                    "tool_use_id": "mcptoolu_1",
                    "content": [{"type": "text", "text": "12:00"}],
                },
                {"type": "text", "text": "Noon."},
            ],
        },
        {"role": "system", "content": "Be brief."},
    ]
    async with anthropic_house(engine) as (api, client):
        ask = {**ASK, "messages": [*history, {"role": "user", "content": "Sure?"}]}
        first = await client.messages.create(**ask)
        again = [
            *ask["messages"],
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": "Well?"},
        ]
        second = await client.messages.create(**{**ask, "messages": again})
        chain = (await api.client.get(f"/api/v1/responses/resp_{second.id[4:]}/chain")).json()
        await client.messages.create(**ask, extra_body={"store": False})
    assert seen(engine) == [
        ("user", "When?"),
        ("assistant", "Hm.", "", ("now", "{}")),
        ("tool", "now", "12:00"),
        ("assistant", "", "Noon."),
        ("system", "Be brief."),
        ("user", "Sure?"),
    ]
    assert len(chain["responses"]) == 2


async def test_what_one_side_says_in_a_row_is_one_message_with_its_results_first() -> None:
    engine = ScriptedEngine([[Say("Noon.")]])
    history: list[Any] = [
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": "I look."},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Now."},
                {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}},
            ],
        },
        {"role": "user", "content": "Wait."},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}]},
    ]
    async with anthropic_house(engine) as (_, client):
        await client.messages.create(**{**ASK, "messages": history})
    assert seen(engine) == [
        ("user", "When?"),
        ("assistant", "", "I look.\n\nNow.", ("now", "{}")),
        ("tool", "now", "[The call failed.]"),
        ("user", "Wait."),
    ]


async def test_a_count_has_what_the_integrations_offer_and_refuses_what_the_request_would() -> None:
    ask = {"model": SCRIPTED_MODEL, "messages": ASK["messages"]}
    entry = {"type": "ephemeral_mcp", "server_label": "clock", "server_url": "https://clock.example/mcp"}
    orphan: Any = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]}]
    async with anthropic_house(servers=CLOCK) as (_, client):
        alone = await client.messages.count_tokens(**ask)
        counted = await client.messages.count_tokens(**ask, extra_body={"integrations": [entry]})
        with pytest.raises(anthropic.BadRequestError, match="messages: There is no function call"):
            await client.messages.count_tokens(model=SCRIPTED_MODEL, messages=orphan)
    assert counted.input_tokens > alone.input_tokens
