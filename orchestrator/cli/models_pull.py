"""`orchestrator models pull`: a download that the service makes, watched from here."""

from datetime import datetime

import anyio
import click
import rich_click
from msgspec import UNSET
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from orchestrator.api.wire_downloads import DownloadBody, DownloadList, DownloadReply, DownloadStatusReply
from orchestrator.cli.chat_client import ServiceClient
from orchestrator.cli.command_error import CommandError
from orchestrator.cli.command_settings import SERVER, service_url, with_settings
from orchestrator.cli.output import print_json, print_table, size_text
from orchestrator.cli.terminal_text import one_line
from orchestrator.settings import Settings

DOWNLOAD = "/api/v1/models/download"
LOOK_SECONDS = 0.5
INTERRUPTED = 130


@rich_click.command()
@click.argument("name", required=False)
@click.option(
    "--list", "listing", is_flag=True, help="List the downloads instead: those under way, and what ended lately."
)
@click.option("--quantization", metavar="Q", help="Which of a Hugging Face repository's files, such as Q4_K_M.")
@click.option("--url", help="The service's address, where it is not the one of the settings.")
@click.option("--json", "as_json", is_flag=True, help="Print the last status of the download as JSON.")
@with_settings(*SERVER)
def pull(
    settings: Settings, name: str | None, listing: bool, quantization: str | None, url: str | None, as_json: bool
) -> None:
    """Download the model NAME: a Hugging Face link, or a name of Ollama's catalogue such as qwen3:8b.

    The service downloads, this command watches: Ctrl-C ends the watching only.
    """
    if listing or name is None:
        if not listing or name is not None:
            raise click.UsageError("Give the NAME of a model to download, or --list.")
        _list(url or service_url(settings), as_json=as_json)
        return
    console = Console(highlight=False, quiet=as_json)
    watch = _Watch(url or service_url(settings), DownloadBody(name, quantization or UNSET), console)
    try:
        anyio.run(watch.run)
    except KeyboardInterrupt:
        if as_json and watch.seen is not None:
            print_json(watch.seen)
        if watch.job_id is not None:
            click.echo(f"The download goes on in the service, as {watch.job_id}.", err=True)
        click.get_current_context().exit(INTERRUPTED)
    if as_json:
        print_json(watch.seen)
    _tell_ending(watch.seen, name, console)


def _list(url: str, *, as_json: bool) -> None:
    async def ask() -> DownloadList:
        async with ServiceClient(url) as client:
            return await client.ask("GET", DOWNLOAD, DownloadList)

    found = anyio.run(ask)
    if as_json:
        print_json(found)
        return
    print_table(("id", "model", "state", "size", "done", "began", "error"), [_row(job) for job in found.jobs])


def _row(job: DownloadStatusReply) -> tuple[str, ...]:
    total = job.total_size_bytes or None
    done = 0 if job.downloaded_bytes is UNSET else job.downloaded_bytes
    return (
        job.job_id or "",
        " ".join(filter(None, (job.model or "", job.quantization or ""))),
        job.state or job.status,
        size_text(total),
        "" if total is None else f"{done / total:.0%}",
        f"{job.started_at:%Y-%m-%d %H:%M}" if isinstance(job.started_at, datetime) else "",
        job.error.message if job.error else "",
    )


class _Watch:
    """A download begun and watched to its end. `seen` is what the service said last, `job_id` which job it is."""

    def __init__(self, url: str, body: DownloadBody, console: Console) -> None:
        self.seen: DownloadReply | DownloadStatusReply | None = None
        self.job_id: str | None = None
        self._url = url
        self._body = body
        self._console = console

    async def run(self) -> None:
        """Return when the download is not moving any more.

        Raises:
            CommandError: no service answers, or it refuses.
        """
        async with ServiceClient(self._url) as client:
            self.seen = await client.ask("POST", DOWNLOAD, DownloadReply, self._body)
            if self.seen.job_id is UNSET:
                return
            self.job_id = self.seen.job_id
            with _progress(self._console) as progress:
                bar = progress.add_task(one_line(self._body.model), total=None)
                while True:
                    status = await client.ask("GET", f"{DOWNLOAD}/status/{self.job_id}", DownloadStatusReply)
                    self.seen = status
                    _show(progress, bar, status)
                    if status.status != "downloading":
                        return
                    await anyio.sleep(LOOK_SECONDS)


def _progress(console: Console) -> Progress:
    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}", markup=False), *columns, console=console, transient=True)


def _show(progress: Progress, bar: TaskID, status: DownloadStatusReply) -> None:
    total = None if status.total_size_bytes is UNSET else status.total_size_bytes
    progress.update(bar, total=total, completed=0 if status.downloaded_bytes is UNSET else status.downloaded_bytes)


def _tell_ending(seen: DownloadReply | DownloadStatusReply | None, name: str, console: Console) -> None:
    match None if seen is None else seen.status:
        case "completed":
            console.print(Text(f"downloaded {one_line(name)}"), soft_wrap=True)
        case "already_downloaded":
            console.print(Text(f"{one_line(name)} is there already"), soft_wrap=True)
        case "paused":
            job = "" if seen is None or seen.job_id is UNSET else f" It is {seen.job_id}."
            raise CommandError(f"the download of {name} was paused.{job}")
        case _:
            if seen is None or seen.error is UNSET:
                raise CommandError(f"the download of {name} was cancelled")
            raise CommandError(f"{name} could not be downloaded: {seen.error.message}")
