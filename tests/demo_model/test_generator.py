"""The generator of conversations: a seed is a conversation, and every conversation is a sound one."""

import hashlib
import json
from collections.abc import Iterator

import jsonschema_rs
import pytest

from demo_model.generator.conversations import Conversation, Conversations
from demo_model.generator.lexicon import Lexicon, lexicon_of, vocabulary_pieces

STAGES = (0.0, 0.3, 1.0)
SEEDS = range(8)
EACH = 25
# What a change of the generator, of its words or of the order of its draws changes: then seeds mean other conversations,
# and the training that README.md describes can no longer be repeated.
PINNED = "3befe09b31d3888007fcb2ca9fd2ca3a24b79d557eb7bfecfd43d070cdd6ee2f"


def fixed_lexicon() -> Lexicon:
    """The same words on every machine and every version of Python."""
    documentation = (
        "abstract",
        "Boolean",
        "code",
        "definition",
        "expression",
        "function",
        "Grammar",
        "iterable",
        "module",
    )
    return lexicon_of(
        documentation, vocabulary_pieces(), ("Africa/Cairo", "America/New_York", "Asia/Tokyo", "Europe/Oslo")
    )


def drawn(seed: int, stage: float, count: int = EACH) -> list[Conversation]:
    conversations = Conversations(seed, fixed_lexicon())
    return [conversations.conversation(stage) for _ in range(count)]


def written(conversations: list[Conversation]) -> str:
    return json.dumps(
        [[item.messages, [tool.schema() for tool in item.tools], item.thoughts] for item in conversations]
    )


def every_conversation() -> Iterator[Conversation]:
    for stage in STAGES:
        for seed in SEEDS:
            yield from drawn(seed, stage)


def test_the_same_seed_gives_the_same_conversations() -> None:
    assert written(drawn(11, 1.0)) == written(drawn(11, 1.0))


def test_another_seed_gives_other_conversations() -> None:
    assert written(drawn(11, 1.0)) != written(drawn(12, 1.0))


def test_a_seed_means_what_it_meant_when_the_model_was_trained() -> None:
    digest = hashlib.sha256()
    for stage in STAGES:
        for seed in SEEDS:
            digest.update(written(drawn(seed, stage)).encode())
    assert digest.hexdigest() == PINNED


def test_the_words_of_this_machine_make_conversations_too() -> None:
    conversations = Conversations(5)
    assert [conversations.conversation(1.0).messages[-1]["role"] for _ in range(20)] == ["assistant"] * 20


def test_turns_follow_each_other_as_a_chat_does() -> None:
    may_follow = {
        "start": {"system", "user"},
        "system": {"user"},
        "user": {"assistant", "call"},
        "call": {"tool"},
        "tool": {"call", "assistant"},
        "assistant": {"user", "end"},
    }
    for conversation in every_conversation():
        kinds = ["call" if "tool_calls" in message else str(message["role"]) for message in conversation.messages]
        before = "start"
        for kind in [*kinds, "end"]:
            assert kind in may_follow[before], conversation.messages
            before = kind


def test_every_assistant_turn_has_a_thought() -> None:
    for conversation in every_conversation():
        turns = [place for place, message in enumerate(conversation.messages) if message["role"] == "assistant"]
        assert [place for place, _ in conversation.thoughts] == turns


def test_every_call_is_of_an_offered_tool_with_arguments_that_its_schema_admits() -> None:
    calls = 0
    for conversation in every_conversation():
        offered = {tool.name: tool.schema() for tool in conversation.tools}
        assert len(offered) == len(conversation.tools)
        for name, arguments in calls_of(conversation):
            schema = json.loads(json.dumps(offered[name]))["function"]["parameters"]
            jsonschema_rs.validate(schema | {"additionalProperties": False}, arguments)
            calls += 1
    assert calls > 500


def test_arguments_come_in_the_order_that_the_engine_asks_for() -> None:
    for conversation in every_conversation():
        tools = {tool.name: tool for tool in conversation.tools}
        for name, arguments in calls_of(conversation):
            parameters = sorted(tools[name].parameters, key=lambda parameter: not parameter.required)
            assert list(arguments) == [item.name for item in parameters if item.name in arguments]


def test_an_answer_quotes_every_result_before_it() -> None:
    for conversation in every_conversation():
        results: list[str] = []
        for message in conversation.messages:
            if message["role"] == "tool":
                results.append(str(message["content"]))
            elif "tool_calls" not in message:
                assert all(result in str(message["content"]) for result in results)
                results.clear()


def calls_of(conversation: Conversation) -> Iterator[tuple[str, dict[str, object]]]:
    for message in json.loads(json.dumps(conversation.messages)):
        for call in message.get("tool_calls", ()):
            yield call["function"]["name"], call["function"]["arguments"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_conversation_is_no_harder_than_its_stage(stage: float) -> None:
    most_tools = {0.0: 2, 0.3: 4, 1.0: 8}[stage]
    conversations = [item for seed in SEEDS for item in drawn(seed, stage)]
    assert max(len(item.tools) for item in conversations) == most_tools
