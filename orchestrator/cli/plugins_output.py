"""How plugins are shown in a terminal. Everything that a server wrote passes through `one_line` or `visible`."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType
from rich.console import Console
from rich.text import Text

from orchestrator.api.wire_plugins import (
    ChangeInfo,
    CheckedEntry,
    CheckReply,
    Finding,
    PluginDetail,
    PluginPrompt,
    PluginSummary,
    Tokens,
)
from orchestrator.cli.output import print_table, size_text
from orchestrator.cli.terminal_text import one_line, shortened, visible
from orchestrator.core.json_types import JsonValue, canonical_json
from orchestrator.core.suspicions import PATTERNS

T = TypeVar("T")

STATE_STYLES = {"running": "green", "failed": "red", "unusable": "red", "disabled": "dim", "starting": "yellow"}
MEANINGS = {pattern.name: pattern.meaning for pattern in PATTERNS}
LONGEST_DESCRIPTION = 100
LONGEST_VALUE = 300


def console() -> Console:
    """Standard output, never wrapped or coloured by what is in it."""
    return Console(highlight=False, soft_wrap=True)


def say(out: Console, text: str, style: str = "") -> None:
    """One line."""
    out.print(Text(text, style), soft_wrap=True)


def tokens_text(tokens: Tokens | None) -> str:
    """A cost; an estimate begins with a tilde."""
    return "" if tokens is None else f"{'~' if tokens.estimated else ''}{tokens.count}"


def print_summaries(plugins: Sequence[PluginSummary]) -> None:
    """The table of all plugins."""
    rows = [
        (
            one.id,
            one.state,
            one.transport or "",
            one.scope,
            "" if one.tools is None else str(one.tools),
            tokens_text(one.tokens),
            str(one.restarts),
            "" if one.memory_bytes is UNSET else size_text(one.memory_bytes),
            _remarks(one),
        )
        for one in plugins
    ]
    print_table(("id", "state", "transport", "scope", "tools", "tokens", "restarts", "memory", ""), rows)


def _remarks(one: PluginSummary) -> str:
    remarks = [one.problem or ""]
    if one.drifted:
        remarks.append(f"changed: {', '.join(one.drifted)} ({one.drift_policy})")
    if one.suspicions:
        remarks.append(f"{one.suspicions} suspicious texts")
    return "; ".join(remark for remark in remarks if remark)


def print_detail(out: Console, plugin: PluginDetail) -> None:
    """A plugin, whole."""
    out.print(Text.assemble((one_line(plugin.id), "bold"), "  ", (plugin.state, STATE_STYLES.get(plugin.state, ""))))
    server = plugin.server
    about = server and f"{server.title or server.name} {server.version}, protocol {server.protocol_version}"
    fields = (
        ("problem", plugin.problem),
        ("server", about),
        ("reached by", _joined(plugin.transport, _given(plugin.target))),
        ("file", _given(plugin.file)),
        ("scope", plugin.scope),
        ("allowed tools", None if plugin.allowed_tools is None else ", ".join(plugin.allowed_tools) or "none"),
        ("approval", _approval(plugin.require_approval)),
        ("drift policy", plugin.drift_policy),
        ("restarts", str(plugin.restarts)),
        ("last failure", plugin.last_failure and f"{plugin.last_failure.stage}: {plugin.last_failure.why}"),
        ("instructions", server and server.instructions and shortened(server.instructions, LONGEST_VALUE)),
        *(("warning", warning) for warning in _given(plugin.warnings) or ()),
        *(("process", _process(plugin, index)) for index in range(len(_given(plugin.processes) or ()))),
    )
    for name, value in fields:
        if value:
            say(out, f"  {name + ':':<15}{one_line(value)}")
    _print_tools(out, plugin)
    for title, lines in (
        ("resources", [f"{one.uri}  {one.name}" for one in plugin.resources or ()]),
        ("prompts", [_prompt(one) for one in plugin.prompts or ()]),
        ("log", [f"{line.level}: {line.text}" for line in _given(plugin.log) or ()]),
        ("standard error", _given(plugin.stderr) or []),
    ):
        _print_lines(out, title, lines[-20:])


def _approval(policy: dict[str, Any] | str | None) -> str | None:
    return policy if policy is None or isinstance(policy, str) else canonical_json(policy)


def _prompt(prompt: PluginPrompt) -> str:
    given = " ".join(one.name if one.required else f"[{one.name}]" for one in prompt.arguments)
    return f"{prompt.name} {given}".rstrip() + f"  {prompt.description or ''}"


def _process(plugin: PluginDetail, index: int) -> str:
    one = (_given(plugin.processes) or [])[index]
    cpu = "" if one.cpu_seconds is None else f", {one.cpu_seconds:.1f} s of CPU"
    return f"{one.pid}, {size_text(one.memory_bytes)}{cpu}, {one.users} in use"


def _print_tools(out: Console, plugin: PluginDetail) -> None:
    if plugin.tools is None:
        say(out, "  tools:         not known before it is connected: orchestrator plugins restart starts it", "dim")
        return
    say(out, f"\n{len(plugin.tools)} tools, {tokens_text(plugin.tokens)} tokens in every turn that offers all")
    rows = [
        (
            tool.name,
            str(tool.tokens),
            ", ".join(
                word
                for word, there in (
                    ("withheld", tool.withheld),
                    (tool.drift or "", tool.drift is not None),
                    ("blocked", tool.blocked),
                    *((name.removesuffix("Hint"), value) for name, value in tool.annotations.items()),
                )
                if there
            ),
            shortened(one_line(tool.description), LONGEST_DESCRIPTION),
        )
        for tool in plugin.tools
    ]
    print_table(("tool", "tokens", "", "description"), rows)
    for tool in plugin.tools:
        print_findings(out, tool.name, tool.suspicions)


def print_findings(out: Console, tool: str, findings: Iterable[Finding]) -> None:
    """What is suspicious about a tool."""
    for one in findings:
        meaning = MEANINGS.get(one.pattern, "")
        say(out, f"  ! {one_line(tool)}, {one_line(one.where)}: {one.pattern}, {meaning}", "yellow")
        say(out, f"    {one_line(one.excerpt)}", "dim")


def print_changes(out: Console, changes: Iterable[ChangeInfo]) -> None:
    """Changes of definitions, with what is different."""
    for change in changes:
        outcome = change.outcome or "waits for an approval"
        by = f" by {change.settled_by}" if change.settled_by else ""
        say(out, f"\n{one_line(change.tool)} {change.kind} {change.seen_at:%Y-%m-%d %H:%M} ({outcome}{by})", "bold")
        for part in change.parts:
            say(out, f"  {one_line(part.path) or 'the whole definition'}")
            for mark, value, style in (("-", part.old, "red"), ("+", part.new, "green")):
                if value is not None:
                    say(out, f"  {mark} {_value(value)}", style)


def print_check(out: Console, check: CheckReply) -> None:
    """What a dry run found."""
    for entry in check.integrations:
        _print_entry(out, entry)
    estimated = " (an estimate)" if check.tokens.estimated else f" (counted by {check.tokens.counted_by})"
    count = sum(len(entry.tools) for entry in check.integrations)
    say(out, f"\n{count} tools would be offered, {check.tokens.count} tokens in every turn{estimated}")
    for warning in check.warnings:
        say(out, f"! {one_line(warning)}", "yellow")


def _print_entry(out: Console, entry: CheckedEntry) -> None:
    info = entry.provider_info
    label = one_line(getattr(info, "plugin_id", None) or getattr(info, "server_label", ""))
    if entry.error is not None:
        say(out, f"✗ {label}", "red")
        say(out, f"  stage {entry.stage}: {one_line(entry.error.message)}")
        return
    seconds = "" if entry.connect_seconds is None else f"connected in {entry.connect_seconds:.2f} s"
    say(out, f"✓ {label}  {seconds}", "green")
    rows = [
        (tool.name, str(tool.tokens), "; ".join(tool.warnings), shortened(one_line(tool.description), 100))
        for tool in entry.tools
    ]
    if rows:
        print_table(("tool", "tokens", "", "description"), rows)
    for title, names in (("withheld by mcp.json", entry.withheld), ("blocked until approved", entry.blocked)):
        if names:
            say(out, f"  {title}: {one_line(', '.join(names))}")
    for tool in entry.tools:
        print_findings(out, tool.name, tool.suspicions)


def _print_lines(out: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        say(out, f"\n{title}")
    for line in lines:
        say(out, f"  {visible(line)}")


def _value(value: JsonValue) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    return shortened(one_line(text), LONGEST_VALUE)


def _joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _given(value: T | UnsetType) -> T | None:
    return None if isinstance(value, UnsetType) else value
