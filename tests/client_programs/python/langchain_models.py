"""`langchain-openai`, over the responses, the chat completions and the embeddings."""

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
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import APIStatusError
from pydantic import BaseModel


class Colour(BaseModel):
    colour: Literal["red", "green"]


@tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


def llm(dialect, url, model, key="none", **more):
    return ChatOpenAI(
        base_url=f"{url}/v1",
        api_key=key,
        model=model,
        max_retries=0,
        use_responses_api=dialect == "responses",
        **{"temperature": 0, **more},
    )


def demo(place, **more):
    return llm(place.dialect, place.url, place.model, **more)


def scripted(place, **more):
    return llm(place.dialect, place.scripted_url, place.scripted_model, **more)


def whole(chunks):
    first, *rest = chunks
    for chunk in rest:
        first += chunk
    return first


def text(place):
    return {"text": demo(place).invoke(HELLO).text}


def streaming(place):
    chunks = list(demo(place).stream(HELLO))
    pieces = [chunk.text for chunk in chunks if chunk.text]
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": whole(chunks).text}


def answered(ask):
    """The model's call, and what it says of the result."""
    messages = [HumanMessage(SUM)]
    asked = ask(messages)
    messages += [asked, *(add.invoke(call) for call in asked.tool_calls)]
    return {"calls": [[call["name"], call["args"]] for call in asked.tool_calls], "text": ask(messages).text}


def tools(place):
    return answered(demo(place).bind_tools([add]).invoke)


def streamed_tools(place):
    bound = demo(place, stream_usage=True).bind_tools([add])
    return answered(lambda messages: whole(bound.stream(messages)))


def adder(place, approval):
    server = {"type": "mcp", "server_label": LABEL, "server_url": place.mcp_url, "require_approval": approval}
    return server | {"allowed_tools": ["add"]}


def mcp(place):
    if place.dialect == "responses":
        return {"text": demo(place).bind_tools([adder(place, "never")]).invoke(SUM).text}
    server = {"type": "ephemeral_mcp", "server_label": LABEL, "server_url": place.mcp_url, "allowed_tools": ["add"]}
    return {"text": demo(place, extra_body={"integrations": [server]}).invoke(SUM).text}


def approvals(place):
    bound = demo(place).bind_tools([adder(place, "always")])
    asked = bound.invoke(SUM)
    (request,) = [block for block in asked.content if block["type"] == "mcp_approval_request"]
    answer = {"type": "mcp_approval_response", "approve": True, "approval_request_id": request["id"]}
    done = bound.invoke([HumanMessage([answer])], previous_response_id=asked.response_metadata["id"])
    return {"text": done.text}


def structured(place):
    return {"parsed": demo(place).with_structured_output(Colour, method="json_schema").invoke(COLOUR).model_dump()}


def images(place):
    picture = {"type": "image_url", "image_url": {"url": PNG_URL}}
    return {"text": scripted(place).invoke([HumanMessage([{"type": "text", "text": PICTURE}, picture])]).text}


def reasoning(place):
    done = scripted(place, reasoning={"effort": "high"}).invoke(PUZZLE)
    thoughts = [block for block in done.content if block["type"] == "reasoning"]
    return {"reasoning": "".join(part["text"] for block in thoughts for part in block["content"]), "text": done.text}


def usage(place):
    used = whole(scripted(place, stream_usage=True).stream(HELLO)).usage_metadata
    return {"input": used["input_tokens"], "output": used["output_tokens"]}


def continuing(place):
    more = {"use_previous_response_id": True} if place.dialect == "responses" else {}
    one = scripted(place, **more)
    messages = [HumanMessage(place.my_word)]
    messages += [one.invoke(messages), HumanMessage(FIRST)]
    return {"text": one.invoke(messages).text}


def cancelling(place):
    stream = scripted(place).stream(STORY)
    next(chunk for chunk in stream if chunk.text)
    stream.close()
    return {"next": scripted(place).invoke(HELLO).text}


def refusal(one):
    try:
        one.invoke(HELLO)
    except APIStatusError as error:
        return refused(error)


def embeddings(place):
    url = f"{place.embedder_url}/v1"
    plain = {"check_embedding_ctx_length": False}  # texts as they are, not as numbers of a tokenizer of OpenAI's
    made = OpenAIEmbeddings(base_url=url, api_key="none", model=place.embedder_model, max_retries=0, **plain)
    return {"vectors": made.embed_documents(TEXTS)}


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
        "error 404": lambda place: refusal(llm(place.dialect, place.url, NOBODY)),
        "error 400": lambda place: refusal(demo(place, temperature=TOO_HOT)),
        "error 401": lambda place: refusal(llm(place.dialect, place.guarded_url, place.scripted_model, WRONG_KEY)),
        "embeddings": embeddings,
    }
)
