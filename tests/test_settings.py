"""Settings: where they come from, what they may be, and what is said of those that cannot be used."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from platformdirs import user_config_path

from orchestrator.cli.settings import settings_page
from orchestrator.core.redaction_rules import BUILT_IN, parse_paths, parse_patterns
from orchestrator.setting_list import SETTINGS
from orchestrator.settings import PREFIX, Settings, SettingsError, load_settings, load_with_sources

PAGE = Path(__file__).parent.parent / "orchestrator" / "SETTINGS.md"
SECRET = "hunter2-very-secret"


def load(tmp_path: Path | None = None, toml: str | None = None, /, **environ: str) -> Settings:
    config = None
    if toml is not None:
        assert tmp_path is not None
        config = tmp_path / "settings.toml"
        config.write_text(toml)
    return load_settings({PREFIX + name: value for name, value in environ.items()}, config)


def refusal(**environ: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load(**environ)
    message = raised.value.info.message
    assert "\n" not in message
    return message


def test_without_anything_set_the_service_is_private_and_complete() -> None:
    settings = load(DATA_DIR="/d")
    assert settings == Settings(
        host="127.0.0.1",
        port=1234,
        data_dir=Path("/d"),
        models_dir=(Path("/d/models"),),
        database_url="sqlite+aiosqlite:////d/orchestrator.db",
        encryption_key=(),
        encryption_key_file=Path("/d/encryption.key"),
        mcp_config=(Path("mcp.json").absolute(),),
        mcp_config_given=False,
        mcp_config_added=(),
        mcp_user_config=user_config_path("orchestrator", appauthor=False) / "mcp.json",
        chain_session_idle=600.0,
        max_chain_sessions=64,
        default_engine="auto",
        openai_compatible_url=(),
        openai_compatible_api_key=(),
        openai_compatible_parallel=(64,),
        openai_compatible_reasoning=(),
        ollama_host="http://127.0.0.1:11434",
        ollama_host_given=False,
        ollama_num_parallel=1,
        ollama_binary="ollama",
        ollama_registries=(),
        start_ollama=False,
        jit_loading=True,
        model_ttl=3600.0,
        auto_evict=True,
        keep_only_last=False,
        max_queued=64,
        download_history_days=7,
        require_authentication=False,
        allow_insecure_listen=False,
        allow_plugins=True,
        allow_ephemeral_mcp=True,
        ephemeral_allow=(),
        ephemeral_deny=(),
        cors_origins=(),
        allowed_hosts=(),
        chat_dialect="responses",
        strict_lmstudio=False,
        drift_policy="warn",
        tool_timeout=60.0,
        tool_timeout_cap=600.0,
        elicitation="off",
        elicitation_timeout=300.0,
        sampling="off",
        sampling_max_tokens=1024,
        sampling_max_requests=8,
        roots=(),
        connect_timeout=20.0,
        approval_timeout=86400,
        run_timeout=600.0,
        engine_first_token_timeout=300.0,
        engine_silence_timeout=120.0,
        max_turns=32,
        max_identical_calls=8,
        max_body_bytes=32 * 1024 * 1024,
        max_concurrent_runs=64,
        requests_per_minute=None,
        max_url_bytes=16 * 1024,
        max_headers=128,
        max_header_bytes=64 * 1024,
        max_json_depth=64,
        max_json_values=100_000,
        max_input_items=8192,
        max_integrations=128,
        max_metadata_keys=16,
        max_tools=2000,
        head_timeout=20.0,
        body_timeout=120.0,
        client_stall_timeout=60.0,
        warn_tools=40,
        warn_tool_tokens=8000,
        max_tool_output_bytes=8 * 1024 * 1024,
        max_tool_output_model_bytes=64 * 1024,
        raw_tool_results=False,
        retention_days=None,
        retention_max_responses=None,
        retention_keep_skeleton=True,
        redact_patterns=(),
        redact_paths=(),
        log_level="info",
        log_format="auto",
    )


def test_the_table_and_the_struct_have_the_same_settings() -> None:
    assert sorted(setting.key for setting in SETTINGS) == sorted(
        field.name
        for field in fields(Settings)
        if field.name not in ("mcp_config_given", "mcp_config_added", "ollama_host_given")
    )


def test_only_the_default_mcp_json_may_be_missing() -> None:
    assert load(MCP_CONFIG="other.json").mcp_config_given
    assert not load().mcp_config_given


def test_files_of_flags_come_on_top_of_the_others() -> None:
    settings = load_settings({"ORCHESTRATOR_MCP_CONFIG": "/a:/b"}, None, {"mcp_config": ["/c", "/d"]})
    assert (settings.mcp_config, settings.mcp_config_added) == ((Path("/a"), Path("/b")), (Path("/c"), Path("/d")))
    settings = load_settings({}, None, {"mcp_config": "/c:/d"})
    assert (settings.mcp_config_given, settings.mcp_config_added) == (False, (Path("/c"), Path("/d")))


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "s.toml"
    config.write_text('port = 1\nmax_turns = 2\nlog_level = "debug"\n')
    environ = {"ORCHESTRATOR_MAX_TURNS": "3", "ORCHESTRATOR_LOG_LEVEL": "error"}
    settings, sources = load_with_sources(environ, config, {"log_level": "warning"})
    assert (settings.port, settings.max_turns, settings.log_level) == (1, 3, "warning")
    assert sources == {"port": str(config), "max_turns": "environment", "log_level": "--log-level"}


def test_a_variable_names_the_file_and_a_flag_names_another_one(tmp_path: Path) -> None:
    named, other = tmp_path / "named.toml", tmp_path / "other.toml"
    named.write_text("port = 1")
    other.write_text("port = 2")
    environ = {"ORCHESTRATOR_CONFIG": str(named)}
    assert load_settings(environ).port == 1
    assert load_settings(environ, other).port == 2


def test_paths_of_the_file_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, 'data_dir = "d"\nmcp_config = ["a.json", "/b.json"]')
    assert (settings.data_dir, settings.models_dir) == (tmp_path / "d", (tmp_path / "d" / "models",))
    assert settings.mcp_config == (tmp_path / "a.json", Path("/b.json"))


def test_lists_are_arrays_in_the_file_and_separated_in_the_environment(tmp_path: Path) -> None:
    from_file = load(tmp_path, 'ephemeral_allow = ["10.0.0.0/8", "Intern.example"]\nmcp_config = ["/a", "/b"]')
    from_environment = load(EPHEMERAL_ALLOW="10.0.0.0/8, Intern.example", MCP_CONFIG="/a:/b")
    assert from_file == from_environment
    assert from_file.ephemeral_allow == ("10.0.0.0/8", "intern.example")


@pytest.mark.parametrize(
    ("written", "size"),
    [("65536", 65536), ("64KiB", 65536), ("32 MiB", 2**25), ("1gb", 10**9), ("2GiB", 2**31), ("7b", 7)],
)
def test_sizes_may_have_a_unit(written: str, size: int) -> None:
    assert load(MAX_BODY_BYTES=written).max_body_bytes == size


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("PORT", "-1", "a whole number from 0 to 65535"),
        ("PORT", "", "a whole number from 0 to 65535"),
        ("PORT", "²", "a whole number from 0 to 65535"),
        ("MAX_TURNS", "0", "a whole number from 1 to 10000"),
        ("TOOL_TIMEOUT", "0", "seconds, a number above 0 and up to 86400"),
        ("TOOL_TIMEOUT", "nan", "seconds, a number above 0 and up to 86400"),
        ("TOOL_TIMEOUT", "60s", "seconds, a number above 0 and up to 86400"),
        ("MAX_BODY_BYTES", "32 parsecs", "bytes, such as 65536, 64KiB or 32MiB, up to 1024GiB"),
        ("MAX_BODY_BYTES", "0", "bytes, such as 65536, 64KiB or 32MiB, up to 1024GiB"),
        ("ALLOW_PLUGINS", "maybe", "true or false"),
        ("LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("HOST", "no host", "an IP address or a host name"),
        ("HOST", "127.0.0.256", "an IP address or a host name"),
        ("DATA_DIR", "  ", "a path"),
        ("DATA_DIR", "~nobody-of-that-name/x", "a path"),
        ("EPHEMERAL_ALLOW", "10.0.0.1/8", "hosts, addresses and networks (CIDR, no host bits), separated by commas"),
        ("CORS_ORIGINS", "*", "origins such as https://app.example:8443, separated by commas (* is not one)"),
        ("CORS_ORIGINS", "https://a.example/p", "origins such as https://app.example:8443, separated by commas (* is not one)"),
        ("ALLOWED_HOSTS", "a.example:80", "host names or addresses without a port, separated by commas"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_named_with_what_is_allowed(name: str, value: str, allowed: str) -> None:
    assert (
        refusal(**{name: value}) == f"ORCHESTRATOR_{name} (environment): {value!r} cannot be used; allowed: {allowed}"
    )


def test_rules_of_redaction_are_names_json_or_a_table(tmp_path: Path) -> None:
    written = {"card": True, "pin": "P-[0-9]+"}
    toml = "redact_paths = ['arguments.pin', '$..token']\n[redact_patterns]\ncard = true\npin = 'P-[0-9]+'\n"
    for settings in (
        load(REDACT_PATTERNS=json.dumps(written), REDACT_PATHS="arguments.pin, $..token"),
        load(tmp_path, toml),
    ):
        assert settings.redact_patterns == parse_patterns(written)
        assert settings.redact_paths == parse_paths(["arguments.pin", "$..token"])
    assert load(REDACT_PATTERNS="card, email").redact_patterns == parse_patterns(["card", "email"])


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("REDACT_PATTERNS", '{"a": "(x"}', "'a': '(x' is no pattern of RE2: missing ): (x"),
        ("REDACT_PATTERNS", "cards", f"'cards': there is no such built-in pattern; there are {', '.join(BUILT_IN)}"),
        ("REDACT_PATHS", "password", "'password': a path begins with 'arguments', 'result' or '$'"),
    ],
)
def test_a_rule_of_redaction_that_cannot_be_used_is_named_with_the_reason(name: str, value: str, why: str) -> None:
    assert refusal(**{name: value}) == f"ORCHESTRATOR_{name} (environment): {value!r} cannot be used; {why}"


def test_the_file_is_held_to_its_types(tmp_path: Path) -> None:
    for toml in ("port = true", "port = 1.5", "allow_plugins = 1", "host = 1", "mcp_config = [1]", "log_level = []"):
        with pytest.raises(SettingsError, match=r"^\w+ in .*settings\.toml: .* cannot be used; allowed: "):
            load(tmp_path, toml)


def test_a_name_that_does_not_exist_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    assert (
        refusal(PROT="1")
        == "ORCHESTRATOR_PROT (environment): there is no such setting; did you mean ORCHESTRATOR_PORT?"
    )
    with pytest.raises(SettingsError, match=r"prot in .*settings.toml: there is no such setting; did you mean port\?"):
        load(tmp_path, "prot = 1")
    with pytest.raises(SettingsError, match=r"PORT in .*: there is no such setting"):
        load(tmp_path, "PORT = 1")
    with pytest.raises(SettingsError, match=r"zzz in .*: there is no such setting; `orchestrator settings` lists them"):
        load(tmp_path, "[zzz]\nport = 1")


def test_the_dialect_of_chats_can_be_the_older_one_but_not_where_the_mode_is_strict() -> None:
    assert load(CHAT_DIALECT="thread").chat_dialect == "thread"
    assert load(STRICT_LMSTUDIO="true").strict_lmstudio
    said = refusal(STRICT_LMSTUDIO="true", CHAT_DIALECT="thread")
    assert said == "STRICT_LMSTUDIO=true has no dialect of threads: leave CHAT_DIALECT at responses"


def test_ollamas_own_variable_is_heard_and_ours_wins_over_it() -> None:
    own = {"OLLAMA_HOST": "127.0.0.1:11435", "OLLAMA_NUM_PARALLEL": "3"}
    settings = load_settings(own)
    assert (settings.ollama_host, settings.ollama_num_parallel) == ("127.0.0.1:11435", 3)
    assert settings.ollama_host_given
    ours = {PREFIX + "OLLAMA_HOST": "127.0.0.1:11436", PREFIX + "OLLAMA_NUM_PARALLEL": "4"}
    settings = load_settings(own | ours)
    assert (settings.ollama_host, settings.ollama_num_parallel) == ("127.0.0.1:11436", 4)


def test_slots_of_model_servers_are_one_number_for_all_or_one_for_each() -> None:
    urls = "http://a:1/v1,http://b:1/v1"
    assert load(OPENAI_COMPATIBLE_URL=urls, OPENAI_COMPATIBLE_PARALLEL="8").openai_compatible_parallel == (8,)
    assert load(OPENAI_COMPATIBLE_URL=urls, OPENAI_COMPATIBLE_PARALLEL="8,2").openai_compatible_parallel == (8, 2)
    message = refusal(OPENAI_COMPATIBLE_URL=urls, OPENAI_COMPATIBLE_PARALLEL="8,2,1")
    assert message == (
        "OPENAI_COMPATIBLE_PARALLEL has 3 numbers for 2 OPENAI_COMPATIBLE_URL; one for each, or one for all, is needed"
    )


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file or directory"):
        load_settings({}, tmp_path / "none.toml")
    with pytest.raises(SettingsError, match="is not TOML: Unterminated string"):
        load(tmp_path, f'database_url = "{SECRET}')
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(SettingsError, match="is not TOML: it is not UTF-8"):
        load_settings({}, tmp_path / "latin.toml")


def test_beyond_loopback_tokens_are_required_and_tools_are_off_unless_said_otherwise() -> None:
    settings = load(HOST="0.0.0.0")
    assert (settings.require_authentication, settings.allow_plugins, settings.allow_ephemeral_mcp) == (
        True,
        False,
        False,
    )
    settings = load(HOST="::", ALLOW_PLUGINS="true", ALLOW_EPHEMERAL_MCP="true")
    assert (settings.require_authentication, settings.allow_plugins, settings.allow_ephemeral_mcp) == (True, True, True)
    settings = load(HOST="0.0.0.0", ALLOW_INSECURE_LISTEN="true")
    assert (settings.require_authentication, settings.allow_plugins) == (False, False)


def test_beyond_loopback_what_is_unsafe_is_refused() -> None:
    assert "REQUIRE_AUTHENTICATION=true" in refusal(HOST="0.0.0.0", REQUIRE_AUTHENTICATION="false")
    plugins = refusal(HOST="box.example", ALLOW_INSECURE_LISTEN="true", ALLOW_PLUGINS="true")
    assert plugins.endswith("ALLOW_PLUGINS=true needs REQUIRE_AUTHENTICATION=true there")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost.example", False),
        ("192.168.1.1", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert load(HOST=host).on_loopback is loopback


def test_settings_that_contradict_each_other_are_refused() -> None:
    urls = "http://a.example/v1,http://b.example/v1"
    assert "has 1 keys for 2" in refusal(OPENAI_COMPATIBLE_URL=urls, OPENAI_COMPATIBLE_API_KEY=SECRET)
    reasoning = load(OPENAI_COMPATIBLE_URL=urls, OPENAI_COMPATIBLE_REASONING="on+OFF,").openai_compatible_reasoning
    assert reasoning == (("on", "off"), ())
    assert "speaks of 1 servers" in refusal(OPENAI_COMPATIBLE_URL=urls, OPENAI_COMPATIBLE_REASONING="on+off")
    for wrong in ("on+loud,", "on+on,", "+,"):
        assert "joined by +" in refusal(OPENAI_COMPATIBLE_URL=urls, OPENAI_COMPATIBLE_REASONING=wrong)
    assert "needs OPENAI_COMPATIBLE_URL" in refusal(DEFAULT_ENGINE="openai_compatible")
    assert "may not be more" in refusal(MAX_TOOL_OUTPUT_BYTES="1KiB")


def test_each_model_server_has_its_key_or_none() -> None:
    settings = load(
        OPENAI_COMPATIBLE_URL="http://a.example/v1/, https://b.example/v1", OPENAI_COMPATIBLE_API_KEY=f",{SECRET}"
    )
    assert settings.openai_compatible_url == ("http://a.example/v1", "https://b.example/v1")
    assert settings.openai_compatible_api_key == ("", SECRET)


def test_origins_are_kept_as_browsers_send_them() -> None:
    settings = load(CORS_ORIGINS="https://App.Example:443,http://a.example:80,http://b.example:8080")
    assert settings.cors_origins == ("https://app.example", "http://a.example", "http://b.example:8080")


def test_no_secret_is_in_the_repr() -> None:
    settings = load(
        DATABASE_URL=f"postgresql+asyncpg://u:{SECRET}@h/d",
        OPENAI_COMPATIBLE_URL="http://a.example/v1",
        OPENAI_COMPATIBLE_API_KEY=SECRET,
    )
    assert SECRET in settings.database_url
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", f"mysql://u:{SECRET}@h/d"),
        ("DATABASE_URL", f"postgresql+asyncpg://u:{SECRET}@h"),
        ("OPENAI_COMPATIBLE_URL", f"http://u:{SECRET}@h/v1"),
        ("OPENAI_COMPATIBLE_URL", f"http://h/v1?key={SECRET}"),
        ("OPENAI_COMPATIBLE_URL", f"http://h:{SECRET}/v1"),
        ("OPENAI_COMPATIBLE_API_KEY", f"{SECRET}\n"),
        ("ENCRYPTION_KEY", SECRET),
    ],
)
def test_no_refusal_repeats_a_secret(name: str, value: str) -> None:
    assert SECRET not in refusal(**{name: value})


def test_the_page_of_settings_is_the_one_that_the_table_makes() -> None:
    assert PAGE.read_text() == settings_page(), "run: orchestrator settings --markdown > orchestrator/SETTINGS.md"


any_text = st.text(max_size=40) | st.sampled_from(["true", "0", "1", "10.0.0.0/8", "http://h", "sqlite+aiosqlite:///x"])


@given(name=st.sampled_from([setting.name for setting in SETTINGS]), value=any_text)
def test_whatever_is_written_is_a_setting_or_one_line(name: str, value: str) -> None:
    try:
        settings = load_settings({PREFIX + name: value})
    except SettingsError as error:
        assert len(error.info.message.splitlines()) == 1
    else:
        assert isinstance(settings, Settings)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(name=st.sampled_from([setting.key for setting in SETTINGS]), value=json_like)
def test_a_value_of_any_type_is_a_setting_or_one_line(name: str, value: object) -> None:
    try:
        settings = load_settings({}, None, {name: value})
    except SettingsError as error:
        assert len(error.info.message.splitlines()) == 1
    else:
        assert isinstance(settings, Settings)


@given(
    port=st.integers(0, 65535),
    turns=st.integers(1, 10_000),
    seconds=st.floats(0.001, 86_400),
    size=st.integers(2**20, 2**40),
)
def test_values_in_range_come_out_as_they_went_in(port: int, turns: int, seconds: float, size: int) -> None:
    settings = load(PORT=str(port), MAX_TURNS=str(turns), TOOL_TIMEOUT=f"{seconds:.6f}", MAX_BODY_BYTES=str(size))
    assert (settings.port, settings.max_turns, settings.max_body_bytes) == (port, turns, size)
    assert settings.tool_timeout == pytest.approx(seconds, abs=1e-6)


def test_what_is_said_to_the_tests_is_no_setting_and_no_mistake() -> None:
    assert load_settings({"ORCHESTRATOR_TEST_OLLAMA": "/an/ollama"}) == load_settings({})
