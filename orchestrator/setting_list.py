"""Every setting: its name, kind, default and what it is for.

Source: section 7 of the contract.
"""

from dataclasses import dataclass

from orchestrator.core.drift import DRIFT_POLICIES
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
    choice,
    seconds,
    whole_number,
)


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
