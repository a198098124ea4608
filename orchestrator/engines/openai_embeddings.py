"""`POST /v1/embeddings`, as every server of this wire has it (https://platform.openai.com/docs/api-reference/embeddings)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import httpx
import msgspec

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.engines.openai_http import read_bounded, refusal
from orchestrator.ports import Embeddings

MAX_REPLY_BYTES: Final = 256 * 1024 * 1024


class _WireVector(msgspec.Struct, frozen=True):
    index: int
    embedding: list[float]


class _WireUsage(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None


class _WireEmbeddings(msgspec.Struct, frozen=True):
    data: list[_WireVector]
    usage: _WireUsage | None = None


async def embed(
    client: httpx.AsyncClient,
    url: str,
    who: str,
    model: str,
    texts: Sequence[str],
    *,
    headers: Mapping[str, str],
    scrub: Callable[[str], str] = str,
) -> Embeddings:
    """The vectors of `texts`, in their order. `who` and `scrub` are those of `Completion`.

    Raises:
        OrchestratorError: the server refused, or what it sent is no list of as many vectors.
        httpx.TransportError: it could not be reached, or went away.
    """
    if not texts:
        return Embeddings(())
    body = {"model": model, "input": list(texts), "encoding_format": "float"}
    content = msgspec.json.encode(body)
    request = client.build_request(
        "POST", url, content=content, headers={"Content-Type": "application/json", **headers}
    )
    response = await client.send(request, stream=True)
    try:
        reply = await read_bounded(response, MAX_REPLY_BYTES)
    finally:
        await response.aclose()
    if response.status_code != 200:
        raise refusal(reply, response, who, scrub)
    try:
        wire = msgspec.json.decode(reply, type=_WireEmbeddings)
    except msgspec.MsgspecError:
        raise _broken(who) from None
    vectors = {entry.index: tuple(entry.embedding) for entry in wire.data}
    if sorted(vectors) != list(range(len(texts))):
        raise _broken(who)
    ordered = tuple(vectors[index] for index in range(len(texts)))
    return Embeddings(ordered, wire.usage.prompt_tokens if wire.usage else None)


def _broken(who: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.ENGINE_ERROR, f"{who} sent something that is no list of embeddings.")
