"""What the tests of the integrations share: catalogs, servers on loopback, bounds."""

import json
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import uvicorn

from orchestrator.core.errors import ErrorInfo, OrchestratorError
from orchestrator.core.request import EphemeralRequest, IntegrationRequest, PluginRequest
from orchestrator.integrations.catalog import McpCatalog
from orchestrator.integrations.mcp_json import load_mcp_json
from orchestrator.integrations.network_policy import NetworkPolicy
from orchestrator.integrations.oauth.grants import Interaction
from orchestrator.integrations.oauth.logins import OAuthLogins
from orchestrator.integrations.plugins import ChainLimits
from orchestrator.integrations.server_requests import NO_FEATURES, ClientFeatures
from orchestrator.ports import OAuthCredentialStore, RunScope
from orchestrator.testing_oauth import MemoryOAuthCredentialStore

PROGRAMS = Path(__file__).parent / "programs"
LOOPBACK = NetworkPolicy(allow_loopback=True)
SECRET = "hunter22"
SCOPE = RunScope("local", "resp_chain", "resp_now")


def program(name: str, *arguments: str) -> dict[str, Any]:
    """An entry of `mcp.json` for one of our programs; a secret is among its environment."""
    return {"command": sys.executable, "args": [str(PROGRAMS / name), *arguments], "env": {"SECRET": SECRET}}


def faulty(mode: str, *arguments: str) -> dict[str, Any]:
    """An entry for the server that misbehaves."""
    return program("faulty_server.py", mode, *arguments)


@asynccontextmanager
async def catalog_of(
    folder: Path,
    servers: Mapping[str, Any] | None = None,
    *,
    policy: NetworkPolicy = LOOPBACK,
    connect_timeout: float = 20,
    tool_timeout: float = 20,
    tool_timeout_cap: float = 60,
    features: ClientFeatures = NO_FEATURES,
    credentials: OAuthCredentialStore | None = None,
    interaction: Interaction | None = None,
    clock: Callable[[], float] = time.time,
    chains: ChainLimits | None = None,
    one_owner: bool = True,
) -> AsyncGenerator[McpCatalog, None]:
    """A catalog over an `mcp.json` with `servers`, ended in order."""
    file = folder / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers or {}}))
    async with anyio.create_task_group() as tasks:
        catalog = McpCatalog(
            load_mcp_json([file]),
            policy=policy,
            connect_timeout=connect_timeout,
            tool_timeout=tool_timeout,
            allow_plugins=True,
            allow_ephemeral_mcp=True,
            task_group=tasks,
            tool_timeout_cap=tool_timeout_cap,
            features=features,
            logins=OAuthLogins(
                credentials or MemoryOAuthCredentialStore(), policy, tasks, interaction=interaction, clock=clock
            ),
            chains=chains,
            one_owner=one_owner,
        )
        try:
            yield catalog
        finally:
            await catalog.aclose()


def reload(catalog: McpCatalog, folder: Path, servers: Mapping[str, Any]) -> None:
    """Let the catalog use an `mcp.json` with these servers from now on."""
    file = folder / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    catalog.reload(load_mcp_json([file]))


async def refusal_to_open(catalog: McpCatalog, *integrations: IntegrationRequest) -> ErrorInfo:
    """The error with which `integrations` cannot be opened."""
    try:
        async with catalog.open(integrations, SCOPE):
            raise AssertionError("it could be opened")
    except OrchestratorError as error:
        assert SECRET not in error.info.message
        return error.info


@asynccontextmanager
async def serving(
    app: Any, *, lifespan: bool = False, host: str = "127.0.0.1", certificate: Path | None = None
) -> AsyncGenerator[str, None]:
    """Serve an ASGI application on a free loopback port; yields its origin. `certificate` holds its key too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is said: without it, asyncio leaves the delay of small packets on.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind((host, 0))
        listener.listen()  # connections wait in the backlog until the server is up
        config = uvicorn.Config(
            app,
            log_config=None,
            lifespan="on" if lifespan else "off",
            ws="none",
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate,
        )
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(server.serve, sockets=[listener]))
            shown = f"[{host}]" if ":" in host else host
            try:
                yield f"{'https' if certificate else 'http'}://{shown}:{listener.getsockname()[1]}"
            finally:
                server.should_exit = server.force_exit = True


def plugin(label: str = "x") -> PluginRequest:
    return PluginRequest(f"mcp/{label}")


def ephemeral(url: str, label: str = "e", **headers: str) -> EphemeralRequest:
    return EphemeralRequest(label, url, headers=headers)
