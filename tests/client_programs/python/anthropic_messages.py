"""`anthropic`, over the messages."""

from anthropic import Anthropic, APIStatusError
from conversations import HELLO, LABEL, NOBODY, STORY, SUM, hold

ADD = {
    "name": "add",
    "description": "Add two numbers.",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
SURE = {"temperature": 0}  # the client has no word for it any more
BETA = "mcp-client-2025-04-04"


def client(url):
    return Anthropic(base_url=url, api_key="none", max_retries=0)


def common(place, content):
    return {"model": place.model, "max_tokens": 256, "messages": [{"role": "user", "content": content}]}


def words(message):
    return "".join(block.text for block in message.content if block.type == "text")


def text(place):
    return {"text": words(client(place.url).messages.create(extra_body=SURE, **common(place, HELLO)))}


def streaming(place):
    with client(place.url).messages.stream(extra_body=SURE, **common(place, HELLO)) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": words(final)}


def tools(place):
    messages = client(place.url).messages
    body = common(place, SUM)
    asked = messages.create(extra_body=SURE, tools=[ADD], **body)
    (call,) = [block for block in asked.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "42"}
    body["messages"] += [{"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    done = messages.create(extra_body=SURE, tools=[ADD], **body)
    return {"calls": [[call.name, call.input]], "text": words(done)}


def mcp(place):
    server = {"type": "url", "name": LABEL, "url": place.mcp_url}
    server |= {"tool_configuration": {"enabled": True, "allowed_tools": ["add"]}}
    done = client(place.url).beta.messages.create(
        extra_body=SURE, mcp_servers=[server], betas=[BETA], **common(place, SUM)
    )
    (call,) = [block for block in done.content if block.type == "mcp_tool_use"]
    return {"calls": [[call.name, call.input]], "text": words(done)}


def errors(place):
    try:
        client(place.url).messages.create(**common(place, HELLO) | {"model": NOBODY})
    except APIStatusError as error:
        return {"kind": type(error).__name__, "status": error.status_code}


def cancelling(place):
    slow = client(place.slow_url).messages
    body = {"model": place.slow_model, "max_tokens": 256}
    with slow.stream(messages=[{"role": "user", "content": STORY}], **body) as stream:
        next(iter(stream.text_stream))
    return {"next": words(slow.create(messages=[{"role": "user", "content": HELLO}], **body))}


hold({"text": text, "streaming": streaming, "tools": tools, "MCP": mcp, "errors": errors, "cancelling": cancelling})
