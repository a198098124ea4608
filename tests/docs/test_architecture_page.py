"""The architecture page says what the code does."""

import re
from pathlib import Path

from orchestrator.core.states import TRANSITIONS

PAGE = Path(__file__).parents[2] / "orchestrator" / "README.md"


def test_the_state_table_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    table = {state: frozenset(re.findall(r"`(\w+)`", followers)) for state, followers in rows}
    assert table == TRANSITIONS


def test_every_room_of_the_page_is_there() -> None:
    rooms = PAGE.read_text().partition("```\n")[2].partition("```")[0]
    names = {
        name
        for line in rooms.splitlines()
        for name in re.findall(r"^([\w./]+)|^[\w./]+ +([\w./]+)  ", line)
        for name in name
    }
    missing = [name for name in names if name and not (PAGE.parent / name).exists()]
    assert missing == []
