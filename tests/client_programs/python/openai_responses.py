"""`openai`, over the responses."""

import json

from conversations import HELLO, LABEL, NOBODY, STORY, SUM, hold
from openai import APIStatusError, OpenAI

ADD = {
    "type": "function",
    "name": "add",
    "description": "Add two numbers.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}


def client(url):
    return OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def text(place):
    return {"text": client(place.url).responses.create(model=place.model, temperature=0, input=HELLO).output_text}


def streaming(place):
    pieces = []
    with client(place.url).responses.stream(model=place.model, temperature=0, input=HELLO) as stream:
        pieces.extend(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": final.output_text}


def tools(place):
    responses = client(place.url).responses
    first = responses.create(model=place.model, temperature=0, input=SUM, tools=[ADD])
    (call,) = [item for item in first.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "42"}
    second = responses.create(
        model=place.model, temperature=0, previous_response_id=first.id, input=[result], tools=[ADD]
    )
    return {"calls": [[call.name, json.loads(call.arguments)]], "text": second.output_text}


def mcp(place):
    server = {"type": "mcp", "server_label": LABEL, "server_url": place.mcp_url, "require_approval": "never"}
    server |= {"allowed_tools": ["add"]}
    done = client(place.url).responses.create(model=place.model, temperature=0, input=SUM, tools=[server])
    (call,) = [item for item in done.output if item.type == "mcp_call"]
    return {"calls": [[call.name, json.loads(call.arguments)]], "text": done.output_text}


def errors(place):
    try:
        client(place.url).responses.create(model=NOBODY, input=HELLO)
    except APIStatusError as error:
        return {"kind": type(error).__name__, "status": error.status_code}


def cancelling(place):
    responses = client(place.slow_url).responses
    with responses.create(model=place.slow_model, input=STORY, stream=True) as stream:
        next(event for event in stream if event.type == "response.output_text.delta")
    return {"next": responses.create(model=place.slow_model, input=HELLO).output_text}


hold({"text": text, "streaming": streaming, "tools": tools, "MCP": mcp, "errors": errors, "cancelling": cancelling})
