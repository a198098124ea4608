"""`openai-agents`, over the responses and the chat completions."""

import json

from agents import (
    Agent,
    HostedMCPTool,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from agents.mcp import MCPServerStreamableHttp, create_static_tool_filter
from conversations import HELLO, LABEL, NOBODY, STORY, SUM, hold
from openai import APIStatusError, AsyncOpenAI

set_tracing_disabled(True)
MODELS = {"responses": OpenAIResponsesModel, "chat/completions": OpenAIChatCompletionsModel}
called = []


@function_tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    called.append(["add", {"a": a, "b": b}])
    return str(a + b)


def agent(dialect, url, model, **more):
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    settings = ModelSettings(temperature=0, include_usage=dialect == "chat/completions" or None)
    return Agent(name="one", model=MODELS[dialect](model, client), model_settings=settings, **more)


async def text(place):
    return {"text": (await Runner.run(agent(place.dialect, place.url, place.model), HELLO)).final_output}


async def streaming(place):
    run = Runner.run_streamed(agent(place.dialect, place.url, place.model), HELLO)
    raw = [event.data async for event in run.stream_events() if event.type == "raw_response_event"]
    pieces = [event.delta for event in raw if event.type == "response.output_text.delta"]
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": run.final_output}


async def tools(place):
    called.clear()
    done = await Runner.run(agent(place.dialect, place.url, place.model, tools=[add]), SUM)
    return {"calls": list(called), "text": done.final_output}


async def mcp(place):
    """Over the responses the service runs the tools, over the chat completions the agent does."""
    if place.dialect == "chat/completions":
        wanted = create_static_tool_filter(allowed_tool_names=["add"])
        async with MCPServerStreamableHttp({"url": place.mcp_url}, tool_filter=wanted) as server:
            done = await Runner.run(agent(place.dialect, place.url, place.model, mcp_servers=[server]), SUM)
    else:
        server = {"type": "mcp", "server_label": LABEL, "server_url": place.mcp_url, "require_approval": "never"}
        hosted = HostedMCPTool(tool_config=server | {"allowed_tools": ["add"]})
        done = await Runner.run(agent(place.dialect, place.url, place.model, tools=[hosted]), SUM)
    calls = [item.raw_item for item in done.new_items if item.type == "tool_call_item"]
    return {"calls": [[call.name, json.loads(call.arguments)] for call in calls], "text": done.final_output}


async def errors(place):
    try:
        await Runner.run(agent(place.dialect, place.url, NOBODY), HELLO)
    except APIStatusError as error:
        return {"kind": type(error).__name__, "status": error.status_code}


async def cancelling(place):
    run = Runner.run_streamed(agent(place.dialect, place.slow_url, place.slow_model), STORY)
    async for event in run.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            run.cancel()
            break
    return {"next": (await Runner.run(agent(place.dialect, place.slow_url, place.slow_model), HELLO)).final_output}


hold({"text": text, "streaming": streaming, "tools": tools, "MCP": mcp, "errors": errors, "cancelling": cancelling})
