"""How the commands about stored responses name one to the service."""

from typing import Final
from urllib.parse import quote, urlencode

import click

from orchestrator.cli.plugins_client import escaped

RESPONSES: Final = "/api/v1/responses"
RESPONSE = click.argument("response_id")
OWNER = click.option("--owner", metavar="OWNER", help="Whose, if not your own; * is everybody's. Needs audit.read_all.")


def response_path(response_id: str, *rest: str, **query: str | None) -> str:
    """The path of a response, or of what belongs to it, with what is given of the query."""
    given = {name: value for name, value in query.items() if value is not None}
    path = "/".join([RESPONSES, escaped(response_id), *rest])
    return f"{path}?{urlencode(given, quote_via=quote)}" if given else path
