"""Clients that others wrote, each in a program of its own, hold the same conversations with a running service."""

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import httpx
import pytest

from setup.project import SetupError
from tests.client_programs.programs import PROGRAMS, Program
from tests.client_programs.running import PICTURE_DIGEST, Place, running_place
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
    for feature in program.features(dialect)
]
DEMANDED = "ORCHESTRATOR_TEST_CLIENTS"
"""Set where all of them have to run, as in a run of every test: a client that cannot be installed is a failure then."""
ADDED = [["add", {"a": 17, "b": 25}]]
ANSWER = "The result of add is 42."
# The words of OpenAI's and Anthropic's clients, those of `pydantic-ai` and `langchain-openai`, and the service's code where a
# client has one error for all.
KINDS = {
    "error 404": (404, ("NotFoundError", "model_not_found")),
    "error 400": (400, ("BadRequestError", "ModelRequestRejectedError", "InvalidRequestError", "invalid_value")),
    "error 401": (401, ("AuthenticationError", "invalid_api_key")),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running_place(tmp_path_factory.mktemp("service")) as place:
        yield place


@pytest.fixture(scope="module")
def told(place: Place) -> Told:
    """What a program saw: it runs once, for all of its features."""

    @cache
    def run(program: Program) -> dict[str, Any] | Exception:
        try:
            return program.run(place)
        except (SetupError, NodeMissingError, RuntimeError, subprocess.TimeoutExpired) as error:
            return error

    def saw(program: Program) -> dict[str, Any]:
        match run(program):
            case Exception() as error:
                raise error
            case seen:
                return seen

    return saw


@pytest.mark.parametrize(("program", "dialect", "feature"), CASES)
def test_a_client_is_served_as_it_expects(
    told: Told, place: Place, program: Program, dialect: str, feature: str
) -> None:
    try:
        seen = told(program)[dialect][feature]
    except (SetupError, NodeMissingError) as error:
        why = f"the environment of {program.label} cannot be installed: {error}"
        pytest.fail(why) if os.environ.get(DEMANDED) else pytest.skip(why)
    assert seen is not None, "nothing was refused"
    assert "failed" not in seen, seen["failed"]
    match feature:
        case "text":
            assert seen == {"text": "hello."}
        case "streaming":
            assert seen == {"pieces": seen["pieces"], "joined": "hello.", "text": "hello."}
            assert seen["pieces"] > 1
        case "tools" | "streamed tools":
            assert seen == {"calls": ADDED, "text": ANSWER}
        case "MCP" | "approvals":
            # Where it is the service's extension, or the client keeps calls to itself, it hears of the answer only.
            assert {"calls": ADDED} | seen == {"calls": ADDED, "text": ANSWER}
        case "structured output":
            assert seen["parsed"] in ({"colour": "red"}, {"colour": "green"})
        case "images":
            assert seen == {"text": f"A picture, {PICTURE_DIGEST}."}
        case "reasoning":
            assert seen == {"reasoning": "Let me see.", "text": "I thought at 'high'."}
        case "usage":
            assert seen == {"input": 10, "output": 5}
        case "continuing":
            assert seen == {"text": f"My word is {program.word(dialect)}."}
            assert_one_chain(place, program.word(dialect))
        case "token counting":
            assert seen["counted"] == seen["used"] > 10
        case "cancelling":
            assert seen == {"next": "Hi."}
        case "embeddings":
            assert seen == {"vectors": [[4.0, 1.0], [1.0, 1.0]]}
        case "models":
            assert place.model in seen["models"]
        case _:
            assert_refusal(feature, seen)


def assert_one_chain(place: Place, word: str) -> None:
    """The two responses in which the word was said: the second goes on from the first."""
    with httpx.Client(base_url=place.scripted_url, trust_env=False) as client:
        second, first = client.get("/api/v1/responses", params={"text": word}).json()["responses"]
    assert (first["previous_response_id"], second["previous_response_id"]) == (None, first["response_id"])


def assert_refusal(feature: str, seen: dict[str, Any]) -> None:
    """It is the client's own error for this status, and says what the service said."""
    status, kinds = KINDS[feature]
    assert seen["status"] == status
    assert seen["kind"].endswith(kinds)
    said = {"error 404": "nobody/nothing", "error 400": "temperature", "error 401": "token"}[feature]
    assert said in seen["says"]
