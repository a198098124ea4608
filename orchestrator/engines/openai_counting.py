"""How many tokens a prompt is, asked of a server that has a route for it."""

from collections.abc import Mapping

import anyio
import httpx
import msgspec

from orchestrator.core.json_types import JsonObject


class _Counted(msgspec.Struct, frozen=True):
    """What they answer: `input_tokens` llama-server, `count` vLLM."""

    input_tokens: int | None = None
    count: int | None = None


async def count_prompt(
    client: httpx.AsyncClient, url: str, body: JsonObject, *, headers: Mapping[str, str], seconds: float
) -> int | None:
    """The server's number for the turn that `body` asks for; None where it has none, or not within `seconds`."""
    try:
        with anyio.fail_after(seconds):
            response = await client.post(url, json=body, headers=headers)
        counted = msgspec.json.decode(response.content, type=_Counted)
    except (httpx.TransportError, msgspec.MsgspecError, TimeoutError):
        return None
    return counted.count if counted.input_tokens is None else counted.input_tokens
