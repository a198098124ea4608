"""From the core's words to the wire's."""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from msgspec import UNSET, UnsetType

from orchestrator.api import wire
from orchestrator.api import wire_events as e
from orchestrator.api.absent import or_absent
from orchestrator.api.errors import wire_error
from orchestrator.core import items
from orchestrator.core import stream as s
from orchestrator.core.approvals import PendingApproval
from orchestrator.core.response import ChatResult, Completed, Incomplete, Stats, Suspended, ending_status
from orchestrator.ports import ForkPoint, StoredResponse
from orchestrator.service.server_callbacks import PendingElicitation


def wire_events(event: s.StreamEvent) -> tuple[e.WireEvent, ...]:
    """The events that go out for one of ours: two for the start of a tool call, one for any other."""
    match event:
        case s.ChatStart():
            return (e.ChatStart(event.model_instance_id, event.response_id or UNSET),)
        case s.Warned(message):
            return (e.RequestWarning(message),)
        case s.ModelLoadStart(instance):
            return (e.ModelLoadStart(instance),)
        case s.ModelLoadProgress(instance, progress):
            return (e.ModelLoadProgress(instance, progress),)
        case s.ModelLoadEnd(instance, seconds):
            return (e.ModelLoadEnd(instance, seconds),)
        case s.QueuePosition(position):
            return (e.QueuePosition(position),)
        case s.PromptProcessingStart():
            return (e.PromptProcessingStart(),)
        case s.PromptProcessingProgress(progress):
            return (e.PromptProcessingProgress(progress),)
        case s.PromptProcessingEnd():
            return (e.PromptProcessingEnd(),)
        case s.ReasoningStart():
            return (e.ReasoningStart(),)
        case s.ReasoningDelta(content):
            return (e.ReasoningDelta(content),)
        case s.ReasoningEnd():
            return (e.ReasoningEnd(),)
        case s.MessageStart():
            return (e.MessageStart(),)
        case s.MessageDelta(content=content):
            return (e.MessageDelta(content),)
        case s.FunctionCallStart() | s.FunctionCallDelta() | s.FunctionCallEnd():
            return (_function_event(event),)
        case s.MessageEnd():
            return (e.MessageEnd(),)
        case s.ErrorEvent(error):
            return (e.ErrorEvent(wire_error(error)),)
        case s.ChatEnd(result):
            return (e.ChatEnd(chat_reply(result)),)
        case s.ToolCallProgress() | s.ElicitationRequested() | s.ElicitationResolved() | s.SamplingCompleted():
            return (_server_event(event),)
        case _:
            return _call_events(event)


def _call_events(
    event: s.ToolCallStart | s.ToolCallArguments | s.ToolCallApprovalRequired | s.ToolCallSuccess | s.ToolCallFailure,
) -> tuple[e.WireEvent, ...]:
    match event:
        case s.ToolCallStart(call_id, tool, provider):
            info = provider_info(provider)
            return e.ToolCallStart(call_id, tool, info), e.ToolCallName(call_id, tool, info)
        case s.ToolCallArguments(call_id, tool, arguments, provider):
            return (e.ToolCallArguments(call_id, tool, arguments, provider_info(provider)),)
        case s.ToolCallApprovalRequired(pending):
            info = provider_info(pending.provider)
            return (e.ToolCallApprovalRequired(pending.call_id, pending.tool, pending.arguments, info),)
        case s.ToolCallSuccess(call):
            info = provider_info(call.provider)
            return (
                e.ToolCallSuccess(
                    call.call_id,
                    call.tool,
                    call.arguments,
                    call.output,
                    info,
                    call.is_error,
                    call.duration_ms,
                    or_absent(call.requested),
                    or_absent(call.source),
                    or_absent(call.structured),
                ),
            )
        case s.ToolCallFailure():
            metadata = wire.InvalidCallMetadata(
                event.kind, event.tool_name, or_absent(event.arguments), _provider_info_if_any(event.provider)
            )
            return (e.ToolCallFailure(event.call_id, event.reason, metadata),)
        case _:
            assert_never(event)


def _function_event(event: s.FunctionCallStart | s.FunctionCallDelta | s.FunctionCallEnd) -> e.WireEvent:
    match event:
        case s.FunctionCallStart(call_id, name):
            return e.FunctionCallStart(call_id, name)
        case s.FunctionCallDelta(call_id, arguments):
            return e.FunctionCallDelta(call_id, arguments)
        case s.FunctionCallEnd(call):
            status = UNSET if call.complete else "incomplete"
            return e.FunctionCallEnd(call.call_id, call.name, call.arguments, status)
        case _:
            assert_never(event)


def _server_event(
    event: s.ToolCallProgress | s.ElicitationRequested | s.ElicitationResolved | s.SamplingCompleted,
) -> e.WireEvent:
    match event:
        case s.ToolCallProgress(call_id, progress):
            return e.ToolCallProgress(
                call_id, progress.progress, or_absent(progress.total), or_absent(progress.message)
            )
        case s.ElicitationRequested():
            asked = event.asked
            return e.ElicitationRequested(
                elicitation_id=event.elicitation_id,
                call_id=event.call_id,
                provider_info=provider_info(event.provider),
                mode=asked.mode,
                message=asked.message,
                requested_schema=or_absent(asked.schema),
                url=or_absent(asked.url),
                expires_in_seconds=event.seconds,
            )
        case s.ElicitationResolved(elicitation_id, action):
            return e.ElicitationResolved(elicitation_id, action)
        case s.SamplingCompleted(call_id, provider, reply):
            return e.SamplingCompleted(
                call_id=call_id,
                provider_info=provider_info(provider),
                model=reply.model,
                content=reply.text,
                stop_reason=reply.stop_reason,
                output_tokens=or_absent(reply.output_tokens),
            )
        case _:
            assert_never(event)


def elicitation_entry(pending: PendingElicitation) -> wire.PendingElicitation:
    """A question that waits."""
    return wire.PendingElicitation(
        elicitation_id=pending.id,
        call_id=pending.call_id,
        provider_info=provider_info(pending.provider),
        mode=pending.asked.mode,
        message=pending.asked.message,
        requested_schema=or_absent(pending.asked.schema),
        url=or_absent(pending.asked.url),
    )


def chat_reply(result: ChatResult) -> wire.ChatReply:
    """The JSON reply."""
    ending = result.ending
    return wire.ChatReply(
        model_instance_id=result.model_instance_id,
        output=[output_entry(item) for item in result.output],
        stats=_stats(result.stats),
        response_id=result.response_id or UNSET,
        status=ending_status(ending),
        incomplete_reason=ending.reason if isinstance(ending, Incomplete) else UNSET,
        stop_sequence=or_absent(ending.stop_sequence) if isinstance(ending, Completed) else UNSET,
        pending_approvals=pending_approvals(ending.pending, ending.expires_at)
        if isinstance(ending, Suspended)
        else UNSET,
        warnings=list(result.warnings) or UNSET,
    )


def forked_from(point: ForkPoint | None) -> wire.ForkedFrom | UnsetType:
    """Where a branch left another response."""
    return UNSET if point is None else wire.ForkedFrom(point.response_id, point.position, point.rest or UNSET)


def stored_reply(response: StoredResponse) -> wire.StoredReply:
    """A stored response, whole."""
    return wire.StoredReply(
        response_id=response.id,
        previous_response_id=response.previous_response_id,
        root_id=response.root_id,
        depth=response.depth,
        owner=response.owner,
        model=response.model_key,
        model_instance_id=response.model_instance_id,
        status=response.status,
        incomplete_reason=response.incomplete_reason or UNSET,
        stop_sequence=or_absent(response.stop_sequence),
        error=UNSET if response.error is None else wire_error(response.error),
        pending_approvals=UNSET
        if response.expires_at is None
        else pending_approvals(response.pending, response.expires_at),
        forked_from=forked_from(response.forked_from),
        replay_of=response.replay_of or UNSET,
        system_prompt=response.system_prompt,
        input=[_input_entry(item) for item in response.input],
        output=[output_entry(entry.item) for entry in response.output],
        stats=_stats(response.stats),
        parameters=response.parameters,
        metadata=response.metadata,
        warnings=list(response.warnings) or UNSET,
        created_at=response.created_at,
        ended_at=response.ended_at,
    )


def pending_approvals(pending: Sequence[PendingApproval], expires_at: datetime) -> list[wire.PendingApproval]:
    """The calls that wait for somebody to decide about them until `expires_at`."""
    return [
        wire.PendingApproval(call.call_id, call.tool, call.arguments, provider_info(call.provider), expires_at)
        for call in pending
    ]


def output_entry(item: items.OutputItem) -> wire.OutputEntry:
    """One item of `output`."""
    match item:
        case items.Message(content):
            return wire.MessageOutput(content)
        case items.Reasoning(content):
            return wire.ReasoningOutput(content)
        case items.ToolCall():
            return wire.ToolCallOutput(
                item.tool,
                item.arguments,
                item.output,
                provider_info(item.provider),
                item.call_id,
                item.is_error,
                item.duration_ms,
                or_absent(item.requested),
                or_absent(item.source),
                or_absent(item.structured),
            )
        case items.InvalidToolCall():
            metadata = wire.InvalidCallMetadata(
                item.kind, item.tool_name, or_absent(item.arguments), _provider_info_if_any(item.provider)
            )
            return wire.InvalidToolCallOutput(item.reason, metadata)
        case items.FunctionCall(call_id, name, arguments, complete):
            return wire.FunctionCallOutput(call_id, name, arguments, UNSET if complete else "incomplete")
        case _:
            assert_never(item)


def provider_info(provider: items.ProviderInfo) -> wire.ProviderInfo:
    """Whose tool it is."""
    match provider:
        case items.PluginProvider(plugin_id):
            return wire.PluginProviderInfo(plugin_id)
        case items.EphemeralProvider(server_label):
            return wire.EphemeralProviderInfo(server_label)
        case items.ClientProvider():
            return wire.ClientProviderInfo()
        case _:
            assert_never(provider)


def _stats(stats: Stats) -> wire.ChatStats:
    return wire.ChatStats(
        stats.input_tokens,
        stats.total_output_tokens,
        stats.reasoning_output_tokens,
        stats.tokens_per_second,
        stats.time_to_first_token_seconds,
        or_absent(stats.model_load_time_seconds),
        or_absent(stats.cached_input_tokens),
        list(stats.unknown) or UNSET,
    )


def _input_entry(item: items.InputItem) -> wire.StoredInput:
    begins = UNSET if isinstance(item, items.FunctionOutput) or not item.begins else True
    match item:
        case items.TextInput(content, origin, speaker, heads=heads, name=name):
            role = UNSET if speaker == "user" else speaker
            return wire.StoredTextInput(content, _origin(origin), role, begins, heads or UNSET, name or UNSET)
        case items.ImageInput(data_url, origin, name=name):
            return wire.StoredImageInput(data_url, _origin(origin), begins, name or UNSET)
        case items.ReasoningInput(content):
            return wire.StoredReasoningInput(content, begins)
        case items.FunctionCallInput(call_id, name, arguments, of_server=of_server, server=server):
            return wire.StoredFunctionCallInput(call_id, name, arguments, begins, of_server or UNSET, server or UNSET)
        case items.FunctionOutput(call_id, output, is_error, name, of_server):
            return wire.StoredFunctionOutput(call_id, name, output, is_error, of_server or UNSET)
        case _:
            assert_never(item)


def _origin(origin: items.Origin | None) -> wire.InputOrigin | UnsetType:
    return UNSET if origin is None else wire.InputOrigin(origin.kind, origin.name, provider_info(origin.provider))


def _provider_info_if_any(provider: items.ProviderInfo | None) -> wire.ProviderInfo | UnsetType:
    return UNSET if provider is None else provider_info(provider)
