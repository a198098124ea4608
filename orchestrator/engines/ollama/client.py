"""The connection to Ollama: requests go out, typed values and lines come in, every failure is one of ours.

Two libraries speak to it. Ollama's own client does what it does whole (`show`, `ps`). Where its typed calls lose
something, the same requests go out through httpx: a chat loses `tool_call_id`, the ids of calls, and most of every
tool's schema, and cannot say `truncate` and `shift`; a listing loses `remote_host`, without which a model that leaves
the machine looks like any other. Its own way to send a body as it is would be private, and it cuts lines where JSON
does not end (`decode.LineSplitter`).
"""

import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Final, TypeVar

import anyio
import httpx
import msgspec
import ollama

from orchestrator.core.json_types import JsonObject
from orchestrator.engines.ollama.address import base_url, shown_address
from orchestrator.engines.ollama.catalog import Details, Facts, Tag, facts_of, leaves_the_machine, whole_name
from orchestrator.engines.ollama.decode import LineSplitter
from orchestrator.engines.ollama.failures import Peer, Subject, error_text
from orchestrator.ports import Embeddings

T = TypeVar("T")

CLOSE_SECONDS: Final = 2.0
"""How long closing a connection may take before it is given up."""

UNLOAD_SECONDS: Final = 5.0

MAX_ERROR_BYTES: Final = 64 * 1024

# A request costs one connection: a kept one may be dead by its next use, and a loopback connection costs nothing.
# How many there are at once is decided by the service and by Ollama's own queue.
_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=0)


class _WireDetails(msgspec.Struct, frozen=True):
    format: str | None = None
    family: str | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None


class _WireTag(msgspec.Struct, frozen=True):
    model: str = ""
    name: str = ""
    digest: str = ""
    size: int = 0
    details: _WireDetails | None = None
    remote_host: str | None = None
    modified_at: str | None = None


class _WireTags(msgspec.Struct, frozen=True):
    models: list[_WireTag] | None = None


class SilentError(Exception):
    """A turn did not begin in the time that it was given."""


class _WireEmbeddings(msgspec.Struct, frozen=True):
    embeddings: list[list[float]]
    prompt_eval_count: int | None = None


class OllamaClient:
    """One Ollama. `answer_seconds` bounds each request but those that load or write.

    Of a turn `first_token_seconds` is the longest wait for its beginning, `silence_seconds` for each piece after that.
    """

    def __init__(
        self,
        host: str,
        *,
        connect_seconds: float,
        answer_seconds: float,
        load_seconds: float,
        silence_seconds: float,
        first_token_seconds: float | None = None,
        supervised: bool = False,
    ) -> None:
        url = base_url(host)
        self.peer = Peer(shown_address(url), supervised)
        self._load_timeout = httpx.Timeout(load_seconds, connect=connect_seconds)
        self._silence_seconds = silence_seconds
        self._longest_silence = max(silence_seconds, first_token_seconds or 0.0)
        self._write_timeout = httpx.Timeout(self._longest_silence, connect=connect_seconds)
        answer_timeout = httpx.Timeout(answer_seconds, connect=connect_seconds)
        # The environment's proxies lead out of the machine; its certificates (SSL_CERT_FILE) still count. Reading
        # those takes a tenth of a second, and an http URL has no use for them.
        certificates = ssl.create_default_context() if url.startswith("https:") else False
        self._http = httpx.AsyncClient(
            base_url=url, timeout=answer_timeout, limits=_LIMITS, trust_env=False, verify=certificates
        )
        self._ollama = ollama.AsyncClient(
            url, timeout=answer_timeout, limits=_LIMITS, trust_env=False, verify=certificates, follow_redirects=False
        )

    async def aclose(self) -> None:
        """Close both clients."""
        await self._http.aclose()
        await self._ollama.close()

    # ---- what there is ------------------------------------------------------------------------

    async def tags(self) -> list[Tag]:
        """What is installed.

        Raises:
            OrchestratorError: `engine_unavailable`.
        """
        return await self._listing(self._tags())

    async def loaded(self) -> dict[str, int | None]:
        """What is in memory: names and context lengths, None where the server is too old to tell.

        Raises:
            OrchestratorError: `engine_unavailable`.
        """
        found = await self._listing(self._ollama.ps())
        return {whole_name(entry.model): entry.context_length for entry in found.models if entry.model}

    async def facts(self, name: str) -> Facts | None:
        """What an installed model is like, or None where it cannot be shown (it may just have been removed).

        Raises:
            OrchestratorError: `engine_unavailable`: the server is gone, too.
        """
        try:
            shown = await self._ollama.show(name)
        except (ollama.ResponseError, ValueError):  # a refusal, or a reply that is not of the package's types
            return None
        except (ConnectionError, httpx.HTTPError) as error:
            raise self.peer.unlisted(error) from error
        said = shown.details
        details = (
            Details()
            if said is None
            else _details(said.format, said.family, said.parameter_size, said.quantization_level)
        )
        return facts_of(shown.capabilities, shown.modelinfo or {}, details)

    async def _tags(self) -> list[Tag]:
        response = await self._http.get("/api/tags")
        response.raise_for_status()
        listed = msgspec.json.decode(response.content, type=_WireTags)
        return [_tag(wire) for wire in listed.models or ()]

    async def _listing(self, asking: Awaitable[T]) -> T:
        try:
            return await asking
        except (ConnectionError, httpx.HTTPError, ollama.ResponseError, ValueError) as error:
            raise self.peer.unlisted(error) from error

    # ---- what it does -------------------------------------------------------------------------

    async def load(self, path: str, body: JsonObject, about: Subject) -> None:
        """Send a request that only loads; returns when the model is in memory.

        Raises:
            OrchestratorError: whatever kept it from loading.
        """
        await self._post(path, body, about, self._load_timeout)

    async def embed(self, body: JsonObject, about: Subject) -> Embeddings:
        """The vectors of the texts in `body`.

        Raises:
            OrchestratorError: a refusal, a connection that breaks, a reply that is none.
        """
        response = await self._post("/api/embed", body, about, self._write_timeout)
        try:
            told = msgspec.json.decode(response.content, type=_WireEmbeddings)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self.peer.broken("its vectors are not what they should be") from None
        return Embeddings(tuple(tuple(vector) for vector in told.embeddings), told.prompt_eval_count)

    async def _post(self, path: str, body: JsonObject, about: Subject, timeout: httpx.Timeout) -> httpx.Response:
        try:
            response = await self._http.post(path, content=_encoded(body), headers=_JSON, timeout=timeout)
        except httpx.HTTPError as error:
            raise self.peer.lost(error) from error
        if not response.is_success:
            raise self.peer.refusal(response.status_code, error_text(response.content), about)
        return response

    async def unload(self, name: str) -> None:
        """Take a model out of memory, once nobody uses it; returns when it is gone, or after a while.

        Raises:
            OrchestratorError: `engine_unavailable`.
        """
        await self._listing(self._ollama.generate(name, keep_alive=0))
        with anyio.move_on_after(UNLOAD_SECONDS):
            while whole_name(name) in await self.loaded():  # noqa: ASYNC110  it says yes before, and nothing after
                await anyio.sleep(UNLOAD_SECONDS / 100)

    @asynccontextmanager
    async def chat(
        self, body: JsonObject, about: Subject, patience_seconds: float | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The lines of one streamed turn. Leaving the context ends the request, and Ollama stops writing.

        Where tools are offered every silence may be as long as the first: Ollama collects a call before it sends it.

        Raises:
            SilentError: nothing came within `patience_seconds`.
            OrchestratorError: a refusal, a connection that breaks, also while the lines are read.
        """
        request = self._http.build_request(
            "POST",
            "/api/generate" if "prompt" in body else "/api/chat",
            content=_encoded(body),
            headers=_JSON,
            timeout=self._write_timeout,
        )
        try:
            try:
                with anyio.fail_after(patience_seconds):
                    response = await self._http.send(request, stream=True)
            except TimeoutError:
                raise SilentError from None
            except httpx.ReadTimeout:
                raise self.peer.silent(self._longest_silence) from None
            try:
                if not response.is_success:
                    raise self.peer.refusal(response.status_code, error_text(await _beginning(response)), about)
                silence = self._longest_silence if "tools" in body else self._silence_seconds
                async with aclosing(self._lines(response, silence)) as lines:
                    yield lines
            finally:
                with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                    await response.aclose()
        except httpx.HTTPError as error:
            raise self.peer.lost(error) from error

    async def _lines(self, response: httpx.Response, silence_seconds: float) -> AsyncGenerator[bytes]:
        splitter = LineSplitter()
        blocks = response.aiter_bytes()
        seconds = self._longest_silence
        while True:
            try:
                with anyio.fail_after(seconds):
                    data = await anext(blocks, None)
            except TimeoutError:
                raise self.peer.silent(seconds) from None
            if data is None:
                break
            seconds = silence_seconds
            try:
                lines = splitter.feed(data)
            except ValueError as error:
                raise self.peer.broken(str(error)) from None
            for line in lines:
                yield line
        for line in splitter.end():
            yield line


_JSON: Final = {"Content-Type": "application/json"}


def _encoded(body: JsonObject) -> bytes:
    """Escaped to ASCII: a tool's text may hold a lone surrogate, which UTF-8 cannot."""
    return json.dumps(body).encode("ascii")


async def _beginning(response: httpx.Response) -> bytes:
    body = b""
    async for data in response.aiter_bytes():
        body += data
        if len(body) >= MAX_ERROR_BYTES:
            break
    return body[:MAX_ERROR_BYTES]


def _details(file_format: str | None, family: str | None, parameters: str | None, quantization: str | None) -> Details:
    """What is empty is not known."""
    return Details(file_format or None, family or None, parameters or None, quantization or None)


def _tag(wire: _WireTag) -> Tag:
    key = whole_name(wire.model or wire.name)
    details = wire.details or _WireDetails()
    return Tag(
        key=key,
        digest=wire.digest,
        size_bytes=wire.size or None,
        details=_details(details.format, details.family, details.parameter_size, details.quantization_level),
        remote=bool(wire.remote_host) or leaves_the_machine(key),
        modified_at=_moment(wire.modified_at),
    )


def _moment(text: str | None) -> datetime | None:
    """A time with its offset; Go's time of nothing, and what is no time, are None."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and moment.year > 1 else None
