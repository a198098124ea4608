"""What commands print: a table for people, JSON for programs."""

import json
from collections.abc import Sequence

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli.terminal_text import one_line

GIB, MIB = 2**30, 2**20


def size_text(size: int | None) -> str:
    """Bytes as people read them; empty where nobody knows."""
    if size is None:
        return ""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.1f} MiB"


def print_json(value: object) -> None:
    """`value` on standard output, one line; lone surrogates, which models write, as escapes."""
    try:
        text = msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode()
    click.echo(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows of plain texts; what does not fit is folded, never cut."""
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000  # where nobody looks at it, lines may be as long as they are
    console.print(table)
