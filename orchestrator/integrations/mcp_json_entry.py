"""One entry of `mcp.json`, checked key by key; variables are expanded here and nowhere else.

A request never passes through this module: `${VAR}` in what a client sends stays text.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar, cast

from orchestrator.core.approvals import NEVER, ApprovalPolicy, ApprovalPolicyProblem, parse_approval_policy
from orchestrator.core.drift import DRIFT_POLICIES, DriftPolicy
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.redaction import NOTHING, Redaction
from orchestrator.core.redaction_rules import RedactionProblem, parse_paths, parse_patterns
from orchestrator.integrations.env_file import EnvFile, EnvFileProblem, read_env_file
from orchestrator.integrations.file_version import file_version
from orchestrator.integrations.mcp_json_variables import VariableProblem, Variables
from orchestrator.integrations.oauth.config import OAuthConfig, OAuthConfigProblem, read_oauth
from orchestrator.integrations.request_headers import header_problem, repeated_header
from orchestrator.integrations.secret_values import secrets_in
from orchestrator.integrations.server_url import ServerUrlError, parse_server_url

_STDIO_KEYS: Final = frozenset({"command", "args", "env", "envFile", "cwd"})
_HTTP_KEYS: Final = frozenset({"url", "headers", "oauth", "auth", "forward_authorization"})
_COMMON_KEYS: Final = frozenset(
    {"type", "disabled", "timeout", "allowed_tools", "scope", "start", "idle_timeout"}
    | {"require_approval", "drift", "redact", "roots"}
)
KNOWN_KEYS: Final = _STDIO_KEYS | _HTTP_KEYS | _COMMON_KEYS

_TYPES: Final = {"stdio": _STDIO_KEYS, "http": _HTTP_KEYS, "streamable-http": _HTTP_KEYS, "sse": _HTTP_KEYS}
_NAMES_ELSEWHERE: Final = {
    "serverUrl": "url",
    "httpUrl": "url",
    "environment": "env",
    "includeTools": "allowed_tools",
    "allowedTools": "allowed_tools",
    "requireApproval": "require_approval",
    "forwardAuthorization": "forward_authorization",
}
"""What other programs call a key of ours."""

Scope: TypeAlias = Literal["shared", "owner", "chain", "request"]
Start: TypeAlias = Literal["on_use", "at_start"]
_SCOPES: Final = ("shared", "owner", "chain", "request")
_STARTS: Final = ("on_use", "at_start")
LONGEST_TIMEOUT: Final = 86400.0

T = TypeVar("T")


class EntryProblem(Exception):
    """The entry cannot be used because of `key` (None: as a whole); `problem` holds no value of it.

    `env_file` is the file that it names, where it came as far: another version of it may mend the entry.
    """

    def __init__(self, problem: str, key: str | None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.key = key
        self.env_file: EnvFile | None = None


@dataclass(slots=True)
class Entry:
    """An entry as it was written, checked and expanded; `command` is None for a server at an address."""

    type: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict[str, str])
    env_file: EnvFile | None = None
    cwd: Path = Path()
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    oauth: OAuthConfig | None = None
    forward_authorization: bool = False
    disabled: bool = False
    timeout_seconds: float | None = None
    allowed_tools: tuple[str, ...] | None = None
    scope: Scope = "owner"
    start: Start = "on_use"
    idle_seconds: float | None = None
    drift: DriftPolicy | None = None
    approval: ApprovalPolicy = NEVER
    roots: tuple[Path, ...] | None = None
    redaction: Redaction = NOTHING
    extra: JsonObject = field(default_factory=dict[str, JsonValue])
    secrets: set[str] = field(default_factory=set[str])
    warnings: list[str] = field(default_factory=list[str])


def read_entry(raw: JsonObject, variables: Variables) -> Entry:
    """`raw` as an entry; a relative `cwd` is relative to the folder of the file, which is also the default.

    Raises:
        EntryProblem: it cannot be used.
    """
    kind = _kind(raw)
    entry = Entry(kind)

    def expand(text: str, key: str) -> str:
        try:
            return variables.expand(text, entry.secrets)
        except VariableProblem as problem:
            raise EntryProblem(str(problem), key) from None

    try:
        if _TYPES[kind] is _STDIO_KEYS:
            _read_process(raw, entry, variables.folder, expand)
        else:
            _read_address(raw, entry, expand)
        _read_common(raw, entry)
    except EntryProblem as problem:
        problem.env_file = entry.env_file
        raise
    if raw.get("roots") is not None:
        written = [expand(value, key) for key, value in _texts(raw["roots"], "roots")]
        entry.roots = tuple((variables.folder / Path(path).expanduser()).absolute() for path in written)
    known = _COMMON_KEYS | _TYPES[kind]
    entry.extra = {key: value for key, value in raw.items() if key not in known}
    entry.warnings += [_unknown(key) for key in entry.extra]
    return entry


_Expand: TypeAlias = Callable[[str, str], str]


def _read_process(raw: JsonObject, entry: Entry, folder: Path, expand: _Expand) -> None:
    if raw.get("forward_authorization") not in (None, False):
        raise EntryProblem("is for servers at an address only", "forward_authorization")
    entry.command = expand(_text(raw.get("command"), "command"), "command")
    if not entry.command.strip() or "\0" in entry.command:
        raise EntryProblem("must name a program", "command")
    entry.args = tuple(expand(value, key) for key, value in _texts(raw.get("args"), "args"))
    own = {name: expand(value, f"env.{name}") for name, value in _environment(raw.get("env")).items()}
    entry.cwd = folder / Path(expand(_text(raw.get("cwd", "."), "cwd"), "cwd")).expanduser()
    if raw.get("envFile") is not None:
        path = folder / Path(expand(_text(raw["envFile"], "envFile"), "envFile")).expanduser()
        # Its version first: what is written while it is read is noticed later.
        entry.env_file = EnvFile(path, file_version(path))
        try:
            entry.env = read_env_file(path)
        except EnvFileProblem as problem:
            raise EntryProblem(str(problem), "envFile") from None
    entry.env |= own
    for name, value in entry.env.items():
        entry.secrets.update(secrets_in(name, value))
    _check_environment(entry)


def _read_address(raw: JsonObject, entry: Entry, expand: _Expand) -> None:
    entry.url = expand(_text(raw.get("url"), "url"), "url")
    _check_url(entry.url)
    entry.headers = {
        name: expand(value, f"headers.{name}") for name, value in _text_map(raw.get("headers"), "headers").items()
    }
    entry.secrets.update(entry.headers.values())
    _check_headers(entry.headers)
    entry.forward_authorization = _optional(raw, "forward_authorization", _flag, default=False)
    if entry.forward_authorization:
        _check_forwarding(raw, entry)
    else:
        _read_login(raw, entry, expand)


def _check_forwarding(raw: JsonObject, entry: Entry) -> None:
    """There is one token in a request, and whoever reads it can do here what the caller may do."""
    key = "forward_authorization"
    other = next((name for name in ("oauth", "auth") if raw.get(name) not in (None, False)), None)
    if other is not None:
        raise EntryProblem(f"cannot stand beside '{other}'", key)
    if any(name.lower() == "authorization" for name in entry.headers):
        raise EntryProblem("cannot stand beside an Authorization header", key)
    url = parse_server_url(entry.url)
    on_this_machine = url.host == "localhost" or (url.literal is not None and url.literal.is_loopback)
    if url.scheme != "https" and not on_this_machine:
        raise EntryProblem("needs an https address: the callers' tokens would be readable on the network", key)
    entry.warnings.append(f"key '{key}' hands this server the API token of everybody who calls it")


def _read_login(raw: JsonObject, entry: Entry, expand: _Expand) -> None:
    """How tokens are got: who sends a token of their own gets none."""
    written = [key for key in ("oauth", "auth") if raw.get(key) is not None]
    own = any(name.lower() == "authorization" for name in entry.headers)
    if len(written) == 2:
        raise EntryProblem("cannot stand beside 'oauth'", "auth")
    if own:
        if written and raw[written[0]] is not False:
            raise EntryProblem("cannot stand beside an Authorization header", written[0])
        return
    try:
        entry.oauth, unknown = read_oauth(raw.get(written[0]) if written else None, expand, key=(*written, "oauth")[0])
    except OAuthConfigProblem as problem:
        raise EntryProblem(problem.problem, problem.key) from None
    entry.warnings += [_unknown(key) for key in unknown]
    if entry.oauth is not None:
        entry.secrets.update(entry.oauth.secrets)


def _read_common(raw: JsonObject, entry: Entry) -> None:
    entry.disabled = _optional(raw, "disabled", _flag, default=False)
    entry.timeout_seconds = _optional(raw, "timeout", _seconds, default=None)
    if entry.timeout_seconds is not None and entry.timeout_seconds >= 1000:
        entry.warnings.append("key 'timeout' is in seconds; is this value meant to be milliseconds?")
    allowed = raw.get("allowed_tools")
    if allowed is not None:
        entry.allowed_tools = tuple(value for _, value in _texts(allowed, "allowed_tools"))
    entry.scope = cast(Scope, _optional(raw, "scope", _one_of(_SCOPES), default="owner"))
    entry.start = cast(Start, _optional(raw, "start", _one_of(_STARTS), default="on_use"))
    entry.approval = _optional(raw, "require_approval", _approval, default=NEVER)
    entry.redaction = _optional(raw, "redact", _redaction, default=NOTHING)
    entry.idle_seconds = _optional(raw, "idle_timeout", _seconds, default=None)
    entry.drift = cast("DriftPolicy | None", _optional(raw, "drift", _one_of(DRIFT_POLICIES), default=None))
    if entry.start == "at_start" and entry.forward_authorization:
        entry.warnings.append("key 'start' has no effect with 'forward_authorization': each caller has a session")
    elif entry.start == "at_start" and entry.scope not in ("shared", "owner"):
        entry.warnings.append(f"key 'start' has no effect with the scope '{entry.scope}'")
    if entry.idle_seconds is not None and entry.scope not in ("owner", "chain") and not entry.forward_authorization:
        entry.warnings.append(f"key 'idle_timeout' has no effect with the scope '{entry.scope}'")


def _unknown(key: str) -> str:
    ours = _NAMES_ELSEWHERE.get(key)
    hint = "" if ours is None else f"; here it is called '{ours}'"
    return f"key '{key}' is not known and has no effect{hint}"


def _kind(raw: JsonObject) -> str:
    kind = raw.get("type")
    if kind in ("streamableHttp", "streamable_http"):  # as other programs write it
        kind = "streamable-http"
    if "command" in raw and "url" in raw:
        raise EntryProblem("has both 'command' and 'url'", None)
    if "command" not in raw and "url" not in raw:
        other = next((key for key in raw if _NAMES_ELSEWHERE.get(key) == "url"), None)
        hint = "" if other is None else f" ('{other}' is called 'url' here)"
        raise EntryProblem(f"needs either 'command' or 'url'{hint}", None)
    if kind is None:
        return "stdio" if "command" in raw else "http"
    if not isinstance(kind, str) or kind not in _TYPES:
        raise EntryProblem(f"must be one of {', '.join(_TYPES)}", "type")
    if ("command" in raw) is not (kind == "stdio"):
        raise EntryProblem(f"does not fit '{'command' if 'command' in raw else 'url'}'", "type")
    return kind


def _check_environment(entry: Entry) -> None:
    for name, value in entry.env.items():
        if not name or "=" in name or "\0" in name:
            raise EntryProblem("is not a valid name of an environment variable", f"env.{name}")
        if "\0" in value:
            raise EntryProblem("holds a NUL character", f"env.{name}")
    if any("\0" in argument for argument in entry.args):
        raise EntryProblem("holds a NUL character", "args")


def _check_url(url: str) -> None:
    try:
        parse_server_url(url)
    except ServerUrlError as error:
        raise EntryProblem(str(error), "url") from None


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        problem = header_problem(name, value)
        if problem is not None:
            raise EntryProblem(problem, f"headers.{name}")
    repeated = repeated_header(list(headers))
    if repeated is not None:
        raise EntryProblem("is there twice", f"headers.{repeated}")


def _optional(raw: JsonObject, key: str, read: Callable[[JsonValue, str], T], *, default: T) -> T:
    value = raw.get(key)
    return default if value is None else read(value, key)


def _flag(value: JsonValue, key: str) -> bool:
    if not isinstance(value, bool):
        raise EntryProblem("must be true or false", key)
    return value


def _approval(value: JsonValue, key: str) -> ApprovalPolicy:
    try:
        return parse_approval_policy(value)
    except ApprovalPolicyProblem as problem:
        raise EntryProblem(problem.problem, f"{key}.{problem.path}".rstrip(".")) from None


def _redaction(value: JsonValue, key: str) -> Redaction:
    if not isinstance(value, dict):
        raise EntryProblem("must be an object with 'patterns' or 'paths'", key)
    unknown = next((name for name in value if name not in ("patterns", "paths")), None)
    if unknown is not None:
        raise EntryProblem("takes only 'patterns' and 'paths'", f"{key}.{unknown}")
    part = "patterns"
    try:
        patterns = parse_patterns(_parts(value.get(part, [])))
        part = "paths"
        return Redaction(patterns, parse_paths(_parts(value.get(part, []))))
    except RedactionProblem as problem:
        raise EntryProblem(str(problem), f"{key}.{part}") from None


def _parts(value: JsonValue) -> JsonValue:
    """As in the settings: one text has several, separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _seconds(value: JsonValue, key: str) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_TIMEOUT:
        raise EntryProblem(f"must be a number of seconds above 0, at most {LONGEST_TIMEOUT:.0f}", key)
    return float(value)


def _one_of(options: tuple[str, ...]) -> Callable[[JsonValue, str], str]:
    def read(value: JsonValue, key: str) -> str:
        if not isinstance(value, str) or value not in options:
            raise EntryProblem(f"must be one of {', '.join(options)}", key)
        return value

    return read


def _text(value: JsonValue, key: str) -> str:
    if not isinstance(value, str):
        raise EntryProblem("must be a string", key)
    return value


def _texts(value: JsonValue, key: str) -> list[tuple[str, str]]:
    """Each string of an optional list with the key that names its place."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise EntryProblem("must be a list of strings", key)
    return [(f"{key}.{place}", _text(item, f"{key}.{place}")) for place, item in enumerate(value)]


def _environment(value: JsonValue) -> dict[str, str]:
    """Variables; numbers and booleans are what they are written as: other programs take them."""
    if not isinstance(value, dict):
        return _text_map(value, "env")
    written: JsonObject = {
        name: json.dumps(item) if isinstance(item, int | float) else item for name, item in value.items()
    }
    return _text_map(written, "env")


def _text_map(value: JsonValue, key: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise EntryProblem("must be an object of strings", key)
    return {name: _text(item, f"{key}.{name}") for name, item in value.items()}
