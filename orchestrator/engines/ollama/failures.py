"""What goes wrong at Ollama, in the words of the contract: an explicit map, from both libraries and from its texts."""

import re
from dataclasses import dataclass
from typing import Final

import httpx
import msgspec
import ollama

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.engines.openai_http import overrun_told
from orchestrator.ports import NobodyThereError

MAX_MESSAGE: Final = 500
RETRY_AFTER_SECONDS: Final = 5.0

_TOO_LONG: Final = re.compile(
    r"exceeds?\b.{0,60}\bcontext\b|context (size|length|window).{0,60}\bexceed", re.IGNORECASE | re.DOTALL
)
_LACKS: Final = re.compile(r"does not support (?P<what>[a-z ]+)", re.IGNORECASE)
_NO_IMAGES: Final = re.compile(r"image input|missing data required for image", re.IGNORECASE)
_NO_FORMAT: Final = re.compile(r"JSON schema in format|invalid format:|failed to (parse|load) grammar", re.IGNORECASE)
_BUSY: Final = re.compile(r"server busy|maximum pending requests", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a request is about: a model's key, and its context in tokens where that is known."""

    key: str
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """The Ollama that is spoken to, as messages name it. `address` holds no credentials.

    A `supervised` one is started again by us when it has gone.
    """

    address: str
    supervised: bool = False

    @property
    def name(self) -> str:
        return f"Ollama at {self.address}"

    # ---- what it says -------------------------------------------------------------------------

    def refusal(self, status: int | None, text: str, about: Subject) -> OrchestratorError:
        """An error that the server put into words; `status` None is one in the middle of a stream."""
        if _TOO_LONG.search(text):
            size = "" if about.context is None else f" {about.context}"
            message = f"The prompt is longer than the context{size} of model '{about.key}': {_short(text)}"
            return OrchestratorError(ErrorKind.EXCEED_CONTEXT_SIZE, message, param="input", overrun=overrun_told(text))
        lacking = _LACKS.search(text)
        if lacking is not None:
            return _lacking(lacking["what"].strip().lower(), about.key)
        if _NO_IMAGES.search(text):
            message = f"Model '{about.key}' does not take images."
            return OrchestratorError(ErrorKind.INVALID_VALUE, message, param="input")
        if _NO_FORMAT.search(text):
            message = f"{self.name} cannot hold the model to this format: {_short(text)}"
            return OrchestratorError(ErrorKind.INVALID_VALUE, message, param="response_format")
        if status == 404:
            message = f"{self.name} has no model '{about.key}'. `ollama pull {about.key}` downloads it."
            return OrchestratorError(ErrorKind.UNKNOWN_MODEL, message, param="model")
        if status == 503 and _BUSY.search(text):
            message = f"{self.name} has too many requests waiting."
            return OrchestratorError(ErrorKind.RATE_LIMITED, message, retry_after_seconds=RETRY_AFTER_SECONDS)
        if status in (502, 503, 504):  # from a proxy before it
            return OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, f"{self.name} cannot be reached: status {status}.")
        said = f": {_short(text)}" if text else "."
        how = "failed" if status is None else f"answered with status {status}"
        return OrchestratorError(ErrorKind.ENGINE_ERROR, f"{self.name} {how}{said}")

    # ---- what becomes of the connection -------------------------------------------------------

    def unavailable(self, why: str) -> OrchestratorError:
        """Nothing there, or nothing that is Ollama."""
        return OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, f"{self.name} {why}")

    def absent(self) -> OrchestratorError:
        """Nobody listens there."""
        what = "It is being started again." if self.supervised else "Is it running? `ollama serve` starts it."
        return NobodyThereError(ErrorKind.ENGINE_UNAVAILABLE, f"{self.name} does not answer. {what}")

    @property
    def _look(self) -> str:
        return "Its log says why; if that lasts, start it anew."

    def lost(self, error: httpx.HTTPError) -> OrchestratorError:
        """A connection that could not be made, or that broke while a model was loading or writing."""
        match error:
            case httpx.ConnectError():
                return self.absent()
            case httpx.ConnectTimeout():
                return self.unlisted(error)
            case httpx.TimeoutException():
                return OrchestratorError(ErrorKind.ENGINE_ERROR, f"{self.name} fell silent, and was given up.")
            case _:
                message = f"{self.name} broke the connection off before its answer was complete."
                return OrchestratorError(ErrorKind.ENGINE_ERROR, message)

    def silent(self, seconds: float) -> OrchestratorError:
        """It sent nothing for too long while it was writing."""
        return OrchestratorError(
            ErrorKind.ENGINE_ERROR, f"{self.name} sent nothing for {seconds:g} seconds, and was given up."
        )

    def broken(self, how: str) -> OrchestratorError:
        """It answers, and not as its protocol says."""
        return OrchestratorError(ErrorKind.ENGINE_ERROR, f"{self.name} does not keep to its protocol: {how}.")

    def unlisted(self, error: Exception) -> OrchestratorError:
        """What kept the server from saying which models it has: whatever it was, it cannot be used now."""
        match error:
            case ConnectionError() | httpx.ConnectError():
                return self.absent()
            case httpx.TimeoutException():
                return self.unavailable(f"does not answer in time. {self._look}")
            case httpx.HTTPStatusError():
                return self.unavailable(f"answered with status {error.response.status_code}. {self._look}")
            case httpx.HTTPError():
                return self.unavailable(f"broke the connection off. {self._look}")
            case ollama.ResponseError():
                return self.unavailable(f"answered with status {error.status_code}. {self._look}")
            case _:
                return self.unavailable("answers, but not as Ollama does. Is OLLAMA_HOST the address of an Ollama?")


class _ErrorBody(msgspec.Struct, frozen=True):
    error: str | dict[str, msgspec.Raw] | None = None


def error_text(body: bytes) -> str:
    """What an error's body says; empty where it is none of Ollama's, such as a proxy's page."""
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
        if isinstance(error, dict):
            return msgspec.json.decode(error.get("message", msgspec.Raw(b'""')), type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return error or ""


def _lacking(what: str, model: str) -> OrchestratorError:
    """A model that cannot do what the request needs: the field of the request that asks for it is to blame."""
    param = {"tools": "integrations", "thinking": "reasoning", "vision": "input"}.get(what, "model")
    return OrchestratorError(ErrorKind.INVALID_VALUE, f"Model '{model}' does not support {what}.", param=param)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_MESSAGE else line[:MAX_MESSAGE] + "…"
