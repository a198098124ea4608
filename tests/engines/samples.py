"""Requests that the demo model answers reliably, and folds of what comes back."""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Final

from orchestrator.core.commands import Generate
from orchestrator.core.inputs import CallArgumentsArrived, GenerationFinished, ReasoningArrived, TextArrived
from orchestrator.core.items import PluginProvider, TextInput
from orchestrator.core.prompt import AssistantMessage, PromptMessage, PromptToolCall, ToolMessage, UserMessage
from orchestrator.core.request import ReasoningSetting, Sampling
from orchestrator.core.tools import OfferedTool, ToolDefinition, definition_digest
from orchestrator.ports import CallBegun, GenerationChunk

GREEDY: Final = Sampling(temperature=0)
RAMBLING: Final = Sampling(temperature=10, top_k=0, top_p=1, min_p=0, seed=1)
"""Nearly random tokens: the end is as unlikely as any other, so the context is filled before it comes."""

_TIME: Final = ToolDefinition(
    "get_time",
    "Get the current time in a time zone",
    {"type": "object", "properties": {"timezone": {"type": "string"}}, "required": ["timezone"]},
)
TIME_TOOL: Final = OfferedTool("get_time", _TIME, PluginProvider("mcp/clock"), 0, definition_digest(_TIME))


def user(text: str) -> UserMessage:
    return UserMessage((TextInput(text),))


def ask(
    *messages: PromptMessage | str,
    tools: tuple[OfferedTool, ...] = (),
    sampling: Sampling = GREEDY,
    reasoning: ReasoningSetting | None = "off",
    max_output_tokens: int | None = 256,
) -> Generate:
    """A turn; a plain text is a user message. Reasoning is off: servers differ in what they do unasked."""
    prompt = tuple(user(message) if isinstance(message, str) else message for message in messages)
    return Generate(1, prompt, tools, sampling, reasoning, max_output_tokens)


def ask_time(zone: str) -> Generate:
    """A request that the demo model answers with a call of `get_time`."""
    return ask(f"Use get_time with timezone {zone}", tools=(TIME_TOOL,))


def ramble() -> Generate:
    """A request that is answered at great length."""
    return ask("Hello!", sampling=RAMBLING, max_output_tokens=None)


def tell_time(zone: str, time: str) -> Generate:
    """The turn after it, with the tool's result."""
    call = PromptToolCall("call_1", "get_time", f'{{"timezone": "{zone}"}}')
    return ask(
        user(f"Use get_time with timezone {zone}"),
        AssistantMessage("", "", (call,)),
        ToolMessage("call_1", "get_time", time),
        tools=(TIME_TOOL,),
    )


@dataclass(frozen=True, slots=True)
class Written:
    """A turn, folded. `calls` are names with their arguments' text, in order."""

    reasoning: str
    text: str
    calls: tuple[tuple[str, str], ...]
    end: GenerationFinished | None


def fold(chunks: Iterable[GenerationChunk]) -> Written:
    """The turn that `chunks` spell.

    Raises:
        AssertionError: arguments without their call, a call begun twice, or anything after the end.
    """
    reasoning, text, end = "", "", None
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for chunk in chunks:
        assert end is None, f"{chunk} after the end"
        match chunk:
            case ReasoningArrived(fragment):
                reasoning += fragment
            case TextArrived(fragment):
                text += fragment
            case CallBegun(index, name):
                assert index not in names, f"call {index} begun twice"
                names[index], arguments[index] = name, ""
            case CallArgumentsArrived(index, fragment):
                assert index in names, f"arguments of call {index} before it began"
                arguments[index] += fragment
            case GenerationFinished():
                end = chunk
            case _:
                pass
    return Written(reasoning, text, tuple((names[index], arguments[index]) for index in names), end)


async def written(chunks: AsyncGenerator[GenerationChunk, None]) -> Written:
    """The whole turn."""
    return fold([chunk async for chunk in chunks])


async def first_text(chunks: AsyncGenerator[GenerationChunk, None]) -> TextArrived:
    """Read on until the model writes."""
    async for chunk in chunks:
        if isinstance(chunk, TextArrived):
            return chunk
    raise AssertionError("the turn ended without text")
