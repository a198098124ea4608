"""What tools return: texts, numbers, JSON, listings, failures. And how the model is to report them."""

import json
from dataclasses import dataclass

from demo_model.generator.arithmetic import binary_meanings
from demo_model.generator.kinds import GENERAL_KINDS, Json
from demo_model.generator.requests import Argument, enumerate_in_words
from demo_model.generator.tools import Tool, join_name
from demo_model.generator.values import Values

FAILURES = (
    "Error: {}",
    "Error: {}",
    "Error executing tool {n}: {}",
    "error: {}",
    "ENOENT: no such file or directory, open {q}",
    "Not found",
    "{} not found",
    "Permission denied",
    "Permission denied: {f}",
    "Access denied - path outside allowed directories: {f}",
    "Invalid {}",
    "Failed to {}",
    "failed: {}",
    "fatal: {}",
    "Timeout",
    "Request timed out after {i} seconds",
    "Unknown {}",
    "Could not {}",
    "Cannot {}",
    "HTTP {i}: {}",
    "MCP error -32602: {}",
    "Input validation error: {}",
    "ValueError: {}",
    "KeyError: {q}",
    "FileNotFoundError: {f}",
    '{{"error": "{}"}}',
    '{{"isError": true, "message": "{}"}}',
    '{{"status": "error", "code": {i}}}',
    "Exception: {}",
    "Connection refused",
    "{n}: {} is not allowed",
    "fatal: not a {}",
)
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returned."""

    text: str
    failed: bool = False

    def quoted(self, tool_name: str) -> str:
        """The model's answer to it."""
        if self.failed:
            return f"{tool_name} failed: {self.text}"
        if "\n" in self.text:
            return f"The result of {tool_name} is:\n{self.text}"
        return f"The result of {tool_name} is {self.text}" + ("" if self.text[-1] in ".!?" else ".")


class Results:
    """Draws what a tool returns."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._dice = values.dice

    def result(self, tool: Tool, arguments: list[Argument]) -> ToolResult:
        """The result of one call; one in eleven is a failure."""
        dice = self._dice
        if dice.fraction() < 0.09:
            return ToolResult(self._failure(tool.name), failed=True)
        text = None
        if tool.meaning in binary_meanings() or tool.name in ("average", "count"):
            text = self._sum(arguments)
        if text is None and arguments and dice.chance(0.12):
            value = arguments[0].value
            if isinstance(value, str):
                text = dice.choice(["Echo: ", "ok ", "Done ", "", "Created ", "Found: ", ""]) + value
        if text is None and tool.meaning == "time" and dice.chance(0.6):
            text = self._time()
        return ToolResult(self._plain() if text is None else text)

    def for_next_step(self, json_type: str) -> ToolResult:
        """A result that the next call can take as an argument of the JSON type."""
        dice, values = self._dice, self._values
        if json_type == "string":
            return ToolResult(
                dice.one_of(
                    values.word,
                    values.identifier,
                    values.phrase,
                    values.name,
                    values.date,
                    values.file_name,
                    values.timestamp,
                    values.path,
                )
            )
        whole = json_type == "integer" or dice.chance(0.7)
        return ToolResult(str(values.integer() if whole else values.decimal()))

    def _number(self) -> str:
        return str(self._values.integer() if self._dice.chance(0.7) else self._values.decimal())

    def _sum(self, arguments: list[Argument]) -> str | None:
        dice = self._dice
        if dice.chance(0.6):
            return self._number()
        if arguments and dice.chance(0.5):
            start = dice.choice(["The result of", "The sum of", "Result:", "Total of"])
            operands = enumerate_in_words([argument.value for argument in arguments])
            return f"{start} {operands} is {self._values.integer()}."
        return None

    def _time(self) -> str:
        dice, values = self._dice, self._values
        zone = values.time_zone()

        def moment(of: str) -> dict[str, Json]:
            return {"timezone": of, "datetime": values.timestamp()}

        def difference() -> dict[str, Json]:
            source, target = moment(zone), moment(values.time_zone())
            return {"source": source, "target": target, "time_difference": f"{dice.between(-12, 12)}.0h"}

        return dice.one_of(
            lambda: json.dumps({**moment(zone), "is_dst": dice.chance(0.5)}),
            lambda: json.dumps({**moment(zone), "day_of_week": dice.choice(WEEKDAYS), "is_dst": dice.chance(0.5)}),
            values.timestamp,
            lambda: json.dumps(difference()),
        )

    def _failure(self, tool_name: str) -> str:
        values = self._values
        return self._dice.choice(FAILURES).format(
            values.phrase(1, 5).replace('"', ""),
            n=tool_name,
            q=repr(values.word()),
            f=values.path(),
            i=self._dice.between(1, 599),
        )

    def _plain(self) -> str:
        dice, values = self._dice, self._values
        kind = dice.fraction()
        if kind < 0.15:
            return self._number()
        if kind < 0.33 or dice.chance(0.45):
            if dice.chance(0.7):
                return values.phrase(1, 5).capitalize() + dice.choice(["", "", ".", "!"])
            return dice.one_of(values.timestamp, values.date, values.path, values.identifier)
        if kind < 0.40:
            return values.phrase(7, 20).capitalize() + dice.choice(["", ".", "."])
        if kind < 0.67:
            return json.dumps(self._document(kind))
        if kind < 0.80:
            count = dice.between(2, 4) if dice.chance(0.7) else dice.between(5, 8)
            return "\n".join(self._line() for _ in range(count)).strip() or "ok"
        if kind < 0.93:
            return self._single()
        subject = values.word().capitalize()
        link = dice.choice(["is", "has", "created", "saved", "found", "at", "="])
        return f"{subject} {link} {self._json_value(0)} {values.phrase(0, 3)}".strip()

    def _document(self, kind: float) -> Json:
        """JSON of a size and shape that goes with the `kind` drawn for the whole result."""
        dice, values = self._dice, self._values
        if kind < 0.50:
            return self._object(dice.between(1, 3))
        if kind < 0.56:
            return self._object(dice.between(3, 5))
        if kind < 0.60:
            return [self._object(dice.between(1, 2), 0) for _ in range(dice.between(1, 3))]
        if kind < 0.63:
            name = dice.choice(["entities", "results", "items", "nodes", values.word()])
            found: list[Json] = [self._object(dice.between(1, 3)) for _ in range(dice.between(0, 2))]
            other = dice.choice(["relations", "total", "next", values.word()])
            return {name: found, other: dice.choice([[], dice.between(0, 9), dice.chance(0.5)])}
        return [self._json_value(0) for _ in range(dice.between(0, 6))]

    def _single(self) -> str:
        """One value by itself."""
        values = self._values
        return self._dice.one_of(
            values.date,
            values.url,
            values.path,
            values.identifier,
            values.name,
            values.time_zone,
            values.timestamp,
            values.timestamp,
            values.dotted_name,
            values.version,
            values.mail,
            values.clock_time,
            lambda: f"{values.jumble()}-{values.jumble()}-{values.jumble()}",
            lambda: "-".join(values.hexadecimal(length) for length in (8, 4, 4, 4, 12)),
            lambda: f"{values.word().upper()}=/{values.word()}/{values.word()}",
            lambda: f"+ {values.phrase()}",
        )

    def _line(self) -> str:
        """One line of a listing, a log or a document."""
        dice, values = self._dice, self._values
        return dice.one_of(
            values.file_name,
            values.phrase,
            lambda: "[FILE] " + values.file_name(),
            lambda: "[FILE] " + values.file_name(),
            lambda: "[DIR] " + values.word(),
            lambda: f"{values.word()}: {self._json_value(0)}",
            values.path,
            lambda: f"- {values.phrase()}",
            lambda: f"{dice.between(1, 9)}. {values.phrase()}",
            lambda: f"{values.timestamp()} {dice.choice(['INFO', 'WARN', 'ERROR', 'DEBUG'])} {values.phrase()}",
            lambda: f"# {values.phrase()}",
            lambda: f"{values.word()} = {self._json_value(0)}",
            lambda: "",
            lambda: f"commit {values.jumble()}",
            lambda: f"Author: {values.name()}",
            lambda: f"Date: {values.timestamp()}",
            lambda: f"modified: {values.path()}",
        )

    def _json_value(self, depth: int = 1) -> Json:
        """A JSON value; up to `depth` levels of lists and objects in it."""
        dice, values = self._dice, self._values
        if depth and dice.chance(0.12):
            return [self._json_value(0) for _ in range(dice.between(0, 3))]
        if depth and dice.chance(0.06):
            return self._object(dice.between(1, 2), 0)
        draws = (
            values.integer,
            values.decimal,
            values.word,
            values.phrase,
            values.name,
            values.date,
            lambda: dice.chance(0.5),
            values.path,
            values.timestamp,
            values.time_zone,
            values.dotted_name,
            lambda: None if dice.chance(0.3) else values.word(),
            values.identifier,
        )
        return dice.choice(draws)()

    def _object(self, size: int, depth: int = 1) -> dict[str, Json]:
        return {self._key(): self._json_value(depth) for _ in range(size)}

    def _key(self) -> str:
        dice, values = self._dice, self._values
        if dice.chance(0.6):
            return dice.choice(GENERAL_KINDS[dice.choice(list(GENERAL_KINDS))].names)
        return values.word() if dice.chance(0.7) else join_name(values, [values.word(), values.word()])
