"""The commands as programs: their exit statuses, their one-line errors, their JSON."""

import contextlib
import io
import json
import signal
import socket
import stat
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.command_error import complain
from orchestrator.cli.commands import orchestrator
from orchestrator.cli.doctor_checks import Finding, check_ollama, check_processor
from orchestrator.cli.serve import database_text
from orchestrator.setting_list import SETTINGS
from orchestrator.settings import load_settings
from orchestrator.store.migrate import head_revision
from tests.cli.model_server import Script, served
from tests.cli.program import END_SECONDS, one_line, run, started

SECRET = "hunter2-very-secret"
LEAVES = ("demo", "serve", "chat", "approvals list", "approvals show", "approvals approve", "approvals deny", "models list", "models pull", "models load", "models unload", "models ps", "plugins add", "plugins remove", "plugins import", "plugins login", "plugins logout", "tokens create", "tokens list", "tokens rotate", "tokens revoke", "audit list", "audit show", "audit stats", "audit export", "audit verify", "audit keygen", "db upgrade", "db current", "db stats", "db vacuum", "settings", "doctor", "plugins list", "plugins show", "plugins check", "plugins call", "plugins read", "plugins prompt", "plugins restart", "plugins logs", "plugins approve", "responses list", "responses show", "responses tree", "responses fork", "responses diff", "responses replay", "responses delete", "responses cancel")  # fmt: skip


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from leaves(inner, f"{path} {name}".strip())
    else:
        yield path, command


def test_the_tree_has_the_commands_of_the_contract_and_each_has_json() -> None:
    found = dict(leaves(orchestrator))
    assert sorted(found) == sorted(LEAVES)
    for name, command in found.items():
        options = [option for parameter in command.params for option in parameter.opts]
        assert "--json" in options and "--config" in options, name


def test_every_setting_but_a_secret_has_a_flag() -> None:
    options = {option for parameter in dict(leaves(orchestrator))["serve"].params for option in parameter.opts}
    flags = {"--" + setting.key.replace("_", "-") for setting in SETTINGS}
    assert flags - options == {"--encryption-key", "--openai-compatible-api-key"}


@pytest.mark.parametrize("command", ["settings", "serve", "demo", "doctor", "db upgrade", "tokens list", "chat Hi"])
def test_a_wrong_setting_ends_every_command_with_status_2_and_one_line(command: str) -> None:
    result = run(*command.split(), PORT="abc")
    assert (result.exit_code, result.stdout) == (2, "")
    expected = (
        "orchestrator: ORCHESTRATOR_PORT (environment): 'abc' cannot be used; allowed: a whole number from 0 to 65535"
    )
    assert one_line(result.stderr) == expected


def test_a_wrong_flag_and_a_wrong_file_are_told_alike(tmp_path: Path) -> None:
    assert "--port: 'x' cannot be used" in one_line(run("settings", "--port", "x").stderr)
    config = tmp_path / "s.toml"
    config.write_text("max_turns = 0")
    result = run("settings", "--config", str(config))
    assert result.exit_code == 2
    assert one_line(result.stderr).startswith(f"orchestrator: max_turns in {config}: 0 cannot be used")


def test_no_secret_is_shown_where_settings_are_shown() -> None:
    secrets = {
        "DATABASE_URL": f"postgresql+asyncpg://user:{SECRET}@h/d?password={SECRET}",
        "OPENAI_COMPATIBLE_URL": "http://h/v1",
        "OPENAI_COMPATIBLE_API_KEY": SECRET,
    }
    for option in ((), ("--json",), ("--markdown",)):
        result = run("settings", *option, **secrets)
        assert (result.exit_code, SECRET in result.output) == (0, False)


def test_settings_say_where_they_came_from() -> None:
    result = run("settings", "--port", "7", "--no-allow-plugins", MAX_TURNS="3")
    rows = {line.split()[0]: line.split()[1:] for line in result.output.splitlines() if "ORCHESTRATOR_" in line}
    assert rows["ORCHESTRATOR_PORT"] == ["7", "--port"]
    assert rows["ORCHESTRATOR_ALLOW_PLUGINS"] == ["false", "--allow-plugins"]
    assert rows["ORCHESTRATOR_MAX_TURNS"] == ["3", "environment"]
    assert rows["ORCHESTRATOR_HOST"] == ["127.0.0.1", "default"]
    as_json = json.loads(run("settings", "--json", CORS_ORIGINS="http://a").output)
    assert (as_json["port"], as_json["cors_origins"], as_json["openai_compatible_api_key"]) == (
        1234,
        ["http://a"],
        None,
    )


def test_a_database_is_named_without_its_password() -> None:
    texts = {
        "sqlite+aiosqlite:////d/o.db": "SQLite /d/o.db",
        f"postgresql+asyncpg://u:{SECRET}@h:5432/n?x={SECRET}": "Postgres h:5432/n",
        f"postgresql+asyncpg://u:a@b/{SECRET}@h/n": "Postgres h/n",
    }
    for written, said in texts.items():
        assert database_text(load_settings({"ORCHESTRATOR_DATABASE_URL": written})) == said


# ---- tokens and db --------------------------------------------------------------------------------------


def test_a_token_is_printed_alone_and_then_never_again(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    made = run("tokens", "create", "--name", "ci", "--permissions", "chat, plugins", DATA_DIR=data)
    token = one_line(made.stdout)
    assert (made.exit_code, made.stderr, token[:6], len(token)) == (0, "", "sk-lm-", 6 + 8 + 1 + 20)
    listed = run("tokens", "list", "--json", DATA_DIR=data)
    described = json.loads(one_line(listed.output))["tokens"]
    assert [(entry["name"], entry["id"], entry["permissions"]) for entry in described] == [
        ("ci", token[6:14], ["chat", "plugins"])
    ]
    assert token[15:] not in listed.output + run("tokens", "list", DATA_DIR=data).output
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_name_is_one_valid_tokens_at_a_time(tmp_path: Path) -> None:
    create = ("tokens", "create", "--name", "ci", "--permissions", "chat", "--json")
    first = json.loads(run(*create, DATA_DIR=str(tmp_path)).output)
    again = run(*create, DATA_DIR=str(tmp_path))
    assert (again.exit_code, again.stdout) == (1, "")
    assert "There is a valid token called 'ci' already" in one_line(again.stderr)
    revoked = run("tokens", "revoke", "ci", "--json", DATA_DIR=str(tmp_path))
    assert json.loads(revoked.output) == {"revoked": [first["id"]], "name": "ci"}
    second = json.loads(run(*create, DATA_DIR=str(tmp_path)).output)
    assert second["id"] != first["id"]
    assert one_line(run("tokens", "revoke", second["id"], DATA_DIR=str(tmp_path)).output).startswith("revoked ci (")
    rows = [line for line in run("tokens", "list", DATA_DIR=str(tmp_path)).output.splitlines() if "revoked" in line]
    assert len(rows) == 2


def test_a_revoked_name_ends_the_token_in_its_grace_too(tmp_path: Path) -> None:
    data = str(tmp_path)
    old = one_line(run("tokens", "create", "--name", "ci", "--permissions", "chat", DATA_DIR=data).stdout)
    new = one_line(run("tokens", "rotate", "ci", "--grace", "30d", DATA_DIR=data).stdout)
    told = run("tokens", "revoke", "ci", DATA_DIR=data).output.split("\n")[:2]
    assert told == [f"revoked ci (sk-lm-{text[6:14]}:…)" for text in (old, new)]
    listed = json.loads(one_line(run("tokens", "list", "--json", DATA_DIR=data).output))["tokens"]
    assert [token["valid"] for token in listed] == [False, False]


def test_a_time_that_no_calendar_has_is_a_usage_error(tmp_path: Path) -> None:
    create = ("tokens", "create", "--name", "x", "--permissions", "chat", "--expires-in", "999999w")
    far = run(*create, DATA_DIR=str(tmp_path))
    assert (far.exit_code, "goes beyond the year 9999" in far.stderr) == (2, True)
    early = run("audit", "list", "--from", "0001-01-01T00:00:00+10:00", DATA_DIR=str(tmp_path))
    assert (early.exit_code, "is no moment" in early.stderr) == (2, True)


def test_what_tokens_cannot_do_is_one_line(tmp_path: Path) -> None:
    nobody = run("tokens", "revoke", "nobody", DATA_DIR=str(tmp_path))
    assert (nobody.exit_code, "there is no valid token called 'nobody'" in one_line(nobody.stderr)) == (1, True)
    flying = run("tokens", "create", "--name", "x", "--permissions", "fly", DATA_DIR=str(tmp_path))
    assert (flying.exit_code, "There is no permission 'fly'" in one_line(flying.stderr)) == (1, True)
    empty = run("tokens", "create", "--name", "x", "--permissions", " ", DATA_DIR=str(tmp_path))
    assert (empty.exit_code, "at least one permission" in one_line(empty.stderr)) == (1, True)


def test_the_database_is_upgraded_once_and_says_where_it_is(tmp_path: Path) -> None:
    data, head = str(tmp_path / "d"), head_revision()
    assert json.loads(run("db", "current", "--json", DATA_DIR=data).output) == {"revision": None, "needed": head}
    assert one_line(run("db", "current", DATA_DIR=data).output) == f"no tables yet, this version needs {head}"
    assert list(tmp_path.iterdir()) == []
    assert one_line(run("db", "upgrade", DATA_DIR=data).output) == f"at revision {head}, from no tables"
    assert json.loads(run("db", "upgrade", "--json", DATA_DIR=data).output) == {"before": head, "revision": head}
    assert one_line(run("db", "current", DATA_DIR=data).output) == f"{head}, which is what this version needs"


def test_a_data_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("db", "upgrade", DATA_DIR=str(tmp_path / "file" / "d"))
    assert result.exit_code == 1
    assert one_line(result.stderr) == f"orchestrator: DATA_DIR {tmp_path}/file/d cannot be made: Not a directory"


# ---- doctor ---------------------------------------------------------------------------------------------


def findings(tmp_path: Path, mcp_json: str | None = None, **environ: str) -> tuple[int, dict[str, tuple[str, str]]]:
    config = tmp_path / "mcp.json"
    if mcp_json is not None:
        config.write_text(mcp_json)
    environ = {"DATA_DIR": str(tmp_path / "d"), "MCP_CONFIG": str(config), "PORT": "0"} | environ
    result = run("doctor", "--json", **environ)
    found = json.loads(one_line(result.output))["findings"]
    assert SECRET not in result.output
    return result.exit_code, {finding["about"]: (finding["status"], finding["text"]) for finding in found}


def test_a_machine_that_is_fit_has_no_problem_and_is_left_as_it_was(tmp_path: Path) -> None:
    status, found = findings(
        tmp_path, '{"mcpServers": {"here": {"command": "clock-mcp"}, "web": {"url": "http://h/mcp"}}}'
    )
    assert status == 0
    assert {about for about, (state, _) in found.items() if state != "ok"} <= {"processor", "Ollama"}
    assert found["data directory"] == ("ok", f"{tmp_path}/d will be made")
    assert found["database"] == ("ok", f"SQLite, will be made at {tmp_path}/d/orchestrator.db")
    assert found["mcp/here"] == ("ok", str(Path(sys.executable).parent / "clock-mcp"))
    assert found["mcp/web"][0] == "ok"
    assert [path.name for path in tmp_path.iterdir()] == ["mcp.json"]


def test_the_doctor_speaks_to_people_too(tmp_path: Path) -> None:
    result = run("doctor", DATA_DIR=str(tmp_path), MCP_CONFIG=str(tmp_path / "none.json"), PORT="0")
    assert result.exit_code == 1
    assert f"problem mcp.json        {tmp_path}/none.json: the file does not exist" in result.output


def test_plugins_that_will_not_start_are_problems_without_their_secrets(tmp_path: Path) -> None:
    servers = {
        "gone": {"command": "no-such-command-anywhere", "env": {"KEY": SECRET}},
        "off": {"command": "x", "disabled": True},
        "odd": {"command": 7, "env": {"KEY": SECRET}},
        "extra": {"command": "clock-mcp", "wings": SECRET},
    }
    status, found = findings(tmp_path, json.dumps({"mcpServers": servers}))
    assert status == 1
    assert found["mcp/gone"] == ("problem", "the command no-such-command-anywhere is not found")
    assert found["mcp/off"] == ("note", "disabled")
    assert found["mcp/odd"][0] == "problem"
    assert "wings" in found["mcp.json"][1]


def test_an_mcp_json_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    status, found = findings(tmp_path, '{"mcpServers": ' + SECRET, ALLOW_PLUGINS="false")
    assert (status, found["mcp.json"][0]) == (1, "problem")


def test_plugins_that_are_off_are_a_note(tmp_path: Path) -> None:
    status, found = findings(tmp_path, "{}", ALLOW_PLUGINS="false")
    assert (status, found["mcp.json"][0]) == (0, "note")


def test_the_port_is_free_taken_or_ours(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        taken.close()
        status, found = findings(tmp_path, "{}", PORT=port)
        assert (status, found["port"]) == (0, ("ok", f"127.0.0.1:{port} is free"))
    with served(Script(raw=b'{"status":"ok"}')) as url:
        status, found = findings(tmp_path, "{}", PORT=url.rpartition(":")[2])
        assert (status, found["port"]) == (0, ("ok", f"the service at {url} answers"))
    with served(Script(status=503, raw=b'{"status":"unavailable"}')) as url:
        status, found = findings(tmp_path, "{}", PORT=url.rpartition(":")[2])
        assert (status, found["port"]) == (1, ("problem", f"the service at {url} answers that it is not ready"))
    with served(Script(status=404)) as url:
        status, found = findings(tmp_path, "{}", PORT=url.rpartition(":")[2])
        assert (status, found["port"][0]) == (1, "problem")


def test_model_servers_are_asked_with_their_keys(tmp_path: Path) -> None:
    script = Script()
    with served(script) as url, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{unused.getsockname()[1]}"
        urls, keys = f"{url}/v1,{silent}", f"{SECRET},"
        status, found = findings(tmp_path, "{}", OPENAI_COMPATIBLE_URL=urls, OPENAI_COMPATIBLE_API_KEY=keys)
        assert (status, found["model server"]) == (1, ("problem", f"{silent} does not answer"))
        assert (script.requests, script.authorization) == ([("/v1/models", None)], [f"Bearer {SECRET}"])
        status, found = findings(tmp_path, "{}", OPENAI_COMPATIBLE_URL=url)
        assert (status, found["model server"]) == (0, ("ok", f"{url} answers with status 200"))


def test_ollama_is_looked_for_and_missed_only_where_somebody_expects_it() -> None:
    def found(**settings: str) -> tuple[str, str]:
        environ = {f"ORCHESTRATOR_{name}": value for name, value in settings.items()}
        finding = anyio.run(check_ollama, load_settings(environ))
        return finding.status, finding.text

    models = {"/api/tags": {"models": [{"model": "a:latest", "digest": "d"}]}}
    with served(Script(gets=models)) as url, served(Script(raw=b"<html>")) as page, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{unused.getsockname()[1]}"
        missing = f"Ollama at {silent} does not answer. Is it running? `ollama serve` starts it."
        no_program = "there is no program 'no-such-ollama' to start: install it, or name it by OLLAMA_BINARY"
        other = f"Ollama at {page} answers, but not as Ollama does. Is OLLAMA_HOST the address of an Ollama?"
        assert found(OLLAMA_HOST=url) == ("ok", f"answers at {url}, with 1 model")
        assert found(OLLAMA_HOST=page) == ("problem", other)
        assert found(OLLAMA_HOST=silent) == ("problem", missing)
        starting = {"OLLAMA_HOST": silent, "START_OLLAMA": "1"}
        assert found(**starting, OLLAMA_BINARY="no-such-ollama") == ("problem", no_program)
        assert found(**starting, OLLAMA_BINARY=sys.executable) == ("ok", f"{sys.executable} will be started")


def test_a_database_that_is_behind_is_brought_up_by_the_next_start(tmp_path: Path) -> None:
    data = tmp_path / "d"
    data.mkdir()
    (data / "orchestrator.db").touch()
    assert findings(tmp_path, "{}")[1]["database"][0] == "note"
    run("db", "upgrade", DATA_DIR=str(data))
    assert findings(tmp_path, "{}")[1]["database"] == ("ok", f"answers, at revision {head_revision()}")


def test_a_database_that_is_none_is_a_problem(tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_text("not a database, but long enough to be looked at as one" * 40)
    status, found = findings(tmp_path, "{}", DATABASE_URL=f"sqlite+aiosqlite:///{broken}")
    assert (status, found["database"][0]) == (1, "problem")


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "status"),
    [
        ("x86_64", "model name : x\nflags\t\t: fpu avx avx2 fma\n", "ok"),
        ("x86_64", "flags\t\t: fpu avx avx2x\n", "problem"),
        ("x86_64", "", "problem"),
        ("x86_64", None, "note"),
        ("aarch64", None, "ok"),
    ],
)
def test_the_processor_must_have_avx2_where_that_is_a_question(
    tmp_path: Path, machine: str, cpuinfo: str | None, status: str
) -> None:
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    finding = check_processor(machine, file)
    assert finding == Finding("processor", finding.status, finding.text)
    assert finding.status == status


# ---- serve ----------------------------------------------------------------------------------------------


def test_the_service_says_where_it_is_and_ends_in_order(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": {}}')
    environ = {"ORCHESTRATOR_DATA_DIR": str(tmp_path), "ORCHESTRATOR_MCP_CONFIG": str(tmp_path / "mcp.json")}
    with started("serve", "--port", "0", "--json", environ=environ) as process:
        assert process.stdout is not None
        said: dict[str, Any] = json.loads(process.stdout.readline())
        database = f"SQLite {tmp_path}/orchestrator.db"
        assert said == {"url": said["url"], "database": database, "plugins": list[str](), "authentication": False}
        with urllib.request.urlopen(f"{said['url']}/health", timeout=END_SECONDS) as answer:
            assert (answer.status, answer.headers["Server"]) == (200, None)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=END_SECONDS)
    assert (process.returncode, "Traceback" in stderr) == (0, False)


def test_the_service_says_what_to_try_next(tmp_path: Path) -> None:
    assert run("tokens", "create", "--name", "me", "--permissions", "chat", DATA_DIR=str(tmp_path)).exit_code == 0
    (tmp_path / "mcp.json").write_text('{"mcpServers": {"clock": {"command": "clock-mcp"}}}')
    environ = {"ORCHESTRATOR_DATA_DIR": str(tmp_path), "ORCHESTRATOR_MCP_CONFIG": str(tmp_path / "mcp.json")}
    with started("serve", "--port", "0", "--require-authentication", environ=environ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(6)]
    url = lines[0].removeprefix("Listening on ")
    assert lines == [
        f"Listening on {url}",
        f"  database  SQLite {tmp_path}/orchestrator.db",
        "  plugins   mcp/clock",
        f"  API       {url}/schema",
        "  token     orchestrator tokens create --name me --permissions chat,models.read,plugins",
        "  try       orchestrator chat 'Use get_current_time with timezone=\"Asia/Tokyo\"' --integration mcp/clock"
        " --port " + url.rpartition(":")[2],
    ]


def test_a_service_that_has_no_token_yet_makes_one_and_shows_it_once(tmp_path: Path) -> None:
    environ = {"ORCHESTRATOR_DATA_DIR": str(tmp_path)}
    told: list[dict[str, Any]] = []
    for _ in range(2):
        with started("serve", "--port", "0", "--require-authentication", "--json", environ=environ) as process:
            assert process.stdout is not None
            told.append(json.loads(process.stdout.readline()))
    (first,) = [summary["bootstrap_token"] for summary in told if "bootstrap_token" in summary]
    assert "bootstrap_token" in told[0]
    (listed,) = json.loads(run("tokens", "list", "--json", DATA_DIR=str(tmp_path)).output)["tokens"]
    assert (listed["name"], listed["permissions"]) == ("bootstrap", ["admin"])
    assert first.startswith(f"sk-lm-{listed['id']}:")


def test_a_token_is_made_with_limits_and_an_end_and_rotated(tmp_path: Path) -> None:
    made = run(*"tokens create --name ci --permissions chat,plugins:mcp/notes/read_* --expires-in 90d".split(), "--requests-per-minute", "60", "--json", DATA_DIR=str(tmp_path))  # fmt: skip
    first = json.loads(made.output)
    assert (first["limits"], first["permissions"]) == (
        {"requests_per_minute": 60},
        ["chat", "plugins:mcp/notes/read_*"],
    )
    second = json.loads(run("tokens", "rotate", "ci", "--grace", "1h", "--json", DATA_DIR=str(tmp_path)).output)
    kept = ("name", "owner", "permissions", "limits", "expires_at")
    assert [second[name] for name in kept] == [first[name] for name in kept]
    third = run("tokens", "rotate", "ci", DATA_DIR=str(tmp_path)).output.strip()
    listed = json.loads(run("tokens", "list", "--json", DATA_DIR=str(tmp_path)).output)["tokens"]
    assert [(token["id"], token["valid"]) for token in listed] == [
        (first["id"], True),
        (second["id"], False),
        (third[6:14], True),
    ]
    wrong = run(
        "tokens", "create", "--name", "x", "--permissions", "chat", "--expires-in", "soon", DATA_DIR=str(tmp_path)
    )
    assert (wrong.exit_code, "'soon' is no length of time" in wrong.stderr) == (2, True)


def test_what_keeps_the_service_from_starting_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = run("serve", "--port", str(port), DATA_DIR=str(tmp_path))
        assert (busy.exit_code, busy.stdout) == (1, "")
        assert one_line(busy.stderr).startswith(f"orchestrator: port {port} of 127.0.0.1 is taken")
    nothing = run("serve", DATABASE_URL="postgresql+asyncpg://u:p@127.0.0.1:1/d", PORT="0", DATA_DIR=str(tmp_path))
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "orchestrator: " in one_line(nothing.stderr)


def test_the_demo_says_what_it_misses(tmp_path: Path) -> None:
    result = run("demo", MCP_CONFIG=str(tmp_path / "none.json"), DATA_DIR=str(tmp_path))
    assert result.exit_code == 1
    expected = f"orchestrator: the demo needs the plugin mcp/clock, and {tmp_path}/none.json does not install it"
    assert one_line(result.stderr) == expected


@given(st.text())
def test_a_message_of_an_error_is_one_line_without_control_characters(message: str) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        complain(message)
    assert one_line(stderr.getvalue()).replace("\u200c", "").replace("\u200d", "").isprintable()
