"""Clients that others wrote, each in a program of its own, hold the same conversations with a running service."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from setup.project import SetupError
from tests.client_programs.programs import FEATURES, PROGRAMS, Program
from tests.client_programs.running import running_place
from tests.servers.install import NodeMissingError

# The first test of a fresh checkout installs the clients.
pytestmark = pytest.mark.timeout(600)

Told = Callable[[Program], dict[str, Any]]
CASES = [
    pytest.param(
        program,
        dialect,
        feature,
        id=f"{program.label}-{dialect}-{feature}",
        marks=pytest.mark.proves(dialect, program.label, feature),
    )
    for program in PROGRAMS
    for dialect in program.dialects
    for feature in FEATURES
]
ADDED = [["add", {"a": 17, "b": 25}]]
ANSWER = "The result of add is 42."


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """What a program saw: it runs once, for all of its features."""
    with running_place(tmp_path_factory.mktemp("service")) as place:

        @cache
        def run(program: Program) -> dict[str, Any]:
            return program.run(place)

        yield run


@pytest.mark.parametrize(("program", "dialect", "feature"), CASES)
def test_a_client_is_served_as_it_expects(told: Told, program: Program, dialect: str, feature: str) -> None:
    try:
        seen = told(program)[dialect][feature]
    except (SetupError, NodeMissingError) as error:
        pytest.skip(f"the environment of {program.label} cannot be installed: {error}")
    assert "failed" not in seen, seen["failed"]
    match feature:
        case "text":
            assert seen == {"text": "hello."}
        case "streaming":
            assert seen == {"pieces": seen["pieces"], "joined": "hello.", "text": "hello."}
            assert seen["pieces"] > 1
        case "tools":
            assert seen == {"calls": ADDED, "text": ANSWER}
        case "MCP":
            # Where it is the service's extension the client hears of the answer only.
            assert {"calls": ADDED} | seen == {"calls": ADDED, "text": ANSWER}
        case "errors":
            assert seen["status"] == 404
            assert seen["kind"].endswith(("NotFoundError", "model_not_found"))
        case _:
            assert seen == {"next": "Hi."}
