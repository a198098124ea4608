"""Ollama pulls a model: it moves the bytes, keeps what there is, checks digests and goes on by itself.

Source: https://docs.ollama.com/api/pull. What is asked for is a name of Ollama's catalogue or one on another
registry, such as `hf.co/<publisher>/<name>:<quantization>`. A connection that is closed ends the pull, and the next
one of the same model goes on where it ended.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Final, cast

import anyio
import httpx
import ollama

from orchestrator.core.downloads import DownloadPlan, DownloadProgress
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.engines.ollama.address import base_url, shown_address
from orchestrator.engines.ollama.catalog import leaves_the_machine, whole_name
from orchestrator.engines.ollama.failures import Peer

NAME: Final = "ollama"
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 20.0
SILENCE_SECONDS: Final = 120.0
"""How long a pull may say nothing; it reports every 60 ms while bytes move, and hashes large files in between."""

CLOSE_SECONDS: Final = 0.5
MAX_MESSAGE: Final = 500

KNOWN_REGISTRIES: Final = frozenset({"registry.ollama.ai", "ollama.com", "hf.co", "huggingface.co"})
_NAME: Final = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?/)?(?:[A-Za-z0-9_][A-Za-z0-9._-]*/)?"
    r"[A-Za-z0-9_][A-Za-z0-9._-]*(?::[A-Za-z0-9_][A-Za-z0-9._-]*)?",
    re.ASCII,
)
_UNKNOWN: Final = re.compile(r"file does not exist|not found|no such", re.IGNORECASE)
_NO_NETWORK: Final = re.compile(r"dial tcp|lookup |i/o timeout|connection re|no such host", re.IGNORECASE)
_FULL: Final = re.compile(r"no space left", re.IGNORECASE)


def _registry_of(model: str) -> str | None:
    """The host that a name begins with, in lower case and without its port; None for a name of Ollama's own registry."""
    first, *rest = model.split("/")
    return first.partition(":")[0].lower() if len(rest) == 2 or (rest and ":" in first) else None


class OllamaDownloader:
    """`Downloader` of one Ollama. `registries` are hosts that names may begin with, beside those that everybody uses."""

    def __init__(self, host: str, registries: Iterable[str] = ()) -> None:
        self.name = NAME
        self.forms = "a name of Ollama's catalogue (qwen3:8b, hf.co/<publisher>/<name>)"
        self._url = base_url(host)
        self._peer = Peer(shown_address(self._url))
        self._registries = KNOWN_REGISTRIES | {registry.lower() for registry in registries}

    def takes(self, model: str, quantization: str | None) -> bool:
        return quantization is None and _NAME.fullmatch(model) is not None

    async def plan(self, model: str, quantization: str | None) -> DownloadPlan:
        """As the port says; `present` where a model of that name is installed, though its registry may have a newer one."""
        if leaves_the_machine(model):
            message = f"{model} does not run on this machine: there is nothing to download."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
        registry = _registry_of(model)
        if registry is not None and registry not in self._registries:
            # Whoever may download could have Ollama ask any address, those of this network among them.
            message = f"Models are not downloaded from '{registry}'. The setting OLLAMA_REGISTRIES can allow it."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
        name = whole_name(model)
        async with self._client(ANSWER_SECONDS) as client:
            try:
                listed = await client.list()
            except (ConnectionError, httpx.HTTPError, ollama.ResponseError, ValueError) as error:
                raise self._peer.unlisted(error) from error
        installed = {whole_name(entry.model).lower() for entry in listed.models if entry.model}
        return DownloadPlan(NAME, name, present=name.lower() in installed)

    async def fetch(self, plan: DownloadPlan, report: Callable[[DownloadProgress], None]) -> None:
        layers: dict[str, tuple[int, int]] = {}
        async with self._client(SILENCE_SECONDS) as client:
            try:
                pulling = cast(
                    "AsyncGenerator[ollama.ProgressResponse]", await client.pull(plan.reference, stream=True)
                )
                async with aclosing(pulling):
                    async for line in pulling:
                        if line.digest is not None and line.total is not None:
                            layers[line.digest] = line.completed or 0, line.total
                            there = sum(completed for completed, _ in layers.values())
                            report(DownloadProgress(there, sum(total for _, total in layers.values())))
                        if line.status == "success":
                            return
            except ollama.ResponseError as error:
                raise self._refused(error, plan.reference) from error
            except (ConnectionError, httpx.HTTPError) as error:
                raise self._lost(error) from error
            except ValueError as error:
                raise self._peer.broken("a line of its answer is no JSON of its own") from error
        raise self._peer.broken("the pull ended without success")

    async def discard(self, plan: DownloadPlan) -> None:
        """Nothing to do: Ollama offers no way to it, and removes what is left when it starts."""

    def _client(self, silence_seconds: float) -> "_Client":
        return _Client(self._url, httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS))

    def _refused(self, error: ollama.ResponseError, name: str) -> OrchestratorError:
        said = " ".join(error.error.split())[:MAX_MESSAGE]
        if _FULL.search(said):
            message = f"The disk of {self._peer.name} became full."
            return OrchestratorError(ErrorKind.INSUFFICIENT_STORAGE, message)
        if _NO_NETWORK.search(said):
            message = f"{self._peer.name} does not reach the registry: {said}"
            return OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, message)
        if error.status_code == 400:
            message = f"{self._peer.name} does not take the name {name}: {said}"
            return OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
        if _UNKNOWN.search(said):
            message = f"{self._peer.name} finds no model {name} to pull: {said}"
            return OrchestratorError(ErrorKind.UNKNOWN_MODEL, message, param="model")
        return OrchestratorError(ErrorKind.ENGINE_ERROR, f"{self._peer.name} does not pull {name}: {said}")

    def _lost(self, error: Exception) -> OrchestratorError:
        match error:
            case ConnectionError() | httpx.ConnectError() | httpx.ConnectTimeout():
                return self._peer.unlisted(error)
            case httpx.TimeoutException():
                return self._peer.unavailable("said nothing more while it pulled, and was given up.")
            case _:
                return self._peer.unavailable("broke the connection off while it pulled.")


class _Client:
    """Ollama's client, for one conversation; closing it is bounded, and so is what a cancelled caller waits for."""

    def __init__(self, url: str, timeout: httpx.Timeout) -> None:
        # The environment's proxies lead out of the machine; Ollama goes its own way to the registry.
        self._client = ollama.AsyncClient(url, timeout=timeout, trust_env=False, follow_redirects=False)

    async def __aenter__(self) -> ollama.AsyncClient:
        return self._client

    async def __aexit__(self, *_: object) -> None:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._client.close()
