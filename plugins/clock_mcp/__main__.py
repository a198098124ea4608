"""The command `clock-mcp`."""

import argparse
from datetime import UTC, datetime

from clock_mcp import __version__
from clock_mcp.errors import ClockError
from clock_mcp.server import create_server
from clock_mcp.serving import add_transport_options, serve
from clock_mcp.zones import find_zone


def main() -> None:
    """Reads the command line and serves the clock."""
    parser = argparse.ArgumentParser(prog="clock-mcp", description="A clock and calendar as an MCP server.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--timezone", default="UTC", help="the zone of 'today', and of the time where none is asked for (default: UTC)"
    )
    add_transport_options(parser)
    options = parser.parse_args()
    try:
        home = find_zone(options.timezone)
        serve(create_server(lambda: datetime.now(UTC), home), options)
    except (ClockError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
