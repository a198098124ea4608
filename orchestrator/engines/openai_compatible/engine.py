"""Any server that speaks `/v1/chat/completions`: vLLM, SGLang, llama-server, Ray Serve and their like."""

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

import anyio
import httpx
import msgspec
import structlog

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import ModelReady, ReasoningArrived
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import LoadSettings, Model, ReasoningSupport
from orchestrator.core.request import ReasoningSetting, ResponseFormat
from orchestrator.engines.openai_compatible.extras import extras
from orchestrator.engines.openai_counting import count_prompt
from orchestrator.engines.openai_embeddings import embed
from orchestrator.engines.openai_http import Completion, FellSilentError, read_bounded, refusal
from orchestrator.engines.openai_request import completion_body, raw_body
from orchestrator.ports import Embeddings, EngineTraits, GenerationChunk, LoadStep

ENGINE_NAME: Final = "openai_compatible"
LLAMA_SERVER: Final = "llamacpp"
VLLM: Final = "vllm"
COUNT_SECONDS: Final = 10.0
"""Who owns the models of llama-server."""
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
REASONING_HINT: Final = "OPENAI_COMPATIBLE_REASONING can say what the models of its server offer."
LATEST: Final = datetime.max.replace(tzinfo=UTC).timestamp()
RETRY_SECONDS: Final = 0.2
"""How long a server that was not there is left alone before it is asked once more."""
LONGEST_PAUSE_SECONDS: Final = 5.0
"""What a server may ask for before it is asked once more; beyond that the client is told to come back."""


log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. A server may send nothing until its `first_token`, its prompt included, and then between any two for `silence`."""

    connect: float = 5.0
    list_models: float = 10.0
    first_token: float = 300.0
    silence: float = 120.0


class _WireMeta(msgspec.Struct, frozen=True):
    """What llama-server adds. `n_ctx` is the context of a slot, `n_ctx_train` the longest the model was made for."""

    n_ctx: int | None = None
    n_ctx_train: int | None = None
    size: int | None = None


class _WireArchitecture(msgspec.Struct, frozen=True):
    """What llama-server adds: `image` stands among the modalities of a model that sees."""

    input_modalities: list[str] = []


class _WireReasoning(msgspec.Struct, frozen=True):
    allowed_options: list[ReasoningSetting]
    default: ReasoningSetting


class _WireCapabilities(msgspec.Struct, frozen=True):
    reasoning: _WireReasoning | None = None


class _WireModel(msgspec.Struct, frozen=True):
    """An entry of `GET /v1/models`; `max_model_len` is vLLM's and SGLang's, `owned_by` says who llama-server is.

    `capabilities` are LM Studio's and ours, or a list that says other things; `supported_parameters` OpenRouter's.
    """

    id: str
    owned_by: object = None
    capabilities: object = None
    supported_parameters: object = None
    max_model_len: int | None = None
    meta: _WireMeta | None = None
    architecture: _WireArchitecture | None = None
    created: object = None


class _WireModels(msgspec.Struct, frozen=True):
    """The reply of `GET /v1/models`."""

    data: list[_WireModel]


class OpenAICompatibleEngine:
    """One server. `base_url` includes `/v1`; the key is sent to it and shown nowhere, nor is a password in the URL, which is
    used where there is no key.

    `name` tells it from other servers that have the same model. `parallel` is how many turns of a model are sent to it at
    once. `reasoning` are the settings that its models offer, what they do unasked first; where there are none, its list of
    models may tell.

    Raises:
            ValueError: the URL or the key cannot be used; the message holds neither the key nor the password.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        name: str = ENGINE_NAME,
        timeouts: Timeouts = Timeouts(),
        parallel: int | None = None,
        reasoning: Sequence[ReasoningSetting] = (),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._parallel = parallel
        url = _checked_url(base_url)
        # httpx would log the URL of each request: what is secret in it goes along as what it is.
        self._base_url = str(url.copy_with(userinfo=b"")).rstrip("/")
        self._api_key = api_key or None
        if self._api_key is not None and not (self._api_key.isascii() and self._api_key.isprintable()):
            raise ValueError(f"the API key for {self._base_url} holds characters that cannot stand in a header")
        self._timeouts = timeouts
        self._reasoning = ReasoningSupport(tuple(reasoning), reasoning[0]) if reasoning else None
        self._unheeded: set[str] = set()
        self._llama: frozenset[str] = frozenset()
        self._vllm: frozenset[str] = frozenset()
        self._client = httpx.AsyncClient(
            auth=(url.username, url.password) if url.userinfo and self._api_key is None else None,
            timeout=httpx.Timeout(max(timeouts.first_token, timeouts.silence), connect=timeouts.connect),
            # No keep-alive: servers close idle connections when they like, and a completion must not be sent twice.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"OpenAICompatibleEngine({self._base_url!r})"

    @property
    def name(self) -> str:
        """What `engine::key` calls it."""
        return self._name

    @property
    def traits(self) -> EngineTraits:
        """See `Engine.traits`."""
        return EngineTraits(
            loads=False,
            embeds=True,
            address=self._base_url,
            parallel=self._parallel,
            reasoning_hint=REASONING_HINT,
            raw=True,
        )

    async def models(self) -> Sequence[Model]:
        """See `Engine.models`: in the server's order."""
        try:
            request = self._client.build_request(
                "GET", f"{self._base_url}/models", headers=self._headers, timeout=self._timeouts.list_models
            )
            response = await self._client.send(request, stream=True)
            try:
                body = await read_bounded(response, MAX_LIST_BYTES)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise self._unavailable(error) from None
        if response.status_code != 200:
            why = refusal(body, response, self._who, self._scrub)
            raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, why.info.message)
        try:
            listed = msgspec.json.decode(body, type=_WireModels, strict=False)
        except msgspec.MsgspecError:
            message = f"{self._who} does not list its models as an OpenAI-compatible server does."
            raise OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, message) from None
        self._llama = frozenset(entry.id for entry in listed.data if entry.owned_by == LLAMA_SERVER)
        self._vllm = frozenset(entry.id for entry in listed.data if entry.owned_by == VLLM)
        return [_model(entry, self._name, self._reasoning) for entry in listed.data]

    def check_response_format(self, response_format: ResponseFormat) -> None:
        """See `Engine.check_response_format`: only the server knows, and says so when it is asked to generate."""

    async def check_fit(self, model: Model, settings: LoadSettings, freed: Sequence[str]) -> bool:
        """See `Engine.check_fit`: the server makes room by itself."""
        return True

    async def load(
        self, model: Model, instance_id: str, settings: LoadSettings, ttl_seconds: float | None = None
    ) -> AsyncGenerator[LoadStep, None]:
        """See `Engine.load`. The server loads by itself: only the maximum is checked, and the other settings are its own."""
        maximum, wanted = model.max_context_length, settings.context_length
        if wanted is not None and maximum is not None and wanted > maximum:
            message = f"{model.key} has a context of at most {maximum} tokens, {wanted} were asked for."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="context_length")
        yield ModelReady(None)

    async def unload(self, instance_id: str) -> None:
        """See `Engine.unload`: the server's models are its own."""
        message = f"{self._who} loads and unloads its models by itself."
        raise OrchestratorError(ErrorKind.NOT_IMPLEMENTED, message, param="instance_id")

    async def embed(self, model: Model, instance_id: str, texts: Sequence[str]) -> Embeddings:
        """See `Engine.embed`. No server says which of its models embed: one that does not refuses."""
        url = f"{self._base_url}/embeddings"
        with self._translated():
            return await embed(self._client, url, self._who, model.key, texts, headers=self._headers, scrub=self._scrub)

    async def generate(
        self, model: Model, instance_id: str, request: Generate
    ) -> AsyncGenerator[GenerationChunk, None]:
        """See `Engine.generate`. What fails before the first byte of an answer is tried once more.

        A server that says when to come back is waited for, unless that is long; one that wants fewer requests is not
        asked again.
        """
        if request.raw:
            body = raw_body(model.key, request)
        else:
            body = completion_body(model.key, request) | extras(request, model.reasoning)
        if request.sampling.stop and model.key in self._llama:
            body["verbose"] = True  # the end of the turn tells then which of them ended it; others refuse such a field
        again = True
        while True:
            completion = Completion(
                self._client,
                f"{self._base_url}/{'completions' if request.raw else 'chat/completions'}",
                self._who,
                headers=self._headers,
                silence_seconds=self._timeouts.silence,
                scrub=self._scrub,
            )
            try:
                with self._translated():
                    async with aclosing(completion.chunks(body)) as chunks:
                        async for chunk in chunks:
                            if isinstance(chunk, ReasoningArrived) and request.reasoning == "off":
                                self._note_unheeded(model.key)
                            yield chunk
            except OrchestratorError as error:
                if _dislikes_effort(error, body) and not completion.heard:
                    del body["reasoning_effort"]
                    continue
                pause = _pause_before_another(error) if again and not completion.heard else None
                if pause is None:
                    raise
                again = False
                await anyio.sleep(pause)
                continue
            end = completion.finished(None)
            if request.tool_choice not in ("auto", "none") and not completion.decoder.called and end.reason != "length":
                message = f"{self._who} was told to have '{model.key}' call a tool, and it called none."
                raise OrchestratorError(ErrorKind.ENGINE_ERROR, message)
            yield end
            return

    async def count_prompt(self, model: Model, request: Generate) -> int | None:
        """See `PromptCounter.count_prompt`. llama-server and vLLM have a route for it, of their own each."""
        body = completion_body(model.key, request) | extras(request, model.reasoning)
        if model.key in self._llama:
            url = f"{self._base_url}/chat/completions/input_tokens"
        elif model.key in self._vllm:
            url = f"{self._base_url.removesuffix('/v1')}/tokenize"
            known = ("model", "messages", "tools", "chat_template_kwargs")
            body = {name: body[name] for name in known if name in body}
        else:
            return None
        return await count_prompt(self._client, url, body, headers=self._headers, seconds=COUNT_SECONDS)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    def _note_unheeded(self, key: str) -> None:
        if key not in self._unheeded:
            self._unheeded.add(key)
            log.warning("a model reasons though it was told not to", engine=self._name, model=key)

    @property
    def _headers(self) -> dict[str, str]:
        headers = {"Connection": "close"}
        return headers if self._api_key is None else headers | {"Authorization": f"Bearer {self._api_key}"}

    @property
    def _who(self) -> str:
        return f"The OpenAI-compatible server at {self._base_url}"

    def _scrub(self, text: str) -> str:
        return text if self._api_key is None else text.replace(self._api_key, "[key]")

    @contextmanager
    def _translated(self) -> Generator[None]:
        """What httpx raises becomes ours."""
        try:
            yield
        except httpx.TransportError as error:
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                raise self._unavailable(error) from None
            if isinstance(error, httpx.TimeoutException):
                longest = max(self._timeouts.first_token, self._timeouts.silence)
                seconds = error.seconds if isinstance(error, FellSilentError) else longest
                message = f"{self._who} sent nothing for {seconds:g} seconds, and was given up."
            else:
                raise _BrokenOffError(self._who, error) from None
            raise OrchestratorError(ErrorKind.ENGINE_ERROR, message) from None

    def _unavailable(self, error: Exception) -> OrchestratorError:
        message = f"{self._who} cannot be reached ({type(error).__name__})."
        return OrchestratorError(ErrorKind.ENGINE_UNAVAILABLE, message)


class _BrokenOffError(OrchestratorError):
    """The connection broke."""

    def __init__(self, who: str, error: Exception) -> None:
        super().__init__(ErrorKind.ENGINE_ERROR, f"{who} broke off its answer ({type(error).__name__}).")


def _pause_before_another(error: OrchestratorError) -> float | None:
    """How many seconds to wait before the same request is sent again, None where that is of no use."""
    if isinstance(error, _BrokenOffError):
        return 0.0
    if error.info.kind is not ErrorKind.ENGINE_UNAVAILABLE:
        return None
    if error.retry_after_seconds is None:
        return RETRY_SECONDS
    return error.retry_after_seconds if error.retry_after_seconds <= LONGEST_PAUSE_SECONDS else None


def _checked_url(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(
            "the URL of an OpenAI-compatible server must be http or https, such as http://127.0.0.1:8000/v1"
        )
    return url


def _dislikes_effort(error: OrchestratorError, body: JsonObject) -> bool:
    """Whether a server knows no such `reasoning_effort`, and was told in another way as well: some know only levels."""
    refused = error.info.kind is ErrorKind.INVALID_VALUE and "reasoning_effort" in error.info.message
    return refused and "reasoning_effort" in body and "chat_template_kwargs" in body


def _offered(entry: _WireModel) -> ReasoningSupport | None:
    """The reasoning settings that the list of models tells."""
    parameters = entry.supported_parameters
    if isinstance(parameters, list) and "reasoning_effort" in cast("list[object]", parameters):
        return ReasoningSupport(("low", "medium", "high"), "medium")
    try:
        told = msgspec.convert(entry.capabilities, _WireCapabilities).reasoning
    except msgspec.ValidationError:
        return None
    if told is None or told.default not in told.allowed_options:
        return None
    return ReasoningSupport(tuple(told.allowed_options), told.default)


def _model(entry: _WireModel, engine: str, reasoning: ReasoningSupport | None) -> Model:
    """What the server tells, and the `reasoning` that was told of it. Whether a model calls tools none of them says here."""
    publisher, slash, name = entry.id.rpartition("/")
    meta = entry.meta or _WireMeta()
    return Model(
        key=entry.id,
        engine=engine,
        type="llm",
        publisher=publisher if slash else "",
        display_name=name,
        size_bytes=meta.size,
        max_context_length=entry.max_model_len or meta.n_ctx or meta.n_ctx_train,
        reasoning=reasoning or _offered(entry),
        vision=entry.architecture is not None and "image" in entry.architecture.input_modalities,
        modified_at=_moment(entry.created),
    )


def _moment(seconds: object) -> datetime | None:
    """Unix time; servers that do not know it say 0."""
    if not isinstance(seconds, int | float) or not 0 < seconds < LATEST:
        return None
    return datetime.fromtimestamp(int(seconds), UTC)
