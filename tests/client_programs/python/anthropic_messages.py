"""`anthropic`, over the messages."""

from typing import Literal

from anthropic import Anthropic, APIStatusError
from conversations import (
    COLOUR,
    FIRST,
    HELLO,
    LABEL,
    NOBODY,
    PICTURE,
    PNG,
    PUZZLE,
    STORY,
    SUM,
    TOO_HOT,
    WRONG_KEY,
    hold,
    refused,
)
from pydantic import BaseModel

ADD = {
    "name": "add",
    "description": "Add two numbers.",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
SURE = {"extra_body": {"temperature": 0}}  # the client has no word for it any more
BETA = "mcp-client-2025-04-04"


class Colour(BaseModel):
    colour: Literal["red", "green"]


def client(url, key="none"):
    return Anthropic(base_url=url, api_key=key, max_retries=0)


def body(model, content, most=256):
    return {"model": model, "max_tokens": most, "messages": [{"role": "user", "content": content}]}


def words(message):
    return "".join(block.text for block in message.content if block.type == "text")


def scripted(place, content, **more):
    return client(place.scripted_url).messages.create(**body(place.scripted_model, content), **more)


def text(place):
    return {"text": words(client(place.url).messages.create(**SURE, **body(place.model, HELLO)))}


def streaming(place):
    with client(place.url).messages.stream(**SURE, **body(place.model, HELLO)) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": words(final)}


def answered(place, ask):
    """The model's call, and what it says of the result."""
    common = body(place.model, SUM)
    asked = ask(tools=[ADD], **SURE, **common)
    (call,) = [block for block in asked.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "42"}
    common["messages"] += [{"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    return {"calls": [[call.name, call.input]], "text": words(ask(tools=[ADD], **SURE, **common))}


def tools(place):
    return answered(place, client(place.url).messages.create)


def streamed_tools(place):
    def streamed(**common):
        with client(place.url).messages.stream(**common) as stream:
            return stream.get_final_message()

    return answered(place, streamed)


def mcp(place):
    server = {"type": "url", "name": LABEL, "url": place.mcp_url}
    server |= {"tool_configuration": {"enabled": True, "allowed_tools": ["add"]}}
    done = client(place.url).beta.messages.create(mcp_servers=[server], betas=[BETA], **SURE, **body(place.model, SUM))
    (call,) = [block for block in done.content if block.type == "mcp_tool_use"]
    return {"calls": [[call.name, call.input]], "text": words(done)}


def structured(place):
    done = client(place.url).messages.parse(output_format=Colour, **SURE, **body(place.model, COLOUR))
    return {"parsed": done.parsed_output.model_dump()}


def images(place):
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    return {"text": words(scripted(place, [picture, {"type": "text", "text": PICTURE}]))}


def reasoning(place):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    done = client(place.scripted_url).messages.create(
        thinking=thinking, output_config={"effort": "high"}, **body(place.scripted_model, PUZZLE, 2048)
    )
    (thought,) = [block for block in done.content if block.type == "thinking"]
    return {"reasoning": thought.thinking, "text": words(done)}


def usage(place):
    with client(place.scripted_url).messages.stream(**body(place.scripted_model, HELLO)) as stream:
        used = stream.get_final_message().usage
    return {"input": used.input_tokens + used.cache_read_input_tokens, "output": used.output_tokens}


def continuing(place):
    common = body(place.scripted_model, place.my_word)
    messages = client(place.scripted_url).messages
    first = messages.create(**common)
    common["messages"] += [{"role": "assistant", "content": first.content}, {"role": "user", "content": FIRST}]
    return {"text": words(messages.create(**common))}


def counting(place):
    common = {"tools": [ADD], **body(place.model, SUM)}
    used = client(place.url).messages.create(**SURE, **common).usage
    del common["max_tokens"]
    counted = client(place.url).messages.count_tokens(**common)
    cached = (used.cache_read_input_tokens or 0) + (used.cache_creation_input_tokens or 0)
    return {"counted": counted.input_tokens, "used": used.input_tokens + cached}


def cancelling(place):
    with client(place.scripted_url).messages.stream(**body(place.scripted_model, STORY)) as stream:
        next(iter(stream.text_stream))
    return {"next": words(scripted(place, HELLO))}


def refusal(url, model, key="none", **more):
    try:
        client(url, key).messages.create(**body(model, HELLO), **more)
    except APIStatusError as error:
        return refused(error)


hold(
    {
        "text": text,
        "streaming": streaming,
        "tools": tools,
        "streamed tools": streamed_tools,
        "MCP": mcp,
        "structured output": structured,
        "images": images,
        "reasoning": reasoning,
        "usage": usage,
        "continuing": continuing,
        "token counting": counting,
        "cancelling": cancelling,
        "error 404": lambda place: refusal(place.url, NOBODY),
        "error 400": lambda place: refusal(place.url, place.model, extra_body={"temperature": TOO_HOT}),
        "error 401": lambda place: refusal(place.guarded_url, place.scripted_model, WRONG_KEY),
        "models": lambda place: {"models": [one.id for one in client(place.url).models.list()]},
    }
)
