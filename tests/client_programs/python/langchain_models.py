"""`langchain-openai`, over the responses and the chat completions."""

from conversations import HELLO, LABEL, NOBODY, STORY, SUM, hold
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import APIStatusError


@tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


def llm(dialect, url, model, **more):
    return ChatOpenAI(
        base_url=f"{url}/v1",
        api_key="none",
        model=model,
        temperature=0,
        max_retries=0,
        use_responses_api=dialect == "responses",
        **more,
    )


def text(place):
    return {"text": llm(place.dialect, place.url, place.model).invoke(HELLO).text}


def streaming(place):
    chunks = list(llm(place.dialect, place.url, place.model).stream(HELLO))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    pieces = [chunk.text for chunk in chunks if chunk.text]
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": whole.text}


def tools(place):
    bound = llm(place.dialect, place.url, place.model).bind_tools([add])
    messages = [HumanMessage(SUM)]
    asked = bound.invoke(messages)
    messages += [asked, *(add.invoke(call) for call in asked.tool_calls)]
    calls = [[call["name"], call["args"]] for call in asked.tool_calls]
    return {"calls": calls, "text": bound.invoke(messages).text}


def mcp(place):
    if place.dialect == "chat/completions":
        server = {"type": "ephemeral_mcp", "server_label": LABEL, "server_url": place.mcp_url}
        model = llm(
            place.dialect, place.url, place.model, extra_body={"integrations": [server | {"allowed_tools": ["add"]}]}
        )
    else:
        server = {"type": "mcp", "server_label": LABEL, "server_url": place.mcp_url, "require_approval": "never"}
        model = llm(place.dialect, place.url, place.model).bind_tools([server | {"allowed_tools": ["add"]}])
    done = model.invoke(SUM)
    return {"text": done.text}


def errors(place):
    try:
        llm(place.dialect, place.url, NOBODY).invoke(HELLO)
    except APIStatusError as error:
        return {"kind": type(error).__name__, "status": error.status_code}


def cancelling(place):
    slow = llm(place.dialect, place.slow_url, place.slow_model)
    stream = slow.stream(STORY)
    next(chunk for chunk in stream if chunk.text)
    stream.close()
    return {"next": slow.invoke(HELLO).text}


hold({"text": text, "streaming": streaming, "tools": tools, "MCP": mcp, "errors": errors, "cancelling": cancelling})
