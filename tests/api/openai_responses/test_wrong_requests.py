"""What cannot be, as OpenAI's own client is told."""

from typing import Any

import openai
import pytest

from tests.api.openai_responses.clients import CLOCK, MODEL, USE_CLOCK, WEATHER, openai_house

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "nobody/nothing"}, "model"),
        ({"previous_response_id": "resp_" + "0" * 48}, "previous_response_id"),
        ({"previous_response_id": "chatcmpl-1"}, "previous_response_id"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [WEATHER, {"type": "custom", "name": "x"}]}, "tools.1.type"),
        ({"tools": [{"type": "mcp", "server_label": "x", "connector_id": "connector_x"}]}, "tools.0.connector_id"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"type": "shell"}]}}, "tool_choice.tools.0.type"),
        ({"input": [{"type": "computer_call_output"}]}, "input.0.type"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input.0.content.0.type"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"tools": [WEATHER, WEATHER]}, "tools.1.name"),
        (
            {"tools": [WEATHER, {"type": "mcp", "server_label": "none", "require_approval": "never"}]},
            "tools.1.server_label",
        ),
        ({"tools": [{"type": "mcp", "server_label": "clock", "authorization": "x"}]}, "tools.0.authorization"),
        ({"tools": [WEATHER, USE_CLOCK | {"allowed_tools": ["nope"]}]}, "tools.1.allowed_tools.0"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice.name"),
        ({"tools": [USE_CLOCK], "tool_choice": {"type": "mcp", "server_label": "other"}}, "tool_choice.server_label"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"truncation": "auto"}, "truncation"),
        ({"background": True, "store": False}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"input": []}, "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x.example/a.png"}]}]},
            "input.0.content.0.image_url",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}]},
            "input.0.content.0.file_id",
        ),
        ({"input": [{"type": "function_call_output", "call_id": "call_none", "output": "x"}]}, "input"),
        ({"conversation": "conv_" + "0" * 48}, "conversation"),
        ({"conversation": "conv_1", "previous_response_id": "resp_1"}, "conversation"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_cannot_be_is_refused_by_the_name_of_its_field(body: dict[str, Any], param: str) -> None:
    async with openai_house(servers=CLOCK) as (_, client):
        with pytest.raises(openai.APIStatusError) as refused:
            await client.responses.create(extra_body={"model": MODEL, "input": "Hi", **body})
    assert refused.value.param == param


async def test_who_wants_a_chat_cut_to_fit_is_told_what_to_do_instead() -> None:
    async with openai_house() as (_, client):
        with pytest.raises(openai.BadRequestError, match="/v1/responses/compact") as refused:
            await client.responses.create(model=MODEL, input="Hi", truncation="auto")
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "truncation")
