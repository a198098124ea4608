"""`orchestrator demo`: the service, and one chat with it in which the demo model calls a tool."""

from dataclasses import replace

import anyio
import click
import rich_click
from msgspec import UNSET
from rich.console import Console
from rich.text import Text

from orchestrator.api.wire import ChatReply
from orchestrator.api.wire_requests import ChatBody
from orchestrator.cli.chat_client import ServiceClient, render_chat
from orchestrator.cli.command_error import CommandError
from orchestrator.cli.command_settings import EVERY, current_settings, service_url, with_settings
from orchestrator.cli.http_service import HttpService
from orchestrator.cli.output import print_json
from orchestrator.cli.plugin_files import plugin_ids
from orchestrator.cli.serve import CLOCK, CLOCK_PROMPT, api_text, open_service, port_flag, run_service, try_next
from orchestrator.settings import Settings

MODEL = "demo/tiny-tools"


@rich_click.command()
@click.option("--once", is_flag=True, help="Stop after the chat.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON: the service's address and the reply.")
@with_settings(*EVERY)
def demo(settings: Settings, once: bool, as_json: bool) -> None:
    """Start the service, send one chat to the model that comes with it, and keep serving until Ctrl-C.

    The model is tiny. It shows that everything works: it calls a tool of a plugin from mcp.json and quotes
    the result. Larger models are what the service is for.
    """
    if CLOCK not in plugin_ids(settings):
        files = ", ".join(str(path) for path in settings.mcp_config)
        raise CommandError(f"the demo needs the plugin {CLOCK}, and {files} does not install it")
    if "log_level" not in current_settings()[1]:
        settings = replace(settings, log_level="warning")  # the chat is the show
    service, settings = open_service(settings)
    run_service(_demonstrate, service, settings, once, as_json)


async def _demonstrate(service: HttpService, settings: Settings, once: bool, as_json: bool) -> None:
    console = Console(highlight=False, quiet=as_json)
    url = service_url(settings)
    ready = anyio.Event()
    async with anyio.create_task_group() as tasks:

        async def chat() -> None:
            await ready.wait()
            try:
                reply = await _one_chat(url, console)
            except BaseException:
                service.stop()
                raise
            if as_json:
                print_json({"url": url, "reply": reply})
            if once:
                service.stop()
            else:
                _say(console, _what_next(settings))

        tasks.start_soon(chat)
        await service.serve(ready.set)
        tasks.cancel_scope.cancel()


async def _one_chat(url: str, console: Console) -> ChatReply:
    _say(console, f"The service listens on {url}. A chat with {MODEL}, over HTTP, with the plugin {CLOCK}:\n")
    _say(console, f"> {CLOCK_PROMPT}", "bold")
    async with ServiceClient(url) as client:
        body = ChatBody(model=MODEL, input=CLOCK_PROMPT, integrations=[CLOCK], stream=True, temperature=0)
        reply = await render_chat(client, body, console)
    if reply.status != "completed" or reply.response_id is UNSET:
        raise CommandError(f"the demo's chat ended as {reply.status}")
    return reply


def _what_next(settings: Settings) -> str:
    url = service_url(settings)
    return "\n".join(
        (
            "",
            "It keeps running until Ctrl-C. In another terminal, try:",
            f"  .venv/bin/orchestrator chat {try_next([CLOCK])}{port_flag(settings)}",
            f"  curl {url}/api/v1/models",
            "The README has a curl with two servers in one request.",
            f"The API's documentation: {api_text(settings)}",
        )
    )


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style), soft_wrap=True)
