"""What a stream looks like in a terminal."""

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.wire import (
    ChatReply,
    ChatStats,
    EphemeralProviderInfo,
    ErrorBody,
    InvalidCallMetadata,
    PluginProviderInfo,
)
from orchestrator.api.wire_events import (
    ChatEnd,
    ChatStart,
    ErrorEvent,
    MessageDelta,
    MessageEnd,
    MessageStart,
    ModelLoadEnd,
    ModelLoadProgress,
    ModelLoadStart,
    PromptProcessingEnd,
    PromptProcessingProgress,
    PromptProcessingStart,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    RequestWarning,
    ToolCallArguments,
    ToolCallFailure,
    ToolCallName,
    ToolCallStart,
    ToolCallSuccess,
    WireEvent,
)
from orchestrator.cli.terminal_stream import BAD, CALL, QUIET, WARNING, Piece, TerminalStream, UnknownEvent
from orchestrator.cli.terminal_text import arguments_text, output_text, visible

CLOCK = PluginProviderInfo("mcp/clock")
STATS = ChatStats(
    input_tokens=359,
    total_output_tokens=218,
    reasoning_output_tokens=24,
    tokens_per_second=41.0977,
    time_to_first_token_seconds=1.367,
)
ID = "resp_" + "0" * 48


def shown(*events: WireEvent | UnknownEvent) -> list[Piece]:
    stream = TerminalStream()
    return [piece for event in events for piece in stream.pieces(event)]


def text(*events: WireEvent | UnknownEvent) -> str:
    return "".join(piece.text for piece in shown(*events))


def content(*texts: str) -> str:
    return json.dumps([{"type": "text", "text": text} for text in texts])


def test_a_whole_chat_reads_from_top_to_bottom() -> None:
    arguments = {"timezone": "Asia/Tokyo"}
    reply = ChatReply(model_instance_id="m", output=[], stats=STATS, response_id=ID, status="completed")
    assert shown(
        ChatStart("m", ID),
        ModelLoadStart("m"),
        ModelLoadProgress("m", 0.1),
        ModelLoadProgress("m", 0.6),
        ModelLoadProgress("m", 1.0),
        ModelLoadEnd("m", 0.42),
        PromptProcessingStart(),
        PromptProcessingProgress(0.5),
        PromptProcessingEnd(),
        ReasoningStart(),
        ReasoningDelta("Let me "),
        ReasoningDelta("see."),
        ReasoningEnd(),
        ToolCallStart("c1", "get_time", CLOCK),
        ToolCallName("c1", "get_time", CLOCK),
        ToolCallArguments("c1", "get_time", arguments, CLOCK),
        ToolCallSuccess("c1", "get_time", arguments, content("12:00", "noon"), CLOCK, is_error=False, duration_ms=7),
        MessageStart(),
        MessageDelta("It is "),
        MessageDelta("12:00."),
        MessageEnd(),
        ChatEnd(reply),
    ) == [
        Piece("loading m …", QUIET),
        Piece(" 50 %", QUIET),
        Piece(" 0.4 s", QUIET),
        Piece("\n"),
        Piece("Let me ", QUIET),
        Piece("see.", QUIET),
        Piece("\n"),
        Piece('→ get_time(timezone="Asia/Tokyo")', CALL),
        Piece("  mcp/clock\n", QUIET),
        Piece("← get_time", CALL),
        Piece("  7 ms\n", QUIET),
        Piece("  12:00\n  noon\n", QUIET),
        Piece("It is "),
        Piece("12:00."),
        Piece("\n"),
        Piece("359 tokens in · 218 out (24 reasoning) · 41.1 tokens/s · first after 1.37 s\n", QUIET),
        Piece(f"{ID}\n", QUIET),
    ]


def test_what_goes_wrong_is_red() -> None:
    bad = InvalidCallMetadata(type="invalid_name", tool_name="fly")
    failed = ToolCallSuccess("c1", "add", {}, content("no such thing"), CLOCK, is_error=True, duration_ms=3)
    assert shown(
        failed,
        ToolCallFailure("c2", "Cannot find tool\nwith name fly.", bad),
        RequestWarning("too many\ntools"),
        ErrorEvent(ErrorBody(type="internal_error", message="the engine broke")),
    ) == [
        Piece("✗ add", BAD),
        Piece("  3 ms\n", QUIET),
        Piece("  no such thing\n", BAD),
        Piece("✗ fly: Cannot find tool with name fly.\n", BAD),
        Piece("warning: too many tools\n", WARNING),
        Piece("error: the engine broke\n", BAD),
    ]


def test_a_reply_that_was_not_completed_says_what_became_of_it() -> None:
    stats = ChatStats(0, 0, 0, 0.0, 0.0, unknown=["tokens_per_second", "time_to_first_token_seconds", "input_tokens"])
    cut = ChatReply(model_instance_id="m", output=[], stats=stats, status="incomplete", incomplete_reason="max_turns")
    assert shown(ChatEnd(cut)) == [Piece("incomplete (max_turns)\n", WARNING), Piece("0 out\n", QUIET)]


def test_a_line_that_was_left_open_is_ended_before_a_call() -> None:
    arguments = ToolCallArguments("c", "t", {}, EphemeralProviderInfo("web"))
    assert text(MessageDelta("so"), arguments) == "so\n→ t()  web\n"
    assert text(MessageDelta("so\n"), arguments) == "so\n→ t()  web\n"


def test_an_event_of_another_version_is_a_warning_with_its_content() -> None:
    assert shown(UnknownEvent('{"type":"new.thing"}')) == [
        Piece('an event of a kind that this version does not know: {"type":"new.thing"}\n', WARNING)
    ]


def test_long_outputs_and_arguments_are_shortened_and_say_so() -> None:
    assert output_text(content("\n".join(f"line {number}" for number in range(20)))).endswith(
        "line 7\n… (12 more lines)"
    )
    assert output_text(content("x" * 1000)) == "x" * 600 + "… (400 more characters)"
    assert arguments_text({"text": "x" * 1000}).endswith("… (607 more characters)")


def test_outputs_that_are_no_content_array_are_shown_as_they_are() -> None:
    assert output_text("plain") == "plain"
    assert output_text("[]", '{"n":5}') == '{"n":5}'
    assert output_text(content("five"), '{"n":5}') == "five"
    assert output_text('{"a": 1}') == '{"a": 1}'
    assert output_text('["a", {"type": "image", "data": "…"}, {}]') == "a\n(image)\n(a part without a type)"


def test_no_escape_sequence_of_a_model_or_a_tool_reaches_the_terminal() -> None:
    evil = "\x1b]0;title\x07\x1b[31m\u202eevil\x9b\r"
    printed = text(
        MessageDelta(evil),
        ToolCallArguments("c", evil, {evil: evil}, PluginProviderInfo(evil)),
        ToolCallSuccess("c", evil, {}, content(evil), CLOCK, is_error=False, duration_ms=1),
        ToolCallFailure("c", evil, InvalidCallMetadata(type="invalid_name", tool_name=evil)),
        ErrorEvent(ErrorBody(type="unknown", message=evil)),
        UnknownEvent(evil),
    )
    assert {character for character in printed if unicodedata.category(character)[0] == "C"} == {"\n"}


@given(st.text())
def test_visible_text_has_no_control_characters_and_keeps_everything_else(written: str) -> None:
    kept = visible(written)
    assert len(kept) == len(written)
    assert all(new == old or new == "\ufffd" for new, old in zip(kept, written, strict=True))
    assert not any(
        unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\n\t" for character in kept
    )
