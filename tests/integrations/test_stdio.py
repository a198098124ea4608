"""Servers that are child processes, well-behaved and not."""

import sys
from pathlib import Path

import anyio
import psutil
import pytest
from structlog.testing import capture_logs

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import PluginProvider
from orchestrator.core.json_types import JsonObject
from orchestrator.core.materials import Piece
from orchestrator.core.tools import ToolResult
from orchestrator.integrations.redaction import MASK
from tests.integrations.harness import SCOPE, SECRET, catalog_of, faulty, plugin, program, refusal_to_open
from tests.integrations.started import Started

pytestmark = pytest.mark.anyio
TOOLS = program("tool_server.py")
NOTHING: JsonObject = {}


async def test_a_plugin_starts_offers_its_tools_and_answers(tmp_path: Path) -> None:
    async with (
        catalog_of(tmp_path, {"My-Tools": TOOLS}) as catalog,
        catalog.open([plugin("my_tools")], SCOPE) as (session,),
    ):
        assert session.provider == PluginProvider("mcp/My-Tools")
        first = session.tools[0]
        assert (first.name, first.title, first.description) == ("add", "Adder", "Add two numbers.")
        assert first.input_schema["required"] == ["a", "b"]
        assert await session.call_tool("add", {"a": 2, "b": 3}) == ToolResult(
            '[{"text":"5","type":"text"}]', "5", is_error=False, structured='{"result":5}'
        )
        complaint = await session.call_tool("complain", {})
        assert (complaint.text, complaint.is_error) == ("no such thing", True)
        assert (await session.call_tool("picture", {})).text == "look\n[image, image/png, 8 bytes]"


async def test_tools_outside_the_configuration_are_withheld(tmp_path: Path) -> None:
    entry = {**TOOLS, "allowed_tools": ["add", "big", "no-such-tool"]}
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        names = {tool.name for tool in session.tools}
        assert {"add", "big", "wait"} <= names
        assert session.withheld == names - {"add", "big"}


async def test_a_child_sees_little_of_our_environment_and_all_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", "ours")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    async with catalog_of(tmp_path, {"x": TOOLS}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        seen = {
            name: (await session.call_tool("environment", {"name": name})).text
            for name in ("ORCHESTRATOR_API_KEY", "TZ", "SECRET", "PATH")
        }
        folder = (await session.call_tool("folder", {})).text
    assert seen == {
        "ORCHESTRATOR_API_KEY": "(unset)",
        "TZ": "Europe/Berlin",
        "SECRET": SECRET,
        "PATH": f"/usr/bin:/bin:{Path(sys.executable).parent}",
    }
    assert folder == str(tmp_path)


async def test_the_scripts_that_ship_with_us_are_found_after_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder, text in ((ours, "ours"), (theirs, "theirs")):
        folder.mkdir()
        script = folder / "my-mcp"
        script.write_text(f"#!/bin/sh\necho {text} >&2\nexit 1\n")
        script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(ours / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    entries = {"shipped": {"command": "my-mcp"}, "own": {"command": "my-mcp", "env": {"PATH": str(theirs)}}}
    async with catalog_of(tmp_path, entries) as catalog:
        assert "ours" in (await refusal_to_open(catalog, plugin("shipped"))).message
        assert "theirs" in (await refusal_to_open(catalog, plugin("own"))).message


async def test_a_command_with_a_path_is_relative_to_its_folder(tmp_path: Path) -> None:
    script = tmp_path / "server.sh"
    script.write_text("#!/bin/sh\necho it ran >&2\nexit 1\n")
    script.chmod(0o755)
    async with catalog_of(tmp_path, {"x": {"command": "./server.sh"}}) as catalog:
        assert "it ran" in (await refusal_to_open(catalog, plugin())).message


async def test_a_file_that_cannot_be_run_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    async with catalog_of(tmp_path, {"x": {"command": "./text"}}) as catalog:
        assert "cannot be run (Exec format error)" in (await refusal_to_open(catalog, plugin())).message


FAILED_STARTS: list[tuple[object, str]] = [
    ({"command": "no-such-command-7"}, "(stage: start): the command 'no-such-command-7' was not found."),
    ({"command": "./no-such-file"}, "(stage: start): the command './no-such-file' was not found."),
    ({"command": "/dev/null"}, "(stage: start): the command '/dev/null' was not found."),
    ({"command": "sh", "cwd": "nowhere"}, "nowhere' does not exist."),
    (
        faulty("exits before the handshake"),
        "(stage: initialise): it exited with status 7; its last lines were: missing API key | the key ••• is wrong.",
    ),
    (faulty("exits silently"), "(stage: initialise): it exited with status 0."),
    (faulty("closes its output"), "(stage: initialise): it closed its output."),
    (faulty("closes its input"), "(stage: initialise): it closed its input."),
    (faulty("writes a long error"), "| the end."),
    (
        faulty("dies at list"),
        "(stage: list tools): it exited with status 5; its last lines were: cannot list with key •••.",
    ),
    (faulty("refuses to list"), "(stage: list tools): it answered with the error -32603: no key •••."),
    (
        faulty("speaks an unknown version"),
        "(stage: initialise): Unsupported protocol version from the server: 1999-01-01.",
    ),
    (
        faulty("answers initialise with nonsense"),
        "(stage: initialise): its answer does not follow the protocol (capabilities: Field required).",
    ),
    (faulty("lists nonsense"), "(stage: list tools): its answer does not follow the protocol (tools:"),
    (faulty("lists without end"), "(stage: list tools): it lists its tools on more than 100 pages."),
    (faulty("lists too much"), "(stage: list tools): it lists more than 2000 tools."),
]


@pytest.mark.parametrize(("entry", "ending"), FAILED_STARTS)
async def test_a_plugin_that_does_not_start_says_at_which_stage_and_why(
    tmp_path: Path, entry: object, ending: str
) -> None:
    async with catalog_of(tmp_path, {"x": entry}) as catalog:
        refused = await refusal_to_open(catalog, plugin())
    assert (refused.kind, refused.param) == (ErrorKind.PLUGIN_CONNECTION_ERROR, "integrations")
    assert refused.message.startswith("The plugin 'mcp/x' could not be started (stage: ")
    assert ending in refused.message
    assert len(refused.message) < 3000


@pytest.mark.parametrize(
    ("mode", "stage"),
    [("hangs at initialise", "initialise"), ("hangs at list", "list tools"), ("writes only garbage", "initialise")],
)
async def test_a_plugin_that_hangs_is_given_up_at_the_deadline(tmp_path: Path, mode: str, stage: str) -> None:
    ours = Started()
    async with catalog_of(tmp_path, {"x": faulty(mode)}, connect_timeout=1) as catalog:
        with anyio.fail_after(20):
            refused = await refusal_to_open(catalog, plugin())
    assert f"(stage: {stage}): there was no answer within 1 s" in refused.message
    assert ("(standard output, not MCP) Welcome to the server!" in refused.message) is (mode == "writes only garbage")
    assert ours.all() == []


async def test_what_is_no_message_on_standard_output_is_passed_over(tmp_path: Path) -> None:
    entry = faulty("writes garbage first")
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        assert (await session.call_tool("first", {})).text == "0 cancelled"


async def test_tools_are_listed_page_by_page(tmp_path: Path) -> None:
    async with (
        catalog_of(tmp_path, {"x": faulty("lists in pages")}) as catalog,
        catalog.open([plugin()], SCOPE) as (session,),
    ):
        assert [tool.name for tool in session.tools] == ["t0", "t1", "t2"]


async def test_a_server_without_tools_offers_none(tmp_path: Path) -> None:
    async with (
        catalog_of(tmp_path, {"x": faulty("has no tools")}) as catalog,
        catalog.open([plugin()], SCOPE) as (session,),
    ):
        assert session.tools == ()


FAILED_CALLS: list[tuple[str, str]] = [
    ("dies in the call", "it exited with status 9."),
    ("is killed in the call", "it was ended by SIGKILL."),
    ("refuses the call", "it answered with the error -32602: Invalid params, and the key is •••."),
    ("answers the call with nonsense", "its answer does not follow the protocol (content"),
    ("answers the call with no result", "its answer is not a valid MCP message."),
    ("wants input", "it asked for further input more than 10 times."),
    ("writes without end", "it wrote a message of more than 33554432 bytes."),
]


@pytest.mark.parametrize(("mode", "reason"), FAILED_CALLS)
async def test_a_call_without_a_result_says_why_and_the_next_one_works(tmp_path: Path, mode: str, reason: str) -> None:
    async with catalog_of(tmp_path, {"x": faulty(mode)}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        with pytest.raises(OrchestratorError) as caught:
            await session.call_tool("first", {})
        assert caught.value.info.kind is ErrorKind.PLUGIN_CONNECTION_ERROR
        assert caught.value.info.message.startswith("The tool 'first' of 'mcp/x' gave no result: " + reason)
        assert SECRET not in caught.value.info.message
        assert (await session.call_tool("second", {})).text == "0 cancelled"


@pytest.mark.parametrize("mode", ["is mute in the call", "answers another call"])
async def test_a_call_that_takes_too_long_is_cancelled_at_the_server(tmp_path: Path, mode: str) -> None:
    entry = {**faulty(mode), "timeout": 0.3}
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        with pytest.raises(OrchestratorError) as caught:
            await session.call_tool("first", {})
        assert caught.value.info == ErrorInfo(
            ErrorKind.PLUGIN_CONNECTION_ERROR,
            "The tool 'first' of 'mcp/x' gave no result: there was no answer within 0.3 s, so the call was cancelled.",
        )
        assert (await session.call_tool("second", {})).text == "1 cancelled"


async def test_a_call_that_is_cancelled_is_cancelled_at_the_server(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": TOOLS}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        async with anyio.create_task_group() as callers:
            callers.start_soon(session.call_tool, "wait", NOTHING)
            assert (await session.call_tool("add", {"a": 1, "b": 1})).text == "2"
            callers.cancel_scope.cancel()
        assert (await session.call_tool("was_cancelled", {})).text == "true"


async def test_calls_run_side_by_side(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": TOOLS}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        sums: dict[int, str] = {}

        async def add(number: int) -> None:
            sums[number] = (await session.call_tool("add", {"a": number, "b": 1})).text

        async with anyio.create_task_group() as callers:
            callers.start_soon(session.call_tool, "wait", NOTHING)
            async with anyio.create_task_group() as adders:
                for number in range(50):
                    adders.start_soon(add, number)
            callers.cancel_scope.cancel()
        assert sums == {number: str(number + 1) for number in range(50)}


async def test_a_result_that_breaks_its_own_schema_is_kept(tmp_path: Path) -> None:
    entry = faulty("breaks its own output schema")
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        result = await session.call_tool("first", {})
    assert (result.text, result.structured) == ("0 cancelled", '{"n":"not a number"}')


async def test_half_a_surrogate_pair_does_not_lose_the_result(tmp_path: Path) -> None:
    entry = faulty("answers half a surrogate")
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        assert (await session.call_tool("first", {})).text == "a\N{REPLACEMENT CHARACTER}"


async def test_a_large_result_comes_whole(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": TOOLS}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        assert (await session.call_tool("big", {"length": 5_000_000})).text == "x" * 5_000_000


async def test_a_flood_of_notifications_does_not_hide_the_result(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": faulty("floods")}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        assert (await session.call_tool("first", {})).text == "0 cancelled"


async def test_what_a_server_asks_of_us_is_refused_cleanly(tmp_path: Path) -> None:
    async with (
        catalog_of(tmp_path, {"x": faulty("asks for input")}) as catalog,
        catalog.open([plugin()], SCOPE) as (session,),
    ):
        assert (await session.call_tool("first", {})).text == "Sampling not supported"


async def test_an_answer_that_comes_in_several_lines_is_hinted_at_when_it_is_given_up(tmp_path: Path) -> None:
    entry = faulty("answers the call in a batch") | {"timeout": 0.5}
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        with pytest.raises(OrchestratorError, match=r"cancelled; meanwhile it wrote \d+ lines to its standard output"):
            await session.call_tool("first", {})


async def test_an_answer_that_is_nested_too_deeply_fails_its_call_at_once(tmp_path: Path) -> None:
    entry = faulty("answers the call too deeply")
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        with pytest.raises(OrchestratorError) as caught:
            await session.call_tool("first", {})
        assert (await session.call_tool("second", {})).text == "0 cancelled"
    assert (
        caught.value.info.message
        == "The tool 'first' of 'mcp/x' gave no result: its answer is nested too deeply to be read."
    )


async def test_content_of_a_type_that_is_not_known_yet_is_kept_and_described(tmp_path: Path) -> None:
    entry = faulty("answers with content of later revisions")
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        result = await session.call_tool("first", {})
        (piece,) = await session.get_prompt("any", {})
    assert result == ToolResult(
        '[{"type":"hologram","depth":3},{"type":"text","text":"after"}]',
        "[content of type hologram]\nafter",
        is_error=False,
    )
    assert (piece, piece.part) == (Piece("[content of type hologram]"), {"type": "hologram"})


async def test_tools_that_cannot_be_used_are_withheld_with_a_reason_and_take_no_other_down(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": faulty("lists unusable tools")}) as catalog:
        async with catalog.open([plugin()], SCOPE) as (session,):
            assert [tool.name for tool in session.tools] == ["loop", "first", "second"]
            problems = session.problems
            assert (await session.call_tool("second", {})).text == "0 cancelled"
        status = catalog.host.plugin("mcp/x")
        assert status is not None
        protocol = "it does not follow the protocol (description: Input should be a valid string)"
        name = "its name is not printable text of 1 to 256 characters"
        many = "its inputSchema cannot be used: it has more than 50000 parts once its references are followed"
        deep = "its inputSchema cannot be used: it is nested more than 100 levels deep"
        assert status.warnings == (
            "the tool at place 1 is withheld: it is not an object",
            f"the tool at place 2 is withheld: {name}",
            "the tool 'bare' is withheld: it has no inputSchema",
            "the tool 'text' is withheld: its inputSchema is not an object",
            "the tool 'list' is withheld: its inputSchema is not that of an object",
            f"the tool 'large' is withheld: {many}",
            f"the tool 'deep' is withheld: {deep}",
            f"the tool 'odd' is withheld: {protocol}",
            "the tool 'long' is withheld: its inputSchema cannot be used: it has more than 1048576 bytes",
            "the tool 'out' is withheld: its outputSchema is not an object",
        )
        assert problems == status.warnings


async def test_names_in_an_entry_that_the_server_does_not_have_are_told_of_once_its_tools_are_known(
    tmp_path: Path,
) -> None:
    rules = {"always": {"tool_names": ["wipe"]}, "never": {"tool_names": ["second", "wiep"]}}
    entry = {**faulty(""), "allowed_tools": ["first", "nosuch"], "require_approval": rules}
    expected = (
        "its 'allowed_tools' in mcp.json names 'nosuch', which the server does not have",
        "its 'require_approval.always' in mcp.json names 'wipe', which the server does not have: nothing is guarded by it",
        "its 'require_approval.never' in mcp.json names 'wiep', which the server does not have",
    )
    told: list[tuple[str, ...]] = []
    async with catalog_of(tmp_path, {"x": entry}) as catalog:
        with capture_logs() as lines:
            for _ in range(2):
                before = catalog.host.plugin("mcp/x")
                async with catalog.open([plugin()], SCOPE) as (session,):
                    assert before is not None
                    told += [before.warnings, session.problems]
    assert told == [(), expected, expected, expected]
    assert [(line["server"], line["problems"]) for line in lines if "problems" in line] == [("mcp/x", expected)]


async def test_a_long_error_of_a_call_comes_whole_ends_once_and_without_the_secret(tmp_path: Path) -> None:
    entry = faulty("refuses at length")
    async with catalog_of(tmp_path, {"x": entry}) as catalog, catalog.open([plugin()], SCOPE) as (session,):
        with pytest.raises(OrchestratorError) as caught:
            await session.call_tool("first", {})
    said = f"{'x' * 1990} {MASK} {'y' * 300_000}."
    told = f"The tool 'first' of 'mcp/x' gave no result: it answered with the error -32603: {said}"
    assert caught.value.info.message == told


async def test_a_long_reason_is_cut_with_a_notice_after_its_secrets_are_masked(tmp_path: Path) -> None:
    async with catalog_of(tmp_path, {"x": faulty("refuses to list at length")}) as catalog:
        told = (await refusal_to_open(catalog, plugin())).message
    reason = f"it answered with the error -32603: {'x' * 1961} {MASK}"  # the secret stood where it is cut
    cut = f"{reason} … (cut: {len(reason) + 300_002} characters in all)."
    assert told == f"The plugin 'mcp/x' could not be started (stage: list tools): {cut}"


@pytest.mark.parametrize("mode", ["ignores every request to end", "leaves a child behind", "is mute in the call"])
async def test_nothing_of_a_server_is_left_after_its_end(tmp_path: Path, mode: str) -> None:
    ours = Started()
    async with catalog_of(tmp_path, {"x": faulty(mode)}) as catalog:
        async with catalog.open([plugin()], SCOPE) as (session,):
            await session.call_tool("second", {})
        started = ours.all()
        assert len(started) == (2 if mode == "leaves a child behind" else 1)
    gone, alive = psutil.wait_procs(started, timeout=10)
    assert (len(gone), alive) == (len(started), [])


async def test_nothing_of_a_server_is_left_when_we_are_cancelled(tmp_path: Path) -> None:
    started: list[psutil.Process] = []
    ours = Started()
    with anyio.CancelScope() as scope:
        async with catalog_of(tmp_path, {"x": faulty("leaves a child behind")}) as catalog:
            async with catalog.open([plugin()], SCOPE):
                started += ours.all()
                assert len(started) == 2
                scope.cancel()
                await anyio.sleep_forever()
    gone, alive = psutil.wait_procs(started, timeout=10)
    assert (len(gone), alive) == (2, [])
