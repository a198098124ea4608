"""`openai`, over the chat completions."""

import json
from typing import Literal

from conversations import (
    COLOUR,
    FIRST,
    HELLO,
    LABEL,
    NOBODY,
    PICTURE,
    PNG_URL,
    PUZZLE,
    STORY,
    SUM,
    TOO_HOT,
    WRONG_KEY,
    hold,
    refused,
)
from openai import APIStatusError, OpenAI
from pydantic import BaseModel

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
COUNTED = {"stream_options": {"include_usage": True}}


class Colour(BaseModel):
    colour: Literal["red", "green"]


def completions(url, key="sk-none"):
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0).chat.completions


def said(content):
    return [{"role": "user", "content": content}]


def sure(place):
    return {"model": place.model, "temperature": 0}


def answer(completion):
    return completion.choices[0].message.content


def scripted(place, content, **more):
    return completions(place.scripted_url).create(model=place.scripted_model, messages=said(content), **more)


def text(place):
    return {"text": answer(completions(place.url).create(messages=said(HELLO), **sure(place)))}


def streaming(place):
    pieces = []
    with completions(place.url).stream(messages=said(HELLO), **COUNTED, **sure(place)) as stream:
        pieces.extend(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": answer(final)}


def answered(place, ask):
    """The model's call, and what it says of the result."""
    messages = said(SUM)
    message = ask(messages=messages, tools=[ADD], **sure(place)).choices[0].message
    (call,) = message.tool_calls
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "42"}]
    done = ask(messages=messages, tools=[ADD], **sure(place))
    return {"calls": [[call.function.name, json.loads(call.function.arguments)]], "text": answer(done)}


def tools(place):
    return answered(place, completions(place.url).create)


def streamed_tools(place):
    def streamed(**body):
        with completions(place.url).stream(**body) as stream:
            return stream.get_final_completion()

    return answered(place, streamed)


def mcp(place):
    server = {"type": "ephemeral_mcp", "server_label": LABEL, "server_url": place.mcp_url, "allowed_tools": ["add"]}
    done = completions(place.url).create(messages=said(SUM), extra_body={"integrations": [server]}, **sure(place))
    return {"text": answer(done)}


def structured(place):
    done = completions(place.url).parse(messages=said(COLOUR), response_format=Colour, **sure(place))
    return {"parsed": done.choices[0].message.parsed.model_dump()}


def images(place):
    picture = {"type": "image_url", "image_url": {"url": PNG_URL}}
    return {"text": answer(scripted(place, [{"type": "text", "text": PICTURE}, picture]))}


def reasoning(place):
    done = scripted(place, PUZZLE, reasoning_effort="high")
    return {"reasoning": done.choices[0].message.reasoning_content, "text": answer(done)}


def usage(place):
    body = {"model": place.scripted_model, "messages": said(HELLO)}
    with completions(place.scripted_url).stream(**COUNTED, **body) as stream:
        used = stream.get_final_completion().usage
    return {"input": used.prompt_tokens, "output": used.completion_tokens}


def continuing(place):
    message = scripted(place, place.my_word).choices[0].message
    messages = [*said(place.my_word), message, *said(FIRST)]
    return {"text": answer(completions(place.scripted_url).create(model=place.scripted_model, messages=messages))}


def cancelling(place):
    with scripted(place, STORY, stream=True) as stream:
        next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    return {"next": answer(scripted(place, HELLO))}


def refusal(url, key="sk-none", **body):
    try:
        completions(url, key).create(messages=said(HELLO), **body)
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
        "cancelling": cancelling,
        "error 404": lambda place: refusal(place.url, model=NOBODY),
        "error 400": lambda place: refusal(place.url, model=place.model, temperature=TOO_HOT),
        "error 401": lambda place: refusal(place.guarded_url, WRONG_KEY, model=place.scripted_model),
    }
)
