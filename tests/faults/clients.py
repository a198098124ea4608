"""Clients that stream chats of the scripted model, and remember what they were told."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from orchestrator.testing import SCRIPTED_MODEL

START_SECONDS = 60
OK = 200


@dataclass
class Told:
    """What clients saw the end of, by response, and what else they were told."""

    ended: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    errors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    broken: int = 0
    begun: anyio.Event = field(default_factory=anyio.Event)


async def events_of(response: httpx.Response) -> AsyncGenerator[dict[str, Any]]:
    """The events of a stream, as they come."""
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            yield json.loads(line[5:])


async def chat(client: httpx.AsyncClient, told: Told, previous: str | None) -> str | None:
    """One streamed chat; its id where it ended and is stored."""
    body: dict[str, Any] = {"model": SCRIPTED_MODEL, "input": "go on", "stream": True, "integrations": ["mcp/receiver"]}
    if previous is not None:
        body["previous_response_id"] = previous
    async with client.stream("POST", "/api/v1/chat", json=body) as response:
        if response.status_code != OK:
            told.errors.append(json.loads(await response.aread())["error"])
            return None
        async for event in events_of(response):
            told.begun.set()
            if event["type"] == "error":
                told.errors.append(event["error"])
            if event["type"] == "chat.end":
                result: dict[str, Any] = event["result"]
                if "response_id" in result:
                    told.ended[result["response_id"]] = result
                return result.get("response_id")
    told.broken += 1
    return None


async def keep_chatting(url: str, told: Told) -> None:
    """Chat, and go on from there, until the service is gone."""
    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
        previous: str | None = None
        while True:
            try:
                previous = await chat(client, told, previous)
            except httpx.TransportError:
                told.broken += 1
                return


async def wait_until_healthy(url: str) -> None:
    """Ask until the service takes requests."""
    with anyio.fail_after(START_SECONDS):
        async with httpx.AsyncClient(base_url=url, timeout=5, trust_env=False) as client:
            while True:
                try:
                    if (await client.get("/health")).status_code == OK:
                        return
                except httpx.TransportError:
                    pass
                await anyio.sleep(0.02)


async def stored(client: httpx.AsyncClient, response_id: str) -> dict[str, Any]:
    """A stored response."""
    response = await client.get(f"/api/v1/responses/{response_id}")
    assert response.status_code == OK, (response_id, response.text)
    whole: dict[str, Any] = response.json()
    return whole


def assert_same(result: dict[str, Any], whole: dict[str, Any]) -> None:
    """What is stored is what the client was told at the end."""
    assert whole["status"] == result["status"]
    assert len(whole["output"]) == len(result["output"])
    for told, kept in zip(result["output"], whole["output"], strict=True):
        assert kept | told == kept
