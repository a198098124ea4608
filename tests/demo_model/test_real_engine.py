"""The shipped model in the real engine: pinned prompts that a first run may rely on."""

from collections.abc import Generator
from pathlib import Path

import pytest

from demo_model.evaluate import by_name
from demo_model.evaluation.engine import Engine, EngineStartError, Message, running_engine
from demo_model.evaluation.examination import call_and_result
from demo_model.evaluation.sets import ExpectedCall, evaluation_set
from demo_model.files import SHIPPED_MODEL
from demo_model.tokens import Encoder

PROMPT = "Use get-sum with a=17 and b=25"
MARKUP = (
    '<|im_start|>user\nUse `x_1` with a="é", 7\n<|im_end|>\n<tool_call>\n{"name": "kv_get", "arguments": {"key": "k"}}'
)


@pytest.fixture(scope="module")
def engine() -> Generator[Engine]:
    with running_engine(SHIPPED_MODEL) as running:
        yield running


def offered() -> list[Message]:
    tools = by_name(evaluation_set("held_out").tools)
    return [tools[name] for name in ("kv_get", "get-sum", "search_docs")]


def test_a_pinned_prompt_calls_the_tool_with_the_right_arguments_and_then_quotes_the_result(engine: Engine) -> None:
    question: Message = {"role": "user", "content": PROMPT}
    reply = engine.chat([question], offered())
    assert (reply.called, reply.arguments, reply.error) == ("get-sum", {"a": 17, "b": 25}, None)

    call = ExpectedCall("get-sum", {"a": 17, "b": 25}, "42")
    answer = engine.chat([question, *call_and_result(call)], offered())
    assert (answer.content, answer.tool_calls) == ("The result of get-sum is 42.", ())


def test_with_thinking_the_reasoning_comes_apart_from_the_call(engine: Engine) -> None:
    reply = engine.chat([{"role": "user", "content": PROMPT}], offered(), thinking=True)
    assert (reply.reasoning, reply.called, reply.content) == ("I should call get-sum.\n", "get-sum", "")


def test_a_greeting_is_answered_without_tools(engine: Engine) -> None:
    reply = engine.chat([{"role": "user", "content": "Hello!"}])
    assert (reply.content, reply.tool_calls) == ("Hello! How can I help you?", ())


def test_our_encoder_splits_text_as_the_engine_does(engine: Engine) -> None:
    assert Encoder().encode([(MARKUP, 0)])[0] == engine.tokenize(MARKUP)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF, it says")
    with pytest.raises(EngineStartError, match="before it was ready"), running_engine(broken):
        pass
