"""`mcp.json`: what it may say, and what is said of one that is wrong."""

import json
from pathlib import Path

import pytest

from orchestrator.core.approvals import ApprovalPolicy, ToolFilter
from orchestrator.core.errors import ErrorKind
from orchestrator.core.redaction import Redaction
from orchestrator.core.redaction_rules import parse_paths, parse_patterns
from orchestrator.integrations.mcp_json import (
    HttpServer,
    McpConfig,
    McpJsonError,
    PluginConfig,
    ServerConfig,
    StdioServer,
    UnusableServer,
    load_mcp_json,
)

ENVIRONMENT = {"TOKEN": "tok-secret-1", "EMPTY": "", "HOME": "/home/ada", "PORT": "8080"}


def load(tmp_path: Path, servers: object, /, **more: object) -> McpConfig:
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers, **more}))
    return load_mcp_json([file], environ=ENVIRONMENT)


def only(config: McpConfig) -> PluginConfig:
    (plugin,) = config.plugins
    return plugin


def server_of(tmp_path: Path, entry: object) -> ServerConfig:
    return only(load(tmp_path, {"x": entry})).server


def test_a_stdio_server_has_its_command_and_runs_in_the_folder_of_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, {"Clock": {"command": "clock-mcp", "args": ["--tz", "UTC"], "env": {"KEY": "long-value"}}})
    assert config == McpConfig(
        (
            PluginConfig(
                "Clock",
                tmp_path / "mcp.json",
                StdioServer("clock-mcp", ("--tz", "UTC"), tmp_path, {"KEY": "long-value"}, frozenset({"long-value"})),
                raw={"command": "clock-mcp", "args": ["--tz", "UTC"], "env": {"KEY": "long-value"}},
            ),
        )
    )
    assert only(config).id == "mcp/Clock"


@pytest.mark.parametrize(
    ("cwd", "expected"), [("sub", "{tmp}/sub"), ("/srv", "/srv"), ("${HOME}/x", "/home/ada/x"), (".", "{tmp}")]
)
def test_a_folder_is_relative_to_that_of_the_file(tmp_path: Path, cwd: str, expected: str) -> None:
    server = server_of(tmp_path, {"command": "x", "cwd": cwd})
    assert isinstance(server, StdioServer)
    assert server.cwd == Path(expected.format(tmp=tmp_path))


@pytest.mark.parametrize(
    ("type_", "transport", "falls_back"),
    [
        (None, "streamable-http", True),
        ("http", "streamable-http", True),
        ("streamable-http", "streamable-http", False),
        ("streamableHttp", "streamable-http", False),
        ("streamable_http", "streamable-http", False),
        ("sse", "sse", False),
    ],
)
def test_a_server_at_an_address_speaks_streamable_http_unless_it_says_sse(
    tmp_path: Path, type_: str | None, transport: str, falls_back: bool
) -> None:
    entry = {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer t0ken-long"}}
    server = server_of(tmp_path, entry if type_ is None else {**entry, "type": type_})
    assert isinstance(server, HttpServer)
    assert (server.url, server.transport, server.falls_back) == ("http://127.0.0.1:9/mcp", transport, falls_back)
    assert server.headers == {"Authorization": "Bearer t0ken-long"}


def test_the_common_keys_are_read(tmp_path: Path) -> None:
    entry = {"command": "x", "disabled": True, "timeout": 90, "allowed_tools": ["a", "b"]}
    entry |= {"scope": "chain", "idle_timeout": 5, "require_approval": {"always": {"tool_names": ["a"]}}}
    config = load(tmp_path, {"x": entry, "y": {"command": "x", "start": "at_start"}})
    plugin, other = config.plugins
    assert (plugin.disabled, plugin.timeout_seconds, plugin.allowed_tools) == (True, 90.0, ("a", "b"))
    assert (plugin.scope, plugin.start, plugin.idle_seconds, plugin.raw) == ("chain", "on_use", 5.0, entry)
    assert (other.scope, other.start, other.idle_seconds) == ("owner", "at_start", None)
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"command": "x", "scope": "request", "start": "at_start"}, "'start' has no effect with the scope 'request'"),
        (
            {"command": "x", "scope": "shared", "idle_timeout": 5},
            "'idle_timeout' has no effect with the scope 'shared'",
        ),
        ({"command": "x", "includeTools": ["a"]}, "'includeTools' is not known and has no effect; here it is called"),
    ],
)
def test_keys_that_do_nothing_there_are_warned_about(tmp_path: Path, entry: object, said: str) -> None:
    (warning,) = load(tmp_path, {"x": entry}).warnings
    assert said in warning and "server 'x'" in warning


@pytest.mark.parametrize(
    ("written", "expanded"),
    [
        ("${TOKEN}", "tok-secret-1"),
        ("${env:TOKEN}", "tok-secret-1"),
        ("a${TOKEN}b${PORT}", "atok-secret-1b8080"),
        ("${MISSING:-fallback}", "fallback"),
        ("${env:MISSING:-fall:-back}", "fall:-back"),
        ("${MISSING:-}", ""),
        ("${EMPTY:-filled}", "filled"),
        ("${EMPTY}", ""),
        ("${TOKEN:-unused}", "tok-secret-1"),
        ("$TOKEN $$ ${ {x}", "$TOKEN $$ ${ {x}"),
        ("${userHome}/x", "/home/ada/x"),
        ("a${/}b${pathSeparator}c", "a/b/c"),
        ("${workspaceFolder}|${workspaceFolderBasename}", "{tmp}|{name}"),
    ],
)
def test_variables_are_expanded_in_every_value(tmp_path: Path, written: str, expanded: str) -> None:
    expanded = expanded.replace("{tmp}", str(tmp_path)).replace("{name}", tmp_path.name)
    stdio = server_of(tmp_path, {"command": "x", "args": [written], "env": {"A": written}})
    assert isinstance(stdio, StdioServer)
    assert (stdio.args, stdio.env) == ((expanded,), {"A": expanded})
    http = server_of(tmp_path, {"url": "http://h/?k=${PORT}", "headers": {"X-A": f"v{written}v"}})
    assert isinstance(http, HttpServer)
    assert (http.url, http.headers) == ("http://h/?k=8080", {"X-A": f"v{expanded}v"})


def test_what_an_expansion_brings_is_a_secret_but_for_the_home_folder(tmp_path: Path) -> None:
    server = server_of(tmp_path, {"command": "${HOME}/bin/x", "args": ["--key=${TOKEN}"]})
    assert isinstance(server, StdioServer)
    assert server.secrets == {"tok-secret-1"}


def test_keys_that_nobody_knows_are_kept_and_warned_about(tmp_path: Path) -> None:
    config = load(tmp_path, {"x": {"command": "x", "url_": 1, "autoApprove": ["a"]}}, inputs=[1], colour=1)
    assert only(config).extra == {"url_": 1, "autoApprove": ["a"]}
    assert len(config.warnings) == 3
    assert all("mcp.json" in warning for warning in config.warnings)
    assert "'colour'" in config.warnings[0]
    assert "server 'x'" in config.warnings[2] and "'autoApprove'" in config.warnings[2]


def test_a_timeout_that_looks_like_milliseconds_is_warned_about(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, {"x": {"command": "x", "timeout": 60000}}).warnings
    assert "seconds" in warning


BROKEN: list[tuple[object, str | None]] = [
    (None, None),
    ("clock-mcp", None),
    ({}, None),
    ({"command": "x", "url": "http://h"}, None),
    ({"command": 1}, "command"),
    ({"command": " "}, "command"),
    ({"command": "x\0y"}, "command"),
    ({"command": "x", "args": "a b"}, "args"),
    ({"command": "x", "args": ["a", 5]}, "args.1"),
    ({"command": "x", "args": ["a\0"]}, "args"),
    ({"command": "x", "args": ["${MISSING}"]}, "args.0"),
    ({"command": "x", "args": ["${input:key}"]}, "args.0"),
    ({"command": "x", "args": ["${config:editor.font}"]}, "args.0"),
    ({"command": "x", "scope": "user"}, "scope"),
    ({"command": "x", "scope": ["chain"]}, "scope"),
    ({"command": "x", "start": True}, "start"),
    ({"command": "x", "idle_timeout": -1}, "idle_timeout"),
    ({"command": "x", "envFile": 1}, "envFile"),
    ({"command": "x", "envFile": "no-such-file"}, "envFile"),
    ({"serverUrl": "http://h"}, None),
    ({"command": "x", "env": ["A=hush"]}, "env"),
    ({"command": "x", "env": {"A": [7]}}, "env.A"),
    ({"command": "x", "env": {"A": "hush${MISSING}"}}, "env.A"),
    ({"command": "x", "env": {"A=B": "hush"}}, "env.A=B"),
    ({"command": "x", "env": {"": "hush"}}, "env."),
    ({"command": "x", "env": {"A": "hush\0"}}, "env.A"),
    ({"command": "x", "cwd": 1}, "cwd"),
    ({"command": "x", "type": "http"}, "type"),
    ({"url": "http://h", "type": "stdio"}, "type"),
    ({"url": "http://h", "type": "websocket"}, "type"),
    ({"url": "http://h", "type": 1}, "type"),
    ({"url": 1}, "url"),
    ({"url": "ftp://h"}, "url"),
    ({"url": "http://"}, "url"),
    ({"url": "http://user:hush@h/"}, "url"),
    ({"url": "http://h", "headers": []}, "headers"),
    ({"url": "http://h", "headers": {"A": None}}, "headers.A"),
    ({"url": "http://h", "headers": {"A": "hush\nX: y"}}, "headers.A"),
    ({"url": "http://h", "headers": {"Host": "hush"}}, "headers.Host"),
    ({"url": "http://h", "headers": {"A b": "hush"}}, "headers.A b"),
    ({"url": "http://h", "headers": {"A": "hush", "a": "hush"}}, "headers.a"),
    ({"command": "x", "disabled": "yes"}, "disabled"),
    ({"command": "x", "timeout": 0}, "timeout"),
    ({"command": "x", "timeout": True}, "timeout"),
    ({"command": "x", "timeout": "60"}, "timeout"),
    ({"command": "x", "timeout": 1e9}, "timeout"),
    ({"command": "x", "allowed_tools": "a"}, "allowed_tools"),
    ({"command": "x", "allowed_tools": [1]}, "allowed_tools.0"),
]


@pytest.mark.parametrize(("entry", "key"), BROKEN)
def test_a_broken_entry_keeps_its_reason_and_takes_nobody_down(tmp_path: Path, entry: object, key: str | None) -> None:
    config = load(tmp_path, {"good": {"command": "x"}, "bad": entry, "fine": {"url": "http://h"}})
    good, bad, fine = config.plugins
    assert isinstance(good.server, StdioServer)
    assert isinstance(fine.server, HttpServer)
    assert isinstance(bad.server, UnusableServer)
    error = bad.server.error
    assert (error.file, error.label, error.key) == (tmp_path / "mcp.json", "bad", key)
    assert error.info.kind is ErrorKind.INVALID_VALUE
    message = error.info.message
    assert str(tmp_path / "mcp.json") in message and "'bad'" in message and (key is None or f"'{key}'" in message)
    assert "hush" not in message
    assert config.warnings == (message,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        '{"mcpServers": []}',
        '{"servers": 1}',
        '{"mcpServers": {"a": {"command": "hush"},,}}',
        '{"mcpServers": {"a": {"command": "hush"} /* never ends',
        '{"mcpServers": {"a": {"command": "hush}}}',
        "[" * 100_000,
        " " * 5_000_000,
    ],
)
def test_a_file_that_is_no_such_json_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(text)
    with pytest.raises(McpJsonError) as caught:
        load_mcp_json([file], environ={})
    assert str(file) in caught.value.info.message
    assert "hush" not in caught.value.info.message


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes(b'{"mcpServers": {"\xff": {}}}')
    with pytest.raises(McpJsonError, match="UTF-8"):
        load_mcp_json([file], environ={})
    with pytest.raises(McpJsonError, match="cannot be read"):
        load_mcp_json([tmp_path], environ={})


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes(b'\xef\xbb\xbf{"mcpServers": {"x": {"command": "x"}}}')
    assert only(load_mcp_json([file], environ={})).label == "x"


def test_a_missing_file_is_no_plugins_only_where_nobody_asked_for_it(tmp_path: Path) -> None:
    missing = tmp_path / "mcp.json"
    assert load_mcp_json([missing], missing_ok=True, environ={}) == McpConfig()
    with pytest.raises(McpJsonError, match="does not exist"):
        load_mcp_json([missing], environ={})


def test_a_file_without_servers_installs_nothing_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text("{}")
    config = load_mcp_json([file], environ={})
    assert config.plugins == ()
    assert len(config.warnings) == 1


SAME = (
    "means the same as {others}, so that none of them is used: case, '_' and '-' make no difference;"
    " give them different labels"
)


@pytest.mark.parametrize(("one", "other"), [("my_clock", "my-clock"), ("Clock", "clock"), ("A_b", "a-B"), ("a", "a")])
def test_of_labels_that_mean_the_same_none_is_used_and_all_others_are(tmp_path: Path, one: str, other: str) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(
        f'{{"mcpServers": {{\n  "{one}": {{"command": "x"}}, // a comment\n  "other": {{"command": "x"}},\n'
        f'    "{other}": {{"command": "y"}}}}}}'
    )
    config = load_mcp_json([file], environ={})
    assert [(plugin.label, plugin.is_usable) for plugin in config.plugins] == [(one, False), ("other", True)]
    others = SAME.format(others=f"'{other}' (line 4, column 5)")
    told = f"{file}, server '{one}': the label (line 2, column 3) {others}"
    server = config.plugins[0].server
    assert isinstance(server, UnusableServer)
    assert (server.error.info.message, config.warnings) == (told, (told,))


def test_labels_of_both_notations_that_mean_the_same_are_told_once(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": 5, "mcpServers": {"a": {"command": "x"}}, "servers": {"a": {}, "A": {}}}')
    (plugin,) = load_mcp_json([file], environ={}).plugins
    assert isinstance(plugin.server, UnusableServer)
    others = SAME.format(others="'a' (line 1, column 70) and 'A' (line 1, column 79)")
    assert plugin.server.error.problem == f"the label (line 1, column 34) {others}"


@pytest.mark.parametrize("label", ["", "  ", "a\nb", "../x", "a/../x", "a//x", "/x", "x/", ".", "..", " x", "x" * 129])
def test_a_label_that_cannot_be_shown_is_broken(tmp_path: Path, label: str) -> None:
    assert isinstance(only(load(tmp_path, {label: {"command": "x"}})).server, UnusableServer)


@pytest.mark.parametrize("label", ["My Server", "io.github.ada/clock", "...", "a.b", "x" * 128])
def test_a_label_may_be_anything_that_an_address_can_hold(tmp_path: Path, label: str) -> None:
    assert only(load(tmp_path, {label: {"command": "x"}})).is_usable


@pytest.mark.parametrize("asked", ["mcp/My_Clock", "mcp/my-clock", "MCP/MY_CLOCK"])
def test_a_plugin_is_found_under_every_spelling_of_its_id(tmp_path: Path, asked: str) -> None:
    config = load(tmp_path, {"My-Clock": {"command": "x"}})
    assert config.find(asked) is config.plugins[0]
    assert config.find("My-Clock") is None
    assert config.find("mcp/clock") is None


def test_a_later_file_replaces_entries_of_an_earlier_one_where_they_stood(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps({"mcpServers": {"one": {"command": "1"}, "two": {"command": "2"}}}))
    second.write_text(json.dumps({"mcpServers": {"ONE": {"command": "11"}, "three": {"command": "3"}}}))
    config = load_mcp_json([first, second], environ={})
    assert [(plugin.label, plugin.file) for plugin in config.plugins] == [
        ("ONE", second),
        ("two", first),
        ("three", second),
    ]


def test_comments_and_trailing_commas_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(
        """// what is installed
        { /* all
        of it */ "mcpServers": {
            "a": {"command": "x", "args": ["http://h//x", "/* kept */", "a,]", "\\"// kept", ], }, // the first
            "b": {"url": "http://h/a,}",},
        },}"""
    )
    a, b = load_mcp_json([file], environ={}).plugins
    assert isinstance(a.server, StdioServer)
    assert a.server.args == ("http://h//x", "/* kept */", "a,]", '"// kept')
    assert isinstance(b.server, HttpServer)
    assert b.server.url == "http://h/a,}"


def test_a_mistake_is_found_where_it_is_for_all_comments_before_it(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('// ä comment\n{ /* another */ "mcpServers": oops }')
    with pytest.raises(McpJsonError, match="line 2, column 31"):
        load_mcp_json([file], environ={})


def test_the_servers_of_vs_code_are_read_and_its_inputs_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / ".vscode" / "mcp.json"
    file.parent.mkdir()
    servers = {
        "fine": {"type": "stdio", "command": "x", "cwd": "${workspaceFolder}/sub"},
        "asks": {"type": "http", "url": "http://h", "headers": {"X-Key": "Bearer ${input:api-key}"}},
    }
    inputs = [{"type": "promptString", "id": "api-key", "description": "The key of the API", "password": True}, 1]
    file.write_text(json.dumps({"servers": servers, "inputs": inputs}))
    fine, asks = load_mcp_json([file], environ={}).plugins
    assert isinstance(fine.server, StdioServer)
    assert fine.server.cwd == tmp_path / "sub"
    assert isinstance(asks.server, UnusableServer)
    assert asks.server.error.problem == (
        "${input:api-key} is asked of a person by VS Code (The key of the API), and nobody can be asked here: "
        "set an environment variable and write ${API_KEY}"
    )


def test_both_notations_in_one_file_are_one_list(tmp_path: Path) -> None:
    config = load(tmp_path, {"a": {"command": "x"}}, servers={"b": {"command": "y"}})
    assert [plugin.label for plugin in config.plugins] == ["a", "b"]
    twins = load(tmp_path, {"a": {"command": "x"}}, servers={"A": {"command": "y"}})
    assert [(plugin.label, plugin.is_usable) for plugin in twins.plugins] == [("a", False)]


def test_a_disabled_entry_need_not_be_complete(tmp_path: Path) -> None:
    config = load(tmp_path, {"x": {"command": "x", "args": ["${MISSING}"], "disabled": True}})
    assert (only(config).disabled, config.warnings) == (True, ())


def test_an_env_file_brings_variables_and_those_of_the_entry_win(tmp_path: Path) -> None:
    (tmp_path / "my.env").write_text(
        "# keys\n\nexport A_KEY=plain # not this\nB = \"two\\nlines # kept\" # but not this\nC_KEY='${literal}'\nD=\nE=file\n"
    )
    entry = {"command": "x", "envFile": "${workspaceFolder}/my.env", "env": {"E": "entry"}}
    server = server_of(tmp_path, entry)
    assert isinstance(server, StdioServer)
    assert server.env == {"A_KEY": "plain", "B": "two\nlines # kept", "C_KEY": "${literal}", "D": "", "E": "entry"}
    assert {"plain", "${literal}"} <= server.secrets


def test_a_line_of_an_env_file_that_is_none_is_named_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "my.env").write_text("A=1\nhush\n")
    server = server_of(tmp_path, {"command": "x", "envFile": "my.env"})
    assert isinstance(server, UnusableServer)
    assert f"line 2 of {tmp_path}/my.env is not NAME=value" in server.error.info.message
    assert "hush" not in server.error.info.message


def test_values_of_the_environment_and_headers_are_not_in_any_repr(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        {"a": {"command": "x", "env": {"A": "hush"}}, "b": {"url": "http://h/?k=hush", "headers": {"A": "hush"}}},
    )
    assert "hush" not in repr(config)


def test_numbers_and_booleans_in_an_environment_are_what_they_are_written_as(tmp_path: Path) -> None:
    entry = {"command": "x", "env": {"PORT": 8080, "SHARE": 0.5, "DEBUG": True, "NAME": "n"}}
    server = server_of(tmp_path, entry)
    assert isinstance(server, StdioServer)
    assert server.env == {"PORT": "8080", "SHARE": "0.5", "DEBUG": "true", "NAME": "n"}


def test_an_entry_says_which_calls_need_approval(tmp_path: Path) -> None:
    rules = {"always": {"tool_names": ["wipe"]}, "default": "never"}
    [plugin] = load(tmp_path, {"x": {"command": "x", "require_approval": rules}}).plugins
    assert plugin.approval == ApprovalPolicy("never", always=ToolFilter(("wipe",)))


@pytest.mark.parametrize(
    ("written", "key"),
    [("sometimes", "require_approval"), ({"always": {"tool_names": 1}}, "require_approval.always.tool_names")],
)
def test_an_entry_whose_approvals_cannot_be_read_is_not_used_without_them(
    tmp_path: Path, written: object, key: str
) -> None:
    [plugin] = load(tmp_path, {"x": {"command": "x", "require_approval": written}}).plugins
    assert isinstance(plugin.server, UnusableServer)
    assert plugin.server.error.key == key


def test_an_entry_may_say_what_is_redacted_of_its_calls(tmp_path: Path) -> None:
    written: dict[str, object] = {"patterns": {"card": True, "pin": "P-[0-9]+"}, "paths": ["arguments.password"]}
    [plugin] = load(tmp_path, {"x": {"command": "x", "redact": written}}).plugins
    expected = Redaction(parse_patterns(written["patterns"]), parse_paths(written["paths"]))
    assert (plugin.redaction, plugin.warnings) == (expected, ())
    texts = {"patterns": "card, email", "paths": "arguments.a, result.b"}
    lists = {"patterns": ["card", "email"], "paths": ["arguments.a", "result.b"]}
    both = [only(load(tmp_path, {"x": {"command": "x", "redact": redact}})).redaction for redact in (texts, lists)]
    assert both[0] == both[1]
    assert only(load(tmp_path, {"x": {"command": "x", "redact": {"patterns": ["card"]}}})).redaction == Redaction(
        parse_patterns(["card"])
    )


@pytest.mark.parametrize(
    ("written", "key", "problem"),
    [
        ("card", "redact", "must be an object with 'patterns' or 'paths'"),
        ({"headers": []}, "redact.headers", "takes only 'patterns' and 'paths'"),
        ({"patterns": {"a": "(x"}}, "redact.patterns", "'a': '(x' is no pattern of RE2: missing ): (x"),
        ({"paths": ["x"]}, "redact.paths", "'x': a path begins with 'arguments', 'result' or '$'"),
    ],
)
def test_rules_of_redaction_that_cannot_be_used_are_named(
    tmp_path: Path, written: object, key: str, problem: str
) -> None:
    server = server_of(tmp_path, {"command": "x", "redact": written})
    assert isinstance(server, UnusableServer)
    assert (server.error.key, server.error.problem) == (key, problem)
