"""`httpx`, over LM Studio's own route, in its newer and in its older dialect."""

import json

import httpx
from conversations import (
    COLOUR,
    COLOURS,
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

CHAT = "/api/v1/chat"
ADDENDS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
ADD = {"type": "function", "name": "add", "description": "Add two numbers.", "parameters": ADDENDS}
FORMAT = {"type": "json_schema", "json_schema": {"name": "colour", "schema": COLOURS, "strict": True}}


class Refusal(Exception):
    def __init__(self, response):
        error = response.json()["error"]
        super().__init__(error["message"])
        self.code, self.status_code = error["code"], response.status_code


def in_dialect(place, body):
    """A field of the older dialect makes a request one of it."""
    return body if place.dialect == "native" or "thread_id" in body else {"mcp_servers": [], **body}


def ask(place, url, model, path=CHAT, key=None, **body):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, timeout=60, trust_env=False, headers=headers) as client:
        sent = in_dialect(place, {"model": model, **body}) if path == CHAT else body
        response = client.post(path, json=sent)
    if response.status_code != 200:
        raise Refusal(response)
    return response.json()


def demo(place, **body):
    return ask(place, place.url, place.model, temperature=0, **body)


def scripted(place, **body):
    return ask(place, place.scripted_url, place.scripted_model, **body)


def told(place, url, model, **body):
    """The events of a stream, as they come."""
    sent = in_dialect(place, {"model": model, "stream": True, **body})
    with (
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
        client.stream("POST", CHAT, json=sent) as it,
    ):
        for line in it.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


def words(reply):
    return "".join(item["content"] for item in reply["output"] if item["type"] == "message")


def calls(reply):
    found = [item for item in reply["output"] if item["type"] in ("tool_call", "mcp_call")]
    assert {item["type"] for item in found} == {"tool_call" if "response_id" in reply else "mcp_call"}
    return [[item["tool"], item["arguments"]] for item in found]


def goes_on(reply):
    """What continues a reply, in its dialect."""
    if "thread_id" in reply:
        return {"thread_id": reply["thread_id"]}
    return {"previous_response_id": reply["response_id"]}


def text(place):
    return {"text": words(demo(place, input=HELLO))}


def streaming(place):
    events = list(told(place, place.url, place.model, temperature=0, input=HELLO))
    pieces = [event["content"] for event in events if event["type"] == "message.delta"]
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": words(events[-1]["result"])}


def answered(one):
    """The model's call, and what it says of the result."""
    first = one(input=SUM, tools=[ADD])
    (call,) = [item for item in first["output"] if item["type"] == "function_call"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "42"}
    done = one(input=[result], tools=[ADD], **goes_on(first))
    return {"calls": [[call["name"], json.loads(call["arguments"])]], "text": words(done)}


def tools(place):
    return answered(lambda **body: demo(place, **body))


def streamed_tools(place):
    return answered(lambda **body: list(told(place, place.url, place.model, temperature=0, **body))[-1]["result"])


def adder(place, **more):
    server = {"server_label": LABEL, "server_url": place.mcp_url, "allowed_tools": ["add"], **more}
    if place.dialect == "thread":
        return {"mcp_servers": [server]}
    return {"integrations": [{"type": "ephemeral_mcp", **server}]}


def mcp(place):
    done = demo(place, input=SUM, **adder(place))
    return {"calls": calls(done), "text": words(done)}


def approvals(place):
    asked = demo(place, input=SUM, **adder(place, require_approval="always"))
    decided = [{"call_id": call["call_id"], "decision": "approve"} for call in asked["pending_approvals"]]
    done = ask(place, place.url, "", f"/api/v1/responses/{asked['response_id']}/approvals", approvals=decided)
    return {"calls": calls(done), "text": words(done)}


def structured(place):
    return {"parsed": json.loads(words(demo(place, input=COLOUR, response_format=FORMAT)))}


def images(place):
    picture = {"type": "image", "data_url": PNG_URL}
    return {"text": words(scripted(place, input=[{"type": "text", "content": PICTURE}, picture]))}


def reasoning(place):
    wish = {"reasoning": "high"} if place.dialect == "native" else {"reasoning_effort": "high"}
    done = scripted(place, input=PUZZLE, **wish)
    thoughts = [item["content"] for item in done["output"] if item["type"] == "reasoning"]
    return {"reasoning": "".join(thoughts), "text": words(done)}


def usage(place):
    used = list(told(place, place.scripted_url, place.scripted_model, input=HELLO))[-1]["result"]["stats"]
    return {"input": used["input_tokens"], "output": used["total_output_tokens"]}


def continuing(place):
    first = scripted(place, input=place.my_word)
    return {"text": words(scripted(place, input=FIRST, **goes_on(first)))}


def cancelling(place):
    stream = told(place, place.scripted_url, place.scripted_model, input=STORY)
    next(event for event in stream if event["type"] == "message.delta")
    stream.close()
    return {"next": words(scripted(place, input=HELLO))}


def refusal(place, url, model, **body):
    try:
        ask(place, url, model, input=HELLO, **body)
    except Refusal as error:
        return refused(error) | {"kind": error.code}


hold(
    {
        "text": text,
        "streaming": streaming,
        "tools": tools,
        "streamed tools": streamed_tools,
        "MCP": mcp,
        "approvals": approvals,
        "structured output": structured,
        "images": images,
        "reasoning": reasoning,
        "usage": usage,
        "continuing": continuing,
        "cancelling": cancelling,
        "error 404": lambda place: refusal(place, place.url, NOBODY),
        "error 400": lambda place: refusal(place, place.url, place.model, temperature=TOO_HOT),
        "error 401": lambda place: refusal(place, place.guarded_url, place.scripted_model, key=WRONG_KEY),
    }
)
