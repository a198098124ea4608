"""Calls that wait for approval: asked about in the terminal, and `orchestrator approvals` from anywhere else."""

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, cast
from urllib.parse import quote

import anyio
import click
import msgspec
import rich_click
from msgspec import UNSET, UnsetType
from rich.console import Console

from orchestrator.api.wire import ChatReply, PendingApproval, StoredReply
from orchestrator.api.wire_approvals import ApprovalEntry, ApprovalsBody
from orchestrator.api.wire_events import ChatEnd, WireEvent
from orchestrator.api.wire_graph import ResponseListReply
from orchestrator.api.wire_requests import EphemeralIntegration, IntegrationEntry
from orchestrator.cli.chat_client import ServiceClient, render_events
from orchestrator.cli.command_error import CommandError
from orchestrator.cli.command_settings import SERVER, service_url, with_settings
from orchestrator.cli.output import print_json, print_table
from orchestrator.cli.terminal_stream import UnknownEvent, pending_line, provider_text
from orchestrator.cli.terminal_text import arguments_text
from orchestrator.settings import Settings

LIST_PAGE: Final = 100


def path_of(response_id: str) -> str:
    """Where decisions about this response go."""
    return f"/api/v1/responses/{response_id}/approvals"


def ask_about(pending: Sequence[PendingApproval]) -> list[ApprovalEntry]:
    """What the person at the terminal decides about each of these calls."""
    return [_ask(call) for call in pending]


def _ask(call: PendingApproval) -> ApprovalEntry:
    click.echo(pending_line(call), err=True)
    answer: str = click.prompt("approve, deny or edit", type=click.Choice(["a", "d", "e"]), err=True)
    if answer == "d":
        reason: str = click.prompt("reason", default="", show_default=False, err=True)
        return ApprovalEntry(call.call_id, "deny", reason or UNSET)
    if answer == "a":
        return ApprovalEntry(call.call_id, "approve")
    while True:
        written: str = click.prompt("arguments", default=json.dumps(call.arguments), err=True)
        try:
            return ApprovalEntry(call.call_id, "approve", UNSET, parsed_arguments(written))
        except click.UsageError as error:
            click.echo(error.message, err=True)


def parsed_arguments(written: str) -> dict[str, Any]:
    """A JSON object from the command line.

    Raises:
        click.UsageError: it is none.
    """
    try:
        value: object = json.loads(written)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise click.UsageError('arguments are a JSON object, such as {"path": "notes.md"}')
    return cast("dict[str, Any]", value)


def pending_of(reply: ChatReply | StoredReply) -> list[PendingApproval]:
    """The calls of a reply that wait."""
    return [] if isinstance(reply.pending_approvals, UnsetType) else reply.pending_approvals


def once_more(integrations: Sequence[IntegrationEntry] | UnsetType) -> list[IntegrationEntry] | UnsetType:
    """What the service did not keep of the request's integrations."""
    given = () if isinstance(integrations, UnsetType) else integrations
    return [entry for entry in given if isinstance(entry, EphemeralIntegration)] or UNSET


@rich_click.group()
def approvals() -> None:
    """Tool calls that wait until somebody approves them."""


_URL = click.option("--url", help="The service's address, where it is not the one of the settings.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
_CALL = click.option(
    "--call", "calls", multiple=True, metavar="ID", help="This call; repeatable. Without it all of them."
)


@approvals.command("list")
@_URL
@_JSON
@with_settings(*SERVER)
def list_(settings: Settings, url: str | None, as_json: bool) -> None:
    """List every call that waits, of all responses, the newest response first."""
    waiting = anyio.run(_waiting, url or service_url(settings))
    if as_json:
        print_json([WaitingCalls(one.response_id, pending_of(one)) for one in waiting])
        return
    rows = [
        [
            one.response_id,
            call.call_id,
            f"{provider_text(call.provider_info)}/{call.tool}",
            arguments_text(call.arguments),
            str(call.expires_at),
        ]
        for one in waiting
        for call in pending_of(one)
    ]
    print_table(["response", "call", "tool", "arguments", "until"], rows)


@approvals.command("show")
@click.argument("response_id")
@_URL
@_JSON
@with_settings(*SERVER)
def show(settings: Settings, response_id: str, url: str | None, as_json: bool) -> None:
    """Show the calls of RESPONSE_ID that wait."""
    pending = pending_of(anyio.run(_stored, url or service_url(settings), response_id))
    if as_json:
        print_json(pending)
        return
    rows = [[call.call_id, call.tool, json.dumps(call.arguments), str(call.expires_at)] for call in pending]
    print_table(["call", "tool", "arguments", "until"], rows)


@approvals.command("approve")
@click.argument("response_id")
@_CALL
@click.option("--arguments", metavar="JSON", help="Call the tool with these; needs one --call.")
@_URL
@_JSON
@with_settings(*SERVER)
def approve(
    settings: Settings, response_id: str, calls: tuple[str, ...], arguments: str | None, url: str | None, as_json: bool
) -> None:
    """Approve calls of RESPONSE_ID; when none is left to decide about, the answer goes on and is shown."""
    if arguments is not None and len(calls) != 1:
        raise click.UsageError("--arguments needs one --call")
    edited = UNSET if arguments is None else parsed_arguments(arguments)
    _decide(url or service_url(settings), response_id, calls, ApprovalEntry("", "approve", UNSET, edited), as_json)


@approvals.command("deny")
@click.argument("response_id")
@_CALL
@click.option("--reason", metavar="TEXT", help="What the model is told.")
@_URL
@_JSON
@with_settings(*SERVER)
def deny(
    settings: Settings, response_id: str, calls: tuple[str, ...], reason: str | None, url: str | None, as_json: bool
) -> None:
    """Deny calls of RESPONSE_ID; when none is left to decide about, the answer goes on and is shown."""
    entry = ApprovalEntry("", "deny", UNSET if reason is None else reason)
    _decide(url or service_url(settings), response_id, calls, entry, as_json)


def _decide(url: str, response_id: str, calls: Sequence[str], decision: ApprovalEntry, as_json: bool) -> None:
    reply = anyio.run(_decided, url, response_id, calls, decision, as_json)
    if reply.status == "failed":
        raise SystemExit(1)


class WaitingCalls(msgspec.Struct, frozen=True):
    """The calls of a response that wait, as `approvals list --json` prints them."""

    response_id: str
    pending_approvals: list[PendingApproval]


async def _waiting(url: str) -> list[StoredReply]:
    found: list[StoredReply] = []
    async with ServiceClient(url) as client:
        cursor = ""
        while True:
            path = f"/api/v1/responses?status=awaiting_approval&limit={LIST_PAGE}{cursor}"
            page = await client.ask("GET", path, ResponseListReply)
            found += [
                await client.ask("GET", f"/api/v1/responses/{one.response_id}", StoredReply) for one in page.responses
            ]
            if page.next_cursor is None:
                return [one for one in found if pending_of(one)]
            cursor = f"&cursor={quote(page.next_cursor)}"


async def _stored(url: str, response_id: str) -> StoredReply:
    async with ServiceClient(url) as client:
        return await client.ask("GET", f"/api/v1/responses/{response_id}", StoredReply)


async def _decided(
    url: str, response_id: str, calls: Sequence[str], decision: ApprovalEntry, as_json: bool
) -> ChatReply:
    async with ServiceClient(url) as client:
        chosen = calls
        if not chosen:
            stored = await client.ask("GET", f"/api/v1/responses/{response_id}", StoredReply)
            chosen = [call.call_id for call in pending_of(stored)]
            if not chosen:
                raise CommandError(f"the response is {stored.status}: no call of it waits for approval")
        body = ApprovalsBody([msgspec.structs.replace(decision, call_id=call) for call in chosen], stream=True)
        events = client.stream(path_of(response_id), body)
        return await (_json(events) if as_json else render_events(events, Console(highlight=False)))


async def _json(events: AsyncGenerator[WireEvent | UnknownEvent, None]) -> ChatReply:
    async for event in events:
        if isinstance(event, ChatEnd):
            print_json(event.result)
            return event.result
    raise AssertionError("a stream ends with chat.end or raises")
