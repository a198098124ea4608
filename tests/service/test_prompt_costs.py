"""What a prompt costs is what its own engine says of it, and else an estimate that is told as one."""

import json
from collections.abc import Callable
from dataclasses import replace

import anyio
import httpx
import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.items import ImageInput, TextInput
from orchestrator.core.models import Model
from orchestrator.core.prompt import SystemMessage, UserMessage
from orchestrator.core.request import Limits, RunRequest
from orchestrator.core.tools import ToolDefinition
from orchestrator.engines.openai_compatible.engine import OpenAICompatibleEngine
from orchestrator.ports import Engine
from orchestrator.service.chat_request import ChatRequest
from orchestrator.service.instances import InstancePolicy, InstanceService
from orchestrator.service.integration_checks import IntegrationCheckService
from orchestrator.service.models import ModelService
from orchestrator.service.prompt_costs import IMAGE_TOKENS, PromptCost, PromptCostService
from orchestrator.service.token_costs import TokenCostService
from orchestrator.testing import SCRIPTED_MODEL, FakeCatalog, MemoryStore, ScriptedEngine
from tests.service.house import LOCAL

pytestmark = pytest.mark.anyio

WEATHER = ToolDefinition("weather", "Tell the weather.", {"type": "object"})
CHAT = ChatRequest(SCRIPTED_MODEL, (TextInput("Hi."), ImageInput("data:image/png;base64,AAAA")), "Be brief.")


class Counting(ScriptedEngine):
    """An engine that can make a prompt; `asked` are those that it was asked about."""

    def __init__(self, answer: int | None, *, patience: float = 0) -> None:
        super().__init__([[]])
        self.answer = answer
        self.patience = patience
        self.asked: list[Generate] = []

    async def count_prompt(self, model: Model, request: Generate) -> int | None:
        self.asked.append(request)
        await anyio.sleep(self.patience)
        return self.answer


def counting(engine: Engine) -> PromptCostService:
    models = ModelService([engine])
    costs = TokenCostService(InstanceService(models, InstancePolicy()))
    return PromptCostService(models, MemoryStore(), IntegrationCheckService(FakeCatalog({}), costs, Limits()))


async def test_the_engine_is_asked_once_for_the_whole_turn_without_its_pictures() -> None:
    engine = Counting(42)
    chat = ChatRequest(SCRIPTED_MODEL, CHAT.input, "Be brief.", functions=(WEATHER,))
    assert await counting(engine).count(chat, LOCAL) == PromptCost(42 + IMAGE_TOKENS, estimated=True)
    assert await counting(Counting(42)).count(replace(chat, input=(TextInput("Hi."),)), LOCAL) == PromptCost(
        42, estimated=False
    )
    [turn] = engine.asked
    assert turn.messages == (SystemMessage("Be brief."), UserMessage((TextInput("Hi."),)))
    assert [tool.name for tool in turn.tools] == ["weather"]


@pytest.mark.parametrize("engine", [lambda: ScriptedEngine([[]]), lambda: Counting(None)])
async def test_what_no_engine_counts_is_an_estimate(engine: Callable[[], Engine]) -> None:
    assert await counting(engine()).count(CHAT, LOCAL) == PromptCost(4 + 3 + 4 + 1 + IMAGE_TOKENS, estimated=True)


async def test_a_run_waits_for_its_count_for_a_moment_only() -> None:
    request = RunRequest("resp_a", SCRIPTED_MODEL, "i", CHAT.input, system_prompt="Be brief.")
    assert await counting(Counting(42)).of_run(request, ()) == 42 + IMAGE_TOKENS
    with anyio.fail_after(10):
        assert await counting(Counting(42, patience=60)).of_run(request, ()) == 12 + IMAGE_TOKENS


async def test_a_run_whose_engine_is_gone_is_estimated() -> None:
    request = RunRequest("resp_a", "gone", "i", (TextInput("Hi."),))
    assert await counting(Counting(42)).of_run(request, ()) == 5


def served(owner: str, answer: httpx.Response, sent: list[tuple[str, object]]) -> OpenAICompatibleEngine:
    def answered(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": [{"id": "m", "owned_by": owner}]})
        sent.append((request.url.path, json.loads(request.content)))
        return answer

    return OpenAICompatibleEngine("http://127.0.0.1:1/v1", None, transport=httpx.MockTransport(answered))


@pytest.mark.parametrize(
    ("owner", "path", "answer", "counted"),
    [
        ("llamacpp", "/v1/chat/completions/input_tokens", {"input_tokens": 7}, 7),
        ("vllm", "/tokenize", {"count": 8, "max_model_len": 4096, "tokens": []}, 8),
        ("vllm", "/tokenize", {"error": {"message": "no such route"}}, None),
        ("llamacpp", "/v1/chat/completions/input_tokens", [], None),
    ],
)
async def test_servers_are_asked_by_the_route_that_they_have(
    owner: str, path: str, answer: object, counted: int | None
) -> None:
    sent: list[tuple[str, object]] = []
    engine = served(owner, httpx.Response(200, json=answer), sent)
    [model] = await engine.models()
    turn = Generate(1, (UserMessage((TextInput("Hi."),)),), (), CHAT.sampling, "off", None)
    assert await engine.count_prompt(model, turn) == counted
    [(asked, body)] = sent
    assert asked == path and isinstance(body, dict)
    assert body["messages"] == [{"role": "user", "content": "Hi."}]
    if owner == "vllm":
        assert body.keys() == {"model", "messages", "chat_template_kwargs"}
    await engine.aclose()


async def test_a_server_that_has_no_such_route_is_not_asked() -> None:
    sent: list[tuple[str, object]] = []
    engine = served("openai", httpx.Response(200, json={}), sent)
    [model] = await engine.models()
    turn = Generate(1, (UserMessage((TextInput("Hi."),)),), (), CHAT.sampling, None, None)
    assert await engine.count_prompt(model, turn) is None
    assert sent == []
    await engine.aclose()
