"""`orchestrator models load`, `unload` and `ps`: which models a running service has in memory."""

import anyio
import click
import rich_click
from msgspec import UNSET, UnsetType
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from orchestrator.api.wire_models import InstanceConfig, LoadBody, LoadReply, ModelInfo, UnloadBody, UnloadReply
from orchestrator.cli.chat_client import ServiceClient
from orchestrator.cli.command_settings import SERVER, service_url, with_settings
from orchestrator.cli.output import print_json, print_table, size_text
from orchestrator.cli.terminal_text import one_line
from orchestrator.settings import Settings

LOAD, UNLOAD = "/api/v1/models/load", "/api/v1/models/unload"
AT_LEAST_ONE = click.IntRange(min=1)
INTERRUPTED = 130

_URL = click.option("--url", help="The service's address, where it is not the one of the settings.")


@rich_click.command()
@click.argument("key")
@click.option("--context-length", type=AT_LEAST_ONE, metavar="N", help="Most tokens that the model considers.")
@click.option("--eval-batch-size", type=AT_LEAST_ONE, metavar="N", help="Tokens of a prompt that are read together.")
@click.option("--flash-attention/--no-flash-attention", default=None, help="Compute attention in the faster way.")
@click.option("--num-experts", type=AT_LEAST_ONE, metavar="N", help="Experts that a mixture uses for a token.")
@click.option("--offload-kv-cache-to-gpu/--no-offload-kv-cache-to-gpu", default=None, help="Keep the cache on the GPU.")
@click.option("--parallel", type=AT_LEAST_ONE, metavar="N", help="Requests that it serves at once.")
@click.option("--ttl", type=AT_LEAST_ONE, metavar="SECONDS", help="Unload it when it was idle for so long.")
@_URL
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as the service answers it.")
@with_settings(*SERVER)
def load(
    settings: Settings,
    key: str,
    context_length: int | None,
    eval_batch_size: int | None,
    flash_attention: bool | None,
    num_experts: int | None,
    offload_kv_cache_to_gpu: bool | None,
    parallel: int | None,
    ttl: int | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Load the model KEY into memory, where it stays until it is unloaded. Ctrl-C ends the load."""
    body = LoadBody(
        model=key,
        context_length=UNSET if context_length is None else context_length,
        eval_batch_size=UNSET if eval_batch_size is None else eval_batch_size,
        flash_attention=UNSET if flash_attention is None else flash_attention,
        num_experts=UNSET if num_experts is None else num_experts,
        offload_kv_cache_to_gpu=UNSET if offload_kv_cache_to_gpu is None else offload_kv_cache_to_gpu,
        echo_load_config=True,
        ttl=UNSET if ttl is None else ttl,
        parallel=UNSET if parallel is None else parallel,
    )
    console = Console(highlight=False, quiet=as_json)

    async def ask() -> LoadReply:
        async with ServiceClient(url or service_url(settings)) as client:
            with _waiting(console, f"loading {one_line(key)}"):
                return await client.ask("POST", LOAD, LoadReply, body)

    try:
        reply = anyio.run(ask)
    except KeyboardInterrupt:
        click.get_current_context().exit(INTERRUPTED)
    if as_json:
        print_json(reply)
        return
    said = f"loaded {one_line(reply.instance_id)} in {reply.load_time_seconds:.1f} s"
    told = "" if reply.load_config is UNSET else config_text(reply.load_config)
    console.print(Text(f"{said} ({told})" if told else said), soft_wrap=True)


@rich_click.command()
@click.argument("instance_id", metavar="ID")
@_URL
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as the service answers it.")
@with_settings(*SERVER)
def unload(settings: Settings, instance_id: str, url: str | None, as_json: bool) -> None:
    """Unload the instance ID, once the requests that use it are done. `ps` lists them."""
    console = Console(highlight=False, quiet=as_json)

    async def ask() -> UnloadReply:
        async with ServiceClient(url or service_url(settings)) as client:
            with _waiting(console, f"unloading {one_line(instance_id)}"):
                return await client.ask("POST", UNLOAD, UnloadReply, UnloadBody(instance_id))

    reply = anyio.run(ask)
    if as_json:
        print_json(reply)
    else:
        console.print(Text(f"unloaded {one_line(reply.instance_id)}"), soft_wrap=True)


@rich_click.command()
@_URL
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*SERVER)
def ps(settings: Settings, url: str | None, as_json: bool) -> None:
    """List what is in memory."""

    async def ask() -> list[ModelInfo]:
        async with ServiceClient(url or service_url(settings)) as client:
            return [model for model in await client.models() if model.loaded_instances]

    found = anyio.run(ask)
    if as_json:
        instances = [
            {"id": one.id, "model": model.key, "engine": model.engine, "config": one.config}
            for model in found
            for one in model.loaded_instances
        ]
        print_json({"instances": instances})
        return
    rows = [
        (
            one.id,
            model.key,
            size_text(model.size_bytes),
            _number(one.config.context_length),
            _number(one.config.parallel),
            model.engine,
        )
        for model in found
        for one in model.loaded_instances
    ]
    print_table(("id", "model", "size", "context", "parallel", "engine"), rows)


def config_text(config: InstanceConfig) -> str:
    """The settings that the engine tells, in one line."""
    named = {name: getattr(config, name) for name in config.__struct_fields__}
    return ", ".join(f"{name}={str(value).lower()}" for name, value in named.items() if value is not UNSET)


def _number(value: int | UnsetType) -> str:
    return "" if value is UNSET else str(value)


def _waiting(console: Console, doing: str) -> Progress:
    """A spinner with the time; the service does not tell over this route how much is done."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    progress.add_task(doing, total=None)
    return progress
