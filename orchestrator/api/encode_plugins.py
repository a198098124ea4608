"""From the services' words for plugins to the wire's. What only an administrator may see is left out for others."""

from collections.abc import Iterable
from typing import Any, cast

from msgspec import UNSET

from orchestrator.api import wire_materials as m
from orchestrator.api import wire_plugins as w
from orchestrator.api.encode import pending_approvals, provider_info
from orchestrator.api.errors import wire_error
from orchestrator.core.drift import Drifted, changed_parts
from orchestrator.core.items import PluginProvider
from orchestrator.core.response import ChatResult, Suspended, ending_status
from orchestrator.core.suspicions import Suspicion
from orchestrator.core.tools import ToolAnnotations
from orchestrator.ports import DefinitionChange, PluginFailure, PluginFiles, PluginStatus, ServerFacts
from orchestrator.service.direct_calls import DirectCall, called
from orchestrator.service.integration_checks import CheckedIntegration, CheckedTool, IntegrationCheck
from orchestrator.service.plugin_materials import PluginMaterial
from orchestrator.service.plugins import DefinitionsView, PluginView, ToolView


def plugin_list(views: Iterable[PluginView], files: PluginFiles, *, admin: bool) -> w.PluginList:
    """Every plugin, in short."""
    return w.PluginList([_summary(view, admin=admin) for view in views], _config(files) if admin else UNSET)


def _config(files: PluginFiles) -> w.Config:
    states = [
        w.ConfigFile(
            one.path,
            one.origin,
            one.exists,
            one.loaded_at,
            one.error,
            list(one.plugins),
            list(one.replaced),
            list(one.warnings),
        )
        for one in files.states
    ]
    return w.Config(states, files.watched, files.error, list(files.warnings))


def _summary(view: PluginView, *, admin: bool) -> w.PluginSummary:
    status = view.status
    memory = [process.memory_bytes for process in status.processes if process.memory_bytes is not None]
    return w.PluginSummary(
        id=status.id,
        state=status.state,
        problem=status.problem,
        transport=status.transport,
        scope=status.scope,
        tools=None if view.tools is None else len(view.tools),
        tokens=_tokens(view),
        restarts=status.restarts,
        drift_policy=view.drift_policy,
        drifted=[one.tool for one in view.drifted],
        suspicions=sum(len(tool.suspicions) for tool in view.tools or ()),
        file=status.file if admin else UNSET,
        memory_bytes=(sum(memory) if memory else None) if admin else UNSET,
    )


def plugin_detail(view: PluginView, *, admin: bool) -> w.PluginDetail:
    """One plugin, whole."""
    status = view.status
    allowed, resources, prompts = status.allowed_tools, status.resources, status.prompts
    return w.PluginDetail(
        id=status.id,
        state=status.state,
        problem=status.problem,
        transport=status.transport,
        scope=status.scope,
        start=status.start,
        allowed_tools=None if allowed is None else list(allowed),
        timeout_seconds=status.timeout_seconds,
        require_approval=cast("dict[str, Any] | str | None", status.approval),
        drift_policy=view.drift_policy,
        drift=drift_infos(view.drifted),
        restarts=status.restarts,
        last_failure=None if status.last_failure is None else _failure(status.last_failure),
        server=None if status.server is None else _server(status.server),
        tools=None if view.tools is None else [_tool(tool) for tool in view.tools],
        tokens=_tokens(view),
        resources=None
        if resources is None
        else [
            w.PluginResource(one.uri, one.name, one.title, one.description, one.mime_type, one.size_bytes, one.template)
            for one in resources
        ],
        prompts=None
        if prompts is None
        else [
            w.PluginPrompt(
                one.name,
                one.title,
                one.description,
                [w.PromptArgument(each.name, each.description, each.required) for each in one.arguments],
            )
            for one in prompts
        ],
        warnings=list(status.warnings) if admin else UNSET,
        file=status.file if admin else UNSET,
        target=status.target if admin else UNSET,
        processes=_processes(status) if admin else UNSET,
        stderr=list(status.stderr) if admin else UNSET,
        log=[w.LogLine(line.at, line.level, line.text) for line in status.log] if admin else UNSET,
    )


def _tokens(view: PluginView) -> w.Tokens | None:
    if view.tools is None:
        return None
    offered = (tool.tokens for tool in view.tools if not (tool.withheld or tool.blocked))
    return tokens(sum(offered), view.tokens_counted_by)


def tokens(count: int, counted_by: str | None) -> w.Tokens:
    """A cost."""
    return w.Tokens(count, counted_by is None, counted_by or UNSET)


def _server(facts: ServerFacts) -> w.PluginServer:
    return w.PluginServer(
        facts.name, facts.version, facts.title, facts.protocol_version, facts.instructions, facts.capabilities
    )


def _tool(tool: ToolView) -> w.PluginTool:
    definition = tool.definition
    return w.PluginTool(
        definition.name,
        definition.title,
        definition.description,
        definition.input_schema,
        definition.output_schema,
        _hints(definition.annotations),
        tool.digest,
        tool.tokens,
        tool.withheld,
        tool.blocked,
        tool.drift,
        _findings(tool.suspicions),
    )


def _hints(annotations: ToolAnnotations) -> dict[str, bool]:
    """What the server says of the tool, under MCP's names; what it does not say is left out."""
    hints = {
        "readOnlyHint": annotations.read_only,
        "destructiveHint": annotations.destructive,
        "idempotentHint": annotations.idempotent,
        "openWorldHint": annotations.open_world,
    }
    return {name: hint for name, hint in hints.items() if hint is not None}


def _findings(suspicions: Iterable[Suspicion]) -> list[w.Finding]:
    return [w.Finding(one.pattern, one.where, one.excerpt) for one in suspicions]


def _processes(status: PluginStatus) -> list[w.Process]:
    return [
        w.Process(
            one.pid,
            one.started_at,
            one.memory_bytes,
            one.cpu_seconds,
            one.processes,
            one.users,
            one.retiring,
        )
        for one in status.processes
    ]


def _failure(failure: PluginFailure) -> w.Failure:
    return w.Failure(failure.stage, failure.why, failure.at)


def drift_infos(drifted: Iterable[Drifted]) -> list[w.DriftInfo]:
    """Tools that are not as they are pinned."""
    return [w.DriftInfo(one.tool, one.kind, one.old_digest, one.new_digest) for one in drifted]


def direct_call_reply(call: DirectCall, result: ChatResult) -> w.DirectCallReply:
    """What became of a direct call."""
    made = called(result)
    provider = provider_info(PluginProvider(call.plugin_id))
    status = ending_status(result.ending)
    response_id = result.response_id or call.run.request.response_id
    if made is None:
        ending = result.ending
        waits = pending_approvals(ending.pending, ending.expires_at) if isinstance(ending, Suspended) else UNSET
        warnings = list(result.warnings) or UNSET
        return w.DirectCallReply(response_id, status, call.tool, provider, pending_approvals=waits, warnings=warnings)
    return w.DirectCallReply(
        response_id,
        status,
        made.tool,
        provider,
        made.call_id,
        made.arguments,
        made.output,
        made.is_error,
        made.duration_ms,
        made.structured if made.structured is not None else UNSET,
        list(result.warnings) or UNSET,
    )


def resource_reply(found: PluginMaterial, uri: str) -> m.ResourceReply:
    """What a resource holds."""
    contents = [piece.part or {"uri": uri, "text": piece.text} for piece in found.pieces]
    return m.ResourceReply(provider_info(PluginProvider(found.plugin_id)), uri, contents)


def prompt_reply(found: PluginMaterial, name: str) -> m.PromptReply:
    """The messages of a prompt."""
    messages = [
        m.PromptMessage(piece.speaker, piece.part or {"type": "text", "text": piece.text}) for piece in found.pieces
    ]
    return m.PromptReply(provider_info(PluginProvider(found.plugin_id)), name, messages)


def check_reply(check: IntegrationCheck) -> w.CheckReply:
    """What a dry run found."""
    return w.CheckReply(
        check.ok,
        [_checked_entry(one) for one in check.integrations],
        tokens(check.tokens, check.tokens_counted_by),
        list(check.warnings),
    )


def _checked_entry(one: CheckedIntegration) -> w.CheckedEntry:
    return w.CheckedEntry(
        provider_info(one.provider),
        one.error is None,
        None if one.error is None else wire_error(one.error),
        one.stage,
        None if one.seconds is None else round(one.seconds, 3),
        [_checked_tool(tool) for tool in one.tools],
        list(one.withheld),
        list(one.drifted),
        list(one.problems),
    )


def _checked_tool(tool: CheckedTool) -> w.CheckedTool:
    offered = tool.offered
    return w.CheckedTool(
        offered.definition.name,
        offered.name,
        offered.definition.description,
        tool.tokens,
        offered.digest,
        list(tool.warnings),
        _findings(tool.suspicions),
    )


def definitions_reply(view: DefinitionsView) -> w.DefinitionsReply:
    """Pins and history of a plugin."""
    return w.DefinitionsReply(
        view.plugin_id,
        view.policy,
        [w.PinInfo(pin.tool, pin.digest, pin.pinned_at, pin.approved_by) for pin in view.pins],
        drift_infos(view.drifted),
        [_change(change) for change in view.history],
    )


def _change(change: DefinitionChange) -> w.ChangeInfo:
    parts = changed_parts(change.old, change.new)
    return w.ChangeInfo(
        change.tool,
        change.kind,
        change.old_digest,
        change.new_digest,
        [w.ChangedPartInfo(part.path, part.old, part.new) for part in parts],
        change.policy,
        change.seen_at,
        change.outcome,
        change.settled_at,
        change.settled_by,
    )
