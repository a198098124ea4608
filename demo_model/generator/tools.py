"""Tools as the model sees them, and tools that nobody has seen before."""

from dataclasses import dataclass

from demo_model.generator.kinds import FREQUENCY, GENERAL_KINDS, Json
from demo_model.generator.values import Values


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a tool. `choices`: the values of an enum."""

    name: str
    kind: str
    json_type: str
    required: bool
    choices: tuple[str, ...] | None = None

    def schema(self) -> dict[str, Json]:
        schema: dict[str, Json] = {"type": self.json_type}
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.kind == "strs":
            schema["items"] = {"type": "string"}
        if self.kind == "ints":
            schema["items"] = {"type": "number"}
        return schema


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that can be offered.

    A random tool has a `verb` and a `noun` that sentences are made of, a well-known one has its `sentences` and a `meaning`,
    an opaque one has neither. `exact`: another tool at hand is so near that a looser wording could mean it.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    verb: str | None = None
    noun: str | None = None
    sentences: tuple[str, ...] = ()
    meaning: str | None = None
    exact: bool = False

    def schema(self) -> dict[str, Json]:
        """The tool in the shape of OpenAI's `tools`."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "properties": {parameter.name: parameter.schema() for parameter in self.parameters},
                    "required": [parameter.name for parameter in self.parameters if parameter.required],
                },
            },
        }

    def shares_noun_with(self, other: "Tool") -> bool:
        return bool(self.noun and other.noun and set(self.noun.split()) & set(other.noun.split()))


def join_name(values: Values, words: list[str]) -> str:
    """Write words as one name: snake case mostly, otherwise kebab, camel, Pascal or dotted."""
    style = values.dice.fraction()
    if style < 0.6:
        return "_".join(words)
    if style < 0.75:
        return "-".join(words)
    if style < 0.9:
        return words[0] + "".join(word.capitalize() for word in words[1:])
    if style < 0.95:
        return "".join(word.capitalize() for word in words)
    return ".".join(words)


class RandomTools:
    """Tools that are made up on the spot."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._dice = values.dice

    def tool(self, near: Tool | None = None) -> Tool:
        """A random tool; with `near` one that may share its verb or its noun."""
        dice = self._dice
        if near is None and dice.chance(0.12):
            return self._opaque_tool()
        verb = dice.choice(list(self._values.lexicon.verbs))
        nouns = [self._values.noun(), self._values.noun()] if dice.chance(0.25) else [self._values.noun()]
        if near and near.verb and near.noun:
            verb, nouns = self._nearby(near.verb, near.noun.split(), verb, nouns)
        words = [verb, *nouns] if dice.chance(0.93) else [*nouns, verb]
        if dice.chance(0.08):
            common = "my app web fs db api mcp home shop".split()
            words = [dice.choice(common) if dice.chance(0.6) else self._values.invented_word(1, 2), *words]
        noun = " ".join(nouns)
        description = self._description(verb, noun)
        return Tool(join_name(self._values, words), description, self._parameters(), verb, noun)

    def _opaque_tool(self) -> Tool:
        dice, values = self._dice, self._values
        name = dice.one_of(
            values.invented_word,
            values.jumble,
            lambda: values.invented_word(1, 2) + "_" + values.invented_word(1, 2),
            lambda: values.invented_word() + "_" + str(dice.between(1, 9)),
        )
        descriptions = [values.phrase(2, 6).capitalize() + ".", "", "Does " + values.phrase(1, 3), "Tool " + name]
        return Tool(name, dice.choice(descriptions), self._parameters())

    def _nearby(self, near_verb: str, near_nouns: list[str], verb: str, nouns: list[str]) -> tuple[str, list[str]]:
        kind = self._dice.fraction()
        if kind < 0.35:
            return near_verb, nouns
        if kind < 0.75:
            return verb, near_nouns
        if kind < 0.88:
            return near_verb, [*near_nouns, self._values.noun()]
        return verb, [*near_nouns[:1], self._values.noun()]

    def _description(self, verb: str, noun: str) -> str:
        dice = self._dice
        description = f"{verb.capitalize()} {dice.choice(['a ', 'the ', '', 'an existing ', 'one '])}{noun}"
        preposition = dice.choice(["by", "from", "in", "with", "for", "using"])
        article = dice.choice(["the ", "a ", ""])
        detail = f" {preposition} {article}{self._values.phrase(1, 3)}{dice.choice(['', '.'])}"
        description += dice.choice(["", "", ".", detail])
        if dice.chance(0.08):
            description = ""
        if dice.chance(0.1):
            start = dice.choice(["Tool to", "Use this to", "Allows you to", "This will"])
            description = f"{start} {verb} {noun}"
        return description

    def _parameters(self) -> tuple[Parameter, ...]:
        count = self._dice.weighted([0, 1, 2, 3, 4], [10, 45, 27, 12, 6])
        parameters: list[Parameter] = []
        seen: set[str] = set()
        while len(parameters) < count:
            kind = self._dice.choice(FREQUENCY)
            name = self._parameter_name(kind)
            if name.lower() in seen or not name.isascii():
                continue
            seen.add(name.lower())
            required = self._dice.chance(0.6 if parameters else 0.85)
            choices = tuple(self._values.word() for _ in range(self._dice.between(2, 4))) if kind == "enum" else None
            parameters.append(Parameter(name, kind, GENERAL_KINDS[kind].json_type, required, choices))
        return tuple(parameters)

    def _parameter_name(self, kind: str) -> str:
        dice, values, usual = self._dice, self._values, GENERAL_KINDS[kind].names
        if dice.chance(0.6):
            return dice.choice(usual)
        return dice.one_of(
            lambda: values.invented_word(1, 3),
            values.word,
            lambda: join_name(values, [values.word(), values.word()]),
            lambda: join_name(values, [dice.choice(values.lexicon.nouns), dice.choice(usual)]),
            values.noun,
        )
