"""Ollama behind the port."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Final

import anyio
import structlog

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.inputs import GenerationFinished, LoadStarted, ModelReady
from orchestrator.core.items import ImageInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import LoadSettings, Model
from orchestrator.core.prompt import UserMessage
from orchestrator.core.request import ResponseFormat
from orchestrator.engines.held_schemas import check_response_format
from orchestrator.engines.held_turns import call_key, with_calls
from orchestrator.engines.ollama.catalog import ENGINE, UNKNOWN, Facts, Tag, describe, leaves_the_machine, whole_name
from orchestrator.engines.ollama.client import OllamaClient, SilentError
from orchestrator.engines.ollama.decode import TurnDecoder
from orchestrator.engines.ollama.failures import Subject
from orchestrator.engines.ollama.instances import Instance, Instances
from orchestrator.engines.ollama.request import (
    KeepAlive,
    chat_body,
    embed_body,
    load_body,
    load_embedding_body,
    raw_body,
    refuse_what_ollama_lacks,
)
from orchestrator.ports import CallBegun, Embeddings, EngineTraits, GenerationChunk, LoadStep

SHOWN_AT_ONCE: Final = 8
RENEWALS: Final = 3
"""How often within its time Ollama is told again to keep a model: one may be lost."""
UNLOAD_ALL_SECONDS: Final = 5.0

log = structlog.stdlib.get_logger(__name__)


class OllamaEngine:
    """The models of one Ollama.

    `host` is what `OLLAMA_HOST` may hold. `connect_seconds` bounds connecting, `answer_seconds` a listing,
    `load_seconds` a load, `first_token_seconds` the time until a turn begins to speak, and while it may be collecting a tool
    call, `silence_seconds` every other silence of a turn. `patience_seconds` is how long the turn after a broken-off one may be
    silent before the model is loaded anew. `keep_alive` is how long a model stays in memory that was loaded without a
    time of its own; None leaves it to Ollama. A number of seconds is also the longest that Ollama is told for any model
    that we load: `keep` renews it, so that a model outlives a service that is killed by that time at most, and `aclose`
    unloads them. `parallel` is its `OLLAMA_NUM_PARALLEL`, which it tells nobody.
    Models that Ollama passes on to another machine are left out unless `allow_remote`. A `supervised` Ollama is started
    again by itself: nobody is told to do it.
    """

    name = ENGINE

    def __init__(
        self,
        host: str,
        *,
        connect_seconds: float = 5.0,
        answer_seconds: float = 10.0,
        load_seconds: float = 600.0,
        silence_seconds: float = 120.0,
        first_token_seconds: float = 300.0,
        patience_seconds: float = 20.0,
        keep_alive: KeepAlive | None = None,
        parallel: int = 1,
        allow_remote: bool = False,
        supervised: bool = False,
    ) -> None:
        self._client = OllamaClient(
            host,
            connect_seconds=connect_seconds,
            answer_seconds=answer_seconds,
            load_seconds=load_seconds,
            silence_seconds=silence_seconds,
            first_token_seconds=first_token_seconds,
            supervised=supervised,
        )
        address = self._client.peer.address
        self.traits = EngineTraits(
            loads=True, embeds=True, address=address, parallel=parallel, logit_bias=False, raw=True
        )
        self._patience_seconds = patience_seconds
        self._keep_alive: KeepAlive | None = keep_alive
        self._allow_remote = allow_remote
        self._facts: dict[str, Facts] = {}
        self._remote: frozenset[str] = frozenset()
        self._instances = Instances()

    async def aclose(self) -> None:
        """Unload what we loaded, where we keep it, and let go of the connections; bounded in time."""
        with anyio.move_on_after(UNLOAD_ALL_SECONDS, shield=True):
            for key, instance in self._kept().items():
                instance.holders.clear()
                try:
                    await self.unload(key)
                except OrchestratorError as error:
                    log.warning("a model stays in Ollama's memory", model=key, reason=error.info.message)
        await self._client.aclose()

    async def keep(self) -> None:
        """Have Ollama keep what we loaded; runs until cancelled."""
        while self._lease is not None:
            await anyio.sleep(self._lease / RENEWALS)
            if kept := self._kept():
                try:
                    await self._renew(kept, self._lease)
                except OrchestratorError as error:
                    log.warning("Ollama was not told to keep models", models=list(kept), reason=error.info.message)

    @property
    def _lease(self) -> float | None:
        """The longest that Ollama is told to keep what we loaded, in seconds."""
        seconds = self._keep_alive
        return seconds if isinstance(seconds, int | float) and seconds > 0 else None

    def _kept(self) -> dict[str, Instance]:
        """The models that we loaded, where it is us who decides how long they stay."""
        return {} if self._lease is None else self._instances.ours()

    async def _renew(self, kept: Mapping[str, Instance], lease: float) -> None:
        loaded = await self._client.loaded()
        for key, instance in kept.items():
            if (
                instance.listed_as(loaded) is None
            ):  # somebody else ended it, and nobody here misses it until the next request
                instance.ours = False
                continue
            async with instance.loading:
                if instance.ours and (instance.keep_alive is None or instance.keep_alive > lease):
                    make, path = (load_embedding_body, "/api/embed") if instance.embeds else (load_body, "/api/chat")
                    await self._client.load(path, make(key, instance.options(None), lease), Subject(key))

    # ---- what there is ------------------------------------------------------------------------

    async def models(self) -> Sequence[Model]:
        tags = await self._client.tags()
        self._instances.share((tag.key, tag.digest) for tag in tags)
        loaded = self._instances.listed(await self._client.loaded())
        self._remote = frozenset(tag.key for tag in tags if tag.remote)
        wanted = sorted((tag for tag in tags if self._allow_remote or not tag.remote), key=lambda tag: tag.key)
        await self._learn(wanted)
        described = (describe(tag, self._facts.get(tag.digest, UNKNOWN), loaded) for tag in wanted)
        return tuple(self._with_batch(model) for model in described if model is not None)

    def _with_batch(self, model: Model) -> Model:
        """`model` with the batch size that we loaded it with, which Ollama does not tell."""
        batch = self._instances.of(model.key).eval_batch_size
        if batch is None:
            return model
        loaded = (replace(one, config=replace(one.config, eval_batch_size=batch)) for one in model.loaded_instances)
        return replace(model, loaded_instances=tuple(loaded))

    async def _learn(self, tags: Sequence[Tag]) -> None:
        """Ask about what is new; what a digest stands for never changes."""
        known = {tag.digest: self._facts[tag.digest] for tag in tags if tag.digest in self._facts}
        missing = {tag.digest: tag.key for tag in tags if tag.digest not in known}
        failures: list[OrchestratorError] = []
        at_once = anyio.CapacityLimiter(SHOWN_AT_ONCE)

        async def ask(digest: str, key: str) -> None:
            async with at_once:
                try:
                    facts = await self._client.facts(key)
                except OrchestratorError as error:  # a task group would wrap it
                    failures.append(error)
                    return
            if facts is None:
                log.warning("Ollama lists a model that it cannot show", model=key)
            else:
                known[digest] = facts

        async with anyio.create_task_group() as asking:
            for digest, key in missing.items():
                asking.start_soon(ask, digest, key)
        if failures:
            raise failures[0]
        self._facts = known

    # ---- loading ------------------------------------------------------------------------------

    def check_response_format(self, response_format: ResponseFormat) -> None:
        """Ollama makes its grammars with llama.cpp."""
        check_response_format(response_format)

    async def check_fit(self, model: Model, settings: LoadSettings, freed: Sequence[str]) -> bool:
        """Ollama makes room by itself, and says what does not fit when it loads."""
        self._check_settings(model, settings)
        return True

    async def load(
        self, model: Model, instance_id: str, settings: LoadSettings, ttl_seconds: float | None = None
    ) -> AsyncGenerator[LoadStep, None]:
        self._check_settings(model, settings)
        if model.key in self._remote:
            yield ModelReady()
            return
        instance, name = self._instances.of(model.key), whole_name(model.key)
        if await self._is_ready(instance, settings):
            instance.holders[name] = ttl_seconds
            yield ModelReady()
            return
        yield LoadStarted()
        started = anyio.current_time()
        new = name not in instance.holders
        instance.holders[name] = ttl_seconds
        try:
            await self._load_once(model, instance, settings)
        except BaseException:
            if new:
                instance.holders.pop(name, None)
            raise
        # Ollama's reply to a request that only loads has no durations.
        yield ModelReady(anyio.current_time() - started)

    async def _is_ready(self, instance: Instance, settings: LoadSettings) -> bool:
        loaded = await self._client.loaded()
        name = instance.listed_as(loaded)
        if name is None:
            return False
        has, context_length = loaded[name], settings.context_length
        if context_length is not None and (has is None or has < context_length):
            return False
        instance.found(has)
        return settings.eval_batch_size in (None, instance.eval_batch_size)

    async def _load_once(self, model: Model, instance: Instance, settings: LoadSettings) -> None:
        """Load, or find it loaded by whoever was first: of many askers one loads, and all of them fail as it does."""
        turn = instance.attempts
        async with instance.loading:
            if await self._is_ready(instance, settings):
                return
            failure = instance.failure_since(turn, settings)
            if failure is not None:
                raise OrchestratorError(failure.kind, failure.message, param=failure.param)
            async with instance.alone():
                try:
                    await self._load(model, instance, settings)
                except OrchestratorError as error:
                    instance.failed(settings, error.info)
                    raise

    async def _load(self, model: Model, instance: Instance, settings: LoadSettings) -> None:
        keep_alive, context_length = self._lasting(instance), settings.context_length
        instance.embeds = model.type == "embedding"
        if model.type == "embedding":
            body = load_embedding_body(model.key, settings, keep_alive)
            await self._client.load("/api/embed", body, Subject(model.key))
        else:
            body = load_body(model.key, settings, keep_alive)
            await self._client.load("/api/chat", body, Subject(model.key))
        loaded = await self._client.loaded()
        has = loaded.get(instance.listed_as(loaded) or model.key)
        instance.loaded(settings, has)
        batch = settings.eval_batch_size
        if has is not None and ((context_length or 0) > has or (batch or 0) > has):
            await self._client.unload(model.key)  # it is not what was asked for, and nobody would look after it
            instance.unloaded()
            instance.ours = False
            param, asked = (
                ("context_length", context_length) if (context_length or 0) > has else ("eval_batch_size", batch)
            )
            message = f"{model.key} got a context of only {has} tokens from Ollama, {asked} were asked for."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)

    async def unload(self, instance_id: str) -> None:
        key = whole_name(instance_id)
        instance = self._instances.of(key)
        instance.holders.pop(key, None)
        if instance.holders:  # it is loaded by another name, too, and that one stays
            instance.ours = True
            return
        ours, instance.ours = instance.ours, False
        runner = instance.listed_as(await self._client.loaded())
        if runner is None or (runner != key and not ours):
            return
        async with instance.loading, instance.alone():
            await self._client.unload(runner)
            instance.unloaded()

    def _lasting(self, instance: Instance) -> KeepAlive | None:
        ttl = instance.keep_alive
        if ttl is None:
            return self._keep_alive
        return ttl if self._lease is None else min(ttl, self._lease)

    # ---- writing ------------------------------------------------------------------------------

    async def embed(self, model: Model, instance_id: str, texts: Sequence[str]) -> Embeddings:
        self._check(model, None)
        if model.type != "embedding":
            message = f"Model '{model.key}' does not embed."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="model")
        instance = self._instances.of(model.key)
        await instance.enter()
        try:
            options = instance.options(_listed_context(model))
            return await self._client.embed(
                embed_body(model.key, texts, options, self._lasting(instance)), Subject(model.key)
            )
        finally:
            instance.leave(broken_off=False)

    async def generate(
        self, model: Model, instance_id: str, request: Generate
    ) -> AsyncGenerator[GenerationChunk, None]:
        called = request.tool_choice in ("auto", "none")
        async with aclosing(with_calls(self._turn(model, request), call_key(request))) as chunks:
            async for chunk in chunks:
                called = called or isinstance(chunk, CallBegun)
                if isinstance(chunk, GenerationFinished) and chunk.reason != "length" and not called:
                    message = f"Model '{model.key}' called no tool, though Ollama was told to hold it to a call."
                    raise OrchestratorError(ErrorKind.ENGINE_ERROR, message)
                yield chunk

    async def _turn(self, model: Model, request: Generate) -> AsyncGenerator[GenerationChunk, None]:
        self._check(model, None)
        if not model.vision and _has_images(request):  # Ollama would leave them out without a word
            message = f"Model '{model.key}' does not take images."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="input")
        instance = self._instances.of(model.key)
        await instance.enter()
        broken_off = True
        try:
            listed = _listed_context(model)
            about = Subject(model.key, instance.context(listed))
            runner = LoadSettings() if model.key in self._remote else instance.options(listed)
            make_body = raw_body if request.raw else chat_body
            body = make_body(model.key, request, runner, self._lasting(instance))
            limit = request.max_output_tokens
            decoder = TurnDecoder(self._client.peer, about, held="format" in body, limit=limit)
            sent_at = anyio.current_time()
            async with AsyncExitStack() as connection:
                async for line in await self._lines(connection, body, about, instance):
                    for chunk in decoder.feed(line, anyio.current_time() - sent_at):
                        yield chunk
                    if decoder.is_cut:
                        break
            end = decoder.finish()
            broken_off = decoder.is_cut
        except OrchestratorError as error:
            # Silence is one, a connection that broke is another; a refusal breaks nothing off.
            broken_off = error.info.kind is ErrorKind.ENGINE_ERROR
            raise
        finally:
            instance.leave(broken_off=broken_off)
        yield end

    async def _lines(
        self, connection: AsyncExitStack, body: JsonObject, about: Subject, instance: Instance
    ) -> AsyncIterator[bytes]:
        """The lines of a turn, as long as `connection` is open.

        Ollama may lose a slot for good when a request is broken off, and every request after it waits for ever, until
        the model is loaded anew: https://github.com/ollama/ollama/issues/17131. So the first turn after such a one
        gets less patience, and a second try.
        """
        if instance.may_be_stuck():
            try:
                return await connection.enter_async_context(self._client.chat(body, about, self._patience_seconds))
            except SilentError:
                log.warning("Ollama is stuck after a request that was broken off", model=about.key)
                await self._client.unload(about.key)
        return await connection.enter_async_context(self._client.chat(body, about))

    def _refuse(self, settings: LoadSettings) -> None:
        """What no request can set, but for what is there already."""
        same = settings.parallel == self.traits.parallel
        refuse_what_ollama_lacks(replace(settings, parallel=None) if same else settings)

    def _check_settings(self, model: Model, settings: LoadSettings) -> None:
        self._refuse(settings)
        self._check(model, settings.context_length)
        most, batch = settings.context_length or model.max_context_length, settings.eval_batch_size
        if batch is not None and most is not None and batch > most:  # Ollama would cut it without a word
            message = f"A batch is at most as long as the context, {most} tokens; {batch} were asked for."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="eval_batch_size")

    def _check(self, model: Model, context_length: int | None) -> None:
        if leaves_the_machine(model.key) and not self._allow_remote:
            message = f"Model '{model.key}' runs on another machine than Ollama's, which is not allowed here."
            raise OrchestratorError(ErrorKind.UNKNOWN_MODEL, message, param="model")
        longest = model.max_context_length
        if context_length is not None and longest is not None and context_length > longest:
            message = f"{model.key} has a context of at most {longest} tokens, {context_length} were asked for."
            raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="context_length")


def _listed_context(model: Model) -> int | None:
    return model.loaded_instances[0].config.context_length if model.loaded_instances else None


def _has_images(request: Generate) -> bool:
    return any(
        isinstance(part, ImageInput)
        for message in request.messages
        if isinstance(message, UserMessage)
        for part in message.parts
    )
