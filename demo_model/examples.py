"""Training examples: conversations rendered with the chat template, cut into what is given and what is to be learned."""

import json
from collections.abc import Iterator
from functools import cache

import jinja2

from demo_model.files import TEMPLATE
from demo_model.generator.conversations import Conversation, Conversations
from demo_model.tokens import Encoder, Segment

ASSISTANT = "<|im_start|>assistant\n"
END = "<|im_end|>"
LONGEST = 1100  # ids of one example
VARIANTS = 24
VARIANT_SHARE = 0.35
THINKING_SHARE = 0.12


@cache
def chat_template() -> jinja2.Template:
    """The template of the GGUF, with `tojson` as llama.cpp's has it (no escapes for HTML)."""
    environment = jinja2.Environment()
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def example(conversations: Conversations, stage: float) -> list[Segment]:
    """Draw one conversation and render it; one in eight ends in an assistant turn with thinking."""
    conversation = conversations.conversation(stage)
    if conversations.dice.chance(THINKING_SHARE):
        index, thought = conversations.dice.choice(conversation.thoughts)
        return _with_thinking(conversation, index, thought)
    text = _render(conversation, len(conversation.messages), prompt=False, thinking=False)
    return _segments(text)


def _render(conversation: Conversation, count: int, *, prompt: bool, thinking: bool) -> str:
    return chat_template().render(
        messages=conversation.messages[:count],
        tools=[tool.schema() for tool in conversation.tools] or None,
        add_generation_prompt=prompt,
        enable_thinking=thinking,
    )


def _target(text: str) -> int:
    return 2 if "<tool_call>" in text else 1


def _segments(text: str) -> list[Segment]:
    """Assistant turns with their end are to be learned, everything else is given."""
    start, *turns = text.split(ASSISTANT)
    segments: list[Segment] = [(start, 0)]
    for turn in turns:
        learned, given = turn.split(END, 1)
        segments += [(ASSISTANT, 0), (learned + END, _target(learned)), (given, 0)]
    return segments


def _with_thinking(conversation: Conversation, index: int, thought: str) -> list[Segment]:
    """The conversation up to the message at `index`, which is to be learned with the thought before it."""
    given = _render(conversation, index, prompt=True, thinking=True)
    head, _ = given.rsplit(ASSISTANT + "<think>\n", 1)
    turn = chat_template().render(
        messages=[{"role": "user", "content": "x"}, conversation.messages[index]], add_generation_prompt=False
    )
    learned = thought + "\n</think>\n\n" + turn.split(ASSISTANT)[1][:-1]
    return [*_segments(head), (ASSISTANT + "<think>\n", 0), (learned, _target(learned))]


def encoded_examples(
    seed: int, stage: float, count: int, *, variants: bool = True
) -> Iterator[tuple[list[int], list[int]]]:
    """`count` examples as (ids, targets); with `variants` a third of them are split finer (see `Encoder`)."""
    conversations = Conversations(seed)
    encoder = Encoder(VARIANTS if variants else 0, seed)
    dice = conversations.dice
    made = 0
    while made < count:
        finer = encoder.variants > 0 and dice.chance(VARIANT_SHARE)
        variant = dice.between(1, encoder.variants) if finer else 0
        ids, targets = encoder.encode(example(conversations, stage), variant)
        if len(ids) <= LONGEST:
            made += 1
            yield ids, targets
