"""OpenAI's own client, against the application behind a real server."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI

from orchestrator.core.prompt import AssistantMessage, PromptMessage, SystemMessage, ToolMessage, UserMessage
from orchestrator.testing import SCRIPTED_MODEL, Call, FakeServer, Say, ScriptedEngine
from tests.api.house import House, fake_tool, house, served
from tests.api.test_stream import tell_time

MODEL = SCRIPTED_MODEL
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather somewhere.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    "strict": True,
}
CLOCK = {"mcp/clock": FakeServer([fake_tool("now", tell_time)])}
USE_CLOCK: Any = {"type": "mcp", "server_label": "clock", "require_approval": "never"}
CALLS = [[Call("now", {"zone": "UTC"})], [Say("It is noon.")]]


@asynccontextmanager
async def openai_house(
    engine: ScriptedEngine | None = None, servers: Mapping[str, FakeServer] | None = None, **options: Any
) -> AsyncGenerator[tuple[House, Any]]:
    """The application over twins, and the client of it; its replies are unions of all that OpenAI has."""
    async with house(engine, servers, **options) as api, served(api.app) as http:
        async with AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="lm-studio", max_retries=0) as client:
            yield api, client


def told(value: Any) -> Any:
    """What the client made of a reply, as JSON."""
    return value.model_dump(mode="json", by_alias=True)


def texts_of(engine: ScriptedEngine) -> list[Any]:
    """What the model was told in its last turn, in short."""
    return texts_in(engine.requests[-1].messages)


def texts_in(messages: Sequence[PromptMessage]) -> list[Any]:
    """What a model is told, in short: without the ids of calls."""
    told: list[Any] = []
    for message in messages:
        match message:
            case SystemMessage(content):
                told.append(("system", content))
            case UserMessage(parts):
                told.append(("user", *(getattr(part, "content", "picture") for part in parts)))
            case AssistantMessage():
                calls = [(call.name, call.arguments) for call in message.calls]
                told.append(("assistant", message.reasoning, message.content, *calls))
            case ToolMessage():
                told.append(("tool", message.name, message.content))
    return told
