"""The settings: one table says what each is called, what it may be and what it means.

Source: section 7 of the contract. `ORCHESTRATOR_*` variables win over the TOML file, flags win over both.
The table drives the parsing and `orchestrator/SETTINGS.md` alike. A value that cannot be used is one
clear line, which never shows the value of a secret.
"""

import difflib
import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import platformdirs

from orchestrator.core.drift import DriftPolicy
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.redaction_rules import PathRule, PatternRule
from orchestrator.core.request import ReasoningSetting
from orchestrator.core.server_requests import ServerPolicy
from orchestrator.setting_kinds import (
    PATH,
    Kind,
    UnusableValueError,
)
from orchestrator.setting_list import SETTINGS, Setting

PREFIX = "ORCHESTRATOR_"
CONFIG_VARIABLE = PREFIX + "CONFIG"
TESTS_PREFIX = PREFIX + "TEST_"  # what the project's own tests are told, which a shell may have exported
HIDDEN = "(hidden)"

EngineChoice: TypeAlias = Literal["auto", "ollama", "embedded", "openai_compatible"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "console", "json"]


class SettingsError(OrchestratorError):
    """A setting that cannot be used; its message is the one line that the user is told."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(ErrorKind.INVALID_VALUE, message, param=param)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, resolved: read once at the start and passed on narrowly. Secrets stay out of the repr."""

    host: str
    port: int
    data_dir: Path
    models_dir: tuple[Path, ...]
    database_url: str = field(repr=False)
    encryption_key: tuple[bytes, ...] = field(repr=False)
    encryption_key_file: Path
    mcp_config: tuple[Path, ...]
    mcp_config_given: bool
    """Whether somebody named the files; only the default one may be missing."""
    mcp_config_added: tuple[Path, ...]
    """The files of flags, which come on top of `mcp_config` and must be there."""
    mcp_user_config: Path
    chain_session_idle: float
    max_chain_sessions: int
    default_engine: EngineChoice
    openai_compatible_url: tuple[str, ...]
    openai_compatible_api_key: tuple[str, ...] = field(repr=False)
    openai_compatible_parallel: tuple[int, ...]
    openai_compatible_reasoning: tuple[tuple[ReasoningSetting, ...], ...]
    ollama_host: str
    ollama_host_given: bool
    """Whether somebody said where Ollama is; nobody misses one at its own default address."""
    ollama_num_parallel: int
    ollama_binary: str
    ollama_registries: tuple[str, ...]
    start_ollama: bool
    jit_loading: bool
    model_ttl: float
    auto_evict: bool
    keep_only_last: bool
    max_queued: int
    download_history_days: int
    require_authentication: bool
    allow_insecure_listen: bool
    allow_plugins: bool
    allow_ephemeral_mcp: bool
    ephemeral_allow: tuple[str, ...]
    ephemeral_deny: tuple[str, ...]
    cors_origins: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    chat_dialect: Literal["responses", "thread"]
    strict_lmstudio: bool
    drift_policy: DriftPolicy
    tool_timeout: float
    tool_timeout_cap: float
    elicitation: Literal["off", "ask"]
    elicitation_timeout: float
    sampling: ServerPolicy
    sampling_max_tokens: int
    sampling_max_requests: int
    roots: tuple[Path, ...]
    connect_timeout: float
    run_timeout: float
    engine_first_token_timeout: float
    engine_silence_timeout: float
    approval_timeout: float
    max_turns: int
    max_identical_calls: int
    max_body_bytes: int
    max_concurrent_runs: int
    requests_per_minute: int | None
    max_url_bytes: int
    max_headers: int
    max_header_bytes: int
    max_json_depth: int
    max_json_values: int
    max_input_items: int
    max_integrations: int
    max_metadata_keys: int
    max_tools: int
    head_timeout: float
    body_timeout: float
    client_stall_timeout: float
    warn_tools: int
    warn_tool_tokens: int
    max_tool_output_bytes: int
    max_tool_output_model_bytes: int
    raw_tool_results: bool
    retention_days: int | None
    retention_max_responses: int | None
    retention_keep_skeleton: bool
    redact_patterns: tuple[PatternRule, ...]
    redact_paths: tuple[PathRule, ...]
    log_level: LogLevel
    log_format: LogFormat

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine can reach the service."""
        return is_loopback(self.host)

    @property
    def expects_ollama(self) -> bool:
        """Whether somebody said that there is one: it is missed then, also where it never answered."""
        return self.ollama_host_given or self.start_ollama or self.default_engine == "ollama"


def is_loopback(host: str) -> bool:
    """Whether listening on `host` is listening to this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


ADDING = frozenset({"MCP_CONFIG"})
"""Settings whose flag adds to what the environment and the file say, and may be given several times."""

OLLAMAS_OWN = frozenset({"OLLAMA_HOST", "OLLAMA_NUM_PARALLEL"})  # heard without our prefix, too

_BY_NAME = {setting.name: setting for setting in SETTINGS}

# ---- reading ------------------------------------------------------------------------------------------


def load_settings(
    environ: Mapping[str, str], config_path: Path | None = None, overrides: Mapping[str, object] | None = None
) -> Settings:
    """The settings of `environ`, over the TOML file at `config_path`, under `overrides` (by lower-case name).

    Without `config_path`, `ORCHESTRATOR_CONFIG` names the file.

    Raises:
        SettingsError: something cannot be used; the message is one line.
    """
    return load_with_sources(environ, config_path, overrides)[0]


def load_with_sources(
    environ: Mapping[str, str], config_path: Path | None = None, overrides: Mapping[str, object] | None = None
) -> tuple[Settings, dict[str, str]]:
    """As `load_settings`, with where each value that is not a default came from, by lower-case name.

    Raises:
        SettingsError: something cannot be used.
    """
    values: dict[str, Any] = {
        setting.key: None if setting.default is None else setting.kind.parse(setting.default) for setting in SETTINGS
    }
    sources: dict[str, str] = {}
    if config_path is None and CONFIG_VARIABLE in environ:
        config_path = _parsed(environ[CONFIG_VARIABLE], PATH, CONFIG_VARIABLE, secret=False)
    if config_path is not None:
        for key, raw in _read_toml(config_path).items():
            where = f"{key} in {config_path}"
            setting = _find(key.upper() if key == key.lower() else "", key, where)
            value = _parsed(raw, setting.kind, where, secret=setting.secret)
            values[key] = _beside(config_path, value) if setting.path else value
            sources[key] = str(config_path)
    for variable in OLLAMAS_OWN & environ.keys():
        setting = _BY_NAME[variable]
        values[setting.key] = _parsed(environ[variable], setting.kind, f"{variable} (environment)", secret=False)
        sources[setting.key] = variable
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable != CONFIG_VARIABLE and not variable.startswith(TESTS_PREFIX):
            setting = _find(variable.removeprefix(PREFIX), variable, f"{variable} (environment)")
            where = f"{variable} (environment)"
            values[setting.key] = _parsed(environ[variable], setting.kind, where, secret=setting.secret)
            sources[setting.key] = "environment"
    added: tuple[Path, ...] = ()
    for key, raw in (overrides or {}).items():
        flag = "--" + key.replace("_", "-")
        setting = _find(key.upper(), key, flag)
        value = _parsed(raw, setting.kind, flag, secret=setting.secret)
        if setting.name in ADDING:
            added = value
        else:
            values[key] = value
            sources[key] = flag
    values["ollama_host_given"] = "ollama_host" in sources
    return _resolve(values, mcp_config_given="mcp_config" in sources, mcp_config_added=added), sources


def _find(name: str, written: str, where: str) -> Setting:
    if name in _BY_NAME:
        return _BY_NAME[name]
    close = difflib.get_close_matches(written.upper().removeprefix(PREFIX), _BY_NAME, 1)
    like_written = PREFIX + close[0] if close and written.startswith(PREFIX) else close[0].lower() if close else ""
    hint = f"; did you mean {like_written}?" if close else "; `orchestrator settings` lists them"
    raise SettingsError(f"{where}: there is no such setting{hint}", param=written)


def _parsed(raw: object, kind: Kind, where: str, *, secret: bool) -> Any:
    try:
        return kind.parse(raw)
    except ValueError as error:
        shown = "the value" if secret else repr(raw) if len(repr(raw)) <= 80 else repr(raw)[:80] + "…"
        why = str(error) if isinstance(error, UnusableValueError) else f"allowed: {kind.allowed}"
        raise SettingsError(f"{where}: {shown} cannot be used; {why}", param=where) from None


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if isinstance(error, tomllib.TOMLDecodeError) else "it is not UTF-8"
        raise SettingsError(f"the settings file {path} is not TOML: {reason}") from None


def _beside(config_path: Path, value: Any) -> Any:
    folder = config_path.absolute().parent
    return (
        tuple(folder / path for path in cast("tuple[Path, ...]", value)) if isinstance(value, tuple) else folder / value
    )


def _resolve(values: dict[str, Any], *, mcp_config_given: bool, mcp_config_added: tuple[Path, ...]) -> Settings:
    """Fill in the defaults that depend on others, and refuse combinations that cannot be meant."""
    local = is_loopback(values["host"])
    data_dir = values["data_dir"] or platformdirs.user_data_path("orchestrator", appauthor=False)
    values["data_dir"] = data_dir.absolute()
    values["models_dir"] = tuple(path.absolute() for path in values["models_dir"] or (data_dir / "models",))
    values["encryption_key_file"] = (values["encryption_key_file"] or data_dir / "encryption.key").absolute()
    values["roots"] = tuple(path.absolute() for path in values["roots"])
    values["mcp_config"] = tuple(path.absolute() for path in values["mcp_config"])
    values["mcp_config_added"] = tuple(path.absolute() for path in mcp_config_added)
    own = values["mcp_user_config"] or platformdirs.user_config_path("orchestrator", appauthor=False) / "mcp.json"
    values["mcp_user_config"] = own.absolute()
    values["database_url"] = values["database_url"] or f"sqlite+aiosqlite:///{data_dir.absolute() / 'orchestrator.db'}"
    if values["require_authentication"] is None:
        values["require_authentication"] = not local and not values["allow_insecure_listen"]
    for name in ("allow_plugins", "allow_ephemeral_mcp"):
        values[name] = local if values[name] is None else values[name]
    settings = Settings(**values, mcp_config_given=mcp_config_given)
    problem = _contradiction(settings)
    if problem is not None:
        raise SettingsError(problem)
    return settings


def _contradiction(settings: Settings) -> str | None:
    beyond = f"HOST {settings.host} can be reached from other machines"
    if not settings.on_loopback and not settings.require_authentication and not settings.allow_insecure_listen:
        return f"{beyond}: set REQUIRE_AUTHENTICATION=true, or ALLOW_INSECURE_LISTEN=true to serve everyone"
    if not settings.on_loopback and settings.allow_plugins and not settings.require_authentication:
        return f"{beyond}: ALLOW_PLUGINS=true needs REQUIRE_AUTHENTICATION=true there"
    keys, urls = len(settings.openai_compatible_api_key), len(settings.openai_compatible_url)
    if keys and keys != urls:
        return f"OPENAI_COMPATIBLE_API_KEY has {keys} keys for {urls} OPENAI_COMPATIBLE_URL; one for each is needed"
    if len(settings.openai_compatible_parallel) not in (1, urls):
        numbers = f"OPENAI_COMPATIBLE_PARALLEL has {len(settings.openai_compatible_parallel)} numbers"
        return f"{numbers} for {urls} OPENAI_COMPATIBLE_URL; one for each, or one for all, is needed"
    offers = len(settings.openai_compatible_reasoning)
    if offers and offers != urls:
        return f"OPENAI_COMPATIBLE_REASONING speaks of {offers} servers, OPENAI_COMPATIBLE_URL of {urls}; leave a place empty for each that has none"
    if settings.strict_lmstudio and settings.chat_dialect == "thread":
        return "STRICT_LMSTUDIO=true has no dialect of threads: leave CHAT_DIALECT at responses"
    if settings.default_engine == "openai_compatible" and not urls:
        return "DEFAULT_ENGINE openai_compatible needs OPENAI_COMPATIBLE_URL"
    if settings.max_tool_output_model_bytes > settings.max_tool_output_bytes:
        return "MAX_TOOL_OUTPUT_MODEL_BYTES may not be more than MAX_TOOL_OUTPUT_BYTES"
    return None
