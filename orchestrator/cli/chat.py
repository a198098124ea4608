"""`orchestrator chat`: a chat in the terminal, with tools."""

import sys
from collections.abc import Sequence

import anyio
import click
import msgspec
import rich_click
from msgspec import UNSET, UnsetType
from rich.console import Console

from orchestrator.api.wire import ChatReply
from orchestrator.api.wire_approvals import ApprovalEntry, ApprovalsBody
from orchestrator.api.wire_events import ChatEnd
from orchestrator.api.wire_requests import (
    ApprovalFilter,
    ApprovalRules,
    ChatBody,
    EphemeralIntegration,
    IntegrationEntry,
    PluginIntegration,
)
from orchestrator.cli.approvals import ask_about, once_more, path_of, pending_of
from orchestrator.cli.chat_client import ServiceClient, render_chat, render_events
from orchestrator.cli.command_settings import SERVER, service_url, with_settings
from orchestrator.cli.elicitations import answering
from orchestrator.settings import Settings

INTERRUPTED = 130


@rich_click.command()
@click.argument("prompt")
@click.option("--model", metavar="KEY", help="Which model answers; without it one that is loaded, else the first.")
@click.option("--integration", "plugins", multiple=True, metavar="mcp/LABEL", help="A plugin of mcp.json; repeatable.")
@click.option("--mcp-server", "servers", multiple=True, metavar="LABEL=URL", help="An MCP server for this chat only.")
@click.option(
    "--allowed-tools", "allowed", metavar="ID:TOOL,…", help="Only these tools of an integration, as mcp/LABEL:TOOL."
)
@click.option("--system-prompt", metavar="TEXT", help="What the model is told to be.")
@click.option("--previous-response-id", metavar="ID", help="The response to go on from.")
@click.option("--temperature", type=click.FloatRange(0, 1), help="0 is deterministic.")
@click.option(
    "--ask",
    type=click.Choice(["always", "destructive"]),
    help="Ask before every tool call, or before those that are not known to be harmless.",
)
@click.option("--url", help="The service's address, where it is not the one of the settings.")
@click.option("--json", "as_json", is_flag=True, help="Print the reply as JSON, and nothing else.")
@with_settings(*SERVER)
def chat(
    settings: Settings,
    prompt: str,
    model: str | None,
    plugins: tuple[str, ...],
    servers: tuple[str, ...],
    allowed: str | None,
    system_prompt: str | None,
    previous_response_id: str | None,
    temperature: float | None,
    ask: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Send PROMPT to a model of a running service and show the answer as it is written.

    A PROMPT of - is read from standard input. Ctrl-C ends the generation. Calls that need approval are
    asked about; Ctrl-C leaves them waiting. On a terminal, what servers ask is answered here as well.
    """
    body = ChatBody(
        model=model or "",
        input=sys.stdin.read() if prompt == "-" else prompt,
        integrations=asking(integrations(plugins, servers, allowed), ask),  # even none: it says which dialect this is
        stream=True,
        system_prompt=UNSET if system_prompt is None else system_prompt,
        previous_response_id=UNSET if previous_response_id is None else previous_response_id,
        temperature=UNSET if temperature is None else temperature,
    )
    try:
        reply = anyio.run(_chat, url or service_url(settings), body, as_json)
        while not as_json and prompt != "-" and (ask is not None or sys.stdin.isatty()) and pending_of(reply):
            decisions = ask_about(pending_of(reply))
            reply = anyio.run(_go_on, url or service_url(settings), reply, decisions, once_more(body.integrations))
    except KeyboardInterrupt:
        # The stream is closed by now, and with it the generation.
        click.echo("\ninterrupted", err=True)
        sys.exit(INTERRUPTED)
    if reply.status == "failed":
        sys.exit(1)


async def _chat(url: str, body: ChatBody, as_json: bool) -> ChatReply:
    async with ServiceClient(url) as client:
        if not body.model:
            body = msgspec.structs.replace(body, model=await client.default_model())
        if not as_json:
            return await render_chat(client, body, Console(highlight=False), answering(client))
        async for event in client.chat(body):
            if isinstance(event, ChatEnd):
                click.echo(msgspec.json.encode(event.result))
                return event.result
    raise AssertionError("a chat ends with chat.end or raises")


async def _go_on(
    url: str, reply: ChatReply, decisions: list[ApprovalEntry], entries: list[IntegrationEntry] | UnsetType
) -> ChatReply:
    body = ApprovalsBody(decisions, entries, stream=True)
    async with ServiceClient(url) as client:
        answer = answering(client)
        events = client.stream(path_of(str(reply.response_id)), body, extensions=answer is not None)
        return await render_events(events, Console(highlight=False), answer)


def asking(entries: Sequence[IntegrationEntry], ask: str | None) -> list[IntegrationEntry]:
    """`entries` with the approvals that `ask` demands."""
    if ask is None:
        return [*entries]
    rules = "always" if ask == "always" else ApprovalRules(always=ApprovalFilter(destructive=True))
    named = [PluginIntegration(entry) if isinstance(entry, str) else entry for entry in entries]
    return [msgspec.structs.replace(entry, require_approval=rules) for entry in named]


def integrations(plugins: Sequence[str], servers: Sequence[str], allowed: str | None) -> list[IntegrationEntry]:
    """The request's integrations; a plugin that only `allowed` names is one of them.

    Raises:
        click.UsageError: something is not written as it must be.
    """
    tools = _allowed_tools(allowed)
    entries: list[IntegrationEntry] = []
    for server in servers:
        label, equals, url = server.partition("=")
        if not (label and equals and url):
            raise click.UsageError(f"--mcp-server takes LABEL=URL, not {server!r}")
        listed = tools.pop(label, None)
        entries.append(EphemeralIntegration(label, url, UNSET if listed is None else listed))
    for plugin in dict.fromkeys([*plugins, *tools]):
        listed = tools.get(plugin)
        entries.append(plugin if listed is None else PluginIntegration(plugin, listed))
    return entries


def _allowed_tools(allowed: str | None) -> dict[str, list[str]]:
    """`mcp/a:one,two,mcp/b:three`: a tool without an id belongs to the id before it."""
    tools: dict[str, list[str]] = {}
    current = ""
    for part in (allowed or "").split(",") if allowed else ():
        integration, colon, tool = part.strip().rpartition(":")
        current = integration if colon else current
        if not current or not tool:
            raise click.UsageError(f"--allowed-tools takes mcp/LABEL:TOOL,…, not {allowed!r}")
        tools.setdefault(current, []).append(tool)
    return tools
