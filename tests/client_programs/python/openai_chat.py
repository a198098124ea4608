"""`openai`, over the chat completions."""

import json

from conversations import HELLO, LABEL, NOBODY, STORY, SUM, hold
from openai import APIStatusError, OpenAI

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


def completions(url):
    return OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0).chat.completions


def said(content):
    return [{"role": "user", "content": content}]


def text(place):
    told = completions(place.url).create(model=place.model, temperature=0, messages=said(HELLO))
    return {"text": told.choices[0].message.content}


def streaming(place):
    pieces = []
    with completions(place.url).stream(
        model=place.model, temperature=0, messages=said(HELLO), stream_options={"include_usage": True}
    ) as stream:
        pieces.extend(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": final.choices[0].message.content}


def tools(place):
    messages = said(SUM)
    asked = completions(place.url).create(model=place.model, temperature=0, messages=messages, tools=[ADD])
    message = asked.choices[0].message
    (call,) = message.tool_calls
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "42"}]
    done = completions(place.url).create(model=place.model, temperature=0, messages=messages, tools=[ADD])
    called = [call.function.name, json.loads(call.function.arguments)]
    return {"calls": [called], "text": done.choices[0].message.content}


def mcp(place):
    server = {"type": "ephemeral_mcp", "server_label": LABEL, "server_url": place.mcp_url, "allowed_tools": ["add"]}
    done = completions(place.url).create(
        model=place.model, temperature=0, messages=said(SUM), extra_body={"integrations": [server]}
    )
    return {"text": done.choices[0].message.content}


def errors(place):
    try:
        completions(place.url).create(model=NOBODY, messages=said(HELLO))
    except APIStatusError as error:
        return {"kind": type(error).__name__, "status": error.status_code}


def cancelling(place):
    slow = completions(place.slow_url)
    with slow.create(model=place.slow_model, messages=said(STORY), stream=True) as stream:
        next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    told = slow.create(model=place.slow_model, messages=said(HELLO))
    return {"next": told.choices[0].message.content}


hold({"text": text, "streaming": streaming, "tools": tools, "MCP": mcp, "errors": errors, "cancelling": cancelling})
