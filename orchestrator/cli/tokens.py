"""`orchestrator tokens`: API tokens, made and revoked in the database directly."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import click
import rich_click

from orchestrator.cli.command_error import CommandError
from orchestrator.cli.command_settings import DATABASE, make_data_dir, with_settings
from orchestrator.cli.output import print_json, print_table
from orchestrator.ports import Token, TokenStore
from orchestrator.service.chats import PERMISSIONS
from orchestrator.service.tokens import TokenService
from orchestrator.settings import Settings


@rich_click.group()
def tokens() -> None:
    """API tokens. A running service sees every change at once."""


@tokens.command()
@click.option("--name", required=True, help="What the token is for.")
@click.option("--permissions", required=True, metavar="A,B", help="One or more of: " + ", ".join(PERMISSIONS) + ".")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*DATABASE)
def create(settings: Settings, name: str, permissions: str, as_json: bool) -> None:
    """Make a token and print it, alone, on standard output. It is never shown again."""
    wanted = [permission.strip() for permission in permissions.split(",") if permission.strip()]
    if not name.strip() or not wanted:
        raise CommandError("a token needs a name and at least one permission")

    async def make() -> tuple[Token, str]:
        async with _token_store(settings) as store:
            if any(token.name == name and token.revoked_at is None for token in await store.list_tokens()):
                raise CommandError(f"there is a token called {name!r} already; revoke it or choose another name")
            return await TokenService(store).create_token(name, wanted)

    token, text = anyio.run(make)
    if as_json:
        print_json({"token": text, **_described(token)})
    else:
        click.echo(text)


@tokens.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*DATABASE)
def list_(settings: Settings, as_json: bool) -> None:
    """List the tokens, without their secrets."""

    async def read() -> Sequence[Token]:
        async with _token_store(settings) as store:
            return await store.list_tokens()

    found = anyio.run(read)
    if as_json:
        print_json({"tokens": [_described(token) for token in found]})
        return
    rows = [
        (token.name, f"sk-lm-{token.id}:…", ", ".join(sorted(token.permissions)), _day(token.created_at), _state(token))
        for token in found
    ]
    print_table(("name", "token", "permissions", "made", "state"), rows)


@tokens.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*DATABASE)
def revoke(settings: Settings, name: str, as_json: bool) -> None:
    """Revoke the token called NAME, or the one with that id (the 8 characters after sk-lm-)."""

    async def end() -> Token:
        async with _token_store(settings) as store:
            valid = [token for token in await store.list_tokens() if token.revoked_at is None]
            named = [token for token in valid if token.name == name] or [token for token in valid if token.id == name]
            if len(named) != 1:
                problem = "there is no valid token" if not named else f"there are {len(named)} valid tokens"
                raise CommandError(f"{problem} called {name!r}; `orchestrator tokens list` shows them with their ids")
            await store.revoke_token(named[0].id, datetime.now(UTC))
            return named[0]

    token = anyio.run(end)
    if as_json:
        print_json({"revoked": token.id, "name": token.name})
    else:
        click.echo(f"revoked {token.name} (sk-lm-{token.id}:…)")


@asynccontextmanager
async def _token_store(settings: Settings) -> AsyncGenerator[TokenStore, None]:
    from orchestrator.store.database import open_database
    from orchestrator.store.migrate import prepare
    from orchestrator.store.tokens import SqlTokenStore

    make_data_dir(settings)
    await prepare(settings.database_url)
    database = await open_database(settings.database_url)
    try:
        yield SqlTokenStore(database)
    finally:
        await database.aclose()


def _described(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "owner": token.owner,
        "permissions": sorted(token.permissions),
        "created_at": token.created_at,
        "revoked_at": token.revoked_at,
    }


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _state(token: Token) -> str:
    return "valid" if token.revoked_at is None else f"revoked {_day(token.revoked_at)}"
