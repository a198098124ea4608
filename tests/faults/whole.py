"""The whole service in this process, over its own database and a model that reads from a script."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from orchestrator import app as composition
from orchestrator.core.commands import Generate
from orchestrator.core.prompt import ToolMessage
from orchestrator.settings import load_settings
from orchestrator.testing import Call, Say, ScriptedEngine, Turn


class Model(ScriptedEngine):
    """The scripted model, as the composition root closes an engine."""

    async def aclose(self) -> None:
        assert self.open_generations == 0


def call_once(request: Generate) -> Turn:
    """A model that calls the first tool, and then is done."""
    return [Say("Fine.")] if isinstance(request.messages[-1], ToolMessage) else [Call("first", {})]


def engines(*_: object) -> list[Model]:
    """What stands in for every engine."""
    return [Model(call_once)]


@asynccontextmanager
async def service(folder: Path, **settings: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the composition root, as it is, but for the model; its database is `service.sqlite` in `folder`."""
    given = {
        "DATA_DIR": str(folder),
        "MCP_USER_CONFIG": str(folder / "none.json"),
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'service.sqlite'}",
        **settings,
    }
    read = load_settings({"HOME": os.environ["HOME"], **{f"ORCHESTRATOR_{name}": text for name, text in given.items()}})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(composition, "engines_of", engines)
        async with composition.open_app(read) as application:
            transport = httpx.ASGITransport(application)  # pyright: ignore[reportArgumentType] - two libraries' words for ASGI
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1234", timeout=120) as client:
                yield client
