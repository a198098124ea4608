"""What a user says to have a tool called, with the arguments that the right call has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from demo_model.generator.dice import Dice
from demo_model.generator.kinds import KINDS, Json
from demo_model.generator.tools import Parameter, Tool
from demo_model.generator.values import Values

ASKED_FOR = frozenset({"get", "fetch", "check", "lookup", "find", "read"})
QUESTION_STARTS = ("what", "how", "can", "could", "who", "is ")


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter with its value."""

    parameter: Parameter
    value: Json

    @property
    def name(self) -> str:
        return self.parameter.name

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, int | float) and not isinstance(self.value, bool)

    @property
    def is_several_words(self) -> bool:
        return isinstance(self.value, str) and " " in self.value


def enumerate_in_words(items: Sequence[Json], last: str = " and ") -> str:
    """`a, b and c`."""
    texts = [str(item) for item in items]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + last + texts[-1]


def in_call_order(tool: Tool, arguments: list[Argument]) -> list[Argument]:
    """The order that llama.cpp's grammar wants: the required ones first, each part as the schema has it."""
    names = [parameter.name for parameter in tool.parameters]
    return sorted(arguments, key=lambda argument: (not argument.parameter.required, names.index(argument.name)))


def finish_sentence(dice: Dice, sentence: str) -> str:
    """Capitalise (mostly) and end with a sign that fits, or none."""
    is_question = sentence.lower().startswith(QUESTION_STARTS)
    if dice.chance(0.7) and "_" not in sentence.split()[0]:
        sentence = sentence[0].upper() + sentence[1:]
    if sentence[-1] in "?.!":
        return sentence
    return sentence + dice.choice(["?", "?", ""] if is_question else [".", ".", "", "", "!"])


class Requests:
    """Draws the wording and the arguments of one request."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._dice = values.dice

    def request(self, tool: Tool) -> tuple[str, list[Argument]]:
        """A sentence without its end, and the arguments it asks for."""
        arguments = self.arguments(tool, 0.2 if self._dice.chance(0.5) else 0.6)
        if self._dice.chance(0.8 if tool.sentences else 0.55):
            natural = self.natural(tool, arguments)
            if natural:
                return natural
        return self.explicit(tool, arguments), arguments

    def arguments(self, tool: Tool, optional: float = 0.35) -> list[Argument]:
        """Values for the required parameters, and for each of the others with the probability `optional`."""
        chosen = [parameter for parameter in tool.parameters if parameter.required]
        chosen += [parameter for parameter in tool.parameters if not parameter.required and self._dice.chance(optional)]
        return [self._argument(parameter) for parameter in chosen]

    def _argument(self, parameter: Parameter) -> Argument:
        if parameter.choices:
            return Argument(parameter, self._dice.choice(parameter.choices))
        return Argument(parameter, KINDS[parameter.kind].value(self._values))

    def say(self, argument: Argument, quote: bool | None = None) -> str:
        """The value as a user would write it; `quote`: in quotes, not in quotes, or as it comes."""
        dice, value = self._dice, argument.value
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            words, bare, written = enumerate_in_words(value), ", ".join(map(str, value)), json.dumps(value)
            return dice.choice([words, words, bare, written])
        if not isinstance(value, str):
            return str(value)
        if quote is None:
            quote = dice.chance(0.25 if KINDS[argument.parameter.kind].bare else 0.75)
        if not quote:
            return value
        mark = dice.choice(['"', '"', "`"] if "'" in value else ["'", "'", '"', "`"])
        return f"{mark}{value}{mark}"

    def say_among(self, argument: Argument, count: int) -> str:
        """The value where `count` arguments follow each other: several words are then put in quotes."""
        return self.say(argument, True if count > 1 and argument.is_several_words else None)

    # ---- naming the tool

    def explicit(self, tool: Tool, arguments: list[Argument]) -> str:
        """A request that names the tool and its parameters."""
        dice = self._dice
        name = dice.choice([tool.name] * 5 + [f"`{tool.name}`", f"the {tool.name} tool", f"the tool {tool.name}"])
        if not arguments:
            return dice.choice(_bare_requests(tool.name, name))
        arguments = arguments[:]
        if dice.chance(0.3):
            dice.shuffle(arguments)
        pairs = self._pairs(tool, arguments)
        wordings = (
            f"Use {name} with {pairs}",
            f"Use {name} with {pairs}",
            f"Call {name} with {pairs}",
            f"Call {name} {pairs}",
            f"Run {name} with {pairs}",
            f"Please run {name} on {pairs}",
            f"{tool.name} {pairs}",
            f"{tool.name}({pairs})",
            f"Can you call {name} with {pairs}",
            f"Use {name} for {pairs}",
            f"Please use {name} with {pairs}",
            f"I need {name} with {pairs}",
            f"Execute {name} with {pairs}",
            f"{name}: {pairs}",
            f"use {name} to process {pairs}",
        )
        return dice.choice(wordings)

    def _pairs(self, tool: Tool, arguments: list[Argument]) -> str:
        """The arguments as JSON, as values only (where their order says which is which) or with their names."""
        dice, count = self._dice, len(arguments)
        if dice.chance(0.08):
            return json.dumps({argument.name: argument.value for argument in arguments})
        if dice.chance(0.2) and arguments == in_call_order(tool, arguments):
            said = [self.say_among(argument, count) for argument in arguments]
            return enumerate_in_words(said, dice.choice([" and ", ", ", " and "]))
        form = dice.choice(
            '%s=%s;%s=%s;%s=%s;%s %s;%s: %s;%s set to %s;%s is %s;%s = %s;the %s %s;"%s": %s;%s equal to %s'.split(";")
        )
        named = [form % (argument.name, self.say_among(argument, count)) for argument in arguments]
        return enumerate_in_words(named, dice.choice([" and ", " and ", ", ", ", and "]))

    # ---- in other words

    def natural(self, tool: Tool, arguments: list[Argument] | None = None) -> tuple[str, list[Argument]] | None:
        """A request that need not name the tool; `None` where nothing is known of the tool but its name.

        A tool with sentences of its own brings other arguments than the given ones: those that the sentence has places for.
        """
        if tool.sentences:
            return self._from_sentence(tool)
        if not tool.verb or not tool.noun:
            return None
        if arguments is None:
            arguments = self.arguments(tool)
        sentence = self._opening(tool, tool.verb, tool.noun, bool(arguments))
        for place, argument in enumerate(arguments):
            sentence += self._attachment(argument, place == 0, len(arguments))
        return sentence, arguments

    def _from_sentence(self, tool: Tool) -> tuple[str, list[Argument]]:
        sentence = self._dice.choice(tool.sentences)
        chosen = [item for item in tool.parameters if "{" + item.name + "}" in sentence or item.required]
        arguments = [self._argument(parameter) for parameter in chosen]
        placed = [argument for argument in arguments if "{" + argument.name + "}" in sentence]
        for argument in placed:
            sentence = self._fill(sentence, argument)
        for argument in arguments:
            if argument not in placed:
                sentence = sentence.rstrip("?") + f" with {argument.name} {self.say(argument)}"
        return sentence, in_call_order(tool, arguments)

    def _fill(self, sentence: str, argument: Argument) -> str:
        """Put one value into its place, keeping the sentence's own quotes right."""
        place = "{" + argument.name + "}"
        for mark in "'\"":
            if mark + place + mark in sentence:
                other = mark
                if isinstance(argument.value, str):
                    other = '"' if "'" in argument.value else "'" if '"' in argument.value else mark
                return sentence.replace(mark + place + mark, other + self.say(argument, False) + other)
        return sentence.replace(place, self.say(argument))

    def _opening(self, tool: Tool, tool_verb: str, noun: str, has_arguments: bool) -> str:
        dice = self._dice
        verb = tool_verb
        if dice.chance(0.6) and not tool.exact:
            verb = dice.choice(self._values.lexicon.verbs[tool_verb])
        opening = dice.choice(_openings(verb, noun, has_arguments))
        if tool.exact:
            return opening
        if tool_verb in ASKED_FOR and dice.chance(0.3):
            return dice.choice(_questions(noun))
        if has_arguments and dice.chance(0.07):
            return verb
        if has_arguments and dice.chance(0.05):
            return noun
        return opening

    def _attachment(self, argument: Argument, first: bool, count: int) -> str:
        """One argument, attached to the sentence so far."""
        dice, name = self._dice, argument.name
        said = self.say_among(argument, count)
        prepositions = KINDS[argument.parameter.kind].prepositions
        if first and prepositions and dice.chance(0.8):
            preposition = dice.choice(prepositions)
            return (" " + preposition if preposition else "") + " " + said
        if isinstance(argument.value, bool) and dice.chance(0.3) and argument.value:
            return dice.choice([", ", " and ", " "]) + dice.choice(
                [name + " please", "with " + name, "make it " + name]
            )
        if argument.is_number and dice.chance(0.2):
            return dice.choice([" with ", " and ", ", ", " for "]) + f"{said} {name}"
        if argument.is_number and first and dice.chance(0.5):
            return dice.choice([" to ", " at ", " by ", " for ", " number ", " of ", " "]) + said
        link = dice.choice([" with ", " and ", ", ", " using ", " with ", " for " if first else " and "])
        pair = f"{name} {said}"
        return link + dice.choice(
            [pair, pair, f"{name}={said}", f"{name} set to {said}", f"the {name} {said}", f"{name}: {said}"]
        )


def _bare_requests(tool_name: str, name: str) -> list[str]:
    return [
        f"Use {name}",
        f"Call {name}",
        f"Run {name}",
        f"Please run {name}",
        f"Please call {name} now",
        tool_name,
        f"Can you use {name}",
        f"Invoke {name} without arguments",
        f"call {name}()",
        f"I want you to run {name}",
    ]


def _openings(verb: str, noun: str, has_arguments: bool) -> list[str]:
    return [
        f"{verb} the {noun}",
        f"{verb} the {noun}",
        f"{verb} {noun}",
        f"{verb} a {noun}",
        f"please {verb} the {noun}",
        f"I want to {verb} the {noun}",
        f"can you {verb} the {noun}",
        f"could you {verb} {noun}",
        f"I need you to {verb} the {noun}",
        f"let's {verb} the {noun}",
        f"{verb} my {noun}",
        f"{verb} this {noun}",
        f"I'd like to {verb} a {noun}",
        f"would you {verb} the {noun}",
        f"go and {verb} the {noun}",
        f"{verb} the {noun}" if has_arguments else f"{verb} {noun} please",
    ]


def _questions(noun: str) -> list[str]:
    return [
        f"what is the {noun}",
        f"what's the {noun}",
        f"tell me the {noun}",
        f"show me the {noun}",
        f"which {noun}",
        f"give me the {noun}",
        f"are there any {noun}",
    ]
