"""What is refused here, in words that clients of OpenAI's act on."""

from typing import Any

import anyio
import openai
import pytest

from orchestrator.api.limits import RequestLimits
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.prompt import UserMessage
from orchestrator.testing import Break, Call, FakeServer, Say, ScriptedEngine, Stall
from tests.api.openai_responses.clients import MODEL, openai_house

pytestmark = pytest.mark.anyio


async def refusal(client: Any, **body: Any) -> tuple[int, str | None, str | None, str]:
    """How a request is refused: its status, code, param and words."""
    with pytest.raises(openai.APIStatusError) as refused:
        await client.responses.create(extra_body={"model": MODEL, "input": "Hi", **body})
    told = refused.value
    return told.status_code, told.code, told.param, words_of(told)


def words_of(error: openai.APIStatusError) -> str:
    """What it says."""
    body: Any = error.body
    return body["message"]


async def test_a_prompt_that_is_too_long_has_the_code_that_clients_trim_for() -> None:
    too_long = OrchestratorError(ErrorKind.EXCEED_CONTEXT_SIZE, "The prompt is too long.", param="input")
    async with openai_house(ScriptedEngine([[Break(too_long)]])) as (_, client):
        told = await refusal(client)
    assert told == (400, "context_length_exceeded", "input", "The prompt is too long.")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]},
            "input.0.content.0.file_id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://a.example/b"}]}]},
            "input.0.content.0.file_url",
        ),
        ({"tools": [{"type": "mcp", "server_label": "x", "connector_id": "connector_x"}]}, "tools.0.connector_id"),
    ],
)
async def test_what_is_not_here_is_the_callers_to_change_and_not_asked_again(body: dict[str, Any], param: str) -> None:
    async with openai_house() as (_, client):
        status, code, named, _ = await refusal(client, **body)
    assert (status, code, named) == (400, "unsupported_parameter", param)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"tools": [{"type": "web_search_preview_2025_03_11"}]},
            "\"tools.0.type\": the tool 'web_search_preview_2025_03_11' is of OpenAI's platform and is not here: "
            "bring a server of MCP (type 'mcp') that can do it, or a 'function' of your own.",
        ),
        (
            {"tools": [{"type": "custom", "name": "x"}]},
            "\"tools.0.type\": the tool 'custom' is of OpenAI's platform and is not here: "
            "offer a 'function' with one text as its parameter.",
        ),
        ({"tools": [{"type": "funktion"}]}, "there is no kind of tool 'funktion', only 'function', 'mcp'."),
        (
            {"tool_choice": {"type": "web_search"}},
            "\"tool_choice.type\": the tool 'web_search' is of OpenAI's platform",
        ),
        ({"input": [{"type": "local_shell_call"}]}, "items of the kind 'local_shell_call' are not known here, only"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            '"input.0.content.0.type": sound is not heard here: send the text of what is said.',
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "refusal"}]}]},
            "\"input.0.output.0.type\": there is no part 'refusal', only 'input_file', 'input_image', 'input_text'.",
        ),
    ],
)
async def test_kinds_that_are_not_here_are_named_with_what_there_is_instead(body: dict[str, Any], words: str) -> None:
    async with openai_house() as (_, client):
        status, code, _, message = await refusal(client, **body)
    assert (status, code) == (400, "invalid_value")
    assert words in message


async def test_a_previous_response_that_is_gone_has_the_code_that_clients_fall_back_for() -> None:
    gone = "resp_" + "0" * 48
    async with openai_house() as (_, client):
        told = await refusal(client, previous_response_id=gone)
        with pytest.raises(openai.BadRequestError) as uncounted:
            await client.responses.input_tokens.count(model=MODEL, input="Hi", previous_response_id=gone)
    message = f"There is no stored response '{gone}' to continue."
    assert told == (400, "previous_response_not_found", "previous_response_id", message)
    assert uncounted.value.code == "previous_response_not_found"


async def test_a_conversation_that_is_gone_is_told_by_the_id_that_was_sent() -> None:
    gone = "conv_" + "0" * 48
    async with openai_house() as (_, client):
        told = await refusal(client, conversation=gone)
        read: list[Any] = []
        for ask in (
            client.conversations.retrieve(gone),
            client.conversations.delete(gone),
            client.conversations.update(gone, metadata={}),
            client.conversations.items.create(gone, items=[{"role": "user", "content": "Hi"}]),
            client.conversations.items.retrieve("msg_1", conversation_id=gone),
        ):
            with pytest.raises(openai.NotFoundError) as missing:
                await ask
            read.append((missing.value.code, missing.value.param, words_of(missing.value)))
    message = f"Conversation with id '{gone}' not found."
    assert told == (404, "conversation_not_found", "conversation", message)
    assert read == [("conversation_not_found", "conversation_id", message)] * 5


async def test_an_item_that_is_gone_is_no_response_that_is_gone() -> None:
    async with openai_house() as (_, client):
        conversation = await client.conversations.create()
        with pytest.raises(openai.NotFoundError) as missing:
            await client.conversations.items.retrieve("msg_1", conversation_id=conversation.id)
    assert (missing.value.code, missing.value.param) == ("item_not_found", "item_id")


async def test_what_cannot_be_done_with_items_is_said_with_what_can() -> None:
    async with openai_house() as (_, client):
        conversation = await client.conversations.create(items=[{"role": "user", "content": "Hi"}])
        with pytest.raises(openai.APIStatusError) as refused:
            await client.conversations.items.delete("msg_1", conversation_id=conversation.id)
    assert (refused.value.status_code, refused.value.code) == (405, "method_not_allowed")
    assert refused.value.response.headers["Allow"] == "GET"


async def test_penalties_reach_the_engine_and_are_said_again() -> None:
    engine = ScriptedEngine([[Say("Hi.")]])
    async with openai_house(engine) as (_, client):
        response = await client.responses.create(
            model=MODEL, input="Hi", extra_body={"presence_penalty": 0.5, "frequency_penalty": -1}
        )
        again = await client.responses.retrieve(response.id)
    sampling = engine.requests[0].sampling
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (0.5, -1)
    for told in (response.model_dump(), again.model_dump()):
        assert (told["presence_penalty"], told["frequency_penalty"]) == (0.5, -1)


SAID: Any = [{"role": "user", "content": "Well?"}]
WEATHER: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}


async def test_a_call_without_its_output_is_an_error_and_no_call_that_came_to_nothing() -> None:
    engine = ScriptedEngine([[Call("get_weather", {}), Call("get_weather", {"at": 1})], [Say("Sunny.")], [Say("Yes.")]])
    async with openai_house(engine) as (_, client):
        first = await client.responses.create(model=MODEL, input="Weather?", tools=[WEATHER])
        one, other = (item.call_id for item in first.output)
        outputs = [{"type": "function_call_output", "call_id": call_id, "output": "x"} for call_id in (one, other)]
        half = await refusal(client, input=outputs[:1], previous_response_id=first.id, tools=[WEATHER])
        none = await refusal(client, input="Never mind.", previous_response_id=first.id, tools=[WEATHER])
        sent = [item.model_dump(mode="json", exclude_none=True) for item in first.output]
        history = await refusal(client, input=[{"role": "user", "content": "Weather?"}, *sent, outputs[1]])
        elsewhere = await refusal(
            client,
            input=[{"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}, *SAID],
        )
        second = await client.responses.create(
            model=MODEL, input=outputs, previous_response_id=first.id, tools=[WEATHER]
        )
        third = await client.responses.create(model=MODEL, input="Sure?", previous_response_id=second.id)
    assert half == (400, "invalid_value", "input", f"No tool output found for function call {other}.")
    assert [told[3] for told in (none, history, elsewhere)] == [
        f"No tool output found for function call {one}.",
        f"No tool output found for function call {one}.",
        "No tool output found for function call c1.",
    ]
    assert (second.output_text, third.output_text) == ("Sunny.", "Yes.")


def picture(url: str) -> Any:
    return [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]


def file(data: str) -> Any:
    return [{"role": "user", "content": [{"type": "input_file", "filename": "x", "file_data": data}]}]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"input": picture("https://a.example/b.png")},
            '"input.0.content.0.image_url" is an address, and nothing is fetched here: '
            "send the picture as 'data:image/…;base64,…'.",
        ),
        ({"input": picture("data:image/png;base64,AAAA")}, "there are PNG, JPEG, GIF and WebP."),
        ({"input": picture("data:image/svg+xml;base64,PHN2Zy8+")}, "there are PNG, JPEG, GIF and WebP."),
        ({"input": picture("data:image/png,AAAA")}, "must be a picture as a data:image/…;base64,… URL."),
        ({"input": picture("data:text/plain;base64,AAAA")}, "must be a picture as a data:image/…;base64,… URL."),
        ({"input": picture("data:image/png;base64,A")}, "this is not base64."),
        (
            {"input": file("data:application/pdf;base64,JVBERi0xLjEK")},
            "\"input.0.content.0.file_data\" is 'application/pdf', of which no text is read here: send its text.",
        ),
        ({"input": file("JVBERi0xLjEK")}, "is no text in UTF-8; other files are not read here: send their text."),
        (
            {"tools": [{"type": "function", "name": "x", "parameters": {"type": "array"}}]},
            "\"tools.0.parameters\" must be the schema of an object: its 'type' must be 'object'.",
        ),
        (
            {"text": {"verbosity": "low"}},
            '"text.verbosity": models here have no setting for how much they write: '
            "leave it out, and say it in 'instructions'.",
        ),
    ],
)
async def test_what_cannot_be_taken_is_said_with_what_to_do(body: dict[str, Any], words: str) -> None:
    async with openai_house() as (_, client):
        status, code, _, message = await refusal(client, **body)
    assert (status, code) == (400, "invalid_value")
    assert words in message


@pytest.mark.parametrize("mime", ["text/plain", "text/x-c", "application/json", "application/ld+json", ""])
async def test_a_file_of_text_is_read_whatever_text_it_is(mime: str) -> None:
    engine = ScriptedEngine([[Say("Hi.")]])
    async with openai_house(engine) as (_, client):
        await client.responses.create(model=MODEL, input=file(f"data:{mime};charset=utf-8;base64,e30="))
    (message,) = engine.requests[0].messages
    assert isinstance(message, UserMessage)
    assert [getattr(part, "content", None) for part in message.parts] == ["[file x]\n{}\n[end of file x]"]


@pytest.mark.parametrize("query", ["include[]=bogus", "include=bogus", "starting_after=3"])
async def test_what_a_reader_asks_for_in_vain_is_told(query: str) -> None:
    async with openai_house(ScriptedEngine([[Say("Hi.")]])) as (api, client):
        response = await client.responses.create(model=MODEL, input="Hi")
        read = await api.client.get(f"/v1/responses/{response.id}?{query}")
        items = await api.client.get(f"/v1/responses/{response.id}/input_items?include[]=bogus")
    name = query.partition("=")[0].removesuffix("[]")
    assert (read.status_code, read.json()["error"]["param"]) == (400, name)
    assert (items.status_code, items.json()["error"]["param"]) == (400, "include")


async def test_settings_that_ask_for_what_happens_anyway_are_taken() -> None:
    tools: Any = [
        WEATHER | {"defer_loading": False, "allowed_callers": ["direct"], "output_schema": {"type": "string"}},
    ]
    async with openai_house() as (_, client):
        response = await client.responses.create(model=MODEL, input="Hi", tools=tools)
        deferred = await refusal(client, tools=[WEATHER | {"defer_loading": True}])
    assert response.status == "completed"
    assert deferred[:3] == (400, "unrecognized_keys", "tools.0.defer_loading")


async def test_a_whole_chat_may_have_more_items_than_one_message() -> None:
    turns: Any = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}] * 600
    async with openai_house(request_limits=RequestLimits(input_items=1300)) as (_, client):
        response = await client.responses.create(model=MODEL, input=[*turns, *SAID], store=False)
        too_many = await refusal(client, input=turns * 2)
    assert response.status == "completed"
    assert too_many == (400, "invalid_value", "input", '"input" must have at most 1300 items.')


async def test_a_label_that_is_in_no_mcp_json_is_told_at_its_place_with_what_to_do() -> None:
    async with openai_house(servers={"mcp/clock": FakeServer()}) as (_, client):
        told = await refusal(client, tools=[WEATHER, {"type": "mcp", "server_label": "calendar"}])
    message = (
        "Cannot find plugin 'mcp/calendar'. Installed plugins: mcp/clock. "
        "A server that is not in mcp.json is brought along with its 'server_url'."
    )
    assert told == (400, "invalid_value", "tools.1.server_label", message)


async def test_a_conversation_that_is_being_answered_is_told_as_one() -> None:
    engine = ScriptedEngine([[Say("Once upon"), Stall(anyio.Event())]])
    async with openai_house(engine) as (api, client):
        conversation = await client.conversations.create()
        begun = await client.responses.create(model=MODEL, input="Tell", conversation=conversation.id, background=True)
        await api.generating(1)
        turn = await refusal(client, conversation=conversation.id)
        told: list[Any] = [turn[1:]]
        for ask in (
            client.conversations.items.create(conversation.id, items=SAID),
            client.conversations.delete(conversation.id),
        ):
            with pytest.raises(openai.ConflictError) as busy:
                await ask
            told.append((busy.value.code, busy.value.param, words_of(busy.value)))
        await client.responses.cancel(begun.id)
    assert [(code, param) for code, param, _ in told] == [
        ("response_not_finished", "conversation"),
        ("response_not_finished", "conversation_id"),
        ("response_not_finished", "conversation_id"),
    ]
    assert not [words for _, _, words in told if "thread" in words]
