"""Values to keep in a store: complete ones, with every field set to something of its own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestrator.core.commands import Outcome, PlacedCall, PlacedText
from orchestrator.core.items import (
    EphemeralProvider,
    ImageInput,
    Message,
    PluginProvider,
    Reasoning,
    ServerIdentity,
    TextInput,
)
from orchestrator.core.json_types import JsonObject, canonical_json
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.core.response import Stats
from orchestrator.core.tools import (
    OfferedTool,
    ToolAnnotations,
    ToolDefinition,
    definition_digest,
    text_content,
    tool_key,
)
from orchestrator.ports import NewResponse

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
MINUTE = timedelta(minutes=1)
LEASE = NOON + MINUTE

CLOCK = ToolDefinition(
    name="now",
    description="The time.",
    input_schema={"type": "object", "properties": {"zone": {"type": "string"}}},
    title="Now",
    output_schema={"type": "object"},
    annotations=ToolAnnotations(read_only=True),
)
SEARCH = ToolDefinition(name="search", description="Looks things up.", input_schema={"type": "object"})
OFFERED = (
    OfferedTool("now", CLOCK, PluginProvider("mcp/clock"), 0, definition_digest(CLOCK)),
    OfferedTool("docs_search", SEARCH, EphemeralProvider("docs"), 1, definition_digest(SEARCH)),
)
NAMES = {tool_key(tool.provider, tool.definition.name): tool.name for tool in OFFERED}
STATS = Stats(
    input_tokens=120,
    total_output_tokens=30,
    reasoning_output_tokens=10,
    tokens_per_second=41.25,
    time_to_first_token_seconds=0.125,
    model_load_time_seconds=1.5,
    cached_input_tokens=100,
    unknown=("reasoning_output_tokens",),
)


def new_response(id: str, previous: str | None = None, *, stored: bool = True, at: datetime = NOON) -> NewResponse:
    """A response as it begins."""
    return NewResponse(
        id=id,
        previous_response_id=previous,
        owner="ada",
        model_key="demo/model",
        model_instance_id="demo/model:2",
        system_prompt=f"You are {id}.",
        parameters={"temperature": 0.5, "stop": ["."], "reasoning": None},
        metadata={"ticket": "42"},
        input=(TextInput(f"Hello from {id}."), ImageInput("data:image/png;base64,AAAA")),
        stored=stored,
        offered=OFFERED,
        tool_names=NAMES | {("plugin:mcp/gone", "past"): "past"},
        holder="host:1",
        created_at=at,
        lease_until=at + MINUTE,
        token_id="abcd1234",
    )


LIKELY = (
    TokenLogprob(
        LikelyToken("Item", -0.1, b"Item"), (LikelyToken("It", -2.5), LikelyToken("\0\ud83d", -1e-9, b"\xff"))
    ),
    TokenLogprob(LikelyToken("\ufffd", -0.30000000000000004, b"\xc3")),
)


def text(position: int, turn: int = 1) -> PlacedText:
    """A message with how likely its tokens were, or reasoning in even places."""
    content = f"Item {position}."
    return PlacedText(position, turn, Message(content, LIKELY) if position % 2 else Reasoning(content))


def call(position: int, call_id: str, turn: int = 1, arguments: JsonObject | None = None) -> PlacedCall:
    """A call that is free to run."""
    arguments = {"zone": "UTC"} if arguments is None else arguments
    return PlacedCall(
        position,
        turn,
        call_id,
        "now",
        f" {canonical_json(arguments)}",
        arguments,
        tool="now",
        provider=PluginProvider("mcp/clock"),
        digest=OFFERED[0].digest,
    )


def waiting_call(position: int, call_id: str, turn: int = 1) -> PlacedCall:
    """A call that somebody has to approve before it runs."""
    return replace(call(position, call_id, turn), awaits_approval=True)


DOCS_SERVER: Final = ServerIdentity("https://docs.example/mcp", "docs\x00", "2.1")
CLOCK_SERVER: Final = ServerIdentity("python3", "clock")


def ephemeral_call(position: int, call_id: str, turn: int = 1) -> PlacedCall:
    """A call of a tool whose name is not the one that the model is shown."""
    base = call(position, call_id, turn, {})
    offered = OFFERED[1]
    return replace(
        base,
        model_name="docs_search",
        tool="search",
        provider=offered.provider,
        digest=offered.digest,
        server=DOCS_SERVER,
    )


def invented_call(position: int, call_id: str, turn: int = 1) -> PlacedCall:
    """A call of a tool that does not exist."""
    reason = "Cannot find tool with name fly. Available tools: now."
    outcome = Outcome("invalid", text_content(reason), reason, is_error=True)
    return PlacedCall(position, turn, call_id, "fly", '{"to": "moon"}', {"to": "moon"}, reason=reason, outcome=outcome)


def cut_call(position: int, call_id: str, turn: int = 1) -> PlacedCall:
    """A call whose arguments never became complete."""
    reason = "The arguments were cut off."
    outcome = Outcome("invalid", text_content(reason), None, is_error=True)
    return replace(call(position, call_id, turn), arguments_text='{"zo', arguments=None, reason=reason, outcome=outcome)


def answered(answer: str, duration_ms: int = 12) -> Outcome:
    """The outcome of a call that worked."""
    return Outcome("succeeded", text_content(answer), answer, False, duration_ms, '{"answer":1}')


def settled(placed: PlacedCall, outcome: Outcome) -> PlacedCall:
    """`placed` with its outcome."""
    return replace(placed, outcome=outcome)
