"""The chunks of chat completions, as servers send them: fields that are missing, or more than these, do no harm."""

from typing import Final

import msgspec

from orchestrator.core.logprobs import LikelyToken, TokenLogprob


class WireFunction(msgspec.Struct, frozen=True):
    """Part of a call; some servers send the arguments as an object instead of its text."""

    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw(b"null")

    def arguments_text(self) -> str:
        """The fragment of the arguments' JSON text.

        Raises:
            ValueError: it is not UTF-8.
        """
        raw = bytes(self.arguments)
        if raw == b"null":
            return ""
        try:
            return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ValueError("it is not UTF-8") from None


class WireCall(msgspec.Struct, frozen=True):
    """A fragment of a call, or a whole one."""

    index: int | None = None
    id: str | None = None
    function: WireFunction | None = None


class WireDelta(msgspec.Struct, frozen=True):
    """What is new; reasoning has two names in the field."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[WireCall] | None = None


class WireLikely(msgspec.Struct, frozen=True):
    """A token and how likely it was."""

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list["WireLikely"] | None = None

    def likely(self) -> LikelyToken:
        """In the core's words."""
        return LikelyToken(self.token, self.logprob, None if self.bytes is None else bytes(self.bytes))


class WireLogprobs(msgspec.Struct, frozen=True):
    """Of the tokens of the message; vLLM and OpenAI tell those of a raw prompt's answer in lists side by side."""

    content: list[WireLikely] | None = None
    tokens_said: list[str] | None = msgspec.field(default=None, name="tokens")
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None

    def tokens(self) -> tuple[TokenLogprob, ...]:
        """In the core's words.

        Raises:
            ValueError: a byte is none.
        """
        told = tuple(
            TokenLogprob(token.likely(), tuple(each.likely() for each in token.top_logprobs or ()))
            for token in self.content or ()
        )
        tops = self.top_logprobs or [None] * len(self.tokens_said or ())
        beside = zip(self.tokens_said or (), self.token_logprobs or (), tops, strict=False)
        return told or tuple(
            TokenLogprob(LikelyToken(token, logprob or 0.0), tuple(LikelyToken(*each) for each in (top or {}).items()))
            for token, logprob, top in beside
        )


class WireChoice(msgspec.Struct, frozen=True):
    """`message` is what a server sends that was asked to stream and does not, `text` the answer to a raw prompt.

    What the model stopped at is vLLM's `stop_reason` and SGLang's `matched_stop`: a text, or the id of a token.
    """

    delta: WireDelta | None = None
    message: WireDelta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: WireLogprobs | None = None
    stop_reason: object = None
    matched_stop: object = None


class WirePromptDetails(msgspec.Struct, frozen=True):
    """Details of the prompt's tokens."""

    cached_tokens: int | None = None


class WireCompletionDetails(msgspec.Struct, frozen=True):
    """Details of the written tokens."""

    reasoning_tokens: int | None = None


class WireUsage(msgspec.Struct, frozen=True):
    """OpenAI's counters."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: WirePromptDetails | None = None
    completion_tokens_details: WireCompletionDetails | None = None


class WireTimings(msgspec.Struct, frozen=True):
    """llama.cpp's own counters; `prompt_n` is without the `cache_n` tokens that its cache answered for."""

    cache_n: int = 0
    prompt_n: int = 0
    predicted_n: int = 0
    predicted_ms: float = 0.0


class WirePromptProgress(msgspec.Struct, frozen=True):
    """llama.cpp's answer to `return_progress`; `processed` includes what the cache answered for."""

    total: int = 0
    processed: int = 0


class WireVerbose(msgspec.Struct, frozen=True):
    """What llama.cpp adds to the end of a turn where it is told to be `verbose`; empty where no word ended it."""

    stopping_word: str = ""


class WireError(msgspec.Struct, frozen=True):
    """An error body; the two counts are llama.cpp's, for a prompt that is too long."""

    message: str | None = None
    type: str | None = None
    code: int | str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class WireChunk(msgspec.Struct, frozen=True):
    """One event of the stream; an error may come in the middle of it, under `error` or (older vLLM) bare."""

    choices: list[WireChoice] | None = None
    usage: WireUsage | None = None
    timings: WireTimings | None = None
    prompt_progress: WirePromptProgress | None = None
    verbose: WireVerbose | None = msgspec.field(name="__verbose", default=None)
    error: WireError | str | None = None
    object: str | None = None
    message: str | None = None
    type: str | None = None
    code: int | str | None = None

    def failure(self) -> WireError | None:
        """The error that this chunk is, if it is one."""
        if isinstance(self.error, str):
            return WireError(self.error)
        if self.error is None and self.object == "error":
            return WireError(self.message, self.type, self.code)
        return self.error


_CHUNK: Final = msgspec.json.Decoder(WireChunk, strict=False)


def decode_chunk(data: bytes) -> WireChunk:
    """The data of one event.

    Raises:
        ValueError: it is not JSON, or not of this shape. The message holds none of the content.
    """
    try:
        return _CHUNK.decode(data.decode())  # what stays raw in it is not checked to be UTF-8 otherwise
    except msgspec.ValidationError as error:  # names types and a path, never values
        raise ValueError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("it is not JSON") from None
