"""The command tree."""

import importlib.metadata

import click
import rich_click

from orchestrator.cli.approvals import approvals
from orchestrator.cli.audit import audit
from orchestrator.cli.chat import chat
from orchestrator.cli.command_error import CommandGroup
from orchestrator.cli.db import db
from orchestrator.cli.demo import demo
from orchestrator.cli.doctor import doctor
from orchestrator.cli.models import models
from orchestrator.cli.plugins import plugins
from orchestrator.cli.responses import responses
from orchestrator.cli.serve import serve
from orchestrator.cli.settings import settings
from orchestrator.cli.tokens import tokens


@rich_click.group("orchestrator", cls=CommandGroup)
@click.version_option(importlib.metadata.version("orchestrator"), prog_name="orchestrator")
def orchestrator() -> None:
    """A self-hosted agent backend with MCP at its centre.

    Every command reads the same settings: ORCHESTRATOR_* variables over a TOML file, flags over both.
    """


for command in (serve, demo, chat, approvals, models, plugins, responses, tokens, audit, db, settings, doctor):
    orchestrator.add_command(command)
