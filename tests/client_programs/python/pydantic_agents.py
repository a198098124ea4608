"""`pydantic-ai`, over the responses, the chat completions and the messages."""

from anthropic import AsyncAnthropic
from conversations import HELLO, LABEL, NOBODY, STORY, SUM, hold
from openai import AsyncOpenAI
from pydantic_ai import Agent, ModelHTTPError, NativeToolCallPart, ToolCallPart
from pydantic_ai.capabilities import MCP
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


def agent(dialect, url, model, **more):
    if dialect == "messages":
        client = AsyncAnthropic(base_url=url, api_key="none", max_retries=0)
        it = AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client))
    else:
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        kind = OpenAIResponsesModel if dialect == "responses" else OpenAIChatModel
        it = kind(model, provider=OpenAIProvider(openai_client=client))
    return Agent(it, model_settings={"temperature": 0, "max_tokens": 256}, **more)


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


def calls(run):
    """The agent's and the service's own."""
    parts = [part for message in run.all_messages() for part in message.parts]
    own = [[part.tool_name, part.args_as_dict()] for part in parts if isinstance(part, ToolCallPart)]
    told = [part.args_as_dict() for part in parts if isinstance(part, NativeToolCallPart)]
    return own + [[args["tool_name"], args["tool_args"]] for args in told if args["action"] == "call_tool"]


async def text(place):
    return {"text": (await agent(place.dialect, place.url, place.model).run(HELLO)).output}


async def streaming(place):
    async with agent(place.dialect, place.url, place.model).run_stream(HELLO) as run:
        pieces = [piece async for piece in run.stream_text(delta=True, debounce_by=None)]
        return {"pieces": len(pieces), "joined": "".join(pieces), "text": await run.get_output()}


async def tools(place):
    run = await agent(place.dialect, place.url, place.model, tools=[add]).run(SUM)
    return {"calls": calls(run), "text": run.output}


async def mcp(place):
    """Over the chat completions the agent runs the tools, elsewhere the service does."""
    if place.dialect == "chat/completions":
        server = MCP(url=place.mcp_url, id=LABEL, allowed_tools=["add"])
    else:
        server = MCP(url=place.mcp_url, id=LABEL, allowed_tools=["add"], native=True, local=False)
    run = await agent(place.dialect, place.url, place.model, capabilities=[server]).run(SUM)
    return {"calls": calls(run), "text": run.output}


async def errors(place):
    try:
        await agent(place.dialect, place.url, NOBODY).run(HELLO)
    except ModelHTTPError as error:
        return {"kind": type(error).__name__, "status": error.status_code}


async def cancelling(place):
    slow = agent(place.dialect, place.slow_url, place.slow_model)
    async with slow.run_stream(STORY) as run:
        async for _ in run.stream_text(delta=True, debounce_by=None):
            await run.cancel()
            break
    return {"next": (await slow.run(HELLO)).output}


hold({"text": text, "streaming": streaming, "tools": tools, "MCP": mcp, "errors": errors, "cancelling": cancelling})
