"""Dialogues with a run: what is fed, and what must come out of it, nothing more and nothing less."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.core import commands as c
from orchestrator.core import inputs as i
from orchestrator.core import stream as s
from orchestrator.core.items import PluginProvider
from orchestrator.core.json_types import JsonObject
from orchestrator.core.request import PluginRequest, RunRequest
from orchestrator.core.response import Counters
from orchestrator.core.run import Emission, Run
from orchestrator.core.tools import ToolDefinition, ToolResult, text_content

CLOCK = PluginProvider("mcp/clock")
ADD_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
ADD = ToolDefinition("add", "Add two numbers.", ADD_SCHEMA)
PING = ToolDefinition("ping", "Answer.", {"type": "object"})
COUNTED = Counters(input_tokens=10, output_tokens=4, reasoning_tokens=0, decode_seconds=0.5, first_token_seconds=0.25)


def opened(*tools: ToolDefinition, withheld: frozenset[str] = frozenset()) -> i.IntegrationsOpened:
    """The clock plugin, connected, with these tools."""
    return i.IntegrationsOpened((i.OpenedIntegration(CLOCK, tools, withheld),))


def said(text: str, *, is_error: bool = False) -> ToolResult:
    """A result of one text part."""
    return ToolResult(text_content(text), text, is_error)


def with_clock(
    *, allowed: tuple[str, ...] | None = None, request: RunRequest | None = None, **changes: object
) -> RunRequest:
    """A request that names the clock plugin."""
    from dataclasses import replace

    base = request or asked()
    return replace(base, integrations=(PluginRequest("mcp/clock", allowed),), **changes)  # pyright: ignore[reportArgumentType] - field names are the tests' own


def asked(**changes: object) -> RunRequest:
    """A plain request."""
    from dataclasses import replace

    from orchestrator.core.items import TextInput

    base = RunRequest("resp_1", "demo/m", "demo/m", (TextInput("hello"),))
    return replace(base, **changes)  # pyright: ignore[reportArgumentType] - field names are the tests' own


@dataclass
class Dialogue:
    """A run, what it was told and what it said."""

    request: RunRequest
    log: list[Emission] = field(default_factory=list[Emission])

    def __post_init__(self) -> None:
        self.run = Run(self.request)

    def feed(self, *events: i.RunInput) -> list[Emission]:
        """Feed all of them; what follows from the last is returned, all of it is logged."""
        emissions: list[Emission] = []
        for event in events:
            emissions = self.run.feed(event)
            self.log += emissions
        return emissions

    def until_generating(self, *tools: ToolDefinition) -> list[Emission]:
        """Through to the first `Generate`, with a model that is loaded."""
        found = opened(*tools) if self.request.integrations else i.IntegrationsOpened(())
        return self.feed(i.Start(), found, i.ResponseOpened(), i.ModelReady())

    def until_calling(self, *calls: tuple[str, str], tools: Sequence[ToolDefinition] = (ADD, PING)) -> list[Emission]:
        """Through to the `CallTool`s of a first turn that makes these calls; ids are call_0, call_1, …"""
        self.until_generating(*tools)
        self.write(*calls)
        return self.feed(i.CallsJournaled())

    def write(self, *calls: tuple[str, str], reason: i.FinishReason = "tool_calls", first: int = 0) -> list[Emission]:
        """The model writes these calls, (name, arguments), and finishes."""
        for index, (name, arguments) in enumerate(calls):
            self.feed(i.CallOpened(index, name, f"call_{first + index}"), i.CallArgumentsArrived(index, arguments))
        return self.feed(i.GenerationFinished(reason, COUNTED))

    @property
    def events(self) -> list[s.StreamEvent]:
        """What a client has seen."""
        return [said for said in self.log if not isinstance(said, COMMANDS)]

    @property
    def commands(self) -> list[c.Command]:
        """What the driver was asked to do."""
        return [said for said in self.log if isinstance(said, COMMANDS)]


COMMANDS = (
    c.OpenIntegrations,
    c.OpenResponse,
    c.ReopenResponse,
    c.LoadModel,
    c.Generate,
    c.JournalCalls,
    c.CallTool,
    c.RecordOutcome,
    c.ReadOutput,
    c.ExtendOffer,
    c.StopWork,
    c.StopWriting,
    c.SaveResponse,
    c.SuspendResponse,
)
