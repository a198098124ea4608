"""`orchestrator models`: the models of a running service."""

from collections.abc import Sequence

import anyio
import click
import rich_click
from msgspec import UNSET

from orchestrator.api.wire_models import ModelInfo
from orchestrator.cli.chat_client import ServiceClient
from orchestrator.cli.command_settings import SERVER, service_url, with_settings
from orchestrator.cli.models_load import load, ps, unload
from orchestrator.cli.models_pull import pull
from orchestrator.cli.output import print_json, print_table, size_text
from orchestrator.settings import Settings


@rich_click.group()
def models() -> None:
    """The models of a running service."""


for command in (pull, load, unload, ps):
    models.add_command(command)


@models.command("list")
@click.option("--url", help="The service's address, where it is not the one of the settings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as the service answers it.")
@with_settings(*SERVER)
def list_(settings: Settings, url: str | None, as_json: bool) -> None:
    """List every model that can be used, and which of them are loaded."""

    async def ask() -> Sequence[ModelInfo]:
        async with ServiceClient(url or service_url(settings)) as client:
            return await client.models()

    found = anyio.run(ask)
    if as_json:
        print_json({"models": found})
        return
    rows = [
        (
            model.key,
            model.type,
            model.params_string or "",
            size_text(model.size_bytes),
            str(model.max_context_length or ""),
            ", ".join(one.id for one in model.loaded_instances) if model.problem is UNSET else "(cannot be read)",
            model.engine,
        )
        for model in found
    ]
    print_table(("key", "type", "parameters", "size", "context", "loaded as", "engine"), rows)
