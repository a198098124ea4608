"""How a command fails: one line on standard error and an exit status, never a traceback."""

import click
import rich_click
from rich.console import Console
from rich.text import Text

from orchestrator.cli.terminal_text import one_line
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.settings import SettingsError

WRONG_USE = 2


class CommandError(OrchestratorError):
    """A command could not do what it was asked to; the message says why and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.INTERNAL_ERROR, message)


class CommandGroup(rich_click.RichGroup):
    """The top of the command tree: the one place where our errors become exit statuses."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; wrong settings end it with status 2, every other error of ours with 1."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            complain(error.info.message)
            ctx.exit(WRONG_USE)
        except OrchestratorError as error:
            complain(error.info.message)
            ctx.exit(1)


def complain(message: str) -> None:
    """Say on standard error what went wrong."""
    console = Console(stderr=True, highlight=False)
    console.print(Text("orchestrator: " + one_line(message), "red"), soft_wrap=True)
