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

from orchestrator.core.drift import DRIFT_POLICIES, DriftPolicy
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.redaction_rules import PathRule, PatternRule
from orchestrator.core.request import ReasoningSetting
from orchestrator.core.server_requests import ServerPolicy
from orchestrator.setting_kinds import (
    API_KEYS,
    BOOLEAN,
    DATABASE,
    ENCRYPTION_KEYS,
    ENGINE,
    HOST,
    HOST_NAMES,
    HOSTS,
    OLLAMA_ADDRESS,
    ORIGINS,
    PATH,
    PATHS,
    PROGRAM,
    REASONING,
    REDACT_PATHS,
    REDACT_PATTERNS,
    SIZE,
    URLS,
    WHOLE_NUMBERS,
    Kind,
    UnusableValueError,
    choice,
    seconds,
    whole_number,
)

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


# ---- the table ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table. `default` is written as a user would write it; `derived` says what it depends on instead.

    What was written for a `secret` one may hold a password and is never repeated. `path` ones are, in a
    file, relative to that file.
    """

    name: str
    kind: Kind
    default: str | None
    meaning: str
    derived: str = ""
    secret: bool = False
    path: bool = False

    @property
    def key(self) -> str:
        """Its name in the TOML file and in `Settings`."""
        return self.name.lower()

    @property
    def default_text(self) -> str:
        """What readers are told of the default."""
        return self.derived or self.default or "none"


_LOCAL = "true on loopback, else false"

SETTINGS: tuple[Setting, ...] = (
    Setting("HOST", HOST, "127.0.0.1", "Where to listen. An address beyond loopback requires authentication, or `ALLOW_INSECURE_LISTEN=true`."),
    Setting("PORT", whole_number(0, 65535), "1234", "The port; 0 takes a free one and says which."),
    Setting("DATA_DIR", PATH, None, "Where the service keeps what it stores.", derived="the user's data directory", path=True),
    Setting("MODELS_DIR", PATHS, None, "GGUF files for the embedded engine: `publisher/name/*.gguf`, files above that by their own names, Hugging Face's cache, Ollama's store. Several folders are separated by `:`; downloads go to the first.", derived="`models` in `DATA_DIR`", path=True),
    Setting("DATABASE_URL", DATABASE, None, "The database.", derived="SQLite in `DATA_DIR`", secret=True),
    Setting("ENCRYPTION_KEY", ENCRYPTION_KEYS, "", "What encrypts the logins of plugins in the database, and keys the digests of API tokens: 32 random bytes in base64, the same for every process on one database. Of several the first is used for what is new and all for what is there, so that a key can be replaced.", derived="the key in `ENCRYPTION_KEY_FILE`", secret=True),
    Setting("ENCRYPTION_KEY_FILE", PATH, None, "Where that key is while `ENCRYPTION_KEY` has none; it is made when it is first needed, for its owner alone.", derived="`encryption.key` in `DATA_DIR`", path=True),
    Setting("MCP_CONFIG", PATHS, "mcp.json", "The project's file that installs plugins; several are separated by `:`. What `--mcp-config` names (several times, if need be) comes on top of it: of entries with the same label the last one counts.", path=True),
    Setting("MCP_USER_CONFIG", PATH, None, "Your own file that installs plugins, for every project; `orchestrator plugins add` and `import` write it. It may be missing.", derived="`mcp.json` in the user's configuration directory", path=True),
    Setting("CHAIN_SESSION_IDLE", seconds(604_800), "600", "How long the session that a chain or an owner has with a plugin (scopes `chain` and `owner`) stays unused, in seconds; `idle_timeout` of an entry wins."),
    Setting("MAX_CHAIN_SESSIONS", whole_number(1, 100_000), "64", "How many such sessions there may be; one more ends the one that was unused for longest, or gets the status 429."),
    Setting("DEFAULT_ENGINE", ENGINE, "auto", "Which engine answers first when two have a model of the same key."),
    Setting("OPENAI_COMPATIBLE_URL", URLS, "", "Model servers that speak `/v1/chat/completions`: the URL including `/v1`; several are separated by commas.", secret=True),
    Setting("OPENAI_COMPATIBLE_API_KEY", API_KEYS, "", "Their keys, in the same order.", secret=True),
    Setting("OPENAI_COMPATIBLE_PARALLEL", WHOLE_NUMBERS, "64", "How many turns such a server writes at once for one model, others wait here in a fair queue: one number for all, or one for each, separated by commas. They batch by themselves; a small one has few slots."),
    Setting("OPENAI_COMPATIBLE_REASONING", REASONING, "", "Which reasoning settings the models of each server offer, in the same order: joined by `+`, what they do unasked first, such as `on+off` (models with a switch in their template) or `medium+low+high`. Where nothing is said, what the server's list of models says counts, and else requests may not ask for any."),
    Setting("OLLAMA_HOST", OLLAMA_ADDRESS, "http://127.0.0.1:11434", "Where Ollama listens; `OLLAMA_HOST` without the prefix is heard too, as Ollama's own tools do. Where it is set, an Ollama that does not answer is an error that requests are told of."),
    Setting("OLLAMA_NUM_PARALLEL", whole_number(0, 1024), "1", "How many turns Ollama writes at once for one model, others wait here in a fair queue; `OLLAMA_NUM_PARALLEL` without the prefix is heard too. An Ollama that `START_OLLAMA` starts is told so; any other one has to be set alike. 0 counts as 1."),
    Setting("OLLAMA_REGISTRIES", HOST_NAMES, "", "Hosts, beyond Ollama's own registry and the Hugging Face hub, that downloads may name (`registry.example/team/model`): Ollama would ask any address, inner ones too."),
    Setting("OLLAMA_BINARY", PROGRAM, "ollama", "The program that `START_OLLAMA` starts: a name on PATH, or a path."),
    Setting("START_OLLAMA", BOOLEAN, "false", "Start `ollama serve` where none answers at `OLLAMA_HOST`, start it again when it dies, end it with the service."),
    Setting("JIT_LOADING", BOOLEAN, "true", "Load a model when a request needs it."),
    Setting("MODEL_TTL", seconds(31_536_000), "3600", "How long an idle model stays that was loaded for a request, in seconds."),
    Setting("AUTO_EVICT", BOOLEAN, "true", "A load for a request unloads the idle models that were loaded for earlier ones."),
    Setting("KEEP_ONLY_LAST", BOOLEAN, "false", "Every load unloads all other idle models."),
    Setting("MAX_QUEUED", whole_number(1, 1_000_000), "64", "How many requests may wait for one model; more get the status 429."),
    Setting("DOWNLOAD_HISTORY_DAYS", whole_number(1, 36_500), "7", "How many days downloads that ended stay listed."),
    Setting("REQUIRE_AUTHENTICATION", BOOLEAN, None, "Every request needs an API token (`orchestrator tokens create`).", derived="false on loopback, else true"),
    Setting("ALLOW_INSECURE_LISTEN", BOOLEAN, "false", "Listen beyond loopback without authentication: everyone who reaches the port can use the service."),
    Setting("ALLOW_PLUGINS", BOOLEAN, None, "Requests may use the plugins of `mcp.json`; beyond loopback only with authentication.", derived=_LOCAL),
    Setting("ALLOW_EPHEMERAL_MCP", BOOLEAN, None, "Requests may bring MCP servers of their own.", derived=_LOCAL),
    Setting("EPHEMERAL_ALLOW", HOSTS, "", "Hosts and networks that such servers may be on, beyond public addresses (and loopback, while the service listens on loopback, needs no authentication and has no `ALLOWED_HOSTS`)."),
    Setting("EPHEMERAL_DENY", HOSTS, "", "Hosts and networks that they may not be on; wins over `EPHEMERAL_ALLOW`."),
    Setting("CORS_ORIGINS", ORIGINS, "", "Web origins whose pages may use the service."),
    Setting("ALLOWED_HOSTS", HOST_NAMES, "", "Names, beyond the address it listens on and localhost, by which clients may address the service (the `Host` header)."),
    Setting("CHAT_DIALECT", choice("responses", "thread"), "responses", "The dialect of a chat that has no field of either: `responses` is the newer one, `thread` the older one with `thread_id` and `mcp_servers`."),
    Setting("STRICT_LMSTUDIO", BOOLEAN, "false", "Answer on LM Studio's own routes as its server was recorded to, without extensions: for authors of clients who test against the original's behaviour."),
    Setting("DRIFT_POLICY", choice(*DRIFT_POLICIES), "warn", "What becomes of a plugin's tool whose definition is not the one that was seen first: `allow`, `warn`, or `block` until it is approved. An entry of `mcp.json` may say otherwise (`drift`)."),
    Setting("TOOL_TIMEOUT", seconds(86_400), "60", "How long a tool call may take, in seconds."),
    Setting("TOOL_TIMEOUT_CAP", seconds(86_400), "600", "How long a tool call may take, in seconds, while its server reports progress; never less than its own time."),
    Setting("ELICITATION", choice("off", "ask"), "off", "Whether MCP servers may ask the user something in the middle of a call."),
    Setting("ELICITATION_TIMEOUT", seconds(86_400), "300", "How long the user has for an answer, in seconds; it does not count as the tool's time."),
    Setting("SAMPLING", choice("off", "ask", "on"), "off", "Whether MCP servers may let the model of the request write something: never, when the user agrees, or always."),
    Setting("SAMPLING_MAX_TOKENS", whole_number(1, 1_000_000), "1024", "How many tokens the model writes for a server at once at most."),
    Setting("SAMPLING_MAX_REQUESTS", whole_number(1, 1_000_000), "8", "How often servers may use the model in one request."),
    Setting("ROOTS", PATHS, "", "Folders that plugins with a `command` are told they may work in (MCP roots); several are separated by `:`.", path=True),
    Setting("CONNECT_TIMEOUT", seconds(3_600), "20", "How long connecting the MCP servers of a request may take, in seconds."),
    Setting("RUN_TIMEOUT", seconds(604_800), "600", "How long a request may take as a whole, in seconds."),
    Setting("APPROVAL_TIMEOUT", seconds(31_536_000), "86400", "How long a tool call waits for somebody to approve it, in seconds; then it counts as denied, and its response ends as incomplete."),
    Setting("ENGINE_FIRST_TOKEN_TIMEOUT", seconds(604_800), "300", "How long an engine may read a prompt without a sign of life, in seconds; Ollama is as silent while it collects a tool call."),
    Setting("ENGINE_SILENCE_TIMEOUT", seconds(604_800), "120", "How long an engine may send nothing in the middle of an answer, in seconds; then the answer ends with the error `engine_error`."),
    Setting("MAX_TURNS", whole_number(1, 10_000), "32", "How many times the model may be called in one request."),
    Setting("MAX_IDENTICAL_CALLS", whole_number(1, 10_000), "8", "How often a request may make the same tool call with the same arguments."),
    Setting("MAX_BODY_BYTES", SIZE, "32MiB", "The largest request body."),
    Setting("MAX_CONCURRENT_RUNS", whole_number(1, 1_000_000), "64", "How many requests may run at once; more get the status 429."),
    Setting("REQUESTS_PER_MINUTE", whole_number(1, 1_000_000), None, "How many requests in any 60 seconds an API token may make that has no limit of its own, and an address from which requests come without a token, or with a wrong one; more get the status 429. Behind a proxy all clients have one address."),
    Setting("MAX_URL_BYTES", SIZE, "16KiB", "The longest path and query of a request; longer ones get the status 414."),
    Setting("MAX_HEADERS", whole_number(1, 10_000), "128", "How many headers a request may have; with more it gets the status 431."),
    Setting("MAX_HEADER_BYTES", SIZE, "64KiB", "How large they may be together."),
    Setting("MAX_JSON_DEPTH", whole_number(8, 256), "64", "How deep arrays and objects of a body may be nested."),
    Setting("MAX_JSON_VALUES", whole_number(100, 10_000_000), "100000", "How many values the arrays and objects of a body may have together; with more it gets the status 413."),
    Setting("MAX_INPUT_ITEMS", whole_number(1, 65_536), "8192", "How many items `input` may have: a client that keeps the chat itself sends two for every call. `/api/v1/chat`, where it is not the whole chat, takes 1024 at most."),
    Setting("MAX_INTEGRATIONS", whole_number(1, 128), "128", "How many integrations a request may have."),
    Setting("MAX_METADATA_KEYS", whole_number(0, 16), "16", "How many keys `metadata` may have; a key has up to 64 characters, its text up to 512."),
    Setting("MAX_TOOLS", whole_number(1, 100_000), "2000", "How many tools the model may be offered in one request."),
    Setting("HEAD_TIMEOUT", seconds(3_600), "20", "How long a client may take to send the address and the headers of a request, in seconds; then it gets the status 408."),
    Setting("BODY_TIMEOUT", seconds(86_400), "120", "How long it may take to send the body, in seconds."),
    Setting("CLIENT_STALL_TIMEOUT", seconds(86_400), "60", "How long a client may take nothing of a reply or a stream, in seconds; then its connection is cut, which ends its request as if it had left. Of what it has not taken, 64 KiB are kept for it."),
    Setting("WARN_TOOLS", whole_number(0, 1_000_000), "40", "Above how many offered tools a request is warned: in its reply, in a stream that asks for extensions, in the log, and in a dry run of its integrations."),
    Setting("WARN_TOOL_TOKENS", whole_number(0, 1_000_000_000), "8000", "Above how many tokens of tool definitions a request is warned in the same way."),
    Setting("MAX_TOOL_OUTPUT_BYTES", SIZE, "8MiB", "How much of a tool's output the journal and the response carry."),
    Setting("MAX_TOOL_OUTPUT_MODEL_BYTES", SIZE, "64KiB", "How much of a tool's output the model is shown."),
    Setting("RAW_TOOL_RESULTS", BOOLEAN, "false", "Show the model the markup of chat templates in tools' results as it is. Without it `<|im_end|>` reaches it as `(|im_end|)`, so that no result can pass for a message of somebody else. For models that edit chat templates."),
    Setting("RETENTION_DAYS", whole_number(1, 36_500), None, "Stored responses whose newest continuation is older than this lose their content."),
    Setting("RETENTION_MAX_RESPONSES", whole_number(1, 1_000_000_000), None, "How many stored responses an owner may have: beyond that whole branches lose their content, the one that ended longest ago first; the newest branch stays."),
    Setting("RETENTION_KEEP_SKELETON", BOOLEAN, "true", "Deleting a response leaves who asked what model when. `false` removes that too, but for responses that called tools: the audit chain proves their calls."),
    Setting("REDACT_PATTERNS", REDACT_PATTERNS, "", "What is replaced by `[redacted:NAME]` before anything is written. An entry of `mcp.json` may add to it (`redact`)."),
    Setting("REDACT_PATHS", REDACT_PATHS, "", "Places in the arguments of tool calls, in their results, or (`$`) in both, whose values are replaced likewise."),
    Setting("LOG_LEVEL", choice("debug", "info", "warning", "error"), "info", "The least severe lines that are logged."),
    Setting("LOG_FORMAT", choice("auto", "console", "json"), "auto", "`auto` is colour on a terminal and JSON elsewhere."),
)  # fmt: skip

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
