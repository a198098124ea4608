"""`openai-agents`, over the responses and the chat completions."""

import json
from typing import Literal

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
from openai import APIStatusError, AsyncOpenAI
from openai.types.shared import Reasoning
from pydantic import BaseModel

set_tracing_disabled(True)
MODELS = {"responses": OpenAIResponsesModel, "chat/completions": OpenAIChatCompletionsModel}
called = []


class Colour(BaseModel):
    colour: Literal["red", "green"]


@function_tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    called.append(["add", {"a": a, "b": b}])
    return str(a + b)


def agent(dialect, url, model, key="none", temperature=0, effort=None, **more):
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    settings = ModelSettings(
        temperature=temperature,
        include_usage=dialect == "chat/completions" or None,
        reasoning=Reasoning(effort=effort) if effort else None,
    )
    return Agent(name="one", model=MODELS[dialect](model, client), model_settings=settings, **more)


def demo(place, **more):
    return agent(place.dialect, place.url, place.model, **more)


def scripted(place, **more):
    return agent(place.dialect, place.scripted_url, place.scripted_model, **more)


async def text(place):
    return {"text": (await Runner.run(demo(place), HELLO)).final_output}


async def streaming(place):
    run = Runner.run_streamed(demo(place), HELLO)
    raw = [event.data async for event in run.stream_events() if event.type == "raw_response_event"]
    pieces = [event.delta for event in raw if event.type == "response.output_text.delta"]
    return {"pieces": len(pieces), "joined": "".join(pieces), "text": run.final_output}


async def tools(place):
    called.clear()
    done = await Runner.run(demo(place, tools=[add]), SUM)
    return {"calls": list(called), "text": done.final_output}


async def streamed_tools(place):
    called.clear()
    run = Runner.run_streamed(demo(place, tools=[add]), SUM)
    async for _ in run.stream_events():
        pass
    return {"calls": list(called), "text": run.final_output}


def served(done):
    calls = [item.raw_item for item in done.new_items if item.type == "tool_call_item"]
    return {"calls": [[call.name, json.loads(call.arguments)] for call in calls], "text": done.final_output}


def adder(place, approval):
    server = {"type": "mcp", "server_label": LABEL, "server_url": place.mcp_url, "require_approval": approval}
    return server | {"allowed_tools": ["add"]}


async def mcp(place):
    """Over the responses the service runs the tools, over the chat completions the agent does."""
    if place.dialect == "responses":
        return served(await Runner.run(demo(place, tools=[HostedMCPTool(tool_config=adder(place, "never"))]), SUM))
    wanted = create_static_tool_filter(allowed_tool_names=["add"])
    async with MCPServerStreamableHttp({"url": place.mcp_url}, tool_filter=wanted) as server:
        return served(await Runner.run(demo(place, mcp_servers=[server]), SUM))


async def approvals(place):
    def approve(request):
        return {"approve": request.data.name == "add"}

    tool = HostedMCPTool(tool_config=adder(place, "always"), on_approval_request=approve)
    return served(await Runner.run(demo(place, tools=[tool]), SUM))


async def structured(place):
    return {"parsed": (await Runner.run(demo(place, output_type=Colour), COLOUR)).final_output.model_dump()}


async def images(place):
    content = [{"type": "input_text", "text": PICTURE}, {"type": "input_image", "image_url": PNG_URL, "detail": "auto"}]
    done = await Runner.run(scripted(place), [{"role": "user", "content": content}])
    return {"text": done.final_output}


async def reasoning(place):
    done = await Runner.run(scripted(place, effort="high"), PUZZLE)
    (thought,) = [item.raw_item for item in done.new_items if item.type == "reasoning_item"]
    parts = thought.content or thought.summary
    return {"reasoning": "".join(part.text for part in parts), "text": done.final_output}


async def usage(place):
    run = Runner.run_streamed(scripted(place), HELLO)
    async for _ in run.stream_events():
        pass
    used = run.context_wrapper.usage
    return {"input": used.input_tokens, "output": used.output_tokens}


async def continuing(place):
    one = scripted(place)
    first = await Runner.run(one, place.my_word)
    if place.dialect == "responses":
        done = await Runner.run(one, FIRST, previous_response_id=first.last_response_id)
    else:
        done = await Runner.run(one, [*first.to_input_list(), {"role": "user", "content": FIRST}])
    return {"text": done.final_output}


async def cancelling(place):
    run = Runner.run_streamed(scripted(place), STORY)
    async for event in run.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            run.cancel()
            break
    return {"next": (await Runner.run(scripted(place), HELLO)).final_output}


async def refusal(one):
    try:
        await Runner.run(one, HELLO)
    except APIStatusError as error:
        return refused(error)


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
        "error 404": lambda place: refusal(agent(place.dialect, place.url, NOBODY)),
        "error 400": lambda place: refusal(demo(place, temperature=TOO_HOT)),
        "error 401": lambda place: refusal(agent(place.dialect, place.guarded_url, place.scripted_model, WRONG_KEY)),
    }
)
