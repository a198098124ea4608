"""The rows of the table, and the ways to write them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.table import Table

from demo_model.evaluation.examination import Outcome

FIGURES: Final = ("tool", "call", "answer", "thought")
HEADINGS: Final = ("right tool", "right call", "right answer", "thought names tool")


@dataclass(frozen=True, slots=True)
class Row:
    """The outcomes of one set under one condition."""

    set_name: str
    condition: str
    outcomes: tuple[Outcome, ...]

    def figure(self, name: str) -> tuple[int, int] | None:
        """How many are right, of how many; `None` where no case asks for it."""
        marks: list[bool] = [mark for outcome in self.outcomes if (mark := getattr(outcome, name)) is not None]
        return (sum(marks), len(marks)) if marks else None

    def as_json(self) -> dict[str, object]:
        figures = {name: self.figure(name) for name in FIGURES}
        return {
            "set": self.set_name,
            "condition": self.condition,
            **{name: {"right": figure[0], "of": figure[1]} for name, figure in figures.items() if figure},
        }


def rows_by_offer(set_name: str, outcomes: Sequence[Outcome], condition: str = "") -> list[Row]:
    """One row for each number of tools that were offered."""
    rows: list[Row] = []
    for count in sorted({outcome.offered for outcome in outcomes}):
        offered = tuple(outcome for outcome in outcomes if outcome.offered == count)
        tools = f"{count} tool{'s' if count != 1 else ''}" if count else "no tools"
        rows.append(Row(set_name, f"{tools}{condition}", offered))
    return rows


def row_where(set_name: str, condition: str, outcomes: Sequence[Outcome], wanted: Callable[[Outcome], bool]) -> Row:
    return Row(set_name, condition, tuple(outcome for outcome in outcomes if wanted(outcome)))


def table_of(rows: Sequence[Row], title: str) -> Table:
    """The rows as a table for the terminal."""
    table = Table(title=title, title_justify="left")
    for heading in ("set", "condition"):
        table.add_column(heading)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    last = None
    for row in rows:
        if last not in (None, row.set_name):
            table.add_section()
        last = row.set_name
        table.add_row(row.set_name, row.condition, *cells(row))
    return table


def cells(row: Row) -> list[str]:
    """The figures of a row: `97 % (37/38)`."""
    figures = (row.figure(name) for name in FIGURES)
    return [f"{100 * figure[0] / figure[1]:.0f} % ({figure[0]}/{figure[1]})" if figure else "" for figure in figures]


def markdown_of(rows: Sequence[Row]) -> str:
    """The rows as a table for README.md."""
    lines = [f"| set | condition | {' | '.join(HEADINGS)} |", "| --- " * (2 + len(HEADINGS)) + "|"]
    lines += [f"| {row.set_name} | {row.condition} | {' | '.join(cells(row))} |" for row in rows]
    return "\n".join(lines)
