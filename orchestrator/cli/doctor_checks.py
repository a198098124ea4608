"""The checks of `orchestrator doctor`: each looks at one thing and changes nothing."""

import contextlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

import anyio
import httpx

from orchestrator.cli.command_settings import service_url, stays_here
from orchestrator.cli.http_service import listen
from orchestrator.cli.plugin_files import plugin_files
from orchestrator.core.errors import OrchestratorError
from orchestrator.integrations.mcp_json import (
    HttpServer,
    McpConfig,
    PluginConfig,
    StdioServer,
    UnusableServer,
)
from orchestrator.ports import NobodyThereError
from orchestrator.settings import Settings

Status: TypeAlias = Literal["ok", "note", "problem"]
ANSWER_SECONDS = 3.0
ENGINE_PACKAGE = "xllamacpp"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: `note` is worth knowing, `problem` will not work."""

    about: str
    status: Status
    text: str


async def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which a start would meet them."""
    findings = [check_python(), check_processor(platform.machine(), Path("/proc/cpuinfo")), check_data_dir(settings)]
    checks: tuple[Callable[[Settings], Awaitable[Finding]], ...] = (check_database, check_port)
    findings += [await check(settings) for check in checks]
    findings += check_plugins(settings)
    findings += [check_embedded_engine(), await check_ollama(settings)]
    findings += [await check_model_server(settings, number) for number in _server_numbers(settings)]
    return findings


def check_python() -> Finding:
    """The interpreter; an older one than 3.11 does not get here."""
    return Finding("Python", "ok", f"{platform.python_version()}, {sys.executable}")


def check_processor(machine: str, cpuinfo: Path) -> Finding:
    """The embedded engine's wheel is compiled for processors with AVX2."""
    if machine.lower() not in ("x86_64", "amd64"):
        return Finding("processor", "ok", machine)
    try:
        flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "").split()
    except OSError:
        return Finding("processor", "note", f"{machine}; whether it has AVX2 cannot be seen")
    if "avx2" in flags:
        return Finding("processor", "ok", f"{machine} with AVX2")
    return Finding("processor", "problem", f"{machine} without AVX2, which the embedded engine needs")


def check_data_dir(settings: Settings) -> Finding:
    """Whether the data directory, or the one that it would be made in, can be written to."""
    folder = settings.data_dir
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding("data directory", "problem", f"{existing} cannot be written to: {error.strerror}")
    return Finding("data directory", "ok", str(folder) if existing == folder else f"{folder} will be made")


async def check_database(settings: Settings) -> Finding:
    """Whether the database answers and has the tables of this version."""
    from orchestrator.store import migrate

    sqlite = sqlite_file(settings)
    if sqlite is not None and not await anyio.Path(sqlite).exists():
        return Finding("database", "ok", f"SQLite, will be made at {sqlite}")
    try:
        found, needed = await migrate.current_revision(settings.database_url), migrate.head_revision()
    except OrchestratorError as error:
        return Finding("database", "problem", error.info.message)
    if found == needed:
        return Finding("database", "ok", f"answers, at revision {found}")
    if sqlite is not None:
        return Finding("database", "note", f"at revision {found or 'none'}; the next start brings it to {needed}")
    return Finding("database", "problem", f"at revision {found or 'none'}, {needed} is needed: orchestrator db upgrade")


def sqlite_file(settings: Settings) -> str | None:
    """The file of an SQLite database."""
    scheme, _, path = settings.database_url.partition(":///")
    return path.partition("?")[0] if scheme.startswith("sqlite") else None


async def check_port(settings: Settings) -> Finding:
    """Whether the port is free, or our own service answers on it."""
    url = service_url(settings)
    try:
        sockets, _ = listen(settings)
    except OrchestratorError as error:
        answer = await _get(f"{url}/health", {})
        if answer is not None and answer.status_code in (200, 503) and b'"status"' in answer.content:
            state = "answers" if answer.status_code == 200 else "answers that it is not ready"
            return Finding("port", "ok" if answer.status_code == 200 else "problem", f"the service at {url} {state}")
        return Finding("port", "problem", error.info.message)
    for bound in sockets:
        bound.close()
    return Finding("port", "ok", f"{settings.host}:{settings.port} is free")


def check_plugins(settings: Settings) -> list[Finding]:
    """Whether mcp.json can be read, and whether the commands in it are there."""
    files = plugin_files(settings)
    optional = () if settings.mcp_config_given else settings.mcp_config
    missing = [path for path in optional if not path.exists()]
    findings = [Finding("mcp.json", "note", f"{path} does not exist: it installs no plugin") for path in missing]
    try:
        config = files.load()
    except OrchestratorError as error:
        return [*findings, Finding("mcp.json", "problem", error.info.message)]
    if not settings.allow_plugins:
        findings.append(Finding("mcp.json", "note", "ALLOW_PLUGINS is off: requests may use none of these"))
    findings += [Finding("mcp.json", "problem", error.info.message) for error in config.errors]
    return [*findings, *_unnamed_warnings(config), *(_plugin(plugin) for plugin in config.plugins)]


def _unnamed_warnings(config: McpConfig) -> Iterable[Finding]:
    told = {plugin.server.error.info.message for plugin in config.plugins if isinstance(plugin.server, UnusableServer)}
    return (Finding("mcp.json", "note", warning) for warning in config.warnings if warning not in told)


def _plugin(plugin: PluginConfig) -> Finding:
    if plugin.disabled:
        return Finding(plugin.id, "note", "disabled")
    match plugin.server:
        case UnusableServer(error):
            return Finding(plugin.id, "problem", error.problem)
        case HttpServer():
            return Finding(plugin.id, "ok", "a server at an address, connected when it is used")
        case StdioServer(command=command, cwd=cwd, env=env):
            # The service puts its own interpreter's scripts behind the path.
            path = os.pathsep.join(
                (env.get("PATH", os.environ.get("PATH", os.defpath)), str(Path(sys.executable).parent))
            )
            found = shutil.which(command if os.sep not in command else str(cwd / command), path=path)
            if found is None:
                return Finding(plugin.id, "problem", f"the command {command} is not found")
            return Finding(plugin.id, "ok", found)
        case _:
            assert_never(plugin.server)


def check_embedded_engine() -> Finding:
    """Whether the embedded engine is installed."""
    try:
        version = importlib.metadata.version(ENGINE_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return Finding("embedded engine", "problem", f"the package {ENGINE_PACKAGE} is not installed")
    return Finding("embedded engine", "ok", f"llama.cpp, {ENGINE_PACKAGE} {version}")


async def check_ollama(settings: Settings) -> Finding:
    """Whether Ollama lists its models; one that nobody expects may be missing."""
    from orchestrator.app import look_at_ollama  # it brings everything along

    try:
        address, number = await look_at_ollama(settings, ANSWER_SECONDS)
    except NobodyThereError as error:
        if not settings.start_ollama:
            return Finding("Ollama", "problem" if settings.expects_ollama else "note", error.info.message)
        program = shutil.which(settings.ollama_binary)
        if program is None:
            missing = (
                f"there is no program '{settings.ollama_binary}' to start: install it, or name it by OLLAMA_BINARY"
            )
            return Finding("Ollama", "problem", missing)
        return Finding("Ollama", "ok", f"{program} will be started")
    except OrchestratorError as error:
        return Finding("Ollama", "problem", error.info.message)
    return Finding("Ollama", "ok", f"answers at {address}, with {number} model{'' if number == 1 else 's'}")


async def check_model_server(settings: Settings, number: int) -> Finding:
    """Whether an OpenAI-compatible server lists its models."""
    url = settings.openai_compatible_url[number]
    keys = settings.openai_compatible_api_key
    headers = {"Authorization": f"Bearer {keys[number]}"} if keys and keys[number] else {}
    answer = await _get(f"{url}/models", headers)
    if answer is None:
        return Finding("model server", "problem", f"{url} does not answer")
    status: Status = "ok" if answer.status_code == 200 else "problem"
    return Finding("model server", status, f"{url} answers with status {answer.status_code}")


def _server_numbers(settings: Settings) -> range:
    return range(len(settings.openai_compatible_url))


async def _get(url: str, headers: dict[str, str]) -> httpx.Response | None:
    with contextlib.suppress(httpx.TransportError):
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=not stays_here(url)) as client:
            return await client.get(url, headers=headers)
    return None
