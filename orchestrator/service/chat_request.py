"""A chat as any dialect asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.core.items import InputItem
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.request import IntegrationRequest, ReasoningSetting, ResponseFormat, Sampling, ToolChoice
from orchestrator.core.tools import ToolDefinition
from orchestrator.ports import ThreadMove


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat as any dialect asks for it. `system_prompt` None inherits, empty clears.

    Where it does not `inherit`, None leaves the system prompt out, for this response alone: what goes on from it inherits
    what it would have itself. That is for dialects in which instructions are those of one request.

    `interactive`: its client hears what servers ask of the user, and can answer. Of `reasoning_wishes` the first
    counts that the model offers; where it offers none of them, they are no error. `thread` is moved to the
    response; where that is not stored, only its place is read. `dialect` is what the request's dialect says
    again of it when the response is read: settings that mean nothing to the run, without content or secrets.
    In the `background` it goes on without its client. `demands_reasoning`: none of the wishes is an error after all.

    `functions` are the client's own tools, by the names that it has for them: a turn that calls one ends the run.
    Results of such calls are `FunctionOutput`s of the `input`; each must follow its call, there or in the chain.
    `stateless`: the `input` is all that the client has of the chat. What is stored of it is found by its transcript and
    continued, the rest is new; where `store` is false, or `previous_response_id` is given, nothing is looked for.
    `demands_results`: a function call that is left without its result is an error, not a call that came to nothing.
    `response_id` and `created_at` are those of the response where they were given before, for a client that is told at once.
    `passes_over`: where what it continues waits for approvals, that one ends, its calls not run, as silence about them is
    the answer of a client that has no words for another one.
    A `raw` input is the prompt as it is, where the engine can: without the model's template, tools and system prompt.
    Without `parallel_tool_calls` a turn makes one call at most; calls of servers' tools beyond `max_tool_calls` are refused.
    """

    model: str
    input: tuple[InputItem, ...]
    system_prompt: str | None = None
    inherits: bool = True
    integrations: tuple[IntegrationRequest, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    reasoning: ReasoningSetting | None = None
    max_output_tokens: int | None = None
    context_length: int | None = None
    store: bool = True
    previous_response_id: str | None = None
    ttl_seconds: float | None = None
    tool_choice: ToolChoice = "auto"
    response_format: ResponseFormat | None = None
    max_turns: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    interactive: bool = False
    reasoning_wishes: tuple[ReasoningSetting, ...] = ()
    thread: ThreadMove | None = None
    background: bool = False
    demands_reasoning: bool = False
    dialect: JsonObject = field(default_factory=dict[str, JsonValue])
    functions: tuple[ToolDefinition, ...] = ()
    stateless: bool = False
    parallel_tool_calls: bool = True
    raw: bool = False
    max_tool_calls: int | None = None
    response_id: str | None = None
    created_at: datetime | None = None
    demands_results: bool = False
    passes_over: bool = False
