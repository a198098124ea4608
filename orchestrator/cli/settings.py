"""`orchestrator settings`: what is in force, and the page that documents every setting."""

from typing import cast

import click
import rich_click

from orchestrator.cli.command_settings import EVERY, current_settings, with_settings
from orchestrator.cli.output import print_json, print_table
from orchestrator.cli.serve import database_text
from orchestrator.setting_list import SETTINGS, Setting
from orchestrator.settings import HIDDEN, PREFIX, Settings


@rich_click.command()
@click.option("--markdown", is_flag=True, help="Print the page that documents every setting.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*EVERY)
def settings(settings: Settings, markdown: bool, as_json: bool) -> None:
    """Show every setting with its value and where that came from. Secrets stay hidden."""
    if markdown:
        click.echo(settings_page(), nl=False)
        return
    sources = current_settings()[1]
    if as_json:
        print_json({setting.key: shown_value(setting, settings) for setting in SETTINGS})
        return
    rows = [
        (PREFIX + setting.name, _cell(shown_value(setting, settings)), sources.get(setting.key, "default"))
        for setting in SETTINGS
    ]
    print_table(("setting", "value", "from"), rows)


def shown_value(setting: Setting, settings: Settings) -> object:
    """What anybody may see of a value, as JSON has it."""
    value: object = getattr(settings, setting.key)
    if setting.key == "database_url":
        return database_text(settings)
    if setting.key == "openai_compatible_api_key":
        return HIDDEN if value else None
    if isinstance(value, tuple):
        return [str(part) for part in cast("tuple[object, ...]", value)]
    return value if value is None or isinstance(value, int | float) else str(value)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(cast("list[str]", value)) or "none"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def settings_page() -> str:
    """`orchestrator/SETTINGS.md`, from the table that also reads the settings."""
    rows = [f"| `{s.name}` | {s.default_text} | {s.kind.allowed} | {s.meaning} |" for s in SETTINGS]
    return "\n".join((*_HEAD, *rows, ""))


_HEAD = (
    "# Settings",
    "",
    "<!-- Made by `orchestrator settings --markdown`; change the table in `orchestrator/setting_list.py` instead. -->",
    "",
    f"Every setting is an environment variable with the prefix `{PREFIX}`, a key of a TOML file in lower case, and a",
    "flag of `orchestrator serve` in lower case with dashes:",
    "",
    "```sh",
    f"{PREFIX}PORT=8080 orchestrator serve",
    "orchestrator serve --port 8080",
    "```",
    "",
    "```toml",
    "# settings.toml, read by `orchestrator serve --config settings.toml` or by ORCHESTRATOR_CONFIG=settings.toml",
    "port = 8080",
    'cors_origins = ["https://app.example"]',
    'max_body_bytes = "64MiB"',
    "```",
    "",
    "Flags win over the environment, the environment wins over the file. Paths in the file are relative to it. A value",
    "that cannot be used, and a name that is not in this table, stop the start with one line and the exit status 2.",
    "`orchestrator settings` shows what is in force and where it came from. `OPENAI_COMPATIBLE_API_KEY` has no flag: a",
    "command line can be read by everyone on the machine. In Kubernetes, a service called `orchestrator` brings variables",
    "of the same prefix into every pod: set `enableServiceLinks: false`.",
    "",
    "| name | default | allowed | meaning |",
    "| --- | --- | --- | --- |",
)
