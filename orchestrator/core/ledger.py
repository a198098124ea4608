"""The items of a response in their order, and how far the store has them."""

from collections.abc import Collection, Sequence
from typing import Final

from orchestrator.core.calls import NOT_RUN, abandon, output_entry, refuse
from orchestrator.core.items import FunctionCall, OutputItem, ToolCall
from orchestrator.core.placed import Outcome, PlacedCall, PlacedItem
from orchestrator.core.stream import FunctionCallEnd, ToolCallSuccess

ABANDONED: Final = "The call was cut short: whether it took effect is not known."


class Ledger:
    """What a run has of its response; an item stands at the index that its position names.

    `durable` are the items that the store has already. A place between them may be open, for a call that is added next.
    """

    def __init__(self, durable: Sequence[PlacedItem] = ()) -> None:
        self.items: list[PlacedItem] = [*durable]
        self._unsaved: list[int] = []
        self._unrecorded = {call.call_id for call in self.unsettled()}

    def add(self, items: Sequence[PlacedItem]) -> None:
        """`items` in their places; the store does not have them yet."""
        self._unsaved += [item.position for item in items]
        self.items += items
        self.items.sort(key=lambda item: item.position)

    def journaled(self) -> None:
        """The store has all items now."""
        self._unsaved.clear()
        self._unrecorded |= {call.call_id for call in self.unsettled()}

    def recorded(self, call_id: str) -> None:
        """The store has the outcome of this call now."""
        self._unrecorded.discard(call_id)

    def put(self, call: PlacedCall) -> None:
        """`call` in the place of what it was before."""
        self.items[call.position] = call

    def settle_rest(self, under_way: Collection[str], waiting: Collection[str]) -> None:
        """The run ends: what is still open was cut short where it is `under_way`, else it was not run."""
        for call in self.unsettled():
            why = "nobody had approved it when the run ended" if call.call_id in waiting else "the run ended"
            cut_short = call.call_id in under_way
            self.put(abandon(call, ABANDONED) if cut_short else refuse(call, NOT_RUN.format(why=why)))

    def calls(self) -> list[PlacedCall]:
        """Every call, in order."""
        return [item for item in self.items if isinstance(item, PlacedCall)]

    def unsettled(self) -> list[PlacedCall]:
        """The calls that have no outcome yet."""
        return [call for call in self.calls() if call.outcome is None]

    def find_unsettled(self, call_id: str) -> PlacedCall | None:
        """The call of that id, None where there is none or it has its outcome."""
        return next((call for call in self.unsettled() if call.call_id == call_id), None)

    def announcement(self, call_id: str) -> ToolCallSuccess | FunctionCallEnd:
        """What the stream says of a settled, valid call."""
        item = output_entry(next(call for call in self.calls() if call.call_id == call_id)).item
        if isinstance(item, FunctionCall):
            return FunctionCallEnd(item)
        assert isinstance(item, ToolCall)
        return ToolCallSuccess(item)

    def of_turn(self, number: int) -> list[PlacedItem]:
        """The items of one turn."""
        return [item for item in self.items if item.turn == number]

    def output(self) -> tuple[OutputItem, ...]:
        """The items as the reply shows them; calls without an outcome are left out."""
        return tuple(
            output_entry(item).item
            for item in self.items
            if not (isinstance(item, PlacedCall) and item.outcome is None)
        )

    def unsaved(self) -> tuple[tuple[PlacedItem, ...], tuple[tuple[str, Outcome], ...]]:
        """The items that the store lacks, and the outcomes that it lacks of calls that it has."""
        outcomes = tuple(
            (call.call_id, call.outcome)
            for call in self.calls()
            if call.call_id in self._unrecorded and call.outcome is not None
        )
        return tuple(self.items[position] for position in self._unsaved), outcomes
