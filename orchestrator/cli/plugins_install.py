"""`orchestrator plugins add`, `remove` and `import`: they write the file of plugins, the service notices."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, cast

import click
import rich_click

from orchestrator.cli.command_error import CommandError, complain
from orchestrator.cli.command_settings import with_settings
from orchestrator.cli.output import print_json, print_table
from orchestrator.cli.terminal_text import visible
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.integrations.mcp_import import PROGRAMS, Candidate, Place, candidates, found_files
from orchestrator.integrations.mcp_json import HttpServer, StdioServer
from orchestrator.integrations.mcp_json_edit import same_label
from orchestrator.integrations.mcp_json_file import check_entry, entries_of, install, uninstall
from orchestrator.integrations.mcp_links import LinkProblem, is_link, read_link
from orchestrator.integrations.server_url import parse_server_url
from orchestrator.settings import Settings

Row: TypeAlias = dict[str, JsonValue]
_PROJECT = click.option("--project", is_flag=True, help="Write the project's file (MCP_CONFIG) instead of your own.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_FILES = ("MCP_CONFIG", "MCP_USER_CONFIG")


@rich_click.command()
@click.argument("name", metavar="LABEL|LINK")
@click.argument("command_line", nargs=-1, metavar="[-- COMMAND ARGUMENT…]")
@click.option("--command", help="The program that is the server, with its arguments.")
@click.option("--url", help="The address of the server.")
@click.option("--type", "type_", type=click.Choice(["http", "streamable-http", "sse"]), help="How it is spoken to.")
@click.option(
    "--env", multiple=True, metavar="NAME=VALUE", help="A variable of its environment; ${VAR} is expanded later."
)
@click.option("--header", multiple=True, metavar="'NAME: VALUE'", help="A header of every request to it.")
@click.option("--cwd", help="The folder that it runs in.")
@click.option("--scope", type=click.Choice(["shared", "owner", "chain", "request"]), help="Who shares it.")
@click.option("--start", type=click.Choice(["on_use", "at_start"]), help="When it is started.")
@click.option("--timeout", type=float, help="How long a call may take, in seconds.")
@click.option("--allowed-tools", help="The tools that are given out, separated by commas.")
@click.option("--replace", is_flag=True, help="Replace an entry with the same label.")
@click.option("--yes", is_flag=True, help="Do not ask whether what a link installs is meant.")
@_PROJECT
@_JSON
@with_settings(*_FILES)
def add(
    settings: Settings,
    name: str,
    command_line: tuple[str, ...],
    project: bool,
    as_json: bool,
    replace: bool,
    yes: bool,
    **options: object,
) -> None:
    """Install an MCP server, by a label and what it is, or by a link of LM Studio, Cursor or VS Code.

    A running service notices. Nothing is started before it is used, unless the entry says so.
    """
    file = _file(settings, project=project)
    label, entry = _from_link(name, options) if is_link(name) else (name, _from_options(command_line, options))
    check_entry(label, entry, file)
    if is_link(name) and not yes:
        _ask(label, entry)
    rows = _install(file, [Candidate(label, entry, file)], replace=replace, dry_run=False)
    _tell(file, rows, as_json=as_json, dry_run=False)
    if rows[0]["action"] == "skipped":
        raise CommandError(f"{file} has another '{label}' already; --replace puts this one in its place")


@rich_click.command()
@click.argument("labels", nargs=-1, required=True, metavar="LABEL…")
@_PROJECT
@_JSON
@with_settings(*_FILES)
def remove(settings: Settings, labels: tuple[str, ...], project: bool, as_json: bool) -> None:
    """Take MCP servers out of the file. A running service ends them once nobody uses them."""
    file = _file(settings, project=project)
    there = entries_of(file)
    wanted = [label.removeprefix("mcp/") for label in labels]
    missing = [label for label in wanted if not any(same_label(label, known) for known in there)]
    if missing:
        known = ", ".join(there) or "none"
        raise CommandError(f"{file} does not install {', '.join(missing)}; it installs: {known}")
    backup = uninstall(file, wanted)
    rows: list[Row] = [{"label": label, "action": "removed"} for label in wanted]
    _tell(file, rows, as_json=as_json, dry_run=False, backup=backup)


@rich_click.command("import")
@click.option(
    "--from",
    "sources",
    multiple=True,
    metavar="|".join([*PROGRAMS, "FILE"]),
    help="A program, or a file; without it, every program that is found.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--replace", is_flag=True, help="Replace entries with the same label.")
@_PROJECT
@_JSON
@with_settings(*_FILES)
def import_(
    settings: Settings, sources: tuple[str, ...], dry_run: bool, replace: bool, project: bool, as_json: bool
) -> None:
    """Take over the MCP servers of Claude Desktop, Claude Code, Cursor, VS Code and LM Studio.

    What is there already stays. Values of the environment and of headers are copied as they stand.
    """
    file = _file(settings, project=project)
    found: list[Candidate] = []
    for source in _source_files(sources):
        if source.resolve() == file.resolve():
            continue
        try:
            found += candidates(source)
        except OrchestratorError as error:
            if sources:
                raise
            complain(error.info.message)
    _tell(file, _install(file, found, replace=replace, dry_run=dry_run), as_json=as_json, dry_run=dry_run)


def _file(settings: Settings, *, project: bool) -> Path:
    return settings.mcp_config[-1] if project and settings.mcp_config else settings.mcp_user_config


def _source_files(sources: Sequence[str]) -> list[Path]:
    place = Place.of(sys.platform, Path.home(), os.environ, Path.cwd())
    files: list[Path] = []
    for source in sources or PROGRAMS:
        if source not in PROGRAMS:
            files.append(Path(source).expanduser().absolute())
            continue
        found = found_files(source, place)
        if sources and not found:
            looked = ", ".join(str(path) for path in PROGRAMS[source](place))
            raise CommandError(f"{source} has no file of MCP servers here; looked for {looked}")
        files += found
    return files


def _install(file: Path, found: Sequence[Candidate], *, replace: bool, dry_run: bool) -> list[Row]:
    """What becomes of each of them; the first of those with the same label counts."""
    there = entries_of(file)
    wanted: dict[str, JsonObject] = {}
    rows: list[Row] = []
    for candidate in found:
        label, entry = candidate.label, candidate.entry
        notes = list(candidate.notes)
        row: Row = {"label": label, "from": str(candidate.file)}
        known = next((other for other in [*wanted, *there] if same_label(label, other)), None)
        try:
            row["server"] = _described(label, entry, file, notes)
            old = None if known is None else wanted.get(known, there.get(known))
            if known is None:
                action = "added"
            elif old == entry:
                action = "there already"
            else:
                action = "replaced" if replace and known not in wanted else "skipped"
        except OrchestratorError as error:
            action = "unusable"
            notes.append(error.info.message)
        if action in ("added", "replaced"):
            wanted[label] = entry
        if action == "skipped":
            notes.append("another entry has this label; --replace puts this one in its place")
        rows.append({**row, "action": action, "notes": [*notes]})
    if wanted and not dry_run:
        backup = install(file, wanted)
        if backup is not None:
            complain(f"{file} was written anew; the old one is {backup}")
    return rows


def _described(label: str, entry: JsonObject, file: Path, notes: list[str]) -> str:
    """What the entry is, without anything that may be secret; `notes` gets what it still needs."""
    server = check_entry(label, entry, file).server
    try:
        check_entry(label, entry, file, os.environ)
    except OrchestratorError as error:
        notes.append(error.info.message.rpartition(": ")[2])
    match server:
        case StdioServer():
            return str(entry["command"])
        case HttpServer(url):
            return parse_server_url(url).origin
        case _:
            return ""


def _from_link(link: str, options: dict[str, object]) -> tuple[str, JsonObject]:
    if any(options.get(name) for name in ("command", "url")):
        raise click.UsageError("a link says by itself what the server is: no --command and no --url beside it")
    try:
        return read_link(link)
    except LinkProblem as problem:
        raise CommandError(f"the link cannot be used: {problem}") from None


def _ask(label: str, entry: JsonObject) -> None:
    """A link hides what it installs, and strangers make them: whoever follows one sees that first."""
    args = entry.get("args")
    words = [str(word) for word in args] if isinstance(args, list) else []
    what = shlex.join([str(entry["command"]), *words]) if "command" in entry else str(entry.get("url"))
    click.echo(visible(f"The link installs '{label}': {what}"), err=True)
    if not sys.stdin.isatty():
        raise CommandError("nobody can be asked whether that is meant: nothing is installed; --yes installs it unasked")
    click.confirm("Install it?", abort=True, err=True)


def _from_options(command_line: tuple[str, ...], options: dict[str, object]) -> JsonObject:
    command, url = cast("str | None", options["command"]), cast("str | None", options["url"])
    if (command is not None) + (url is not None) + bool(command_line) != 1:
        raise click.UsageError("say what the server is: --command '…', --url …, or -- COMMAND ARGUMENT…")
    entry: JsonObject = {}
    if url is not None:
        entry["url"] = url
    else:
        words = [*command_line] if command is None else shlex.split(command)
        if not words:
            raise click.UsageError("--command must name a program")
        entry["command"] = words[0]
        if words[1:]:
            entry["args"] = [*words[1:]]
    pairs = {"env": ("env", "="), "header": ("headers", ":")}
    for option, (key, separator) in pairs.items():
        values = cast("tuple[str, ...]", options[option])
        if values:
            entry[key] = dict([_pair(text, separator, option) for text in values])
    for option in ("type_", "cwd", "scope", "start", "timeout"):
        value = cast("str | float | None", options[option])
        if value is not None:
            entry[option.rstrip("_")] = value
    allowed = cast("str | None", options["allowed_tools"])
    if allowed is not None:
        entry["allowed_tools"] = [name.strip() for name in allowed.split(",") if name.strip()]
    return entry


def _pair(text: str, separator: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        raise click.UsageError(f"--{option} must be NAME{separator}VALUE")
    return name.strip(), value.strip() if option == "header" else value


def _tell(file: Path, rows: Sequence[Row], *, as_json: bool, dry_run: bool, backup: Path | None = None) -> None:
    if backup is not None:
        complain(f"{file} was written anew; the old one is {backup}")
    if as_json:
        print_json({"file": str(file), "dry_run": dry_run, "plugins": rows})
        return
    if not rows:
        click.echo("No MCP servers were found.")
        return
    columns = [column for column in ("label", "action", "server", "from") if column in rows[0]]
    print_table(columns, [[str(row.get(column, "")) for column in columns] for row in rows])
    for row in rows:
        for note in cast("list[str]", row.get("notes", [])):
            click.echo(f"{row['label']}: {note}")
    written = any(row["action"] in ("added", "replaced", "removed") for row in rows)
    if written:
        click.echo(f"{'Would be written to' if dry_run else 'Written to'} {file}")
