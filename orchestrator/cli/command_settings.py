"""The settings of a command: the environment and the file, and a flag for each setting that the command takes."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import click

from orchestrator.cli.command_error import CommandError
from orchestrator.setting_kinds import BOOLEAN
from orchestrator.setting_list import SETTINGS, Setting
from orchestrator.settings import ADDING, Settings, is_loopback, load_with_sources

P = ParamSpec("P")
R = TypeVar("R")
Option: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

_FLAGS = "orchestrator.flags"
_CONFIG = "orchestrator.config"
_NO_FLAG = frozenset(
    {"ENCRYPTION_KEY", "OPENAI_COMPATIBLE_API_KEY"}
)  # a command line can be read by every user of the machine
SERVER = ("PORT",)  # a service elsewhere has its own --url
DATABASE = ("DATABASE_URL", "DATA_DIR")
KEYED_DATABASE = (*DATABASE, "ENCRYPTION_KEY_FILE")
EVERY = tuple(setting.name for setting in SETTINGS)


def with_settings(*names: str) -> Callable[[Callable[Concatenate[Settings, P], R]], Callable[P, R]]:
    """Give a command the settings as its first argument, and flags for those called `names`."""

    def decorate(function: Callable[Concatenate[Settings, P], R]) -> Callable[P, R]:
        @functools.wraps(function)
        def command(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(current_settings()[0], *args, **kwargs)

        decorated: Callable[P, R] = command
        for setting in reversed([setting for setting in SETTINGS if setting.name in names]):
            if setting.name not in _NO_FLAG:
                decorated = _flag(setting)(decorated)
        return _config_option()(decorated)

    return decorate


def current_settings() -> tuple[Settings, dict[str, str]]:
    """The settings of the command that runs, and where those that are not defaults came from.

    Raises:
        SettingsError: one of them cannot be used.
    """
    meta = click.get_current_context().meta
    config: str | None = meta.get(_CONFIG)
    return load_with_sources(os.environ, Path(config) if config is not None else None, meta.get(_FLAGS, {}))


def service_url(settings: Settings) -> str:
    """Where a client on this machine finds the service."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def stays_here(url: str) -> bool:
    """Whether `url` is on this machine, so that no proxy has a part in it."""
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    return is_loopback(host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0])


def make_data_dir(settings: Settings) -> None:
    """The data directory, made where it is missing, for its owner alone.

    Raises:
        CommandError: it cannot be made.
    """
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"DATA_DIR {settings.data_dir} cannot be made: {error.strerror}") from None


def _config_option() -> Option:
    def remember(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta[_CONFIG] = value

    return click.option("--config", metavar="FILE", expose_value=False, callback=remember, help="A TOML file.")


def _flag(setting: Setting) -> Option:
    """Values are read by the table, whose messages are the same for a flag and a variable."""

    def remember(ctx: click.Context, _parameter: click.Parameter, value: str | bool | None) -> None:
        if value is not None:
            ctx.meta.setdefault(_FLAGS, {})[setting.key] = value

    def remember_all(ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> None:
        if values:
            ctx.meta.setdefault(_FLAGS, {})[setting.key] = ":".join(values)

    name = "--" + setting.key.replace("_", "-")
    help_text = setting.meaning.replace("`", "")
    if setting.name in ADDING:
        return click.option(
            name, setting.key, metavar="VALUE", multiple=True, expose_value=False, callback=remember_all, help=help_text
        )
    if setting.kind is BOOLEAN:
        declared = f"{name}/--no-{name.removeprefix('--')}"
        return click.option(declared, setting.key, default=None, expose_value=False, callback=remember, help=help_text)
    return click.option(
        name, setting.key, metavar="VALUE", default=None, expose_value=False, callback=remember, help=help_text
    )
