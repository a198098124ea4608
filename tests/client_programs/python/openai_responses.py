"""`openai`, over the responses, and the routes around them."""

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
    TEXTS,
    TOO_HOT,
    WRONG_KEY,
    hold,
    refused,
)
from openai import APIStatusError, OpenAI
from pydantic import BaseModel

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


class Colour(BaseModel):
    colour: Literal["red", "green"]


def client(url, key="sk-none"):
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def sure(place):
    return {"model": place.model, "temperature": 0}


def scripted(place):
    return client(place.scripted_url).responses


def text(place):
    return {"text": client(place.url).responses.create(**sure(place), input=HELLO).output_text}


def streaming(place):
    pieces = []
    with client(place.url).responses.stream(**sure(place), input=HELLO) as stream:
        pieces.extend(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": final.output_text}


def answered(place, ask):
    """The model's call, and what it says of the result."""
    first = ask(input=SUM, tools=[ADD], **sure(place))
    (call,) = [item for item in first.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "42"}
    second = ask(previous_response_id=first.id, input=[result], tools=[ADD], **sure(place))
    return {"calls": [[call.name, json.loads(call.arguments)]], "text": second.output_text}


def tools(place):
    return answered(place, client(place.url).responses.create)


def streamed_tools(place):
    def streamed(**body):
        with client(place.url).responses.stream(**body) as stream:
            return stream.get_final_response()

    return answered(place, streamed)


def adder(place, approval):
    server = {"type": "mcp", "server_label": LABEL, "server_url": place.mcp_url, "require_approval": approval}
    return [server | {"allowed_tools": ["add"]}]


def called(done):
    calls = [item for item in done.output if item.type == "mcp_call"]
    return {"calls": [[call.name, json.loads(call.arguments)] for call in calls], "text": done.output_text}


def mcp(place):
    return called(client(place.url).responses.create(input=SUM, tools=adder(place, "never"), **sure(place)))


def approvals(place):
    common = {"tools": adder(place, "always"), **sure(place)}
    asked = client(place.url).responses.create(input=SUM, **common)
    (request,) = [item for item in asked.output if item.type == "mcp_approval_request"]
    answer = {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}
    return called(client(place.url).responses.create(input=[answer], previous_response_id=asked.id, **common))


def structured(place):
    done = client(place.url).responses.parse(input=COLOUR, text_format=Colour, **sure(place))
    return {"parsed": done.output_parsed.model_dump()}


def images(place):
    picture = {"type": "input_image", "image_url": PNG_URL, "detail": "auto"}
    content = [{"type": "input_text", "text": PICTURE}, picture]
    done = scripted(place).create(model=place.scripted_model, input=[{"role": "user", "content": content}])
    return {"text": done.output_text}


def reasoning(place):
    done = scripted(place).create(model=place.scripted_model, input=PUZZLE, reasoning={"effort": "high"})
    (thought,) = [item for item in done.output if item.type == "reasoning"]
    return {"reasoning": "".join(part.text for part in thought.content), "text": done.output_text}


def usage(place):
    with scripted(place).stream(model=place.scripted_model, input=HELLO) as stream:
        used = stream.get_final_response().usage
    return {"input": used.input_tokens, "output": used.output_tokens}


def continuing(place):
    first = scripted(place).create(model=place.scripted_model, input=place.my_word)
    second = scripted(place).create(model=place.scripted_model, input=FIRST, previous_response_id=first.id)
    return {"text": second.output_text}


def counting(place):
    counted = client(place.url).responses.input_tokens.count(model=place.model, input=SUM, tools=[ADD])
    used = client(place.url).responses.create(input=SUM, tools=[ADD], **sure(place)).usage
    return {"counted": counted.input_tokens, "used": used.input_tokens}


def cancelling(place):
    with scripted(place).create(model=place.scripted_model, input=STORY, stream=True) as stream:
        next(event for event in stream if event.type == "response.output_text.delta")
    return {"next": scripted(place).create(model=place.scripted_model, input=HELLO).output_text}


def refusal(url, key="sk-none", **body):
    try:
        client(url, key).responses.create(input=HELLO, **body)
    except APIStatusError as error:
        return refused(error)


def embeddings(place):
    made = client(place.embedder_url).embeddings.create(model=place.embedder_model, input=TEXTS)
    return {"vectors": [one.embedding for one in made.data]}


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
        "token counting": counting,
        "cancelling": cancelling,
        "error 404": lambda place: refusal(place.url, model=NOBODY),
        "error 400": lambda place: refusal(place.url, model=place.model, temperature=TOO_HOT),
        "error 401": lambda place: refusal(place.guarded_url, WRONG_KEY, model=place.scripted_model),
        "embeddings": embeddings,
        "models": lambda place: {"models": [one.id for one in client(place.url).models.list()]},
    }
)
