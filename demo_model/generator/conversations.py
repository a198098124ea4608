"""Whole conversations: the tools at hand, one to four requests, the calls, the results and the answers."""

import json
from dataclasses import dataclass, field, replace
from typing import Final

from demo_model.generator.arithmetic import ArithmeticTools
from demo_model.generator.dice import Dice
from demo_model.generator.kinds import Json
from demo_model.generator.known_tools import FamilyTools, clashes, well_known_tools
from demo_model.generator.lexicon import Lexicon, installed_lexicon
from demo_model.generator.requests import Argument, Requests, enumerate_in_words, finish_sentence, in_call_order
from demo_model.generator.results import Results, ToolResult
from demo_model.generator.small_talk import SmallTalk, refusal
from demo_model.generator.tools import RandomTools, Tool
from demo_model.generator.values import Values

Message = dict[str, Json]

SYSTEM_PROMPTS = (
    "",
    "",
    "",
    "You are a helpful assistant.",
    "You are a helpful assistant",
    "Be brief.",
    "You are a tool-calling assistant.",
    "Use the tools when needed.",
    "Answer in one sentence.",
    "You are a test model.",
)
TWO_STEPS = (
    "First %s, then %s|First %s and then %s|%s and then %s|%s, then %s|%s. Then %s|%s, and after that %s|First %s. Then %s|"
    "1. %s\n2. %s|%s; then %s|%s and %s|Step 1: %s. Step 2: %s"
).split("|")
THREE_STEPS = (
    "First %s, then %s, then %s|%s, then %s, then %s|%s, %s and %s|%s, %s, and finally %s|Do three things: %s, %s and %s|"
    "Step 1: %s. Step 2: %s. Step 3: %s|%s; %s; %s|First %s. Then %s. Then %s|%s and then %s and then %s|"
    "%s, then %s, after that %s|- %s\n- %s\n- %s|%s, then %s, and finally %s|1. %s\n2. %s\n3. %s|"
    "First %s, then %s and finally %s|%s. Then %s. Finally %s"
).split("|")
FOUR_STEPS = (
    "1. %s\n2. %s\n3. %s\n4. %s|First %s, then %s, then %s, then %s|%s. Then %s. Then %s. Finally %s|- %s\n- %s\n- %s\n- %s|"
    "%s, then %s, then %s, and finally %s"
).split("|")
SEQUENCES: Final = {2: TWO_STEPS, 3: THREE_STEPS, 4: FOUR_STEPS}
OPENERS = ["Hi! ", "Hello. ", "Hey, ", "Please ", "Ok, ", "Now ", "Thanks. "]


@dataclass(slots=True)
class Conversation:
    """Messages in OpenAI's shape, and what the model would think before each of its own: (index of the message, thought)."""

    tools: tuple[Tool, ...]
    messages: list[Message] = field(default_factory=list[Message])
    thoughts: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def says(self, role: str, content: str) -> None:
        self.messages.append({"role": role, "content": content})

    def answers(self, content: str, thought: str) -> None:
        self.says("assistant", content)
        self.thoughts.append((len(self.messages) - 1, thought))

    def calls(self, tool: Tool, arguments: list[Argument], thought: str) -> None:
        values: dict[str, Json] = {argument.name: argument.value for argument in in_call_order(tool, arguments)}
        function: Json = {"name": tool.name, "arguments": values}
        call: Json = {"type": "function", "function": function}
        self.messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        self.thoughts.append((len(self.messages) - 1, thought))

    def returns(self, result: ToolResult) -> None:
        self.messages.append({"role": "tool", "content": result.text, "tool_call_id": "x"})


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a request, and the words that ask for it."""

    tool: Tool
    sentence: str
    arguments: list[Argument]

    @property
    def takes_a_result(self) -> bool:
        """Can its first argument come from the step before?"""
        return bool(self.arguments) and self.arguments[0].parameter.json_type in ("number", "integer", "string")


class Conversations:
    """Draws conversations. The `stage`, from 0 to 1, says how hard they may be."""

    def __init__(self, seed: int, lexicon: Lexicon | None = None) -> None:
        self.dice = Dice(seed)
        self.values = Values(self.dice, lexicon or installed_lexicon())
        self.random_tools = RandomTools(self.values)
        self.requests = Requests(self.values)
        self._families = FamilyTools(self.values)
        self._arithmetic = ArithmeticTools(self.values)
        self._results = Results(self.values)
        self._small_talk = SmallTalk(self.values)

    def conversation(self, stage: float) -> Conversation:
        """One conversation of one to four requests."""
        dice = self.dice
        conversation = Conversation(self._offer(stage))
        system = dice.choice(SYSTEM_PROMPTS) if dice.chance(0.93) else self.values.phrase(5, 25).capitalize() + "."
        if system:
            conversation.says("system", system)
        facts: dict[str, str] = {}
        requests = 1 if stage < 0.3 else dice.weighted([1, 2, 3, 4], [52, 28, 13, 7])
        for _ in range(requests):
            if dice.chance(0.045) and self._ask_for_absent_tool(conversation):
                continue
            if not conversation.tools or dice.chance(0.13):
                for words, answer in self._small_talk.exchanges(facts, conversation.tools):
                    conversation.says("user", words)
                    thought = "No tool fits." if answer.startswith("I have no") else "No tool is needed."
                    conversation.answers(answer, thought)
                continue
            self._ask_for_calls(conversation, stage)
        return conversation

    # ---- the tools at hand

    def _known_tool(self) -> Tool:
        kind = self.dice.fraction()
        if kind < 0.58:
            return self._families.tool()
        return self._arithmetic.tool() if kind < 0.82 else self.dice.choice(well_known_tools())

    def _tool_count(self, stage: float) -> int:
        dice = self.dice
        if dice.chance(0.1):
            return 0
        if stage < 0.45 or dice.chance(0.55):
            return dice.between(1, 2 if stage < 0.2 else 4)
        return dice.between(4, 8)

    def _offer(self, stage: float) -> tuple[Tool, ...]:
        dice = self.dice
        count = self._tool_count(stage)
        tools: list[Tool] = []
        meanings: set[str] = set()
        for _ in range(count):
            if dice.chance(0.55):
                tool = self._known_tool()
            else:
                tool = self.random_tools.tool(dice.choice(tools) if tools and dice.chance(0.45) else None)
            if any(tool.name == other.name for other in tools) or clashes(tool.meaning, meanings):
                continue
            tools.append(tool)
            meanings.add(tool.meaning or "")
        return tuple(
            replace(tool, exact=any(tool is not other and tool.shares_noun_with(other) for other in tools))
            for tool in tools
        )

    # ---- requests

    def _ask_for_absent_tool(self, conversation: Conversation) -> bool:
        """Ask for a tool that is not offered; `False` where the tool drawn is too near to one that is."""
        dice, tools = self.dice, conversation.tools
        tool = self._known_tool() if dice.chance(0.5) else self.random_tools.tool()
        meanings = {other.meaning or "" for other in tools}
        if any(tool.name == other.name or tool.shares_noun_with(other) for other in tools):
            return False
        if clashes(tool.meaning, meanings):
            return False
        arguments = self.requests.arguments(tool)
        natural = None
        if not (dice.chance(0.6) or (not tool.sentences and not tool.verb)):
            natural = self.requests.natural(tool)
        if natural:
            conversation.says("user", finish_sentence(dice, natural[0]))
            conversation.answers(refusal(tools), "No tool fits.")
        else:
            conversation.says("user", finish_sentence(dice, self.requests.explicit(tool, arguments)))
            conversation.answers(f"No tool named {tool.name} is available.", "No tool fits.")
        return True

    def _ask_for_calls(self, conversation: Conversation, stage: float) -> None:
        dice, tools = self.dice, conversation.tools
        count = 1 if stage < 0.25 or dice.chance(0.62) else dice.weighted([2, 3, 4], [58, 36, 6])
        if len(tools) >= count and dice.chance(0.7):
            chosen = dice.sample(tools, count)
        else:
            chosen = [dice.choice(tools) for _ in range(count)]
        steps = [Step(tool, *self.requests.request(tool)) for tool in chosen]
        dependent = self._make_dependent(steps) if count > 1 else None
        if count == 1:
            request = finish_sentence(dice, steps[0].sentence)
        else:
            request = finish_sentence(dice, self._sequence([step.sentence for step in steps]))
        if dice.chance(0.06):
            request = dice.choice(OPENERS) + request
        conversation.says("user", request)
        self._call_and_answer(conversation, steps, dependent)

    def _make_dependent(self, steps: list[Step]) -> int | None:
        """Perhaps reword one step so that it takes the result of the step before; returns its index."""
        dice = self.dice
        candidates = [place for place, step in enumerate(steps) if place and step.takes_a_result]
        if not dice.chance(0.3) or not candidates:
            return None
        place = dice.choice(candidates)
        step = steps[place]
        reference = dice.choice(["the result", "that result", "the previous result", f"the result of step {place}"])
        first, *others = step.arguments
        name = step.tool.name
        start = dice.choice([f"call {name} with ", f"use {name} with ", f"run {name} with "])
        words = [f"{first.name}={reference}" if dice.chance(0.7) else reference]
        words += [f"{other.name}={self.requests.say(other, other.is_several_words or None)}" for other in others]
        steps[place] = replace(step, sentence=start + enumerate_in_words(words))
        return place

    def _sequence(self, sentences: list[str]) -> str:
        dice = self.dice
        lowered = [
            text if _begins_with_a_name(text) else text[0].lower() + text[1:] if dice.chance(0.7) else text
            for text in sentences
        ]
        dice.fraction()  # nothing comes of this draw: it is part of what a seed means
        return dice.choice(SEQUENCES[len(sentences)]) % tuple(text.rstrip("?.") for text in lowered)

    def _call_and_answer(self, conversation: Conversation, steps: list[Step], dependent: int | None) -> None:
        results: list[ToolResult] = []
        for place, step in enumerate(steps):
            arguments = step.arguments
            if dependent == place:
                first, *others = arguments
                text = results[-1].text
                value: Json = text if first.parameter.json_type == "string" else json.loads(text)
                arguments = [Argument(first.parameter, value), *others]
            start = "I should call" if place == 0 else "Next I should call"
            conversation.calls(step.tool, arguments, f"{start} {step.tool.name}.")
            result = self._results.result(step.tool, arguments)
            if dependent == place + 1:
                result = self._results.for_next_step(steps[place + 1].arguments[0].parameter.json_type)
            results.append(result)
            conversation.returns(result)
        answer = "\n".join(result.quoted(step.tool.name) for step, result in zip(steps, results, strict=True))
        conversation.answers(answer, "I have the result." if len(steps) == 1 else "I have all results.")


def _begins_with_a_name(sentence: str) -> bool:
    """Does it begin with something that keeps its case: a tool's name or an abbreviation?"""
    return "_" in sentence.split()[0] or (sentence[:1].isupper() and sentence[1:2].isupper())
