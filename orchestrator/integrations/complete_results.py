"""Results without `resultType` are complete ones; the SDK refuses them, so they are told so on the way in.

https://modelcontextprotocol.io/specification/2026-07-28 (SEP-2322): clients must assume "complete".
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from types import TracebackType
from typing import Any, Self, cast

import anyio
from mcp.shared._stream_protocols import ReadStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse

from orchestrator.integrations.listed_tools import usable_tools
from orchestrator.integrations.mcp_transport import Streams
from orchestrator.integrations.unknown_content import admit_unknown_content


class CompleteResults:
    """A stream of messages in which every result says what type it has, and holds only what the SDK can read."""

    def __init__(
        self, inner: ReadStream[SessionMessage | Exception], withheld: Callable[[tuple[str, ...]], None]
    ) -> None:
        self._inner = inner
        self._withheld = withheld

    @property
    def last_context(self) -> Context | None:
        """The context in which the last message was sent, where the transport tells."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        item = await self._inner.receive()
        if isinstance(item, SessionMessage) and isinstance(item.message, JSONRPCResponse):
            result = item.message.result
            result.setdefault("resultType", "complete")
            admit_unknown_content(result)
            listed = result.get("tools")
            if isinstance(listed, list) and "content" not in result:
                result["tools"], problems = usable_tools(cast("list[Any]", listed))
                self._withheld(problems)
        return item

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


@asynccontextmanager
async def with_complete_results(
    opening: AbstractAsyncContextManager[Streams], withheld: Callable[[tuple[str, ...]], None]
) -> AsyncGenerator[Streams]:
    """The streams that `opening` gives, with every result complete.

    `withheld` is told of each list of tools what is wrong with those that were taken out of it.
    """
    async with opening as (read, write):
        yield CompleteResults(read, withheld), write
