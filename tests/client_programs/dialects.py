"""The dialects that the programs speak, and the features that are asked of each."""

from dataclasses import dataclass
from typing import Final

FEATURES: Final = {
    "text": "a reply in one piece.",
    "streaming": "the same reply in pieces, put together by the client.",
    "tools": "the model calls a function that the client runs, and uses its result.",
    "streamed tools": "the same, while both replies come in pieces.",
    "MCP": "the model calls a tool of an MCP server. The service runs it; where it says *own*, the client connects to the "
    "server itself and offers its tools as functions. Over `/v1/chat/completions` the service's way is `integrations`, an extension.",
    "approvals": "a call of such a tool waits until the client approves it.",
    "structured output": "the reply is held to a schema, and the client reads it as data.",
    "images": "a model that sees is shown a picture, byte for byte.",
    "reasoning": "the client says how much to think, and is told what was thought.",
    "usage": "a reply in pieces ends with the tokens that the engine counted.",
    "continuing": "a second request goes on from the stored first one, in one graph: by its id, or where clients send the whole "
    "history, by that.",
    "token counting": "a request is counted before it is sent, tools and all, and costs just that.",
    "cancelling": "the client leaves a stream in the middle, and the one place of the model is free for its next request.",
    "error 404": "a model that is not there is the client's own error for it.",
    "error 400": "so is a value that is out of range, and the error names the field.",
    "error 401": "so is a wrong API key.",
    "embeddings": "texts become vectors, in their order.",
    "models": "the model stands in the list.",
}
"""What each means, for the page."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Its route, what it has a word for, and the features that it has no word for at all."""

    path: str
    features: tuple[str, ...]
    about: str = ""


_ELSEWHERE: Final = ("embeddings", "models")
_CHAT: Final = tuple(name for name in FEATURES if name not in _ELSEWHERE)


def _but(*names: str) -> tuple[str, ...]:
    return tuple(name for name in _CHAT if name not in names)


DIALECTS: Final = {
    "responses": Dialect("/v1/responses", _CHAT),
    "chat/completions": Dialect("/v1/chat/completions", _but("approvals", "token counting")),
    "messages": Dialect("/v1/messages", _but("approvals")),
    "native": Dialect("/api/v1/chat", _but("token counting")),
    "thread": Dialect("/api/v1/chat", _but("approvals", "token counting"), "with threads"),
    "embeddings": Dialect("/v1/embeddings", ("embeddings",)),
    "models": Dialect("/v1/models", ("models",)),
}
