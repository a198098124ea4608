"""One streamed completion over HTTP: the I/O that both adapters of this wire share."""

import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import anyio
import httpx
import msgspec

from orchestrator.core.errors import ErrorKind, OrchestratorError, Overrun
from orchestrator.core.inputs import GenerationFinished
from orchestrator.core.json_types import JsonObject
from orchestrator.core.response import Counters
from orchestrator.engines.openai_stream import SseParser, StreamDecoder
from orchestrator.engines.openai_wire import WireError, decode_chunk
from orchestrator.ports import GenerationChunk

CLOSE_SECONDS: Final = 2.0
"""How long closing a connection may take before it is given up."""
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
MAX_QUOTED: Final = 300


_NO_FORMAT: Final = re.compile(
    r"response_format|json[_ ]?schema|guided[_ ](json|decoding)|structured[_ ]output|(parse|compile|invalid|unsupported).{0,40}grammar|xgrammar",
    re.IGNORECASE,
)
"""How servers word it that a format is beyond them: vLLM, SGLang, llama-server, LM Studio."""


class FellSilentError(httpx.ReadTimeout):
    """A server sent nothing for `seconds` after its first token."""

    def __init__(self, seconds: float) -> None:
        super().__init__("")
        self.seconds = seconds


class Completion:
    """One `POST /chat/completions`, streamed. `who` names the engine in messages, `scrub` removes secrets from them.

    After the first token nothing may come for `silence_seconds` at most; before it, for as long as the client's timeout says.
    Transport errors leave as httpx raised them: only the adapter knows what they mean.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        who: str,
        *,
        headers: Mapping[str, str],
        silence_seconds: float | None = None,
        scrub: Callable[[str], str] = str,
    ) -> None:
        self._client = client
        self._silence_seconds = silence_seconds
        self._url = url
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream", **headers}
        self._who = who
        self._scrub = scrub
        self.decoder = StreamDecoder(who)
        self.heard = False
        """Whether anything of an answer has come."""
        self._sent_at = 0.0
        self._first_at: float | None = None
        self._last_at: float | None = None
        self._done = False

    async def chunks(self, body: JsonObject) -> AsyncGenerator[GenerationChunk, None]:
        """Everything but the end of the turn. Closing the generator closes the connection.

        Raises:
            OrchestratorError: the server refused the request, or what it sent is broken or has no end.
            httpx.TransportError: it could not be reached, or went away.
        """
        request = self._client.build_request(
            "POST", self._url, content=msgspec.json.encode(body), headers=self._headers
        )
        self._sent_at = time.perf_counter()
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != 200:
                body_start = await read_bounded(response, MAX_ERROR_BYTES)
                raise refusal(body_start, response, self._who, self._scrub)
            async with aclosing(self._events(response)) as events:
                async for data in events:
                    for chunk in self._decode(data):
                        yield chunk
                    if self._done:
                        break
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await response.aclose()
        if not self.heard:
            raise httpx.RemoteProtocolError("the connection was closed before the first byte")
        if not (self._done or self.decoder.finished):
            raise self._broken("ended its answer without saying that it was finished")

    def finished(self, reasoning_tokens: int | None) -> GenerationFinished:
        """The end of the turn; `reasoning_tokens` stand in where the server did not count them."""
        counted = self.decoder.counted
        decode_seconds = counted.decode_seconds
        if decode_seconds is None and self._first_at is not None and self._last_at is not None:
            decode_seconds = (self._last_at - self._first_at) or None
        counters = Counters(
            input_tokens=counted.input,
            output_tokens=counted.output,
            reasoning_tokens=reasoning_tokens if counted.reasoning is None else counted.reasoning,
            cached_tokens=counted.cached,
            decode_seconds=decode_seconds,
            first_token_seconds=None if self._first_at is None else self._first_at - self._sent_at,
        )
        return GenerationFinished(self.decoder.finish_reason(), counters, self.decoder.stop_sequence)

    async def _events(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """The data of each event; a server that does not stream sends one body, which is taken for one event."""
        if "json" in response.headers.get("content-type", ""):
            body = await read_bounded(response, MAX_REPLY_BYTES)
            self.heard = self._done = True
            yield body
            return
        parser = SseParser()
        try:
            async for block in self._blocks(response):
                for event in parser.feed(block):
                    yield event
        except ValueError as error:
            raise self._broken(f"sent {error}") from None
        for event in parser.end():
            yield event

    async def _blocks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        blocks = response.aiter_bytes()
        while True:
            seconds = self._silence_seconds if self.decoder.first_token_seen else None
            try:
                with anyio.fail_after(seconds):
                    block = await anext(blocks, None)
            except TimeoutError:
                raise FellSilentError(seconds or 0.0) from None
            if block is None:
                return
            self.heard = True
            yield block

    def _decode(self, data: bytes) -> list[GenerationChunk]:
        if data.strip() == b"[DONE]":
            self._done = True
            return []
        try:
            chunk = decode_chunk(data)
            failure = chunk.failure()
            out = self.decoder.feed(chunk) if failure is None else []
        except ValueError as error:
            raise self._broken(f"sent something that is not a chat completion ({error})") from None
        if failure is not None:
            raise translate_error(failure, None, self._who, self._scrub)
        if self.decoder.first_token_seen:
            now = time.perf_counter()
            if self._first_at is None:
                self._first_at = now
            if out:
                self._last_at = now
        return out

    def _broken(self, what: str) -> OrchestratorError:
        return OrchestratorError(ErrorKind.ENGINE_ERROR, f"{self._who} {what}.")


def refusal(body: bytes, response: httpx.Response, who: str, scrub: Callable[[str], str]) -> OrchestratorError:
    """What a reply that is no success means to us; `body` is what was read of it."""
    try:
        failure = decode_chunk(body).failure() or WireError()
    except ValueError:
        failure = WireError()
    return translate_error(failure, response.status_code, who, scrub, retry_after(response.headers))


def retry_after(headers: httpx.Headers) -> float | None:
    """The seconds of `Retry-After`, which may be a date (RFC 9110, 10.2.3)."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def translate_error(
    failure: WireError,
    status: int | None,
    who: str,
    scrub: Callable[[str], str],
    retry_after_seconds: float | None = None,
) -> OrchestratorError:
    """What a server's error means to us. `status` is None for an error in the middle of a stream.

    The message may quote the server, for the client to read: it is not for the log.
    """
    text = failure.message or ""
    if failure.type == "exceed_context_size_error" or failure.code == "context_length_exceeded" or _too_long(text):
        over = (
            Overrun(failure.n_prompt_tokens, failure.n_ctx)
            if failure.n_prompt_tokens is not None and failure.n_ctx is not None
            else overrun_told(text)
        )
        sizes = "" if over is None else f": it has {over.tokens} tokens, the context {over.maximum}"
        return OrchestratorError(
            ErrorKind.EXCEED_CONTEXT_SIZE,
            f"The prompt is longer than the context{sizes}.",
            param="input",
            overrun=over,
        )
    if "is too large to process" in text:  # llama-server's, for a text to embed
        return OrchestratorError(
            ErrorKind.EXCEED_CONTEXT_SIZE, "A text is longer than the model can embed in one piece.", param="input"
        )
    if "Failed to load image" in text:
        return OrchestratorError(ErrorKind.INVALID_VALUE, f"{who} cannot read the image.", param="input")
    if "logprobs is not supported" in text:  # llama-server's, where tools are offered as well
        message = (
            f'{who} does not tell how likely tokens were where tools are offered: leave "logprobs" or the tools out.'
        )
        return OrchestratorError(ErrorKind.INVALID_VALUE, message, param="logprobs")
    if "does not match the expected" in text:
        return OrchestratorError(
            ErrorKind.ENGINE_ERROR, "The model wrote a tool call that does not follow the format of its own template."
        )
    _, schema_error, reason = text.partition("JSON schema error")
    if schema_error:  # llama-server's, for a format or a tool that it can make no grammar of
        message = f"{who} cannot hold the model to this schema:{reason.partition(':')[2]}."
        return OrchestratorError(ErrorKind.INVALID_VALUE, message, param="response_format")
    if status in (None, 400, 422) and _NO_FORMAT.search(text):
        message = f"{who} cannot hold the model to this format: {' '.join(scrub(text).split())[:MAX_QUOTED]}"
        return OrchestratorError(ErrorKind.INVALID_VALUE, message, param="response_format")
    if status in (401, 403):  # its words may echo the key in part
        return OrchestratorError(ErrorKind.ENGINE_ERROR, f"{who} refused the API key (status {status}).")
    said = " ".join(scrub(text).split())[:MAX_QUOTED]
    kind, answered, param = _by_status(status)
    message = f"{who} {answered}: {said}" if said else f"{who} {answered}."
    return OrchestratorError(kind, message, param=param, retry_after_seconds=retry_after_seconds)


def _by_status(status: int | None) -> tuple[ErrorKind, str, str | None]:
    """What is to blame, where the server's words do not tell: the kind, what happened, the field."""
    match status:
        case None:
            return ErrorKind.ENGINE_ERROR, "failed while generating", None
        case 404:
            return ErrorKind.UNKNOWN_MODEL, "does not know this model, or its URL is not right (status 404)", "model"
        case 413:
            return ErrorKind.REQUEST_TOO_LARGE, "finds the request too large (status 413)", None
        case 429:
            return ErrorKind.RATE_LIMITED, "takes no more requests now (status 429)", None
        case 503:
            return ErrorKind.ENGINE_UNAVAILABLE, "cannot answer now (status 503)", None
        case 408 | 409 | 425:  # nothing is wrong with the request
            return ErrorKind.ENGINE_ERROR, f"answered with status {status}", None
        case _ if 400 <= status < 500:
            return ErrorKind.INVALID_VALUE, f"refused the request (status {status})", None
        case _:
            return ErrorKind.ENGINE_ERROR, f"answered with status {status}", None


def _too_long(text: str) -> bool:
    """vLLM and SGLang say it in words only."""
    return "maximum context length" in text or "longer than the model's context length" in text


def overrun_told(text: str) -> Overrun | None:
    """By how much a prompt is too long, where llama-server, SGLang or vLLM says it in words."""
    for pattern in _OVERRUNS:
        found = pattern.search(text)
        if found is not None and int(found["tokens"]) > int(found["maximum"]):
            return Overrun(int(found["tokens"]), int(found["maximum"]))
    return None


_OVERRUNS: Final = (
    re.compile(r"(?P<tokens>\d{1,12}) tokens\).{1,60} context (?:size|length) \((?P<maximum>\d{1,12}) tokens"),
    re.compile(r"maximum context length is (?P<maximum>\d{1,12}) tokens.{1,60}\b(?P<tokens>\d{1,12}) input tokens"),
)
"""Where vLLM tells only what prompt and answer have together, or finds the answer too long, it is not the prompt's number."""


async def read_bounded(response: httpx.Response, limit: int) -> bytes:
    """The body, or its first `limit` bytes."""
    body = bytearray()
    async for block in response.aiter_bytes():
        body += block
        if len(body) > limit:
            break
    return bytes(body[:limit])
