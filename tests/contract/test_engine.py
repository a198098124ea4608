"""What every `Engine` promises, over each of them: the twin, the embedded one, Ollama, and an OpenAI-compatible server.

The server is a worker of the embedded engine, spoken to as a stranger's. Ollama is the real one where there is one, and
always the recording of a real one (`tests/engines/ollama/record.py` makes them anew). What a twin cannot know (tokens,
contexts) is asked only of engines that run a model.
"""

import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import anyio
import jsonschema_rs
import pytest
from _pytest.mark import ParameterSet

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.inputs import GenerationFinished, ModelReady, PromptProgressed, TextArrived
from orchestrator.core.items import ImageInput, TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import LoadSettings, Model
from orchestrator.core.prompt import SystemMessage, ToolMessage, UserMessage
from orchestrator.core.request import ResponseFormat, Sampling
from orchestrator.engines.llama_cpp.catalogue import BUNDLED, Catalogue
from orchestrator.engines.llama_cpp.engine import LlamaCppEngine
from orchestrator.engines.llama_cpp.launch import Launch
from orchestrator.engines.llama_cpp.process import WorkerProcess
from orchestrator.engines.ollama.engine import OllamaEngine
from orchestrator.engines.openai_compatible.engine import OpenAICompatibleEngine
from orchestrator.ports import Engine, PromptCounter
from orchestrator.testing import Call, Say, ScriptedEngine, Turn
from tests.engines.ollama.recordings import RECORD, staged
from tests.engines.ollama.runtime import THINKER, Runtime, missing, real_ollama
from tests.engines.samples import RAMBLING, TIME_TOOL, ask, ask_time, first_text, fold, ramble, tell_time, user, written

pytestmark = pytest.mark.anyio
BOUND_SECONDS: Final = 30
INSTANCE: Final = "an-instance"
ANSWER: Final[JsonObject] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "sure": {"type": "boolean"}},
    "required": ["city", "sure"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Peer:
    """An engine with a model that is ready. `slots` is how many turns it writes at once, None where it has no limit."""

    engine: Engine
    model: Model
    slots: int | None


def _demo(request: Generate) -> Turn:
    """What the demo model does, by rote."""
    last = request.messages[-1]
    if isinstance(last, ToolMessage):
        return [Say(f"The result of get_time is {last.content}.")]
    assert isinstance(last, UserMessage) and isinstance(last.parts[0], TextInput)
    if request.tools:
        return [Call("get_time", {"timezone": last.parts[0].content.rpartition(" ")[2]})]
    return [Say("Hello! How can I help you?")]


@asynccontextmanager
async def _scripted() -> AsyncGenerator[Peer, None]:
    engine = ScriptedEngine(_demo)
    yield Peer(engine, engine.model, None)


@asynccontextmanager
async def _embedded() -> AsyncGenerator[Peer, None]:
    async with anyio.create_task_group() as tasks:
        engine = LlamaCppEngine(None, tasks)
        (model,) = await engine.models()
        async for _ in engine.load(model, INSTANCE, LoadSettings()):
            pass
        yield Peer(engine, model, 4)
        await engine.aclose()


@asynccontextmanager
async def _openai_compatible() -> AsyncGenerator[Peer, None]:
    demo = Catalogue(None, BUNDLED).scan()["demo/tiny-tools"]
    launch = Launch(
        model_path=str(demo.path),
        context_length=2048,
        slots=4,
        batch=256,
        threads=1,
        cache_mib=64,
        api_key="a-secret",
        parent=os.getpid(),
    )
    worker = WorkerProcess("peer", launch, lambda progress: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await worker.settled.wait()
        engine = OpenAICompatibleEngine(f"{worker.address}/v1", "a-secret")
        (model,) = await engine.models()
        yield Peer(engine, model, 4)
        await engine.aclose()
        worker.stop()


@asynccontextmanager
async def _real_ollama() -> AsyncGenerator[Runtime]:
    why_not = missing()
    if why_not is not None:
        pytest.skip(why_not)
    with real_ollama(THINKER) as runtime:
        if runtime.pid is None:
            pytest.skip("this Ollama may have other models as well")
        yield runtime


@asynccontextmanager
async def _recorded_ollama() -> AsyncGenerator[None]:
    if os.environ.get(RECORD) is not None:
        pytest.skip(f"{RECORD} is set: what is played here is written by the same run")
    yield None


@asynccontextmanager
async def _ollama(test: str, runtime: Runtime | None) -> AsyncGenerator[Peer]:
    """An engine of its own for each test: so each recording is whole."""
    name = f"contract/{test.removeprefix('test_')}"
    async with staged(name, None if runtime is None else runtime.host, os.environ.get(RECORD)) as host:
        engine = OllamaEngine(host, patience_seconds=5)
        (model,) = await engine.models()
        async for _ in engine.load(model, model.key, LoadSettings()):
            pass
        yield Peer(engine, (await engine.models())[0], 1)
        await engine.aclose()


Opened: TypeAlias = Peer | Runtime | None
OPENED: Final[dict[str, Callable[[], AbstractAsyncContextManager[Opened]]]] = {
    "embedded": _embedded,
    "ollama": _real_ollama,
    "ollama_recorded": _recorded_ollama,
    "openai_compatible": _openai_compatible,
    "scripted": _scripted,
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Wide enough for the peers, which live as long as this module."""
    return "asyncio"


def _peers(*left_out: str) -> list[ParameterSet]:
    marks = {"ollama": pytest.mark.ollama}
    return [pytest.param(name, marks=marks.get(name, ())) for name in OPENED if name.partition("_")[0] not in left_out]


@pytest.fixture(scope="module", params=_peers())
async def opened(request: pytest.FixtureRequest) -> AsyncGenerator[Opened, None]:
    async with OPENED[request.param]() as it:
        yield it


@pytest.fixture
async def peer(opened: Opened, request: pytest.FixtureRequest) -> AsyncGenerator[Peer, None]:
    if isinstance(opened, Peer):
        yield opened
    else:
        async with _ollama(request.function.__name__, opened) as it:
            yield it


of_a_real_model = pytest.mark.parametrize("opened", _peers("scripted"), indirect=True, scope="module")
that_tells_its_stop = pytest.mark.parametrize("opened", _peers("ollama"), indirect=True, scope="module")
that_takes_raw_prompts = pytest.mark.parametrize("opened", _peers("scripted", "ollama"), indirect=True, scope="module")
"""Ollama does, and nobody has recorded it yet: `tests/engines/ollama` asks a fake one."""
that_counts_its_cache = pytest.mark.parametrize("opened", _peers("scripted", "ollama"), indirect=True, scope="module")


async def test_the_list_of_models_is_stable_and_names_the_engine(peer: Peer) -> None:
    first = await peer.engine.models()
    assert [model.key for model in first] == [peer.model.key]
    assert {model.engine for model in first} == {peer.engine.name}
    assert await peer.engine.models() == first


async def test_a_model_that_is_ready_is_ready_at_once(peer: Peer) -> None:
    assert [step async for step in peer.engine.load(peer.model, INSTANCE, LoadSettings())] == [ModelReady(None)]


@of_a_real_model
async def test_a_context_above_the_maximum_is_an_invalid_value(peer: Peer) -> None:
    with pytest.raises(OrchestratorError) as caught:
        _ = [step async for step in peer.engine.load(peer.model, INSTANCE, LoadSettings(4096))]
    message = f"{peer.model.key} has a context of at most 2048 tokens, 4096 were asked for."
    assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "context_length")


@of_a_real_model
async def test_a_context_that_is_there_is_ready_at_once(peer: Peer) -> None:
    assert [step async for step in peer.engine.load(peer.model, INSTANCE, LoadSettings(1024))] == [ModelReady(None)]


async def test_a_turn_of_text_ends_with_stop(peer: Peer) -> None:
    turn = await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!")))
    assert turn == replace(turn, reasoning="", text="Hello! How can I help you?", calls=())
    assert turn.end == GenerationFinished("stop", turn.end.counters if turn.end else pytest.fail("no end"))


async def test_a_turn_that_calls_a_tool_ends_with_tool_calls(peer: Peer) -> None:
    turn = await written(peer.engine.generate(peer.model, INSTANCE, ask_time("Asia/Tokyo")))
    assert [(name, json.loads(text)) for name, text in turn.calls] == [("get_time", {"timezone": "Asia/Tokyo"})]
    assert turn.end is not None and turn.end.reason == "tool_calls"


async def test_the_result_of_a_tool_reaches_the_model(peer: Peer) -> None:
    turn = await written(peer.engine.generate(peer.model, INSTANCE, tell_time("Asia/Tokyo", "09:41")))
    assert "09:41" in turn.text
    assert turn.end is not None and turn.end.reason == "stop"


@that_counts_its_cache
async def test_the_next_turn_finds_the_prompt_of_the_last_in_the_cache(peer: Peer) -> None:
    first = await written(peer.engine.generate(peer.model, INSTANCE, ask_time("Europe/Oslo")))
    second = await written(peer.engine.generate(peer.model, INSTANCE, tell_time("Europe/Oslo", "12:34")))
    assert first.end is not None and second.end is not None
    cached, before = second.end.counters.cached_tokens, first.end.counters.input_tokens
    assert cached is not None and before is not None and cached >= before - 1


@of_a_real_model
async def test_the_engine_counts_tokens_and_seconds(peer: Peer) -> None:
    turn = await written(peer.engine.generate(peer.model, INSTANCE, ask("Thanks!")))
    assert turn.end is not None
    counters = turn.end.counters
    assert (counters.input_tokens, counters.output_tokens) == (12, 10)
    assert counters.reasoning_tokens in (0, None)
    assert counters.decode_seconds is not None and 0 < counters.decode_seconds < BOUND_SECONDS
    assert counters.first_token_seconds is not None and 0 <= counters.first_token_seconds < BOUND_SECONDS


@of_a_real_model
async def test_reasoning_is_told_apart_from_the_answer(peer: Peer) -> None:
    turn = await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!", reasoning="on")))
    assert (turn.reasoning.strip(), turn.text) == ("No tool is needed.", "Hello! How can I help you?")
    off = await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!", reasoning="off")))
    assert (off.reasoning, off.text) == ("", "Hello! How can I help you?")


async def test_prompt_progress_grows_to_one_before_the_first_token(peer: Peer) -> None:
    asked = ask("Hello! " * 150, max_output_tokens=5)
    chunks = [chunk async for chunk in peer.engine.generate(peer.model, INSTANCE, asked)]
    progress = [chunk.progress for chunk in chunks if isinstance(chunk, PromptProgressed)]
    assert progress == sorted(set(progress))
    assert all(0 <= value <= 1 for value in progress)
    assert all(isinstance(chunk, PromptProgressed) for chunk in chunks[: len(progress)])


@of_a_real_model
async def test_the_limit_of_output_tokens_ends_a_turn_with_length(peer: Peer) -> None:
    turn = await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!", max_output_tokens=5)))
    assert turn.end is not None
    assert (turn.end.reason, turn.end.counters.output_tokens) == ("length", 5)


@of_a_real_model
async def test_a_full_context_ends_a_turn_with_length(peer: Peer) -> None:
    request = ask("Hello " * 660, sampling=replace(RAMBLING, seed=2), max_output_tokens=None)
    turn = await written(peer.engine.generate(peer.model, INSTANCE, request))
    assert turn.end is not None and turn.end.reason == "length"
    counters = turn.end.counters
    written_last = 1  # the last token may be written without ever being read
    assert 2048 <= (counters.input_tokens or 0) + (counters.output_tokens or 0) <= 2048 + written_last


async def test_a_stop_sequence_ends_the_text_before_it(peer: Peer) -> None:
    sampling = Sampling(temperature=0, stop=(" can",))
    turn = await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!", sampling=sampling)))
    assert turn.text == "Hello! How"
    told = None if peer.engine.name == "ollama" else " can"  # Ollama has one word for every end
    assert turn.end is not None and (turn.end.reason, turn.end.stop_sequence) == ("stop", told)


@pytest.mark.parametrize("opened", ["embedded"], indirect=True, scope="module")
async def test_in_the_embedded_engine_a_stop_sequence_leaves_the_reasoning_alone(peer: Peer) -> None:
    sampling = Sampling(temperature=0, stop=("e",))
    turn = await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!", reasoning="on", sampling=sampling)))
    assert (turn.reasoning.strip(), turn.text) == ("No tool is needed.", "H")
    assert turn.end is not None and (turn.end.reason, turn.end.stop_sequence) == ("stop", "e")
    counters = turn.end.counters
    assert counters.input_tokens == 12 and counters.output_tokens is not None and counters.output_tokens > 4


@that_tells_its_stop
async def test_of_several_stop_sequences_the_first_that_is_written_is_told_and_none_where_the_text_ends_by_itself(
    peer: Peer,
) -> None:
    for stop, text, told in (
        (("never", " help", " can"), "Hello! How", " can"),
        (("never",), "Hello! How can I help you?", None),
    ):
        sampling = Sampling(temperature=0, stop=stop)
        turn = await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!", sampling=sampling)))
        assert turn.text == text
        assert turn.end is not None and (turn.end.reason, turn.end.stop_sequence) == ("stop", told)


@of_a_real_model
async def test_every_sampling_setting_is_taken(peer: Peer) -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, min_p=0.1, top_k=5, repeat_penalty=1.1, seed=7, stop=("never",))
    turns = [
        await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!", sampling=sampling))) for _ in range(2)
    ]
    assert turns[0].text == turns[1].text != ""


@of_a_real_model
async def test_a_seed_makes_random_text_repeatable(peer: Peer) -> None:
    async def text(seed: int) -> str:
        sampling = replace(RAMBLING, seed=seed)
        turn = await written(
            peer.engine.generate(peer.model, INSTANCE, ask("Hello!", sampling=sampling, max_output_tokens=20))
        )
        return turn.text

    assert await text(1) == await text(1) != await text(2)


@that_takes_raw_prompts
async def test_a_raw_prompt_is_gone_on_with_without_a_template(peer: Peer) -> None:
    assert peer.engine.traits.raw
    asked = ask("Hello!", max_output_tokens=8)
    raw = replace(asked, raw=True, sampling=replace(asked.sampling, logprobs=2))
    said = await written(peer.engine.generate(peer.model, INSTANCE, raw))
    answered = await written(peer.engine.generate(peer.model, INSTANCE, asked))
    assert said.end is not None and answered.end is not None
    read, read_in_chat = said.end.counters.input_tokens, answered.end.counters.input_tokens
    assert read is not None and read_in_chat is not None and read + 4 < read_in_chat
    assert said.text != answered.text and said.end.reason == "length"
    chunks = [chunk async for chunk in peer.engine.generate(peer.model, INSTANCE, raw)]
    likely = [one for chunk in chunks if isinstance(chunk, TextArrived) for one in chunk.logprobs]
    assert likely and all(len(one.likeliest) == 2 for one in likely)


@that_takes_raw_prompts
async def test_how_likely_tokens_were_beside_tools_is_refused_by_its_name(peer: Peer) -> None:
    asked = ask("Hello!", tools=(TIME_TOOL,), sampling=Sampling(temperature=0, logprobs=1))
    with pytest.raises(OrchestratorError) as caught:
        await written(peer.engine.generate(peer.model, INSTANCE, asked))
    assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.INVALID_VALUE, "logprobs")


async def test_a_system_prompt_stands_before_everything(peer: Peer) -> None:
    request = ask(SystemMessage("You answer briefly."), user("Hello!"))
    turn = await written(peer.engine.generate(peer.model, INSTANCE, request))
    assert turn.end is not None and turn.end.reason == "stop"


@that_counts_its_cache
async def test_a_prompt_is_counted_as_it_is_read(peer: Peer) -> None:
    system = SystemMessage("You answer briefly.")
    assert isinstance(peer.engine, PromptCounter)
    asked = (ask("Thanks!"), ask(system, user("Hello!")), ask_time("Asia/Tokyo"), tell_time("Asia/Tokyo", "12:00"))
    for request in asked:
        turn = await written(peer.engine.generate(peer.model, INSTANCE, request))
        assert turn.end is not None
        assert await peer.engine.count_prompt(peer.model, request) == turn.end.counters.input_tokens
    long = await peer.engine.count_prompt(peer.model, ask(*[user("word " * 200)] * 40))
    assert long is not None and long > 8000  # beyond its context


@of_a_real_model
async def test_a_prompt_longer_than_the_context_is_refused_on_input(peer: Peer) -> None:
    with pytest.raises(OrchestratorError) as caught:
        await written(peer.engine.generate(peer.model, INSTANCE, ask("word " * 3000)))
    assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.EXCEED_CONTEXT_SIZE, "input")
    assert "the context 2048" in caught.value.info.message


@of_a_real_model
async def test_a_picture_is_refused_by_a_model_that_sees_none(peer: Peer) -> None:
    picture = ImageInput("data:image/png;base64,iVBORw0KGgo=")
    request = ask(UserMessage((TextInput("What is this?"), picture)))
    with pytest.raises(OrchestratorError) as caught:
        await written(peer.engine.generate(peer.model, INSTANCE, request))
    assert caught.value.info.kind in (ErrorKind.INVALID_VALUE, ErrorKind.ENGINE_ERROR)


async def test_parallel_turns_get_their_own_answers(peer: Peer) -> None:
    zones = ["Europe/Berlin", "Asia/Tokyo", "Africa/Cairo", "America/Lima", "Europe/Paris", "Asia/Kolkata"]
    found: dict[str, str] = {}

    async def run(zone: str) -> None:
        turn = await written(peer.engine.generate(peer.model, INSTANCE, ask_time(zone)))
        found[zone] = json.loads(turn.calls[0][1])["timezone"]

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            for zone in zones:
                tasks.start_soon(run, zone)
    assert found == {zone: zone for zone in zones}


@of_a_real_model
async def test_four_turns_at_once_each_have_the_whole_context(peer: Peer) -> None:
    prompt = "Hello " * 630  # 3 tokens a word: most of 2,048
    inputs: list[int | None] = []

    async def run() -> None:
        turn = await written(peer.engine.generate(peer.model, INSTANCE, ask(prompt, max_output_tokens=20)))
        inputs.append(turn.end.counters.input_tokens if turn.end else None)

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(run)
    assert len(inputs) == 4
    assert all(count is not None and 1024 < count < 2048 for count in inputs)


async def test_closing_the_generator_ends_the_turn_and_the_next_one_runs(peer: Peer) -> None:
    async with aclosing(peer.engine.generate(peer.model, INSTANCE, ramble())) as chunks:
        await first_text(chunks)
    with anyio.fail_after(BOUND_SECONDS):
        turn = await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!")))
    assert turn.text == "Hello! How can I help you?"


async def test_a_cancelled_task_ends_its_turn_and_the_next_one_runs(peer: Peer) -> None:
    begun = anyio.Event()

    async def run() -> None:
        async with aclosing(peer.engine.generate(peer.model, INSTANCE, ramble())) as chunks:
            await first_text(chunks)
            begun.set()
            await anyio.sleep_forever()

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await begun.wait()
            tasks.cancel_scope.cancel()
        turn = await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!")))
    assert turn.text == "Hello! How can I help you?"


async def test_a_turn_that_is_given_up_leaves_its_slot_to_the_next_at_once(peer: Peer) -> None:
    slots = peer.slots or 1
    ended: list[int] = []

    async def run(number: int, begun: anyio.Event) -> None:
        async with aclosing(peer.engine.generate(peer.model, INSTANCE, ramble())) as chunks:
            await first_text(chunks)
            begun.set()
            async for _ in chunks:
                pass
        ended.append(number)

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            for number in range(slots - 1):
                begun = anyio.Event()
                tasks.start_soon(run, number, begun)
                await begun.wait()
            async with aclosing(peer.engine.generate(peer.model, INSTANCE, ramble())) as chunks:
                await first_text(chunks)
            turn = await written(peer.engine.generate(peer.model, INSTANCE, ask("Hello!")))
            assert (turn.text, ended) == ("Hello! How can I help you?", [])  # the others still write
            tasks.cancel_scope.cancel()


async def test_the_chunks_of_a_turn_obey_the_order_of_the_port(peer: Peer) -> None:
    chunks = [chunk async for chunk in peer.engine.generate(peer.model, INSTANCE, ask_time("Europe/Berlin"))]
    assert isinstance(chunks[-1], GenerationFinished)
    assert fold(chunks).calls[0][0] == TIME_TOOL.name


@of_a_real_model
async def test_a_demanded_call_happens_where_the_model_would_have_answered_in_text(peer: Peer) -> None:
    request = replace(ask("Hello!", tools=(TIME_TOOL,)), tool_choice="required")
    turn = await written(peer.engine.generate(peer.model, INSTANCE, request))
    assert [name for name, _ in turn.calls] == ["get_time"]
    assert turn.end is not None and turn.end.reason == "tool_calls"


@of_a_real_model
async def test_a_response_format_makes_the_message_match_its_schema(peer: Peer) -> None:
    request = replace(ask("Hello!"), response_format=ResponseFormat("answer", ANSWER))
    turn = await written(peer.engine.generate(peer.model, INSTANCE, request))
    assert jsonschema_rs.is_valid(ANSWER, json.loads(turn.text))


async def test_the_engine_says_what_it_can_be_asked_for(peer: Peer) -> None:
    traits = peer.engine.traits
    await peer.engine.check_fit(peer.model, LoadSettings(), ())
    if traits.loads:
        await peer.engine.unload("no-such-instance")
    else:
        with pytest.raises(OrchestratorError) as caught:
            await peer.engine.unload("no-such-instance")
        assert caught.value.info.kind == ErrorKind.NOT_IMPLEMENTED
