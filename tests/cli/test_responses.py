"""`orchestrator responses` where no service is needed: what is refused, and how what a service says is shown."""

from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from rich.console import Console

from orchestrator.api.wire import (
    ErrorBody,
    ForkedFrom,
    InvalidCallMetadata,
    InvalidToolCallOutput,
    MessageOutput,
    PluginProviderInfo,
    ReasoningOutput,
    StoredImageInput,
    StoredTextInput,
)
from orchestrator.api.wire_branches import (
    ChangeEntry,
    ComparedResponseEntry,
    ComparedToolEntry,
    DifferenceEntry,
    DiffReply,
    ItemEntry,
    NotRunEntry,
    ReplayReportReply,
)
from orchestrator.api.wire_graph import CallsBefore, ResponseDetailReply, ResponseEntry
from orchestrator.cli.responses_output import REASONS, print_diff, print_report, print_response, print_tree
from orchestrator.core.replay_report import NotRunReason
from tests.cli.model_server import STATS
from tests.cli.program import run

CLOCK = PluginProviderInfo("mcp/clock")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def shown(capsys: pytest.CaptureFixture[str], show: Any, *values: Any) -> list[str]:
    show(Console(highlight=False, soft_wrap=True, width=80), *values)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("fork", "resp_a", "--error"), "--error goes with --output"),
        (("fork", "resp_a", "--call", "c", "--arguments", "[]"), "arguments are a JSON object"),
        (("list", "--metadata", "ticket"), "--metadata takes KEY=VALUE"),
        (("list", "--status", "done"), "is not one of"),
        (("replay", "resp_a", "--tools", "both"), "is not one of"),
        (("replay", "resp_a", "--ignore", "all"), "is not one of"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_wrong_use(arguments: tuple[str, ...], told: str) -> None:
    result = run("responses", *arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.replace("│", " ").split())


def test_a_service_that_does_not_answer_is_named() -> None:
    for arguments in (("list",), ("show", "resp_a"), ("diff", "a", "b"), ("replay", "resp_a"), ("fork", "resp_a")):
        result = run("responses", *arguments, "--url", "http://127.0.0.1:9")
        assert (result.exit_code, "no service answers at http://127.0.0.1:9" in result.stderr) == (1, True), arguments


def test_a_response_is_shown_whole_on_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    reply = ResponseDetailReply(
        response_id="resp_b",
        previous_response_id="resp_a",
        root_id="resp_a",
        depth=1,
        owner="ada",
        model="m",
        model_instance_id="m",
        status="incomplete",
        incomplete_reason="max_turns",
        error=ErrorBody("internal_error", "It\nbroke."),
        forked_from=ForkedFrom("resp_x", 2),
        replay_of="resp_y",
        system_prompt="Be\nbrief.",
        input=[StoredTextInput("Hello\nthere"), StoredImageInput("data:x")],
        output=[
            ReasoningOutput("Hm."),
            InvalidToolCallOutput("No such tool.", InvalidCallMetadata("invalid_name", "fly")),
            MessageOutput("a\x1b[31mb"),
        ],
        stats=STATS,
        parameters={"seed": 1},
        metadata={"ticket": "7"},
        created_at=NOON,
        ended_at=None,
        children=["resp_c"],
        children_count=2,
        tools=[],
        goes_on_from=CallsBefore("resp_a", ["call_1", "call_2"]),
    )
    assert shown(capsys, print_response, reply) == [
        "response:      resp_b",
        "after:         resp_a",
        "goes on from:  call_1, call_2 of resp_a, when they were decided about",
        "left:          resp_x at 2",
        "replay of:     resp_y",
        "continued by:  resp_c …",
        "owner:         ada",
        "model:         m",
        "status:        incomplete (max_turns)",
        "error:         It broke.",
        "began:         2026-03-01 12:00:00 UTC",
        'settings:      {"seed": 1}',
        'metadata:      {"ticket": "7"}',
        "system prompt: Be brief.",
        "input",
        "    0  Hello there",
        "    1  [image, 6 characters]",
        "output",
        "    0  reasoning  Hm.",
        "    1  invalid    fly: No such tool.",
        "    2  message    a�[31mb",
    ]


def entry(id: str, previous: str | None = None, **more: Any) -> ResponseEntry:
    whole = ResponseEntry(
        response_id=id,
        previous_response_id=previous,
        root_id="resp_a",
        depth=0,
        owner="ada",
        model="m",
        status="completed",
        metadata={},
        input_preview="Hi",
        output_preview="Ho",
        created_at=NOON,
        ended_at=None,
    )
    return replace(whole, **more)


def test_a_tree_shows_who_continues_whom(capsys: pytest.CaptureFixture[str]) -> None:
    entries = [
        entry("resp_a"),
        entry("resp_r", replay_of="resp_a"),
        entry("resp_b", "resp_a"),
        entry("resp_c", "resp_a", forked_from=ForkedFrom("resp_b", 1)),
        entry("resp_d", "resp_b", status="failed"),
    ]
    assert [line.rstrip() for line in shown(capsys, print_tree, entries, "resp_b")] == [
        "├── resp_a  completed  Hi → Ho",
        "│   ├── resp_b  completed  Hi → Ho",
        "│   │   └── resp_d  failed  Hi → Ho",
        "│   └── resp_c  completed  Hi → Ho  left resp_b at 1",
        "└── resp_r  completed  Hi → Ho  replay of resp_a",
    ]


def test_a_comparison_shows_what_is_alone_and_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    added = ItemEntry(
        status="added", type="message", position_b=1, shared=False, changes=[ChangeEntry("content", UNSET, "New")]
    )
    kept = ItemEntry(
        status="equal",
        type="tool_call",
        position_a=0,
        position_b=0,
        tool="now",
        provider_info=CLOCK,
        shared=True,
        changes=[],
    )
    pair = ComparedResponseEntry(
        status="changed",
        a="resp_b",
        b="resp_c",
        changes=[ChangeEntry("parameters.seed", 1, 2)],
        tools=[
            ComparedToolEntry(
                status="added", tool="now", provider_info=CLOCK, definition_digest_b="sha256:0123456789abcdef"
            )
        ],
        input=[],
        output=[kept, added],
    )
    alone = ComparedResponseEntry(status="removed", a="resp_d", b=None, changes=[], tools=[], input=[], output=[])
    reply = DiffReply(
        a="resp_d", b="resp_c", equal=False, common_ancestor="resp_a", shared_responses=1, responses=[pair, alone]
    )
    assert shown(capsys, print_diff, reply) == [
        "1 response in common, up to resp_a",
        "~ resp_b  |  resp_c",
        "    parameters.seed: 1 → 2",
        "  + tool mcp/clock/now: none → sha256:0123456789ab",
        "  = output 0  tool_call  now  (one and the same)",
        "  + output ·|1  message",
        "        content: New",
        "- resp_d  |  nothing",
    ]


def test_a_report_tells_why_calls_were_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(REASONS) == set(get_args(NotRunReason))
    report = ReplayReportReply(
        response_id="resp_b",
        replay_of="resp_a",
        tools="stored",
        status="completed",
        equal=False,
        differences=[
            DifferenceEntry(type="text", position_a=0, position_b=0, changes=[ChangeEntry("content", "A", "B")]),
            DifferenceEntry(type="status", changes=[ChangeEntry("status", "completed", "failed")]),
        ],
        not_run=[
            NotRunEntry(call_id="call_1", position=1, tool="now", provider_info=CLOCK, reason="tools_stored"),
            NotRunEntry(call_id="call_2", position=2, tool="now", provider_info=CLOCK, reason="nothing_stored"),
        ],
    )
    assert shown(capsys, print_report, report) == [
        "resp_b is resp_a again, with stored tools: completed",
        "~ text at output 0",
        "    content: A → B",
        "~ status",
        "    status: completed → failed",
        "  not run: mcp/clock/now at output 2: the original never asked this",
        "2 differences",
    ]
