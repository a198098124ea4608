"""How stored responses are shown in a terminal. Everything that a model or a server wrote passes through `one_line`."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, assert_never

from msgspec import UNSET
from rich.console import Console
from rich.text import Text

from orchestrator.api.wire import (
    FunctionCallOutput,
    InvalidToolCallOutput,
    MessageOutput,
    OutputEntry,
    ReasoningOutput,
    StoredFunctionCallInput,
    StoredFunctionOutput,
    StoredImageInput,
    StoredInput,
    StoredReasoningInput,
    StoredTextInput,
    ToolCallOutput,
    label_of,
)
from orchestrator.api.wire_branches import (
    ChangeEntry,
    ComparedResponseEntry,
    DiffReply,
    ItemEntry,
    ReplayReportReply,
)
from orchestrator.api.wire_graph import CallsBefore, ResponseDetailReply, ResponseEntry
from orchestrator.cli.output import print_table
from orchestrator.cli.plugins_output import say
from orchestrator.cli.terminal_text import arguments_text, content_text, one_line, output_text, shortened

SHORT, LONG = 60, 300
MARKS = {"equal": ("=", "dim"), "changed": ("~", "yellow"), "added": ("+", "green"), "removed": ("-", "red")}
STATUS_STYLES = {"failed": "red", "cancelled": "yellow", "incomplete": "yellow", "in_progress": "cyan"}
REASONS = {
    "tools_stored": "the tools' answers come from the store",
    "not_read_only": "it is not annotated read-only; --allow runs it",
    "needs_approval": "it needs somebody's approval",
    "not_run_before": "it was not run in the original either",
    "edited_before": "somebody edited its result",
    "redacted": "its arguments were redacted",
    "nothing_stored": "the original never asked this",
}


def print_list(entries: Iterable[ResponseEntry]) -> None:
    """The table of a listing."""
    rows = [
        (
            f"{entry.created_at:%Y-%m-%d %H:%M:%S}",
            entry.response_id,
            entry.status,
            entry.model,
            shortened(one_line(entry.input_preview), SHORT),
            shortened(one_line(entry.output_preview), SHORT),
            _origin(entry),
        )
        for entry in entries
    ]
    print_table(("time (UTC)", "response", "status", "model", "input", "output", ""), rows)


def print_tree(out: Console, entries: Sequence[ResponseEntry], chosen: str) -> None:
    """All branches of a root; `chosen` is the response that was asked for."""
    below: defaultdict[str | None, list[ResponseEntry]] = defaultdict(list)
    there = {entry.response_id for entry in entries}
    for entry in entries:
        parent = entry.previous_response_id
        below[parent if parent in there else None].append(entry)
    roots = below[None]
    todo = [(entry, "", entry is roots[-1]) for entry in reversed(roots)]
    while todo:
        entry, before, last = todo.pop()
        out.print(Text(f"{before}{'└── ' if last else '├── '}").append_text(_node(entry, chosen)), soft_wrap=True)
        children = below[entry.response_id]
        inner = before + ("    " if last else "│   ")
        todo += [(child, inner, child is children[-1]) for child in reversed(children)]


def _node(entry: ResponseEntry, chosen: str) -> Text:
    said = f"{shortened(one_line(entry.input_preview), SHORT)} → {shortened(one_line(entry.output_preview), SHORT)}"
    line = Text(entry.response_id, "bold" if entry.response_id == chosen else "")
    line.append(f"  {entry.status}", STATUS_STYLES.get(entry.status, "green"))
    line.append(f"  {said}")
    line.append(f"  {_origin(entry)}", "dim")
    return line


def _origin(entry: ResponseEntry) -> str:
    if entry.forked_from is not UNSET:
        return f"left {entry.forked_from.response_id} at {entry.forked_from.position}"
    return "" if entry.replay_of is UNSET else f"replay of {entry.replay_of}"


def print_response(out: Console, reply: ResponseDetailReply) -> None:
    """A response, whole: its facts, then input and output by their positions."""
    facts: list[tuple[str, str]] = [
        ("response", reply.response_id),
        ("after", reply.previous_response_id or ""),
        ("goes on from", "" if reply.goes_on_from is UNSET else _calls_before(reply.goes_on_from)),
        (
            "left",
            "" if reply.forked_from is UNSET else f"{reply.forked_from.response_id} at {reply.forked_from.position}",
        ),
        ("replay of", reply.replay_of or ""),
        ("continued by", ", ".join(reply.children) + (" …" if reply.children_count > len(reply.children) else "")),
        ("owner", reply.owner),
        ("model", reply.model),
        ("status", reply.status + (f" ({reply.incomplete_reason})" if reply.incomplete_reason is not UNSET else "")),
        ("error", "" if reply.error is UNSET else one_line(reply.error.message)),
        ("began", f"{reply.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("settings", json.dumps(reply.parameters, ensure_ascii=False)),
        ("metadata", json.dumps(reply.metadata, ensure_ascii=False) if reply.metadata else ""),
        ("system prompt", reply.system_prompt or ""),
    ]
    for name, value in facts:
        if value:
            say(out, f"{name + ':':15}{shortened(one_line(value), LONG)}")
    say(out, "input", "bold")
    for place, item in enumerate(reply.input):
        text = _said(item)
        say(out, f"  {place:>3}  {shortened(one_line(text), LONG)}")
    say(out, "output", "bold")
    for place, item in enumerate(reply.output):
        say(out, f"  {place:>3}  {_output(item)}")


def _calls_before(calls: CallsBefore) -> str:
    return f"{', '.join(calls.call_ids)} of {calls.response_id}, when they were decided about"


def _said(item: StoredInput) -> str:
    match item:
        case StoredTextInput(content, _, role):
            return content if role is UNSET else f"[{role}] {content}"
        case StoredImageInput(data_url):
            return f"[image, {len(data_url)} characters]"
        case StoredReasoningInput(content):
            return f"[reasoning] {content}"
        case StoredFunctionCallInput(_, name, arguments):
            return f"[function call] {name} {arguments}"
        case StoredFunctionOutput(_, name, output):
            return f"[result of {name}] {output}"
        case _:
            assert_never(item)


def _output(item: OutputEntry) -> str:
    match item:
        case MessageOutput(content):
            return f"message    {shortened(one_line(content), LONG)}"
        case ReasoningOutput(content):
            return f"reasoning  {shortened(one_line(content), LONG)}"
        case ToolCallOutput():
            call = f"{one_line(label_of(item.provider_info))}/{one_line(item.tool)}({arguments_text(item.arguments)})"
            failed = " (error)" if item.is_error else ""
            return f"tool_call  {item.call_id}  {call} →{failed} {one_line(output_text(item.output, item.structured_output))}"
        case InvalidToolCallOutput():
            return f"invalid    {one_line(item.metadata.tool_name)}: {shortened(one_line(item.reason), LONG)}"
        case FunctionCallOutput():
            return f"function   {item.call_id}  {one_line(item.name)}({shortened(one_line(item.arguments), LONG)})"
        case _:
            assert_never(item)


# ---- comparing --------------------------------------------------------------------------------


def print_diff(out: Console, reply: DiffReply) -> None:
    """Two branches beside each other."""
    shared = reply.shared_responses
    in_common = f"{shared} {'response' if shared == 1 else 'responses'} in common"
    if reply.shared_items is not UNSET:
        items = f"{reply.shared_items} {'item' if reply.shared_items == 1 else 'items'} of {reply.common_ancestor}"
        say(out, f"{in_common}, and the first {items}" if shared else f"the first {items} in common", "dim")
    elif reply.common_ancestor is not None:
        say(out, f"{in_common}, up to {reply.common_ancestor}", "dim")
    for compared in reply.responses:
        mark, style = MARKS[compared.status]
        say(out, f"{mark} {compared.a or 'nothing'}  |  {compared.b or 'nothing'}", style)
        _print_compared(out, compared)
    if reply.equal:
        say(out, "equal", "green")


def _print_compared(out: Console, compared: ComparedResponseEntry) -> None:
    _print_changes(out, compared.changes, "    ")
    for tool in compared.tools:
        mark, style = MARKS[tool.status]
        digests = f"{_digest(tool.definition_digest_a)} → {_digest(tool.definition_digest_b)}"
        say(out, f"  {mark} tool {one_line(label_of(tool.provider_info))}/{one_line(tool.tool)}: {digests}", style)
    for part, items in (("input", compared.input), ("output", compared.output)):
        for item in items:
            mark, style = MARKS[item.status]
            say(out, f"  {mark} {part} {_place(item)}  {item.type}{_about(item)}", style)
            if item.status != "equal":
                _print_changes(out, item.changes, "        ")


def _digest(digest: Any) -> str:
    return "none" if digest is UNSET else str(digest)[:19]


def _place(item: ItemEntry) -> str:
    a, b = ("" if place is UNSET else str(place) for place in (item.position_a, item.position_b))
    return a if a == b else f"{a or '·'}|{b or '·'}"


def _about(item: ItemEntry) -> str:
    tool = "" if item.tool is UNSET else f"  {one_line(item.tool)}"
    return tool + ("  (one and the same)" if item.shared else "")


def _print_changes(out: Console, changes: Iterable[ChangeEntry], indent: str) -> None:
    for change in changes:
        values = [_value(change.field, value) for value in (change.a, change.b) if value is not UNSET]
        say(out, f"{indent}{one_line(change.field)}: {' → '.join(values)}")


def _value(field: str, value: Any) -> str:
    if field == "output" and isinstance(value, str):
        return shortened(one_line(content_text(value)), LONG)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shortened(one_line(text), LONG)


# ---- replays ----------------------------------------------------------------------------------


def print_report(out: Console, report: ReplayReportReply) -> None:
    """What a replay found."""
    say(out, f"{report.response_id} is {report.replay_of} again, with {report.tools} tools: {report.status}")
    for found in report.differences:
        tool = "" if found.tool is UNSET else f" {one_line(found.tool)}"
        if found.tool is not UNSET and found.provider_info is not UNSET:
            tool = f" {one_line(label_of(found.provider_info))}/{one_line(found.tool)}"
        places = [place for place in (found.position_a, found.position_b) if place is not UNSET]
        where = f" at output {places[0]}" if places else ""
        say(out, f"~ {found.type}{tool}{where}", "yellow")
        _print_changes(out, found.changes, "    ")
    for call in report.not_run:
        if call.reason == "tools_stored":
            continue
        name = f"{one_line(label_of(call.provider_info))}/{one_line(call.tool)}"
        say(out, f"  not run: {name} at output {call.position}: {REASONS[call.reason]}", "dim")
    if report.equal:
        say(out, "equal: everything came out as before", "green")
    else:
        count = len(report.differences)
        say(out, f"{count} {'difference' if count == 1 else 'differences'}", "yellow")
