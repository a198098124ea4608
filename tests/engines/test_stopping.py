"""Stop sequences that are looked for in the text of a message."""

from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.inputs import ReasoningArrived, TextArrived
from orchestrator.core.logprobs import LikelyToken, TokenLogprob
from orchestrator.engines.stopping import StopReader, until_stopped
from orchestrator.ports import GenerationChunk


def read(pieces: list[str], stops: list[str]) -> tuple[list[str], str | None]:
    reader = StopReader(stops)
    out: list[str] = []
    for piece in pieces:
        out += [chunk.text for chunk in reader.feed(TextArrived(piece))]
        if reader.stopped_at is not None:
            return out, reader.stopped_at
    return [*out, *(chunk.text for chunk in reader.end())], None


def test_the_text_goes_on_at_once_but_for_what_may_be_the_beginning_of_a_stop() -> None:
    reader = StopReader(["END"])
    fed = [
        [chunk.text for chunk in reader.feed(TextArrived(piece))] for piece in ("One", " ", "E", "N", "O ", "E", "ND x")
    ]
    assert fed == [["One"], [" "], [], [], ["E", "N", "O "], [], []]
    assert reader.stopped_at == "END"


def test_of_several_stops_the_first_in_the_text_counts() -> None:
    assert read(["a bc d"], ["d", "bc"]) == (["a "], "bc")
    assert read(["a b", "c d"], ["d", "bc"]) == (["a "], "bc")
    assert read(["END"], ["END"]) == ([], "END")
    assert read(["a E"], ["END"]) == (["a E"], None)


def test_a_token_that_is_cut_keeps_what_is_known_of_it() -> None:
    known = (TokenLogprob(LikelyToken("ab", -0.5)),)
    assert StopReader(["b"]).feed(TextArrived("ab", known)) == [TextArrived("a", known)]


@given(
    st.lists(st.text("abE", max_size=4), max_size=12),
    st.lists(st.text("abE", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_however_it_comes_in_pieces_the_text_ends_before_the_stop_that_is_complete_first(
    pieces: list[str], stops: list[str]
) -> None:
    whole = "".join(pieces)
    out, stopped_at = read(pieces, stops)
    if any(stop in whole for stop in stops):
        assert stopped_at in stops
        assert whole.startswith("".join(out) + str(stopped_at))
        assert not any(stop in "".join(out) for stop in stops)
    else:
        assert ("".join(out), stopped_at) == (whole, None)


@pytest.mark.anyio
async def test_what_follows_a_stop_is_not_waited_for_and_reasoning_is_not_searched() -> None:
    closed: list[bool] = []

    async def chunks() -> AsyncGenerator[GenerationChunk, None]:
        try:
            yield ReasoningArrived("END")
            yield TextArrived("One END two")
            pytest.fail("it goes on")
        finally:
            closed.append(True)

    reader = StopReader(["END"])
    told = [chunk async for chunk in until_stopped(chunks(), reader)]
    assert (told, reader.stopped_at, closed) == ([ReasoningArrived("END"), TextArrived("One ")], "END", [True])
