"""Stop sequences that are looked for here, in the message alone: an engine that looks for them ends the reasoning with them, too."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from orchestrator.core.inputs import TextArrived
from orchestrator.ports import GenerationChunk


class StopReader:
    """Hands on the text of a message up to the first of `stops` in it; what may be the beginning of one waits."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held: list[TextArrived] = []
        self.stopped_at: str | None = None

    def feed(self, chunk: TextArrived) -> list[TextArrived]:
        """What is part of the message for sure."""
        self._held.append(chunk)
        text = "".join(held.text for held in self._held)
        at, word = min(((text.find(stop), stop) for stop in self._stops if stop in text), default=(len(text), None))
        if word is not None:
            self.stopped_at = word
            return self._release(at, cut=True)
        return self._release(len(text) - _waiting(text, self._stops), cut=False)

    def end(self) -> list[TextArrived]:
        """What waited and was the beginning of none."""
        held, self._held = self._held, []
        return held

    def _release(self, length: int, *, cut: bool) -> list[TextArrived]:
        """The chunks that end within the first `length` characters; of the next one what is within, where it is `cut`."""
        out: list[TextArrived] = []
        while self._held and len(self._held[0].text) <= length:
            out.append(self._held.pop(0))
            length -= len(out[-1].text)
        if cut:
            if self._held and length:
                out.append(TextArrived(self._held[0].text[:length], self._held[0].logprobs))
            self._held.clear()
        return out


async def until_stopped(
    chunks: AsyncGenerator[GenerationChunk, None], reader: StopReader
) -> AsyncGenerator[GenerationChunk, None]:
    """`chunks` up to the stop sequence that `reader` finds; then they are closed. Closing the generator closes them."""
    async with aclosing(chunks):
        async for chunk in chunks:
            if not isinstance(chunk, TextArrived):
                yield chunk
                continue
            for text in reader.feed(chunk):
                yield text
            if reader.stopped_at is not None:
                return
        for text in reader.end():
            yield text


def _waiting(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of one of `stops`."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
