"""What every way of reaching an MCP server has in common: stages, failures, limits."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeAlias, cast

import anyio
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.message import SessionMessage

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
"""The longest message that a server may send; the limit for tool outputs is the core's and lower."""

CLOSE_SECONDS: Final = 2.0
"""How long an orderly end of a connection may take before it is forced."""


class Stage(StrEnum):
    """Where a connection is on its way to being open, in the words of the error message."""

    START = "start"
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "TLS"
    HTTP_STATUS = "HTTP status"
    AUTHORISE = "authorise"
    INITIALISE = "initialise"
    LIST_TOOLS = "list tools"
    OPEN = "open"
    HEALTH_CHECK = "health check"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a connection is not there: how far it came, and the reason as the rest of a sentence.

    `answered`: the server said so in an answer of the protocol to what it was asked; to others it is as before.
    """

    stage: Stage
    why: str
    answered: bool = False


class TransportFailedError(Exception):
    """The transport itself knows why there is no connection."""

    def __init__(self, stage: Stage, why: str) -> None:
        super().__init__(why)
        self.failure = Failure(stage, why)


Streams: TypeAlias = tuple[ReadStream[SessionMessage | Exception], WriteStream[SessionMessage]]


class ServerTransport(Protocol):
    """One way to one server, used for one connection."""

    @property
    def stage(self) -> Stage | None:
        """How far it came; None once the server has answered, so that the session's stage counts."""
        ...

    @property
    def lost(self) -> anyio.Event:
        """Set once the server is known to be gone, and why. A server at an address is only missed when called."""
        ...

    @property
    def is_gone(self) -> bool:
        """Whether the server is seen to be gone; the reason may still be on its way."""
        ...

    @property
    def notices_loss(self) -> bool:
        """Whether `lost` is to be relied on."""
        ...

    @property
    def strays(self) -> int:
        """How many lines it wrote so far where its messages belong, and that were none."""
        ...

    def last_words(self) -> str:
        """What the server said beside its messages, as the end of a sentence; often nothing."""
        ...

    def open(self) -> AbstractAsyncContextManager[Streams]:
        """The streams of messages, for the task that enters and leaves them."""
        ...

    def explain(self, error: Exception | None) -> Failure | None:
        """What the transport knows about a failure (`error` None: a deadline), or None for nothing."""
        ...


def leaves(error: BaseException) -> Iterator[Exception]:
    """The single exceptions of nested groups, in their order."""
    if isinstance(error, BaseExceptionGroup):
        for part in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(part)
    elif isinstance(error, Exception):
        yield error


def causes(error: BaseException) -> Iterator[BaseException]:
    """`error`, what it came from, what that came from, and so on."""
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        yield step
        step = step.__cause__ or step.__context__
