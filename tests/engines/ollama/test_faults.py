"""What the engine makes of an Ollama that is not there, not itself, slow, or gone in the middle."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import anyio
import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError, Overrun
from orchestrator.core.inputs import LoadStarted, TextArrived
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import LoadConfig, LoadSettings, Model, ModelInstance
from orchestrator.core.request import Sampling
from orchestrator.core.tools import OfferedTool
from orchestrator.engines.ollama.engine import OllamaEngine
from tests.engines.ollama.fakes import JSON, KEY, MODEL, TAG, Bench, as_json, fake_ollama, line
from tests.engines.ollama.loopback import Answer, Asked, Cut, loopback
from tests.engines.samples import TIME_TOOL, ask, first_text, written

pytestmark = pytest.mark.anyio

BOUND_SECONDS: Final = 10


@pytest.fixture
async def bench() -> AsyncGenerator[Bench]:
    async with fake_ollama() as opened:
        yield opened


# ---- nobody there -----------------------------------------------------------------------------


async def test_an_ollama_that_is_not_there_is_named_with_its_address() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    await listener.aclose()
    engine = OllamaEngine(f"http://user:secret@127.0.0.1:{port}")
    message = f"Ollama at http://127.0.0.1:{port} does not answer. Is it running? `ollama serve` starts it."
    unavailable = ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, message)

    async def load() -> None:
        async for _ in engine.load(MODEL, KEY, LoadSettings()):
            pass

    async def generate() -> None:
        await written(engine.generate(MODEL, KEY, ask("Hello!")))

    for asking in (engine.models, load, generate):
        with pytest.raises(OrchestratorError) as caught:
            await asking()
        assert caught.value.info == unavailable
    await engine.aclose()


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        (Answer((b"<html>",), 200), "answers, but not as Ollama does. Is OLLAMA_HOST the address of an Ollama?"),
        (Answer((b"[]",), 200), "answers, but not as Ollama does. Is OLLAMA_HOST the address of an Ollama?"),
        (Answer((b"<html>",), 502), "answered with status 502. Its log says why; if that lasts, start it anew."),
        (
            Answer((), 302, {"Location": "http://127.0.0.1:1/"}),
            "answered with status 302. Its log says why; if that lasts, start it anew.",
        ),
        (Answer((b"{", Cut())), "broke the connection off. Its log says why; if that lasts, start it anew."),
    ],
)
async def test_something_else_in_its_place_is_unavailable(bench: Bench, tags: Answer, why: str) -> None:
    bench.fake.tags = tags
    assert await bench.unlisted() == ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, f"Ollama at {bench.server.host} {why}")


async def test_an_ollama_that_hangs_is_unavailable(bench: Bench) -> None:
    bench.fake.tags = Answer((anyio.Event(),))
    message = f"Ollama at {bench.server.host} does not answer in time. Its log says why; if that lasts, start it anew."
    assert await bench.unlisted() == ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, message)


async def test_an_ollama_that_goes_away_while_it_shows_its_models_is_unavailable(bench: Bench) -> None:
    bench.fake.show = Answer((b"{", Cut()), 200, JSON)
    assert (await bench.unlisted()).kind is ErrorKind.ENGINE_UNAVAILABLE


async def test_a_model_that_cannot_be_shown_is_listed_with_what_is_known(bench: Bench) -> None:
    bench.fake.show = as_json({"error": "model not found"}, 404)
    instance = ModelInstance(KEY, LoadConfig(context_length=4096))
    listed = Model(
        KEY,
        "ollama",
        "llm",
        "some",
        "some/model",
        format="gguf",
        architecture="llama",
        size_bytes=5,
        loaded_instances=(instance,),
    )
    assert await bench.engine.models() == (listed,)


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("2026-11-22T04:39:37.896233803Z", datetime(2026, 11, 22, 4, 39, 37, 896233, UTC)),
        ("2026-11-22T04:39:37", None),
        ("0001-01-01T00:00:00Z", None),
        ("yesterday", None),
        (None, None),
    ],
)
async def test_a_model_is_as_old_as_ollama_says_where_that_is_a_time(
    bench: Bench, told: str | None, known: datetime | None
) -> None:
    bench.fake.tags = as_json({"models": [{**TAG, "modified_at": told}]})
    [model] = await bench.engine.models()
    assert model.modified_at == known


async def test_a_raw_prompt_goes_where_no_template_is_put_around_it(bench: Bench) -> None:
    lines = {"response": "and "}, {"response": "then."}, {"response": "", "done": True, "done_reason": "stop"}
    bench.says(*(json.dumps(each).encode() + b"\n" for each in lines))
    asked = ask("Once", sampling=Sampling(temperature=0, logprobs=1), max_output_tokens=9)
    turn = await written(bench.engine.generate(MODEL, KEY, replace(asked, raw=True)))
    assert turn.text == "and then." and turn.end is not None and turn.end.reason == "stop"
    [sent] = [one for one in bench.server.asked if one.path == "/api/generate"]
    assert isinstance(sent.body, dict)
    known = {name: sent.body[name] for name in ("model", "prompt", "raw", "logprobs", "top_logprobs", "truncate")}
    assert known == {
        "model": KEY,
        "prompt": "Once",
        "raw": True,
        "logprobs": True,
        "top_logprobs": 1,
        "truncate": False,
    }


async def test_what_a_digest_stands_for_is_asked_once(bench: Bench) -> None:
    first = await bench.engine.models()
    assert await bench.engine.models() == first
    shows = [asked for asked in bench.server.asked if asked.path == "/api/show"]
    assert shows == [Asked("POST", "/api/show", {"model": KEY})]
    bench.fake.tags = as_json({"models": [{**TAG, "digest": "d2"}]})
    await bench.engine.models()
    assert len([asked for asked in bench.server.asked if asked.path == "/api/show"]) == 2


# ---- while it writes --------------------------------------------------------------------------


async def test_a_stream_may_be_cut_anywhere(bench: Bench) -> None:
    whole = line("né\u0085w \u2028 🙂") + line("!") + line(done=True, done_reason="stop")
    bench.says(*(whole[place : place + 1] for place in range(len(whole))))
    assert (await bench.turn()).text == "né\u0085w \u2028 🙂!"


async def test_an_end_without_a_line_end_counts(bench: Bench) -> None:
    bench.says(line("Hi"), line(done=True, done_reason="stop").rstrip())
    assert (await bench.turn()).text == "Hi"


async def test_a_model_that_does_not_make_the_call_it_was_held_to_is_an_engine_error(bench: Bench) -> None:
    bench.says(line("Hi"), line(done=True, done_reason="stop"))
    request = replace(ask("Hello!", tools=(TIME_TOOL,)), tool_choice="required")
    with pytest.raises(OrchestratorError) as caught:
        await written(bench.engine.generate(MODEL, KEY, request))
    message = f"Model '{KEY}' called no tool, though Ollama was told to hold it to a call."
    assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


async def test_a_stream_that_ends_before_the_turn_is_an_engine_error(bench: Bench) -> None:
    bench.says(line("Hi"))
    message = f"Ollama at {bench.server.host} ended its answer before it was complete."
    assert await bench.refused() == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


async def test_a_model_that_was_stopped_because_it_repeated_itself_is_named(bench: Bench) -> None:
    bench.says(*(line(" so" if place % 2 else "so\n") for place in range(31)))
    message = f"Model '{KEY}' repeated itself, and Ollama at {bench.server.host} stopped it."
    assert await bench.refused() == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


async def test_a_connection_that_breaks_in_the_middle_is_an_engine_error(bench: Bench) -> None:
    bench.says(line("Hi"), Cut())
    message = f"Ollama at {bench.server.host} broke the connection off before its answer was complete."
    assert await bench.refused() == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


async def test_what_came_before_a_failure_is_not_lost(bench: Bench) -> None:
    bench.says(line("Hi"), Cut())
    chunks = bench.engine.generate(MODEL, KEY, ask("Hello!"))
    assert await anext(chunks) == TextArrived("Hi")
    with pytest.raises(OrchestratorError):
        await anext(chunks)


async def test_silence_in_mid_stream_is_an_engine_error(bench: Bench) -> None:
    bench.says(line("Hi"), anyio.Event())
    engine = OllamaEngine(bench.server.host, silence_seconds=0.3, first_token_seconds=3600)
    with pytest.raises(OrchestratorError) as caught:
        await written(engine.generate(MODEL, KEY, ask("Hello!")))
    message = f"Ollama at {bench.server.host} sent nothing for 0.3 seconds, and was given up."
    assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, message)
    await engine.aclose()


@pytest.mark.parametrize(
    ("said", "tools"),
    [((), ()), ((line("Hi"),), (TIME_TOOL,))],
    ids=["before the first token", "while it may be collecting a call"],
)
async def test_ollama_may_be_silent_for_longer_where_it_reads_or_collects(
    bench: Bench, said: tuple[bytes, ...], tools: tuple[OfferedTool, ...]
) -> None:
    bench.says(*said, anyio.Event())
    engine = OllamaEngine(bench.server.host, silence_seconds=0.01, first_token_seconds=0.5)
    with pytest.raises(OrchestratorError) as caught:
        await written(engine.generate(MODEL, KEY, ask("Hello!", tools=tools)))
    message = f"Ollama at {bench.server.host} sent nothing for 0.5 seconds, and was given up."
    assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, message)
    await engine.aclose()


@pytest.mark.parametrize("piece", [b"data: x\n", b"[1]\n", b'{"message":{"content":7}}\n', b'{"message":"\xff"}\n'])
async def test_a_line_of_another_protocol_is_an_engine_error_that_does_not_repeat_it(
    bench: Bench, piece: bytes
) -> None:
    bench.says(piece)
    message = f"Ollama at {bench.server.host} does not keep to its protocol: a line is not what it should be."
    assert await bench.refused() == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


REFUSALS: Final[dict[str, tuple[int, str, Callable[[str], ErrorInfo]]]] = {
    "busy": (
        503,
        "server busy, please try again.  maximum pending requests exceeded",
        lambda who: ErrorInfo(ErrorKind.RATE_LIMITED, f"{who} has too many requests waiting."),
    ),
    "a proxy's": (
        502,
        "",
        lambda who: ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, f"{who} cannot be reached: status 502."),
    ),
    "memory": (
        500,
        "model requires more system memory (9.0 GiB) than is available (2.0 GiB)",
        lambda who: ErrorInfo(
            ErrorKind.ENGINE_ERROR,
            f"{who} answered with status 500: model requires more system memory (9.0 GiB) than is available (2.0 GiB)",
        ),
    ),
    "llama-server's context": (
        400,
        "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
        lambda who: ErrorInfo(
            ErrorKind.EXCEED_CONTEXT_SIZE,
            f"The prompt is longer than the context of model '{KEY}': request (5000 tokens) exceeds the available "
            "context size (4096 tokens), try increasing it",
            "input",
        ),
    ),
    "a format": (
        500,
        "invalid JSON schema in format",
        lambda who: ErrorInfo(
            ErrorKind.INVALID_VALUE,
            f"{who} cannot hold the model to this format: invalid JSON schema in format",
            "response_format",
        ),
    ),
    "an embedding model": (
        400,
        f'"{KEY}" does not support chat',
        lambda who: ErrorInfo(ErrorKind.INVALID_VALUE, f"Model '{KEY}' does not support chat.", "model"),
    ),
    "no such model": (
        404,
        f"model '{KEY}' not found",
        lambda who: ErrorInfo(
            ErrorKind.UNKNOWN_MODEL, f"{who} has no model '{KEY}'. `ollama pull {KEY}` downloads it.", "model"
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refusal_before_the_stream_becomes_the_contracts_error(bench: Bench, case: str) -> None:
    status, text, expected = REFUSALS[case]
    bench.says(json.dumps({"error": text}).encode(), status=status)
    assert await bench.refused() == expected(f"Ollama at {bench.server.host}")


async def test_how_much_too_long_a_prompt_is_is_told_apart(bench: Bench) -> None:
    status, text, _ = REFUSALS["llama-server's context"]
    bench.says(json.dumps({"error": text}).encode(), status=status)
    assert (await bench.refused()).overrun == Overrun(5000, 4096)


@pytest.mark.parametrize("error", ["boom", {"message": "boom", "type": "server_error"}])
async def test_an_error_in_the_middle_of_the_stream_is_an_engine_error(bench: Bench, error: str | JsonObject) -> None:
    bench.says(line("Hi"), json.dumps({"error": error}).encode() + b"\n")
    assert await bench.refused() == ErrorInfo(ErrorKind.ENGINE_ERROR, f"Ollama at {bench.server.host} failed: boom")


async def test_a_page_of_a_proxy_is_not_repeated(bench: Bench) -> None:
    bench.says(b"<html>oops</html>", status=500)
    message = f"Ollama at {bench.server.host} answered with status 500."
    assert await bench.refused() == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


# ---- a reader that leaves ---------------------------------------------------------------------


async def test_closing_the_generator_disconnects_at_once(bench: Bench) -> None:
    bench.says(line("Hi"), anyio.Event())
    async with aclosing(bench.engine.generate(MODEL, KEY, ask("Hello!"))) as chunks:
        await first_text(chunks)
    with anyio.fail_after(BOUND_SECONDS):
        await bench.server.left.wait()


async def test_a_cancelled_task_disconnects_at_once(bench: Bench) -> None:
    asked = anyio.Event()
    answered = bench.fake.answer

    async def answer(request: Asked) -> Answer:
        asked.set()
        return await answered(request)

    bench.says(anyio.Event())
    async with loopback(answer) as server:
        engine = OllamaEngine(server.host)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(written, engine.generate(MODEL, KEY, ask("Hello!")))
            await asked.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(BOUND_SECONDS):
            await server.left.wait()
        await engine.aclose()


# ---- loading ----------------------------------------------------------------------------------


async def test_a_load_that_hangs_is_an_engine_error(bench: Bench) -> None:
    bench.fake.ps = as_json({"models": []})
    bench.says(anyio.Event())
    steps = bench.engine.load(MODEL, KEY, LoadSettings())
    assert await anext(steps) == LoadStarted()
    with pytest.raises(OrchestratorError) as caught:
        await anext(steps)
    message = f"Ollama at {bench.server.host} fell silent, and was given up."
    assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


async def test_a_context_that_ollama_cut_down_is_an_invalid_value(bench: Bench) -> None:
    unknown = Model(KEY, "ollama", "llm", "some", "some/model")
    with pytest.raises(OrchestratorError) as caught:
        _ = [step async for step in bench.engine.load(unknown, KEY, LoadSettings(8192))]
    message = f"{KEY} got a context of only 4096 tokens from Ollama, 8192 were asked for."
    assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "context_length")


# ---- models of other machines -----------------------------------------------------------------


async def test_a_model_of_another_machine_is_refused_before_anything_is_sent(bench: Bench) -> None:
    far = Model("gpt-oss:120b-cloud", "ollama", "llm", "library", "gpt-oss:120b-cloud")
    with pytest.raises(OrchestratorError) as caught:
        await written(bench.engine.generate(far, far.key, ask("Hello!")))
    message = "Model 'gpt-oss:120b-cloud' runs on another machine than Ollama's, which is not allowed here."
    assert caught.value.info == ErrorInfo(ErrorKind.UNKNOWN_MODEL, message, "model")
    assert bench.server.asked == []


async def test_models_of_other_machines_are_listed_where_they_are_allowed(bench: Bench) -> None:
    bench.fake.tags = as_json({"models": [TAG, {"model": "far", "digest": "d2", "remote_host": "https://ollama.com"}]})
    assert [model.key for model in await bench.engine.models()] == [KEY]
    engine = OllamaEngine(bench.server.host, allow_remote=True)
    assert [model.key for model in await engine.models()] == ["far:latest", KEY]
    await engine.aclose()
