"""`pydantic-ai`, over the responses, the chat completions and the messages, and its embedder."""

from typing import Literal

from anthropic import AsyncAnthropic
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
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import (
    Agent,
    BinaryContent,
    Embedder,
    ModelHTTPError,
    ModelRequest,
    NativeOutput,
    NativeToolCallPart,
    ThinkingPart,
    ToolCallPart,
)
from pydantic_ai.capabilities import MCP
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

HELD = {"supports_json_schema_output": True}  # what the client cannot know of a model that it has no name of


class Colour(BaseModel):
    colour: Literal["red", "green"]


def openai_provider(url, key="none"):
    return OpenAIProvider(openai_client=AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0))


def model_of(dialect, url, model, key="none"):
    if dialect == "messages":
        client = AsyncAnthropic(base_url=url, api_key=key, max_retries=0)
        return AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client), profile=HELD)
    kind = OpenAIResponsesModel if dialect == "responses" else OpenAIChatModel
    return kind(model, provider=openai_provider(url, key))


def agent(dialect, url, model, key="none", settings=None, **more):
    settings = {"temperature": 0, "max_tokens": 256} | (settings or {})
    return Agent(model_of(dialect, url, model, key), model_settings=settings, **more)


def demo(place, **more):
    return agent(place.dialect, place.url, place.model, **more)


def scripted(place, **more):
    return agent(place.dialect, place.scripted_url, place.scripted_model, **more)


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
    return {"text": (await demo(place).run(HELLO)).output}


async def streaming(place):
    async with demo(place).run_stream(HELLO) as run:
        pieces = [piece async for piece in run.stream_text(delta=True, debounce_by=None)]
        return {"pieces": len(pieces), "joined": "".join(pieces), "text": await run.get_output()}


async def tools(place):
    run = await demo(place, tools=[add]).run(SUM)
    return {"calls": calls(run), "text": run.output}


async def streamed_tools(place):
    async with demo(place, tools=[add]).run_stream(SUM) as run:
        return {"text": await run.get_output(), "calls": calls(run)}


async def mcp(place):
    """Over the chat completions the agent runs the tools, elsewhere the service does."""
    if place.dialect == "chat/completions":
        server = MCP(url=place.mcp_url, id=LABEL, allowed_tools=["add"])
    else:
        server = MCP(url=place.mcp_url, id=LABEL, allowed_tools=["add"], native=True, local=False)
    run = await demo(place, capabilities=[server]).run(SUM)
    return {"calls": calls(run), "text": run.output}


async def structured(place):
    return {"parsed": (await demo(place, output_type=NativeOutput(Colour)).run(COLOUR)).output.model_dump()}


async def images(place):
    return {"text": (await scripted(place).run([PICTURE, BinaryContent.from_data_uri(PNG_URL)])).output}


async def reasoning(place):
    wish = "thinking" if place.dialect == "messages" else "openai_reasoning_effort"
    run = await scripted(place, settings={wish: "high", "max_tokens": 32_000}).run(PUZZLE)
    thoughts = [part for message in run.all_messages() for part in message.parts if isinstance(part, ThinkingPart)]
    if place.dialect == "responses":  # where a content is the summary only
        thoughts = [text for part in thoughts for text in part.provider_details["raw_content"]]
    else:
        thoughts = [part.content for part in thoughts]
    return {"reasoning": "".join(thoughts), "text": run.output}


async def usage(place):
    async with scripted(place).run_stream(HELLO) as run:
        await run.get_output()
        used = run.usage
    return {"input": used.input_tokens, "output": used.output_tokens}


async def continuing(place):
    settings = {"openai_previous_response_id": "auto"} if place.dialect == "responses" else {}
    one = scripted(place, settings=settings)
    first = await one.run(place.my_word)
    return {"text": (await one.run(FIRST, message_history=first.all_messages())).output}


async def counting(place):
    model, settings = model_of(place.dialect, place.url, place.model), {"max_tokens": 256}
    asked = [ModelRequest.user_text_prompt(SUM)]
    counted = await model.count_tokens(asked, settings, ModelRequestParameters())
    used = (await model.request(asked, settings, ModelRequestParameters())).usage
    return {"counted": counted.input_tokens, "used": used.input_tokens}


async def cancelling(place):
    slow = scripted(place)
    async with slow.run_stream(STORY) as run:
        async for _ in run.stream_text(delta=True, debounce_by=None):
            await run.cancel()
            break
    return {"next": (await slow.run(HELLO)).output}


async def refusal(one):
    try:
        await one.run(HELLO)
    except ModelHTTPError as error:
        return refused(error)


async def embeddings(place):
    model = OpenAIEmbeddingModel(place.embedder_model, provider=openai_provider(place.embedder_url))
    return {"vectors": [list(one) for one in (await Embedder(model).embed_documents(TEXTS)).embeddings]}


hold(
    {
        "text": text,
        "streaming": streaming,
        "tools": tools,
        "streamed tools": streamed_tools,
        "MCP": mcp,
        "structured output": structured,
        "images": images,
        "reasoning": reasoning,
        "usage": usage,
        "continuing": continuing,
        "token counting": counting,
        "cancelling": cancelling,
        "error 404": lambda place: refusal(agent(place.dialect, place.url, NOBODY)),
        "error 400": lambda place: refusal(demo(place, settings={"temperature": TOO_HOT})),
        "error 401": lambda place: refusal(agent(place.dialect, place.guarded_url, place.scripted_model, WRONG_KEY)),
        "embeddings": embeddings,
    }
)
