"""`orchestrator responses fork`, `diff` and `replay`: leaving a response inside it, comparing, running again."""

from collections.abc import AsyncGenerator
from typing import Final, get_args
from urllib.parse import quote, urlencode

import click
import rich_click
from msgspec import UNSET
from rich.console import Console

from orchestrator.api.wire import ChatReply
from orchestrator.api.wire_branches import (
    ChainReplayBody,
    ChainReplayReply,
    DiffReply,
    ReplayBody,
    ReplayReply,
    ReplayReportReply,
)
from orchestrator.api.wire_events import ChatEnd, WireEvent
from orchestrator.api.wire_forks import ForkAt, ForkBody, ForkOutput
from orchestrator.cli.approvals import parsed_arguments
from orchestrator.cli.chat_client import ServiceClient, render_events
from orchestrator.cli.command_settings import SERVER, with_settings
from orchestrator.cli.output import print_json
from orchestrator.cli.plugins_client import JSON, URL, ask
from orchestrator.cli.plugins_output import console, say
from orchestrator.cli.responses_client import OWNER, RESPONSE, RESPONSES, response_path
from orchestrator.cli.responses_output import print_diff, print_report
from orchestrator.cli.terminal_stream import UnknownEvent
from orchestrator.core.replay_report import DifferenceKind
from orchestrator.settings import Settings

DIFFERENT: Final = 3
"""The exit status where something differs; 1 is that it could not be found out."""


@rich_click.command()
@RESPONSE
@click.option(
    "--call", metavar="ID", help="Leave it at this tool call, which is made anew; `responses show` has the ids."
)
@click.option("--position", type=click.IntRange(0), metavar="N", help="Keep so many output items; 0 asks again.")
@click.option("--arguments", metavar="JSON", help="The call runs with these; with --call.")
@click.option("--output", metavar="TEXT", help="The call does not run and has this result; with --call.")
@click.option("--error", is_flag=True, help="That result is an error.")
@click.option(
    "--input", "said", metavar="TEXT", help="Ask this: with --position 0 instead of what was asked, else after it."
)
@click.option("--model", metavar="KEY", help="Go on with another model.")
@click.option("--system-prompt", metavar="TEXT", help="Go on with another system prompt.")
@click.option("--temperature", type=click.FloatRange(0, 1), help="Go on with another temperature.")
@URL
@JSON
@with_settings(*SERVER)
def fork(
    settings: Settings,
    response_id: str,
    call: str | None,
    position: int | None,
    arguments: str | None,
    output: str | None,
    error: bool,
    said: str | None,
    model: str | None,
    system_prompt: str | None,
    temperature: float | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Leave RESPONSE_ID for a branch of its own and show how that goes on.

    It leaves at a tool call (--call), after some of its output (--position), or at its end.
    """
    if error and output is None:
        raise click.UsageError("--error goes with --output")
    at = ForkAt(UNSET if call is None else call, UNSET if position is None else position)
    body = ForkBody(
        at=UNSET if call is None and position is None else at,
        arguments=UNSET if arguments is None else parsed_arguments(arguments),
        output=UNSET if output is None else ForkOutput(output, error),
        input=UNSET if said is None else said,
        stream=True,
        model=UNSET if model is None else model,
        system_prompt=UNSET if system_prompt is None else system_prompt,
        temperature=UNSET if temperature is None else temperature,
    )

    async def followed(client: ServiceClient) -> ChatReply:
        events = client.stream(response_path(response_id, "fork"), body)
        return await (_json(events) if as_json else render_events(events, Console(highlight=False)))

    reply = ask(settings, url, followed)
    if reply.status == "failed":
        click.get_current_context().exit(1)


@rich_click.command()
@click.argument("a")
@click.argument("b")
@OWNER
@URL
@JSON
@with_settings(*SERVER)
def diff(settings: Settings, a: str, b: str, owner: str | None, url: str | None, as_json: bool) -> None:
    """Compare the branch that ends in the response A with the one that ends in B, item by item.

    Ends with status 3 where they differ.
    """
    asked = {"a": a, "b": b} | ({} if owner is None else {"owner": owner})
    path = f"{RESPONSES}/diff?{urlencode(asked, quote_via=quote)}"
    reply = ask(settings, url, lambda client: client.ask("GET", path, DiffReply))
    if as_json:
        print_json(reply)
    else:
        print_diff(console(), reply)
    if not reply.equal:
        click.get_current_context().exit(DIFFERENT)


@rich_click.command()
@RESPONSE
@click.option(
    "--tools",
    type=click.Choice(["live", "stored"]),
    default="live",
    show_default=True,
    help="live: the model's turns from the store, the tools anew. stored: the other way round.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="TOOL",
    help="Run this tool though it is not annotated read-only, such as mcp/files/write_file; repeatable.",
)
@click.option(
    "--from",
    "first",
    metavar="root|ID",
    help="Run the chain again, from its root or from the response ID, to RESPONSE_ID: a new chain, with one report.",
)
@click.option("--model", metavar="KEY", help="Let another model write; with --tools stored.")
@click.option(
    "--ignore",
    multiple=True,
    type=click.Choice(get_args(DifferenceKind)),
    help="Differences of this kind do not count for the exit status; repeatable.",
)
@URL
@JSON
@with_settings(*SERVER)
def replay(
    settings: Settings,
    response_id: str,
    tools: str,
    allow: tuple[str, ...],
    first: str | None,
    model: str | None,
    ignore: tuple[str, ...],
    url: str | None,
    as_json: bool,
) -> None:
    """Run RESPONSE_ID again, as a response of its own, and report every difference.

    Ends with status 3 where something came out otherwise, so that it can stand in a CI job.
    """
    body = ReplayBody(
        tools="live" if tools == "live" else "stored",
        allow_tools=list(allow) or UNSET,
        model=UNSET if model is None else model,
    )
    if first is None:
        path = response_path(response_id, "replay")
        report = ask(settings, url, lambda client: client.ask("POST", path, ReplayReply, body)).report
        reports, left = [report], list[str]()
        told: ReplayReportReply | ChainReplayReply = report
    else:
        path = response_path(response_id, "chain", "replay")
        chain = ChainReplayBody(first=first, tools=body.tools, allow_tools=body.allow_tools, model=body.model)
        told = ask(settings, url, lambda client: client.ask("POST", path, ChainReplayReply, chain))
        reports, left = told.reports, told.left
    if as_json:
        print_json(told)
    else:
        for report in reports:
            print_report(console(), report)
        for response_id in left:
            say(console(), f"{response_id} was not run again: the replay before it failed", "red")
    if left or any(found.type not in ignore for report in reports for found in report.differences):
        click.get_current_context().exit(DIFFERENT)


async def _json(events: AsyncGenerator[WireEvent | UnknownEvent, None]) -> ChatReply:
    async for event in events:
        if isinstance(event, ChatEnd):
            print_json(event.result)
            return event.result
    raise AssertionError("a stream ends with chat.end or raises")
