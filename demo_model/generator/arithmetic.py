"""Arithmetic tools under many names: two numbers, one number, a list of numbers."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from demo_model.generator.lexicon import read_catalogue
from demo_model.generator.tools import Parameter, Tool, join_name
from demo_model.generator.values import Values

OPERAND_NAMES = (
    *(("a", "b"),) * 4,
    *(("x", "y"),) * 2,
    ("first", "second"),
    ("num1", "num2"),
    ("left", "right"),
    ("n1", "n2"),
    ("number1", "number2"),
    ("value1", "value2"),
    ("p", "q"),
    ("m", "n"),
)
SPELLED_OUT = {"sqrt": "square root", "log": "logarithm", "absolute": "absolute value", "negative": "negative"}
UNARY_SENTENCES = (
    "What is the {f} of @?;{f} of @;{f} @;Compute the {f} of @;Calculate the {f} of @;What is the {f} of @?;the {f} of @;"
    "Give me the {f} of @;Find the {f} of @;How much is the {f} of @?;What's the {f} of @?"
).split(";")
LIST_SENTENCES = (
    "What is the {f} of @?;{f} of @;Compute the {f} of @;Calculate the {f} of @;Find the {f} of @;Give me the {f} of @;"
    "What's the {f} of @?;the {f} of the numbers @"
).split(";")


@cache
def _catalogue() -> dict[str, Any]:
    catalogue = read_catalogue("arithmetic.toml")
    return {
        "unary": catalogue["unary"].split(),
        "list": catalogue["list"].split(),
        "operations": {entry["meaning"]: entry for entry in catalogue["operation"]},
    }


def binary_meanings() -> frozenset[str]:
    """The meanings of the tools that take two numbers."""
    return frozenset(_catalogue()["operations"])


def _about(templates: Sequence[str], function: str, parameter: str) -> tuple[str, ...]:
    return tuple(text.format(f=function).replace("@", "{" + parameter + "}") for text in templates)


class ArithmeticTools:
    """Draws an arithmetic tool."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._dice = values.dice

    def tool(self) -> Tool:
        kind = self._dice.fraction()
        if kind < 0.55:
            return self._binary()
        return self._unary() if kind < 0.8 else self._list()

    def _name(self, word: str) -> str:
        longer = [
            ["calc", word],
            ["calculate", word],
            ["compute", word],
            [word, "numbers"],
            [word, "two"],
            ["math", word],
        ]
        longer += [[word, "of"], [word, "values"], [self._values.invented_word(), word], [word, "tool"]]
        return join_name(self._values, self._dice.choice([[word]] * 5 + [["get", word]] * 2 + longer))

    def _number_type(self) -> str:
        return self._dice.choice(["number", "number", "integer"])

    def _number(self, name: str, json_type: str) -> Parameter:
        return Parameter(name, "int" if json_type == "integer" else "num", json_type, required=True)

    def _binary(self) -> Tool:
        dice = self._dice
        meaning = dice.choice("+++-**/" if dice.chance(0.85) else "%^")
        operation = _catalogue()["operations"][meaning]
        a, b = dice.choice(OPERAND_NAMES)
        json_type = self._number_type()
        name = self._name(dice.choice(operation["names"])) if dice.chance(0.9) else self._values.invented_word()
        sentences = (
            text.replace("{0}", "{" + a + "}").replace("{1}", "{" + b + "}") for text in operation["sentences"]
        )
        return Tool(
            name,
            dice.choice(operation["descriptions"]),
            (self._number(a, json_type), self._number(b, json_type)),
            sentences=tuple(sentences),
            meaning=meaning,
        )

    def _unary(self) -> Tool:
        dice = self._dice
        word = dice.choice(_catalogue()["unary"]) if dice.chance(0.6) else self._values.word().lower()
        parameter = dice.choice(["n", "x", "number", "value", "num", "a"])
        function = SPELLED_OUT.get(word, word)
        json_type = self._number_type()
        name = self._name(word)
        descriptions = [
            f"The {function} of a number",
            f"Returns the {function} of a number",
            f"Compute the {function}",
            f"{function.capitalize()} of x",
        ]
        return Tool(
            name,
            dice.choice(descriptions),
            (self._number(parameter, json_type),),
            sentences=_about(UNARY_SENTENCES, function, parameter),
            meaning="unary " + word,
        )

    def _list(self) -> Tool:
        dice = self._dice
        word = dice.choice(_catalogue()["list"])
        parameter = dice.choice(["numbers", "xs", "values", "nums", "data", "list", "items"])
        name = self._name(word)
        descriptions = [
            f"The {word} of a list of numbers",
            f"Compute the {word} of some numbers",
            f"Returns the {word} of numbers",
            f"{word.capitalize()} of values",
        ]
        return Tool(
            name,
            dice.choice(descriptions),
            (Parameter(parameter, "ints", "array", required=True),),
            sentences=_about(LIST_SENTENCES, word, parameter),
            meaning="list " + word,
        )
