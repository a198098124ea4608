"""Asking the cases of a set and judging the replies, by exact match of the tool's name and all arguments."""

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo_model.evaluation.engine import Engine, Message, Reply
from demo_model.evaluation.sets import CallCase, ExpectedCall, JsonObject, PlainCase, SequenceCase
from demo_model.generator.conversations import Conversations
from demo_model.generator.requests import finish_sentence
from demo_model.generator.tools import Tool

ALIKE = ({"get-sum", "add"},)  # tools that the same prompt could mean: never offered together
RANDOM_TOOLS_SEED = 424242


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one case went: what was right, and `None` where the case does not ask for it.

    `tool`: the right tool, `call`: with the right arguments, `answer`: the last answer is right, `thought`: the reasoning names the tool.
    """

    about: str
    offered: int
    tool: bool | None = None
    call: bool | None = None
    answer: bool | None = None
    thought: bool | None = None


@dataclass(slots=True)
class Examination:
    """One set's tools, and the draws that say which others are offered beside the wanted one."""

    engine: Engine
    tools: dict[str, JsonObject]
    dice: random.Random
    failures: list[JsonObject] = field(default_factory=list[JsonObject])

    def offer(self, needed: Sequence[str], count: int) -> list[JsonObject]:
        """`count` tools in a drawn order, the needed ones among them."""
        alike = {name for group in ALIKE if group & set(needed) for name in group}
        others = [name for name in self.tools if name not in needed and name not in alike]
        distinct = list(dict.fromkeys(needed))
        names = distinct + self.dice.sample(others, max(0, count - len(distinct)))
        self.dice.shuffle(names)
        return [self.tools[name] for name in names]

    def calls(self, cases: Iterable[CallCase], counts: Sequence[int], *, thinking: bool = False) -> list[Outcome]:
        """Ask each case once for each number of offered tools. The answer is judged with the right call in the history."""
        outcomes: list[Outcome] = []
        for case in cases:
            for count in counts:
                expected = case.expected
                tools = self.offer([expected.tool], count)
                messages: list[Message] = [{"role": "user", "content": case.prompt}]
                reply = self.engine.chat(messages, tools, thinking=thinking)
                call_right = self._judge_call(case.prompt, count, expected, reply)
                answer = self.engine.chat([*messages, *call_and_result(expected)], tools, thinking=thinking)
                answer_right = expected.result in answer.content and not answer.tool_calls
                if not answer_right:
                    self._note(case.prompt, count, expected.result, answer)
                outcomes.append(
                    Outcome(
                        expected.tool,
                        count,
                        tool=reply.called == expected.tool,
                        call=call_right,
                        answer=answer_right,
                        thought=expected.tool in reply.reasoning if thinking else None,
                    )
                )
        return outcomes

    def random_tools(self, count: int) -> list[Outcome]:
        """Ask for one of one to eight tools that the generator makes up."""
        conversations = Conversations(RANDOM_TOOLS_SEED)
        outcomes: list[Outcome] = []
        for _ in range(count):
            tools = self._random_offer(conversations)
            tool = self.dice.choice(tools)
            sentence, arguments = conversations.requests.request(tool)
            prompt = finish_sentence(conversations.dice, sentence)
            expected = ExpectedCall(tool.name, {argument.name: argument.value for argument in arguments}, "")
            reply = self.engine.chat([{"role": "user", "content": prompt}], [item.schema() for item in tools])
            call_right = self._judge_call(prompt, len(tools), expected, reply)
            outcomes.append(Outcome(tool.name, len(tools), tool=reply.called == tool.name, call=call_right))
        return outcomes

    def _random_offer(self, conversations: Conversations) -> list[Tool]:
        tools: list[Tool] = []
        for _ in range(self.dice.randint(1, 8)):
            near = self.dice.choice(tools) if tools and self.dice.random() < 0.35 else None
            tool = conversations.random_tools.tool(near)
            if all(tool.name != other.name for other in tools):
                tools.append(tool)
        return tools

    def sequences(self, cases: Iterable[SequenceCase], counts: Sequence[int]) -> list[Outcome]:
        """Ask for several calls; the history is the model's own. A count of 0 means: just the tools that are needed."""
        outcomes: list[Outcome] = []
        for case in cases:
            for count in counts:
                tools = self.offer([call.tool for call in case.expected], count)
                outcomes.append(self._sequence(case, tools))
        return outcomes

    def _sequence(self, case: SequenceCase, tools: list[JsonObject]) -> Outcome:
        messages: list[Message] = [{"role": "user", "content": case.prompt}]
        order_right = calls_right = True
        for expected in case.expected:
            reply = self.engine.chat(messages, tools)
            calls_right &= self._judge_call(case.prompt, len(tools), expected, reply)
            order_right &= reply.called == expected.tool
            if not isinstance(reply.arguments, dict):
                break  # such a call must not go into the history
            messages.append({"role": "assistant", "content": "", "tool_calls": list(reply.tool_calls)})
            call_id = reply.tool_calls[0].get("id") or "x"
            messages.append({"role": "tool", "tool_call_id": call_id, "content": expected.result})
        answer = self.engine.chat(messages, tools) if calls_right else Reply()
        answer_right = not answer.tool_calls and all(call.result in answer.content for call in case.expected)
        if calls_right and not answer_right:
            self._note(case.prompt, len(tools), [call.result for call in case.expected], answer)
        return Outcome(case.prompt, len(tools), tool=order_right, call=calls_right, answer=calls_right and answer_right)

    def plain(self, cases: Iterable[PlainCase]) -> list[Outcome]:
        """Turns that need no tool."""
        outcomes: list[Outcome] = []
        for case in cases:
            tools = self.offer(["printEnv"], 4) if case.with_tools else []
            messages: list[Message] = []
            answer = Reply()
            for turn in case.turns:
                messages.append({"role": "user", "content": turn})
                answer = self.engine.chat(messages, tools)
                messages.append({"role": "assistant", "content": answer.content})
            content = answer.content
            right = bool(content) and case.expected.lower() in content.lower() and not answer.tool_calls
            if not right:
                self._note(case.turns[-1], len(tools), case.expected, answer)
            outcomes.append(Outcome(case.turns[-1], len(tools), answer=right))
        return outcomes

    def failures_reported(self, failures: Iterable[str], cases: Sequence[CallCase]) -> list[Outcome]:
        """Is a failed result reported as a failure, word for word?"""
        outcomes: list[Outcome] = []
        for failure, case in zip(failures, cases, strict=False):
            tools = self.offer([case.expected.tool], 3)
            failed = ExpectedCall(case.expected.tool, case.expected.arguments, failure)
            reply = self.engine.chat([{"role": "user", "content": case.prompt}, *call_and_result(failed)], tools)
            right = "failed" in reply.content and failure in reply.content and not reply.tool_calls
            if not right:
                self._note(case.prompt, 3, failure, reply)
            outcomes.append(Outcome(failure, 3, answer=right))
        return outcomes

    def absent_refused(self, prompts: Iterable[str], counts: Sequence[int]) -> list[Outcome]:
        """Is a request for a tool that is not offered refused, without a call?"""
        outcomes: list[Outcome] = []
        for prompt in prompts:
            for count in counts:
                tools = self.offer([], count) if count else []
                reply = self.engine.chat([{"role": "user", "content": prompt}], tools)
                right = "no tool" in reply.content.lower() and not reply.tool_calls
                if not right:
                    self._note(prompt, count, "no tool", reply)
                outcomes.append(Outcome(prompt, count, answer=right))
        return outcomes

    def _judge_call(self, prompt: str, count: int, expected: ExpectedCall, reply: Reply) -> bool:
        right = reply.called == expected.tool and reply.arguments == expected.arguments
        if not right:
            self._note(prompt, count, {"tool": expected.tool, "arguments": expected.arguments}, reply)
        return right

    def _note(self, prompt: str, offered: int, expected: Any, reply: Reply) -> None:
        got: JsonObject = {"content": reply.content}
        if reply.tool_calls:
            got = {"tool": reply.called, "arguments": reply.arguments}
        if reply.error is not None:
            got = {"error": reply.error}
        self.failures.append({"prompt": prompt, "offered": offered, "expected": expected, "got": got})


def call_and_result(expected: ExpectedCall) -> list[Message]:
    """The right call and its result, as the history has them."""
    function = {"name": expected.tool, "arguments": json.dumps(expected.arguments)}
    return [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": expected.result},
    ]
