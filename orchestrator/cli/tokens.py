"""`orchestrator tokens`: API tokens, made and ended in the database directly."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import anyio
import click
import rich_click

from orchestrator.cli.command_error import CommandError
from orchestrator.cli.command_settings import KEYED_DATABASE, make_data_dir, with_settings
from orchestrator.cli.output import print_json, print_table
from orchestrator.core.permissions import PERMISSIONS
from orchestrator.ports import Token, TokenLimits
from orchestrator.service.tokens import TokenService
from orchestrator.settings import Settings

R = TypeVar("R")

_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Duration(click.ParamType[timedelta]):
    """A length of time such as `90d` or `12h`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The length of time, or a usage error."""
        found = _DURATION.fullmatch(str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is no length of time; write a number and s, m, h, d or w, such as 90d", param, ctx)
        length = timedelta(**{_UNITS[found[2]]: int(found[1])})
        if length > datetime.max.replace(tzinfo=UTC) - datetime.now(UTC):
            self.fail(f"{value!r} goes beyond the year 9999", param, ctx)
        return length


@rich_click.group()
def tokens() -> None:
    """API tokens. A running service sees every change at once."""


@tokens.command()
@click.option("--name", required=True, help="What the token is for.")
@click.option(
    "--permissions",
    required=True,
    metavar="A,B",
    help="One or more of: " + ", ".join(PERMISSIONS) + "; plugins:mcp/LABEL and plugins:mcp/LABEL/TOOL allow "
    "single plugins and tools, with * for anything.",
)
@click.option(
    "--owner", metavar="OWNER", help="Whose responses it sees: the owner of another token. A new one if absent."
)
@click.option("--expires-in", type=Duration(), metavar="90d", help="It ends after this time. Never if absent.")
@click.option("--requests-per-minute", type=int, metavar="N", help="At most N requests in any 60 seconds.")
@click.option("--concurrent-runs", type=int, metavar="N", help="At most N chats at once.")
@click.option("--output-tokens-per-day", type=int, metavar="N", help="At most N generated tokens a day of UTC.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*KEYED_DATABASE)
def create(
    settings: Settings,
    name: str,
    permissions: str,
    owner: str | None,
    expires_in: timedelta | None,
    requests_per_minute: int | None,
    concurrent_runs: int | None,
    output_tokens_per_day: int | None,
    as_json: bool,
) -> None:
    """Make a token and print it, alone, on standard output. It is never shown again."""
    wanted = [permission.strip() for permission in permissions.split(",") if permission.strip()]
    expires_at = None if expires_in is None else datetime.now(UTC) + expires_in
    limits = TokenLimits(requests_per_minute, concurrent_runs, output_tokens_per_day)

    async def make(service: TokenService) -> tuple[Token, str]:
        return await service.create_token(name, wanted, owner=owner, expires_at=expires_at, limits=limits)

    _show_new(_with_tokens(settings, make), as_json)


@tokens.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*KEYED_DATABASE)
def list_(settings: Settings, as_json: bool) -> None:
    """List the tokens, without their secrets."""
    found = _with_tokens(settings, lambda service: service.list_tokens())
    if as_json:
        print_json({"tokens": [_described(token) for token in found]})
        return
    rows = [
        (
            token.name,
            f"sk-lm-{token.id}:…",
            token.owner,
            ", ".join(sorted(token.permissions)),
            _limits(token.limits),
            _day(token.created_at),
            _state(token),
        )
        for token in found
    ]
    print_table(("name", "token", "owner", "permissions", "limits", "made", "state"), rows)


@tokens.command()
@click.argument("name")
@click.option("--grace", type=Duration(), default="0s", metavar="1h", help="How long the old one goes on.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*KEYED_DATABASE)
def rotate(settings: Settings, name: str, grace: timedelta, as_json: bool) -> None:
    """Put a new token in the place of the one called NAME (or with that id), and print it.

    It has the same owner, permissions, limits and end.
    """

    async def work(service: TokenService) -> tuple[Token, str]:
        return await service.rotate((await _named(service, name)).id, grace=grace)

    _show_new(_with_tokens(settings, work), as_json)


@tokens.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*KEYED_DATABASE)
def revoke(settings: Settings, name: str, as_json: bool) -> None:
    """Revoke the token with the id NAME (the 8 characters after sk-lm-), or every valid token of that name.

    After a rotation with grace two have the name.
    """

    async def end(service: TokenService) -> Sequence[Token]:
        found = await _named(service, name)
        return [await service.revoke(found.id)] if found.id == name else await service.revoke_named(name)

    ended = _with_tokens(settings, end)
    if as_json:
        print_json({"revoked": [token.id for token in ended], "name": ended[0].name})
    else:
        for token in ended:
            click.echo(f"revoked {token.name} (sk-lm-{token.id}:…)")


def bootstrap_token(settings: Settings) -> str | None:
    """The first token of a service that has none, which may do everything; None where there ever was one."""
    return _with_tokens(settings, lambda service: service.bootstrap())


def _with_tokens(settings: Settings, work: Callable[[TokenService], Awaitable[R]]) -> R:
    async def main() -> R:
        async with _token_service(settings) as service:
            return await work(service)

    return anyio.run(main)


@asynccontextmanager
async def _token_service(settings: Settings) -> AsyncGenerator[TokenService, None]:
    from orchestrator.store.database import open_database
    from orchestrator.store.encryption import Sealer
    from orchestrator.store.migrate import prepare
    from orchestrator.store.tokens import SqlTokenStore

    make_data_dir(settings)
    await prepare(settings.database_url)
    database = await open_database(settings.database_url)
    try:
        sealer = Sealer(settings.encryption_key, settings.encryption_key_file)
        yield TokenService(SqlTokenStore(database, sealer))
    finally:
        await database.aclose()


async def _named(service: TokenService, name: str) -> Token:
    now = datetime.now(UTC)
    valid = [token for token in await service.list_tokens() if token.is_valid(now)]
    # After a rotation with grace two have the name: the newer one is meant.
    found = [token for token in valid if token.id == name] or [token for token in valid if token.name == name][-1:]
    if not found:
        raise CommandError(
            f"there is no valid token called {name!r}; `orchestrator tokens list` shows them with their ids"
        )
    return found[0]


def _show_new(made: tuple[Token, str], as_json: bool) -> None:
    token, text = made
    if as_json:
        print_json({"token": text, **_described(token)})
    else:
        click.echo(text)


def _described(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "owner": token.owner,
        "permissions": sorted(token.permissions),
        "limits": {name: limit for name, limit in asdict(token.limits).items() if limit is not None},
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "valid": token.is_valid(datetime.now(UTC)),
    }


def _limits(limits: TokenLimits) -> str:
    words = (
        (limits.requests_per_minute, "requests/min"),
        (limits.concurrent_runs, "at once"),
        (limits.output_tokens_per_day, "tokens/day"),
    )
    return ", ".join(f"{limit} {what}" for limit, what in words if limit is not None)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _state(token: Token) -> str:
    if token.revoked_at is not None:
        return f"revoked {_day(token.revoked_at)}"
    if token.expires_at is None:
        return "valid"
    ended = not token.is_valid(datetime.now(UTC))
    return f"{'expired' if ended else 'valid until'} {_day(token.expires_at)}"
