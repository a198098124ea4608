"""What is asked of a worker over its loopback HTTP, in the words of llama.cpp's server."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final, cast

import httpx
import msgspec

from orchestrator.core.json_types import JsonObject
from orchestrator.engines.openai_counting import count_prompt
from orchestrator.engines.openai_embeddings import embed
from orchestrator.engines.openai_http import Completion
from orchestrator.engines.stopping import StopReader, until_stopped
from orchestrator.ports import Embeddings, GenerationChunk

WHO: Final = "llama.cpp"
TOKENIZE_SECONDS: Final = 5.0
COUNT_SECONDS: Final = 10.0
COUNT_PATH: Final = "/v1/chat/completions/input_tokens"


class _Tokens(msgspec.Struct):
    """The reply of `/tokenize`."""

    tokens: list[int]


class WorkerClient:
    """Speaks to one worker. Transport errors leave as httpx raised them: the host knows what they mean."""

    def __init__(self, client: httpx.AsyncClient, address: str, api_key: str, silence_seconds: float) -> None:
        self._client = client
        self._silence_seconds = silence_seconds
        self._address = address
        # No keep-alive: after a stream the server breaks the next request on the same connection now and then.
        self._headers = {"Authorization": f"Bearer {api_key}", "Connection": "close"}

    async def turn(self, body: JsonObject) -> AsyncGenerator[GenerationChunk, None]:
        """One turn, of a chat or of a raw prompt; its reasoning is counted by the model's own tokenizer, since llama.cpp does not.

        The stop sequences of a chat are looked for here, and each chunk has its counters: where one is found nothing
        follows that would have them.
        """
        stops = () if "prompt" in body else cast("Sequence[str]", body.get("stop", ()))
        reader = StopReader(stops)
        if stops:
            body = {**body, "stop": [], "timings_per_token": True}
        route = "completions" if "prompt" in body else "chat/completions"
        url, silence = f"{self._address}/v1/{route}", self._silence_seconds
        completion = Completion(self._client, url, WHO, headers=self._headers, silence_seconds=silence)
        async with aclosing(until_stopped(completion.chunks(body), reader)) as chunks:
            async for chunk in chunks:
                yield chunk
        end = completion.finished(await self.count(completion.decoder.reasoning_text))
        yield end if reader.stopped_at is None else replace(end, reason="stop", stop_sequence=reader.stopped_at)

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """The vectors of `texts`."""
        return await embed(self._client, f"{self._address}/v1/embeddings", WHO, model, texts, headers=self._headers)

    async def count_prompt(self, body: JsonObject) -> int | None:
        """How many tokens the prompt of a turn is; None where the worker does not say in time."""
        return await count_prompt(
            self._client, f"{self._address}{COUNT_PATH}", body, headers=self._headers, seconds=COUNT_SECONDS
        )

    async def count(self, text: str) -> int | None:
        """How many tokens `text` is; None where the worker does not say."""
        if not text:
            return 0
        try:
            response = await self._client.post(
                f"{self._address}/tokenize", json={"content": text}, headers=self._headers, timeout=TOKENIZE_SECONDS
            )
            return len(msgspec.json.decode(response.content, type=_Tokens).tokens)
        except (httpx.TransportError, msgspec.MsgspecError):
            return None
