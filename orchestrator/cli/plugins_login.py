"""`orchestrator plugins login` and `logout`: they work on the database directly, which a running service sees."""

import contextlib
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import click
import rich_click
import structlog

from orchestrator.cli.command_error import CommandError
from orchestrator.cli.command_settings import DATABASE, make_data_dir, with_settings
from orchestrator.cli.output import print_json
from orchestrator.cli.plugin_files import plugin_files
from orchestrator.core.errors import OrchestratorError
from orchestrator.ports import OAuthCredentialStore
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from orchestrator.integrations.network_policy import NetworkPolicy
    from orchestrator.integrations.oauth.sign_in import SignedIn

PLUGIN_FILES = ("MCP_CONFIG", "MCP_USER_CONFIG", "ENCRYPTION_KEY_FILE")


@rich_click.command()
@click.argument("plugin")
@click.option("--no-browser", is_flag=True, help="Print the address only.")
@click.option("--paste", is_flag=True, help="The browser is on another machine: ask for the address that it ends at.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*DATABASE, *PLUGIN_FILES)
def login(settings: Settings, plugin: str, no_browser: bool, paste: bool, as_json: bool) -> None:
    """Log in to PLUGIN (such as mcp/x) at its authorization server, and keep the tokens, encrypted."""
    signed = anyio.run(_log_in, settings, plugin, not no_browser, paste)
    expires = None if signed.expires_at is None else datetime.fromtimestamp(signed.expires_at, UTC)
    if as_json:
        print_json(
            {
                "plugin": signed.plugin_id,
                "login_needed": signed.needed,
                "authorization_server": signed.authority,
                "scope": signed.scope,
                "expires_at": expires,
                "renewed_by_itself": signed.renewable,
                "tools": signed.tools,
            }
        )
    elif not signed.needed:
        click.echo(f"{signed.plugin_id} asks for no login; it offers {signed.tools} tools")
    else:
        where = "" if signed.authority is None else f" at {signed.authority}"
        until = "" if expires is None or signed.renewable else f", until {expires:%Y-%m-%d %H:%M} UTC"
        click.echo(f"logged in to {signed.plugin_id}{where}{until}; it offers {signed.tools} tools")


@rich_click.command()
@click.argument("plugin")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*DATABASE, *PLUGIN_FILES)
def logout(settings: Settings, plugin: str, as_json: bool) -> None:
    """Forget the login to PLUGIN, and have its tokens revoked where its authorization server can do that."""
    plugin_id, problem = anyio.run(_log_out, settings, plugin)
    if as_json:
        print_json({"plugin": plugin_id, "revoked": problem is None, "problem": problem})
    else:
        note = "" if problem is None else f"; its tokens are forgotten here and may still be valid there: {problem}"
        click.echo(f"logged out of {plugin_id}{note}")


async def _log_in(settings: Settings, plugin_id: str, open_browser: bool, paste: bool) -> "SignedIn":
    from orchestrator.cli.login_browser import PASTED_REDIRECT, PastingBrowser, listening_browser
    from orchestrator.integrations.oauth.sign_in import PluginAtAddress, sign_in

    target = PluginAtAddress.find(plugin_files(settings).load(), plugin_id)
    async with contextlib.AsyncExitStack() as closing:
        store = await closing.enter_async_context(_credential_store(settings))
        given = target.config.redirect_uri
        if paste:
            browser = PastingBrowser(given or PASTED_REDIRECT, open_browser=open_browser)
        else:
            redirect = given or await target.registered_redirect(store) or "http://127.0.0.1:0/callback"
            listening = listening_browser(redirect, fallback=given is None, open_browser=open_browser)
            browser = await closing.enter_async_context(listening)
        with _quiet():
            return await sign_in(target, store, _policy(settings), browser)


async def _log_out(settings: Settings, plugin_id: str) -> tuple[str, str | None]:
    from orchestrator.integrations.oauth.sign_in import PluginAtAddress, sign_out

    async with _credential_store(settings) as store:
        try:
            target = PluginAtAddress.find(plugin_files(settings).load(), plugin_id)
        except OrchestratorError as error:
            # It may have been taken out of the file, or have lost its login there: what is kept of it still goes.
            problem: str | None = error.info.message.rstrip(".")
            known = await _kept_as(store, plugin_id)
        else:
            problem, known = await sign_out(target, store, _policy(settings)), target.plugin.id
        if not await store.delete_credentials(known):
            kept = sorted({kept for kept, _ in await store.list_credentials()})
            there = f"; there are logins to {', '.join(kept)}" if kept else ""
            raise CommandError(f"there is no login to {known}{there}")
        return known, problem


@contextmanager
def _quiet() -> Generator[None]:
    """What goes wrong is said once, by the command, and not by the log as well."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.configure(**before)


async def _kept_as(store: OAuthCredentialStore, plugin_id: str) -> str:
    """How the plugin was written when it was logged in."""
    from orchestrator.integrations.mcp_json import normal_plugin_id

    wanted = {normal_plugin_id(plugin_id), normal_plugin_id(f"mcp/{plugin_id}")}
    kept = [id_ for id_, _ in await store.list_credentials()]
    return next((id_ for id_ in kept if normal_plugin_id(id_) in wanted), plugin_id)


def _policy(settings: Settings) -> "NetworkPolicy":
    from orchestrator.integrations.network_policy import HostRules, NetworkPolicy

    return NetworkPolicy(
        allow=HostRules.parse(settings.ephemeral_allow, setting="EPHEMERAL_ALLOW"),
        deny=HostRules.parse(settings.ephemeral_deny, setting="EPHEMERAL_DENY"),
        allow_loopback=settings.on_loopback,
    )


@asynccontextmanager
async def _credential_store(settings: Settings) -> AsyncGenerator[OAuthCredentialStore, None]:
    from orchestrator.store.database import open_database
    from orchestrator.store.encryption import Sealer
    from orchestrator.store.migrate import prepare
    from orchestrator.store.oauth_credentials import SqlOAuthCredentialStore

    make_data_dir(settings)
    await prepare(settings.database_url)
    database = await open_database(settings.database_url)
    try:
        yield SqlOAuthCredentialStore(database, Sealer(settings.encryption_key, settings.encryption_key_file))
    finally:
        await database.aclose()
