"""The command `notes-mcp`."""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_data_path

from notes_mcp import __version__
from notes_mcp.errors import NotesError
from notes_mcp.server import create_server
from notes_mcp.serving import add_transport_options, serve
from notes_mcp.store import NoteStore

LONGEST_OWNER = 64


def main() -> None:
    """Reads the command line and serves the notes."""
    parser = argparse.ArgumentParser(prog="notes-mcp", description="A persistent knowledge file as an MCP server.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--file", metavar="PATH", help="the notes file (default: $NOTES_FILE, or notes.db in the user's data folder)"
    )
    add_transport_options(parser)
    options = parser.parse_args()
    try:
        with NoteStore(_notes_file(options.file)) as store:
            serve(create_server(store, lambda: datetime.now(UTC)), options)
    except (NotesError, OSError) as error:
        parser.error(str(error))


def _notes_file(option: str | None) -> Path:
    named = option or os.environ.get("NOTES_FILE")
    path = Path(named).expanduser() if named else user_data_path("notes-mcp", appauthor=False) / "notes.db"
    owner = os.environ.get("ORCHESTRATOR_OWNER")
    if not owner:
        return path
    if not (owner.isascii() and owner.isalnum() and len(owner) <= LONGEST_OWNER):
        raise NotesError(f"ORCHESTRATOR_OWNER must be letters and digits, at most {LONGEST_OWNER}.")
    return path.with_name(f"{path.stem}-{owner}{path.suffix}")


if __name__ == "__main__":
    main()
