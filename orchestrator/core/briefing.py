"""What a run gives its model, turn by turn: the messages, the tools, and how much it may still write."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from orchestrator.core.calls import calls_left, executed_arguments, output_entry
from orchestrator.core.commands import CallTool, ExtendOffer, Generate, OpenResponse, ReadOutput, ReopenResponse
from orchestrator.core.errors import ErrorInfo
from orchestrator.core.guards import Guards
from orchestrator.core.inputs import OpenedIntegration
from orchestrator.core.items import ClientProvider, OutputEntry
from orchestrator.core.ledger import Ledger
from orchestrator.core.offering import (
    chosen_tool,
    drift_warnings,
    duplicate_warnings,
    exclusion_warnings,
    offer,
    problem_warnings,
    with_materials,
)
from orchestrator.core.output_schemas import output_problem
from orchestrator.core.placed import PlacedCall
from orchestrator.core.prompt import PromptMessage, turn_messages
from orchestrator.core.reading import read_on, reading_tool, reads_on, unread
from orchestrator.core.request import Resumed, RunRequest
from orchestrator.core.resumption import first_messages, last_turn, opening_events, unusable_call
from orchestrator.core.stream import StreamEvent, Warned
from orchestrator.core.token_costs import warnings_about
from orchestrator.core.tools import OfferedTool, ToolKey, ToolResult, provider_label, tool_key
from orchestrator.core.turn import TurnAssembly

WROTE_ON: Final = (
    "The model wrote on after its tool call, and may make one at a time: it was stopped there, before its engine told "
    "how many tokens that turn took."
)


class Briefing:
    """The model's side of a run. `offered` are the tools by the names that the model knows.

    `request` is the run's, with what it took of its servers; `reader` is the service's own tool, which
    reads on in outputs that were cut; `warnings` are about what is offered.
    """

    def __init__(self, request: RunRequest, ledger: Ledger) -> None:
        self.request = request
        self.offered: dict[str, OfferedTool] = {}
        self.reader = reading_tool((), request.tool_names)
        self._resumed = request.resumed or Resumed()
        self.warnings = self._resumed.warnings
        self._news: tuple[str, ...] = ()
        self._ledger = ledger
        self._messages: list[PromptMessage] = []
        self._turn = last_turn(self._resumed)

    def take(self, opened: Sequence[OpenedIntegration]) -> OpenResponse | ReopenResponse | ErrorInfo:
        """Offer what the servers have and the request allows; how the response is opened then, or why it is not."""
        offered = offer(self.request, opened)
        if isinstance(offered, ErrorInfo):
            return offered
        self.request = with_materials(self.request, opened)
        self._warn(
            [
                *duplicate_warnings(self.request, opened),
                *exclusion_warnings(self.request, opened),
                *drift_warnings(self.request, opened),
                *problem_warnings(self.request, opened),
                *warnings_about(offered, self.request.limits),
            ]
        )
        self.reader = reading_tool(offered, self.request.tool_names)
        if reads_on(self.request, self._settled()):
            offered = (*offered, self.reader)
        self.offered.update({tool.name: tool for tool in offered})
        error = unusable_call(self._resumed, self.offered)
        if error is not None:
            return error
        if self._resumed.reopens:
            return ReopenResponse(offered, self._names(), self._resumed.decisions)
        return OpenResponse(offered, self._names(), self.warnings)

    def opening_events(self) -> tuple[StreamEvent, ...]:
        """How the stream begins."""
        return opening_events(self.request, self._ledger, self._news)

    def begin(self) -> None:
        """The response is opened: from now on messages and tools only grow."""
        self._messages = first_messages(self.request, self._ledger)

    def next_turn(self, guards: Guards) -> tuple[TurnAssembly, Generate]:
        """The next turn, and what the model is asked for it."""
        number = self._turn = self._turn + 1
        request, tools = self.request, self._tools_left()
        generate = Generate(
            number,
            tuple(self._messages),
            tools,
            request.sampling,
            request.reasoning,
            guards.output_budget(),
            # A choice binds the first turn only: a model that must always call never answers.
            chosen_tool(request.tool_choice, tools) or "auto" if number == 1 else "auto",
            request.response_format,
            request.parallel_tool_calls,
            request.raw,
        )
        one_call = not request.parallel_tool_calls
        first = len(self._ledger.items)
        return TurnAssembly(number, first, self.offered, one_call=one_call, raw=request.raw), generate

    def _tools_left(self) -> tuple[OfferedTool, ...]:
        """The tools that may be called in the next turn: those of servers only until as many were called as may be."""
        tools, limit = tuple(self.offered.values()), self.request.limits.max_tool_calls
        if limit is None or calls_left(self._ledger.calls(), limit) > 0:
            return tools
        return tuple(tool for tool in tools if isinstance(tool.provider, ClientProvider))

    def turn_done(self) -> None:
        """Every call of the turn has its outcome: the model is told."""
        entries = (output_entry(item) for item in self._ledger.of_turn(self._turn))
        self._messages += turn_messages(entries, vision=self.request.vision)

    def is_over(self) -> bool:
        """Whether somebody else goes on behind the turn: its client, which is to run calls of it, or another response."""
        if self._resumed.ends_after is not None and self._turn >= self._resumed.ends_after:
            return True
        return any(isinstance(item, PlacedCall) and item.is_handed_over for item in self._ledger.of_turn(self._turn))

    def extension(self) -> ExtendOffer | None:
        """What is to be written down before the next turn, because something was cut and can be read on now."""
        if self.reader.name in self.offered or not reads_on(self.request, self._settled()):
            return None
        self.offered[self.reader.name] = self.reader
        return ExtendOffer(tuple(self.offered.values()), self._names())

    def begin_call(self, call: PlacedCall) -> CallTool | ReadOutput | PlacedCall:
        """What is to be done for `call`; the reader's own have their outcome at once where the run has what they read."""
        if not self.is_reading(call):
            return CallTool(call.call_id, self.offered[call.model_name], executed_arguments(call))
        wanted = unread(call, self.request, self._settled())
        return self.read(call, None) if wanted is None else ReadOutput(call.call_id, wanted)

    def is_reading(self, call: PlacedCall) -> bool:
        """Whether it is a call of the reader."""
        return self.offered[call.model_name] is self.reader

    def read(self, call: PlacedCall, stored: str | None) -> PlacedCall:
        """`call`, one of the reader's, with its outcome; `stored` is what the store has of the output."""
        return replace(call, outcome=read_on(call, self.request, self._settled(), stored))

    def doubts(self, call: PlacedCall, result: ToolResult) -> list[Warned]:
        """What is to be said of the whole `result` of `call`, where it is not what the tool's definition promises."""
        tool = self.offered[call.model_name]
        problem = output_problem(tool.definition.output_schema, result.structured, is_error=result.is_error)
        if problem is None:
            return []
        warning = f"The result of the tool '{tool.definition.name}' of '{provider_label(tool.provider)}' {problem}."
        return [Warned(message) for message in self._warn([warning])]

    def stopped_short(self) -> list[Warned]:
        """What is to be said where the model wrote on after the one call that a turn may make."""
        return [Warned(message) for message in self._warn([WROTE_ON])]

    def _warn(self, warnings: Sequence[str]) -> tuple[str, ...]:
        """Those of `warnings` that are news."""
        self._news = tuple(one for one in dict.fromkeys(warnings) if one not in self.warnings)
        self.warnings += self._news
        return self._news

    def _settled(self) -> list[OutputEntry]:
        return [output_entry(call) for call in self._ledger.calls() if call.outcome is not None]

    def _names(self) -> dict[ToolKey, str]:
        """Every name that the chain has given to a tool."""
        given = {tool_key(tool.provider, tool.definition.name): tool.name for tool in self.offered.values()}
        return {**self.request.tool_names, **given}
