"""Tools that many servers have: well-known MCP tools under their own names, and families of common ones in many guises."""

from dataclasses import dataclass
from functools import cache

from demo_model.generator.kinds import KINDS
from demo_model.generator.lexicon import read_catalogue
from demo_model.generator.tools import Parameter, Tool, join_name
from demo_model.generator.values import Values

# Meanings that one sentence could ask for.
ALIKE = (
    {"calculate", "+", "-", "*", "/", "%", "^"},
    {"add_titled_note", "add_note", "remember"},
    {"fetch", "browser_navigate"},
    {"slack_post_message", "message", "send_email"},
    {"+", "list sum", "list total"},
    {"*", "list product"},
    {"search", "brave_web_search"},
    {"list mean", "list average"},
    {"list max", "list maximum"},
    {"list min", "list minimum"},
    {"user", "get_user", "whois"},
)


def clashes(meaning: str | None, offered: set[str]) -> bool:
    """Is there already a tool that the same sentence could mean?"""
    return meaning is not None and (meaning in offered or any(meaning in alike and alike & offered for alike in ALIKE))


@dataclass(frozen=True, slots=True)
class Family:
    """A tool in many guises. Each parameter is (the names it may have, its kind, is it required)."""

    meaning: str
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    parameters: tuple[tuple[tuple[str, ...], str, bool], ...]
    sentences: tuple[str, ...]


def _declaration(text: str) -> tuple[tuple[str, ...], str, bool]:
    """`a/b:kind?` → the names, the kind, is it required."""
    names, kind = text.split(":")
    return tuple(names.split("/")), kind.removesuffix("?"), not kind.endswith("?")


def _place(of: int | str) -> str:
    """Where a value goes in a sentence: `{0}` or `{path}`."""
    return "{" + str(of) + "}"


@cache
def families() -> tuple[Family, ...]:
    return tuple(
        Family(
            entry["meaning"],
            tuple(entry["names"]),
            tuple(entry["descriptions"]),
            tuple(_declaration(text) for text in entry["parameters"]),
            tuple(entry["sentences"]),
        )
        for entry in read_catalogue("families.toml")["family"]
    )


@cache
def well_known_tools() -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for entry in read_catalogue("known_tools.toml")["tool"]:
        declared = (_declaration(text) for text in entry["parameters"])
        parameters = tuple(
            Parameter(names[0], kind, KINDS[kind].json_type, required) for names, kind, required in declared
        )
        name, sentences = entry["name"], tuple(entry["sentences"])
        tools.append(Tool(name, entry["description"], parameters, sentences=sentences, meaning=name))
    return tuple(tools)


class FamilyTools:
    """Draws a family and dresses it up."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._dice = values.dice

    def tool(self) -> Tool:
        dice = self._dice
        family = dice.choice(families())
        name = self._name(family)
        description = dice.choice(family.descriptions)
        parameters = self._parameters(family)
        kept, sentences = self._keep(family, parameters)
        if family.meaning == "set_level":
            name, description, sentences = self._device(name, sentences)
        if dice.chance(0.85):
            description += dice.choice(["", "", "."])
        else:
            description += ". " + self._values.phrase(3, 12).capitalize() + "."
        return Tool(name, description, tuple(kept), sentences=tuple(sentences), meaning=family.meaning)

    def _name(self, family: Family) -> str:
        dice, values = self._dice, self._values
        if dice.chance(0.8):
            return dice.choice(family.names)
        if dice.chance(0.5):
            return join_name(values, [dice.choice(family.names), values.invented_word()])
        return dice.one_of(
            values.jumble, values.invented_word, lambda: join_name(values, [values.word(), values.word()])
        )

    def _parameters(self, family: Family) -> list[Parameter]:
        dice, values = self._dice, self._values
        parameters: list[Parameter] = []
        for names, kind, required in family.parameters:
            if dice.chance(0.9):
                used = [parameter.name for parameter in parameters]
                name = dice.choice([name for name in names if name not in used] or [values.word()])
            else:
                name = join_name(values, [values.word(), dice.choice(values.lexicon.nouns)])
            json_type = "number" if kind == "few" and dice.chance(0.4) else KINDS[kind].json_type
            parameters.append(Parameter(name, kind, json_type, required))
        return parameters

    def _keep(self, family: Family, parameters: list[Parameter]) -> tuple[list[Parameter], list[str]]:
        """The required parameters and some of the optional ones, with the sentences that need no other."""
        dice = self._dice
        optional = [parameter for parameter in parameters if not parameter.required]
        if not dice.chance(0.7):
            optional = dice.sample(optional, dice.between(0, len(optional)))
        kept = [parameter for parameter in parameters if parameter.required] + optional
        absent = [_place(number) for number, parameter in enumerate(parameters) if parameter not in kept]
        sentences = [text for text in family.sentences if not any(place in text for place in absent)]
        for number, parameter in enumerate(parameters):
            sentences = [text.replace(_place(number), _place(parameter.name)) for text in sentences]
        return kept, sentences

    def _device(self, name: str, sentences: list[str]) -> tuple[str, str, list[str]]:
        """The family that sets the level of something: what it sets is in its name."""
        dice = self._dice
        noun = self._values.noun() if name == "set_level" or dice.chance(0.3) else name.split("_")[-1]
        name = "set_" + noun if dice.chance(0.8) else name
        description = f"Set the {noun}" + dice.choice(["", " of the device", " level", "."])
        return name, description, [text.replace("{noun}", noun) for text in sentences]
