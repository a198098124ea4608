"""The engine before a real Ollama, and before the recording of one: the same assertions over both."""

import json
from contextlib import aclosing
from dataclasses import replace

import anyio
import pytest

from orchestrator.core.commands import Generate
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.inputs import LoadStarted, ModelReady
from orchestrator.core.items import ImageInput, TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import LoadConfig, LoadSettings, Model, ModelInstance, Quantization, ReasoningSupport
from orchestrator.core.prompt import UserMessage
from orchestrator.core.request import Sampling
from orchestrator.core.tools import OfferedTool, ToolDefinition, definition_digest
from orchestrator.ports import LoadStep
from tests.engines.llama_cpp.gguf_files import WIDTH
from tests.engines.ollama.conftest import Stage
from tests.engines.ollama.runtime import EMBEDDER, FAR, PLAIN, THINKER, TOOLS
from tests.engines.samples import TIME_TOOL, ask, ask_time, first_text, ramble, tell_time, written

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 60

DESCRIBED = Model(
    key=TOOLS,
    engine="ollama",
    type="llm",
    publisher="orchestrator-test",
    display_name="orchestrator-test/tools",
    format="gguf",
    architecture="llama",
    quantization=Quantization("Q8_0"),
    size_bytes=0,
    params_string="2.07M",
    max_context_length=2048,
    trained_for_tool_use=True,
)


async def _steps(stage: Stage, model: Model, context_length: int | None) -> list[LoadStep]:
    return [step async for step in stage.engine.load(model, model.key, LoadSettings(context_length))]


async def _context(stage: Stage, key: str) -> int | None:
    (instance,) = (await stage.model(key)).loaded_instances
    return instance.config.context_length


# ---- what there is ----------------------------------------------------------------------------


async def test_models_are_listed_with_what_ollama_knows_of_them(stage: Stage) -> None:
    stage.unload(TOOLS)
    model = await stage.model(TOOLS)
    assert model.size_bytes is not None and model.size_bytes > 2_247_200  # the weights and its template
    assert model.modified_at is not None and model.modified_at.year >= 2026
    assert replace(model, size_bytes=0, modified_at=None) == DESCRIBED


async def test_capabilities_are_those_of_the_template(stage: Stage) -> None:
    models = {model.key: model for model in await stage.engine.models()}
    able = {key: (models[key].trained_for_tool_use, models[key].reasoning) for key in (TOOLS, THINKER, PLAIN)}
    assert able == {
        TOOLS: (True, None),
        THINKER: (True, ReasoningSupport(("off", "on"), "on")),
        PLAIN: (False, None),
    }
    assert models[PLAIN].publisher == "library"


async def test_a_model_of_another_machine_is_not_listed(stage: Stage) -> None:
    assert FAR not in [model.key for model in await stage.engine.models()]


# ---- loading ----------------------------------------------------------------------------------


async def test_a_load_is_announced_and_timed_once(stage: Stage) -> None:
    stage.unload(TOOLS)
    model = await stage.model(TOOLS)
    started, ready = await _steps(stage, model, None)
    assert started == LoadStarted()
    assert isinstance(ready, ModelReady) and ready.load_seconds is not None and 0 < ready.load_seconds < BOUND_SECONDS
    assert await _steps(stage, model, None) == [ModelReady(None)]
    instance = ModelInstance(TOOLS, LoadConfig(context_length=2048))
    assert (await stage.model(TOOLS)).loaded_instances == (instance,)


async def test_a_model_is_loaded_again_only_for_a_longer_context(stage: Stage) -> None:
    stage.unload(TOOLS)
    model = await stage.model(TOOLS)
    assert len(await _steps(stage, model, 512)) == 2
    assert await _steps(stage, model, 256) == [ModelReady(None)]
    assert await _steps(stage, model, None) == [ModelReady(None)]
    assert await _context(stage, TOOLS) == 512
    assert len(await _steps(stage, model, 1024)) == 2
    assert await _context(stage, TOOLS) == 1024


async def test_a_turn_keeps_the_context_that_the_model_was_loaded_with(stage: Stage) -> None:
    stage.unload(TOOLS)
    model = await stage.model(TOOLS)
    await _steps(stage, model, 768)
    await written(stage.engine.generate(model, model.key, ask("Hello!")))
    assert await _context(stage, TOOLS) == 768


async def test_a_turn_keeps_the_context_that_another_program_loaded_the_model_with(stage: Stage) -> None:
    stage.unload(TOOLS)
    stage.load(TOOLS, 640)
    model = await stage.model(TOOLS)
    assert await _steps(stage, model, None) == [ModelReady(None)]
    await written(stage.engine.generate(model, model.key, ask("Hello!")))
    assert await _context(stage, TOOLS) == 640


async def test_a_context_beyond_the_model_is_an_invalid_value(stage: Stage) -> None:
    model = await stage.model(TOOLS)
    with pytest.raises(OrchestratorError) as caught:
        await _steps(stage, model, 4096)
    message = f"{TOOLS} has a context of at most 2048 tokens, 4096 were asked for."
    assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "context_length")


async def test_a_model_that_is_not_there_cannot_be_loaded(stage: Stage) -> None:
    with pytest.raises(OrchestratorError) as caught:
        await _steps(stage, replace(DESCRIBED, key="orchestrator-test/missing:latest"), None)
    assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.UNKNOWN_MODEL, "model")


# ---- writing ----------------------------------------------------------------------------------


async def test_a_turn_of_text_is_counted_by_ollama(stage: Stage) -> None:
    turn = await written(stage.engine.generate(await stage.model(TOOLS), TOOLS, ask("Hello!")))
    assert (turn.reasoning, turn.text, turn.calls) == ("", "Hello! How can I help you?", ())
    assert turn.end is not None and turn.end.reason == "stop"
    counters = turn.end.counters
    assert (counters.input_tokens, counters.output_tokens, counters.reasoning_tokens) == (10, 14, 0)
    assert counters.decode_seconds is not None and 0 < counters.decode_seconds < BOUND_SECONDS
    assert counters.first_token_seconds is not None and 0 <= counters.first_token_seconds < BOUND_SECONDS


async def test_a_tool_call_comes_whole(stage: Stage) -> None:
    turn = await written(stage.engine.generate(await stage.model(TOOLS), TOOLS, ask_time("Asia/Tokyo")))
    assert (turn.text, turn.calls) == ("", (("get_time", '{"timezone":"Asia/Tokyo"}'),))
    assert turn.end is not None and turn.end.reason == "tool_calls"


async def test_the_result_of_a_tool_reaches_the_model(stage: Stage) -> None:
    turn = await written(stage.engine.generate(await stage.model(TOOLS), TOOLS, tell_time("Asia/Tokyo", "09:41")))
    assert "09:41" in turn.text
    assert turn.end is not None and turn.end.reason == "stop"


async def test_schemas_that_ollama_would_refuse_or_lose_reach_the_model(stage: Stage) -> None:
    schema: JsonObject = {
        "$defs": {"Zone": {"type": "string", "description": "An IANA name"}},
        "type": "object",
        "properties": {
            "timezone": {"$ref": "#/$defs/Zone"},
            "anything": True,
            "no": {"type": "string", "required": True},
        },
        "required": ["timezone"],
    }
    definition = ToolDefinition("get_time", "Get the current time in a time zone", schema)
    tool = OfferedTool("get_time", definition, TIME_TOOL.provider, 0, definition_digest(definition))
    request = replace(ask_time("Asia/Tokyo"), tools=(tool,))
    turn = await written(stage.engine.generate(await stage.model(TOOLS), TOOLS, request))
    assert [name for name, _ in turn.calls] == ["get_time"]


async def test_a_model_thinks_until_it_is_told_not_to(stage: Stage) -> None:
    model = await stage.model(THINKER)
    by_default = await written(stage.engine.generate(model, model.key, ask("Hello!", reasoning=None)))
    on = await written(stage.engine.generate(model, model.key, ask("Hello!", reasoning="on")))
    off = await written(stage.engine.generate(model, model.key, ask("Hello!", reasoning="off")))
    assert (on.reasoning.strip(), on.text) == ("No tool is needed.", "Hello! How can I help you?")
    assert (by_default.reasoning, by_default.text) == (on.reasoning, on.text)
    assert (off.reasoning, off.text) == ("", "Hello! How can I help you?")
    assert on.end is not None and on.end.counters.reasoning_tokens is None
    assert off.end is not None and off.end.counters.reasoning_tokens == 0


async def test_a_model_thinks_and_then_calls_a_tool(stage: Stage) -> None:
    request = replace(ask_time("Europe/Oslo"), reasoning="on")
    turn = await written(stage.engine.generate(await stage.model(THINKER), THINKER, request))
    assert turn.reasoning
    assert [(name, json.loads(text)) for name, text in turn.calls] == [("get_time", {"timezone": "Europe/Oslo"})]


async def test_the_limit_of_output_tokens_ends_a_turn_with_length(stage: Stage) -> None:
    turn = await written(stage.engine.generate(await stage.model(TOOLS), TOOLS, ask("Hello!", max_output_tokens=5)))
    assert turn.end is not None
    assert (turn.end.reason, turn.end.counters.output_tokens) == ("length", 5)


async def test_every_sampling_setting_is_taken(stage: Stage) -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, min_p=0.1, top_k=1, repeat_penalty=1.0, seed=7, stop=(" can",))
    turn = await written(stage.engine.generate(await stage.model(TOOLS), TOOLS, ask("Hello!", sampling=sampling)))
    assert turn.text == "Hello! How"


async def test_an_embedding_model_makes_one_vector_of_each_text(stage: Stage) -> None:
    model = await stage.model(EMBEDDER)
    assert model.type == "embedding"
    assert len(await _steps(stage, model, None)) in (1, 2)
    both = await stage.engine.embed(model, EMBEDDER, ("Hello", "What time is it?"))
    assert [len(vector) for vector in both.vectors] == [WIDTH, WIDTH]
    assert all(abs(sum(number * number for number in vector) - 1) < 1e-3 for vector in both.vectors)
    assert both.vectors[0] != both.vectors[1]
    first = await stage.engine.embed(model, EMBEDDER, ("Hello",))
    assert both.input_tokens is not None and 0 < (first.input_tokens or 0) < both.input_tokens


async def test_a_text_that_is_too_long_to_embed_is_refused_on_input(stage: Stage) -> None:
    model = await stage.model(EMBEDDER)
    with pytest.raises(OrchestratorError) as caught:
        await stage.engine.embed(model, EMBEDDER, ("Hello " * 3000,))
    assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.EXCEED_CONTEXT_SIZE, "input")


# ---- what cannot be ---------------------------------------------------------------------------


async def _refused(stage: Stage, key: str, request: Generate) -> ErrorInfo:
    with pytest.raises(OrchestratorError) as caught:
        await written(stage.engine.generate(await stage.model(key), key, request))
    return caught.value.info


async def test_a_prompt_longer_than_the_context_is_refused_and_not_cut(stage: Stage) -> None:
    stage.unload(TOOLS)
    model = await stage.model(TOOLS)
    info = await _refused(stage, model.key, ask("word " * 3000))
    assert (info.kind, info.param) == (ErrorKind.EXCEED_CONTEXT_SIZE, "input")


async def test_tools_are_refused_by_a_model_without_them(stage: Stage) -> None:
    message = f"Model '{PLAIN}' does not support tools."
    assert await _refused(stage, PLAIN, ask_time("Asia/Tokyo")) == ErrorInfo(
        ErrorKind.INVALID_VALUE, message, "integrations"
    )


async def test_reasoning_is_refused_by_a_model_without_it(stage: Stage) -> None:
    message = f"Model '{PLAIN}' does not support thinking."
    assert await _refused(stage, PLAIN, ask("Hello!", reasoning="high")) == ErrorInfo(
        ErrorKind.INVALID_VALUE, message, "reasoning"
    )


async def test_a_picture_is_refused_by_a_model_that_sees_none(stage: Stage) -> None:
    request = ask(UserMessage((TextInput("What is this?"), ImageInput("data:image/png;base64,iVBORw0KGgo="))))
    message = f"Model '{TOOLS}' does not take images."
    assert await _refused(stage, TOOLS, request) == ErrorInfo(ErrorKind.INVALID_VALUE, message, "input")


async def test_a_model_that_is_gone_is_an_unknown_model(stage: Stage) -> None:
    gone = replace(DESCRIBED, key="orchestrator-test/missing:latest")
    with pytest.raises(OrchestratorError) as caught:
        await written(stage.engine.generate(gone, gone.key, ask("Hello!")))
    assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.UNKNOWN_MODEL, "model")


async def test_a_model_whose_process_dies_while_it_writes_is_an_engine_error(stage: Stage) -> None:
    model = await stage.model(TOOLS)
    with pytest.raises(OrchestratorError) as caught:
        async with aclosing(stage.engine.generate(model, model.key, ramble())) as chunks:
            await first_text(chunks)
            stage.kill_runners()
            with anyio.fail_after(BOUND_SECONDS):
                _ = [chunk async for chunk in chunks]
    assert caught.value.info.kind is ErrorKind.ENGINE_ERROR
    assert (await written(stage.engine.generate(model, model.key, ask("Hello!")))).text == "Hello! How can I help you?"
