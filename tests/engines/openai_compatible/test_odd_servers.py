"""Servers that are slow, broken, odd or gone, and what the adapter makes of them."""

import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TypeAlias

import anyio
import httpx
import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError, Overrun
from orchestrator.core.inputs import GenerationFinished, ModelReady
from orchestrator.core.json_types import JsonObject
from orchestrator.core.models import LoadSettings, Model
from orchestrator.core.request import Sampling
from orchestrator.core.response import Counters
from orchestrator.engines.openai_compatible.engine import OpenAICompatibleEngine, Timeouts
from orchestrator.engines.openai_http import retry_after
from tests.engines.samples import Written, ask, written

pytestmark = pytest.mark.anyio
URL = "http://models.test:8000/v1"
KEY = "sk-very-secret"
WHO = f"The OpenAI-compatible server at {URL}"
MODEL = Model("m", "openai_compatible", "llm", "", "m", max_context_length=100)
Handler: TypeAlias = Callable[[httpx.Request], httpx.Response]


def engine(handler: Handler, key: str | None = KEY) -> OpenAICompatibleEngine:
    return OpenAICompatibleEngine(URL, key, transport=httpx.MockTransport(handler))


class Blocks(httpx.AsyncByteStream):
    """A body in blocks; an exception among them is raised where it stands."""

    def __init__(self, blocks: Iterable[bytes | Exception]) -> None:
        self._blocks = blocks
        self.closed = False

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        for block in self._blocks:
            await anyio.lowlevel.checkpoint()
            if isinstance(block, Exception):
                raise block
            yield block

    async def aclose(self) -> None:
        self.closed = True


def events(*chunks: JsonObject | str) -> bytes:
    texts = (chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks)
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def said(text: str, finish_reason: str | None = None) -> JsonObject:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]}


def streaming(*blocks: bytes | Exception) -> Handler:
    return lambda request: httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Blocks(blocks))


async def answer(handler: Handler) -> Written:
    return await written(engine(handler).generate(MODEL, "m", ask("Hi")))


async def refused(handler: Handler) -> ErrorInfo:
    with pytest.raises(OrchestratorError) as caught:
        await answer(handler)
    assert KEY not in str(caught.value) and caught.value.__cause__ is None
    return caught.value.info


# ---- ends -------------------------------------------------------------------------------------


async def test_a_stream_in_any_fragments_is_one_answer() -> None:
    data = events(
        said("Hé"),
        said("llo", "stop"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        "[DONE]",
    )
    turn = await answer(streaming(*(data[index : index + 1] for index in range(len(data)))))
    assert turn.text == "Héllo"
    assert turn.end is not None
    assert (turn.end.reason, turn.end.counters.input_tokens, turn.end.counters.output_tokens) == ("stop", 3, 2)


async def test_a_server_that_closes_without_done_has_finished_where_it_said_why() -> None:
    filtered = await answer(streaming(events(said("Hi", "content_filter"))))
    assert filtered.end is not None and filtered.end.reason == "content_filter"
    turn = await answer(streaming(events(said("Hi", "length"))))
    assert turn.end is not None
    counters = Counters(first_token_seconds=turn.end.counters.first_token_seconds)
    assert turn == Written("", "Hi", (), GenerationFinished("length", counters))


async def test_a_server_that_says_done_without_why_has_finished() -> None:
    turn = await answer(streaming(events(said("Hi"), "[DONE]")))
    assert turn.end is not None and (turn.text, turn.end.reason) == ("Hi", "stop")


async def test_the_last_event_may_lack_its_blank_line() -> None:
    turn = await answer(streaming(events(said("Hi", "stop")).removesuffix(b"\n\n")))
    assert turn.text == "Hi"


async def test_a_stream_that_just_ends_is_an_engine_error() -> None:
    message = f"{WHO} ended its answer without saying that it was finished."
    assert await refused(streaming(events(said("Hi")))) == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


async def test_a_connection_that_breaks_is_an_engine_error() -> None:
    info = await refused(streaming(events(said("Hi")), httpx.ReadError("reset")))
    assert info == ErrorInfo(ErrorKind.ENGINE_ERROR, f"{WHO} broke off its answer (ReadError).")


async def test_a_server_that_falls_silent_is_an_engine_error() -> None:
    info = await refused(streaming(events(said("Hi")), httpx.ReadTimeout("")))
    assert info == ErrorInfo(ErrorKind.ENGINE_ERROR, f"{WHO} sent nothing for 300 seconds, and was given up.")


async def test_silence_after_the_first_token_has_a_limit_of_its_own() -> None:
    async def talk() -> AsyncGenerator[bytes]:
        yield events(said("Hi"))
        await anyio.sleep_forever()

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=talk())

    timeouts = Timeouts(first_token=3600, silence=0.05)
    remote = OpenAICompatibleEngine(URL, KEY, timeouts=timeouts, transport=httpx.MockTransport(handler))
    with pytest.raises(OrchestratorError) as caught:
        await written(remote.generate(MODEL, "m", ask("Hi")))
    message = f"{WHO} sent nothing for 0.05 seconds, and was given up."
    assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_ERROR, message)


async def test_an_answer_that_does_not_stream_is_taken_whole() -> None:
    body = {
        "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    turn = await answer(lambda request: httpx.Response(200, json=body))
    assert turn.end is not None and (turn.text, turn.end.reason, turn.end.counters.output_tokens) == ("Hi", "stop", 1)


async def test_closing_the_generator_closes_the_reply() -> None:
    body = Blocks([events(said(str(number))) for number in range(100)])
    turn = engine(lambda request: httpx.Response(200, stream=body)).generate(MODEL, "m", ask("Hi"))
    await anext(turn)
    assert not body.closed
    await turn.aclose()
    assert body.closed


# ---- errors -----------------------------------------------------------------------------------


async def test_an_error_in_mid_stream_is_an_engine_error() -> None:
    info = await refused(streaming(events(said("Hi"), {"error": {"message": f"out of memory at {KEY}", "code": 500}})))
    assert info == ErrorInfo(ErrorKind.ENGINE_ERROR, f"{WHO} failed while generating: out of memory at [key]")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "This model's maximum context length is 100 tokens.", "type": "BadRequestError", "code": 400}}),
        (400, {"object": "error", "message": "This model's maximum context length is 100 tokens.", "code": 400}),
        (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}),
        (400, {"error": {"message": "x", "type": "exceed_context_size_error"}}),
    ],
)  # fmt: skip
async def test_a_prompt_that_is_too_long_is_told_apart_whoever_says_it(status: int, body: JsonObject) -> None:
    info = await refused(lambda request: httpx.Response(status, json=body))
    assert info == ErrorInfo(ErrorKind.EXCEED_CONTEXT_SIZE, "The prompt is longer than the context.", "input")


@pytest.mark.parametrize(
    ("error", "overrun"),
    [
        ({"message": "x", "type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096}, Overrun(5000, 4096)),
        (
            {
                "message": "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
                "code": "context_length_exceeded",
            },
            Overrun(5000, 4096),
        ),
        ({"message": "The input (5000 tokens) is longer than the model's context length (4096 tokens)."}, Overrun(5000, 4096)),
        (
            {"message": "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens."},
            Overrun(5000, 4096),
        ),
        (
            {"message": "This model's maximum context length is 4096 tokens and your request has 100 input tokens"},
            None,
        ),
        ({"message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."}, None),
    ],
)  # fmt: skip
async def test_how_much_too_long_a_prompt_is_is_told_as_far_as_the_server_says_it(
    error: JsonObject, overrun: Overrun | None
) -> None:
    info = await refused(lambda request: httpx.Response(400, json={"error": error}))
    sizes = ": it has 5000 tokens, the context 4096" if overrun else ""
    assert info == ErrorInfo(ErrorKind.EXCEED_CONTEXT_SIZE, f"The prompt is longer than the context{sizes}.", "input")
    assert info.overrun == overrun


async def test_a_refused_key_is_not_quoted_even_in_part() -> None:
    body = {"error": {"message": "Incorrect API key provided: sk-ve**cret"}}
    info = await refused(lambda request: httpx.Response(401, json=body))
    assert info == ErrorInfo(ErrorKind.ENGINE_ERROR, f"{WHO} refused the API key (status 401).")


async def test_an_error_page_is_not_quoted() -> None:
    info = await refused(lambda request: httpx.Response(502, html="<html>Bad gateway</html>"))
    assert info == ErrorInfo(ErrorKind.ENGINE_ERROR, f"{WHO} answered with status 502.")


async def test_a_long_error_is_cut() -> None:
    info = await refused(lambda request: httpx.Response(500, json={"error": "word\n" * 1000}))
    assert info.message.startswith(f"{WHO} answered with status 500: word word")
    assert len(info.message) < 400


async def test_what_is_no_chunk_is_an_engine_error_that_does_not_quote_it() -> None:
    info = await refused(streaming(b"data: the secret plan\n\n"))
    assert info == ErrorInfo(
        ErrorKind.ENGINE_ERROR, f"{WHO} sent something that is not a chat completion (it is not JSON)."
    )


async def test_arguments_that_are_no_text_are_an_engine_error() -> None:
    chunk = b'{"choices":[{"delta":{"tool_calls":[{"function":{"name":"a","arguments":"\xff"}}]}}]}'
    info = await refused(streaming(b"data: " + chunk + b"\n\n"))
    assert (info.kind, info.message.startswith(f"{WHO} sent something that is not")) == (ErrorKind.ENGINE_ERROR, True)


async def test_output_that_llama_server_cannot_parse_has_a_message_of_its_own() -> None:
    body = {
        "error": {
            "message": "The model produced output that does not match the expected peg-native format",
            "code": 500,
        }
    }
    assert await refused(lambda request: httpx.Response(500, json=body)) == ErrorInfo(
        ErrorKind.ENGINE_ERROR,
        "The model wrote a tool call that does not follow the format of its own template.",
    )


# ---- connections ------------------------------------------------------------------------------


async def test_a_server_that_cannot_be_reached_is_tried_twice_and_named() -> None:
    attempts = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal attempts
        attempts += 1
        raise httpx.ConnectError("refused")

    info = await refused(handler)
    assert (info, attempts) == (
        ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, f"{WHO} cannot be reached (ConnectError)."),
        2,
    )


async def test_a_server_that_comes_back_meanwhile_answers() -> None:
    attempts = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, content=events(said("Hi", "stop")))

    assert (await answer(handler)).text == "Hi"


Reply: TypeAlias = Callable[[], httpx.Response]


def broken(error: Exception) -> Reply:
    def reply() -> httpx.Response:
        raise error

    return reply


async def tried(*replies: Reply) -> tuple[Written | ErrorInfo, int]:
    """What comes of a request that is answered by `replies` in turn, and how often it was sent."""
    attempts = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal attempts
        attempts += 1
        return replies[attempts - 1]()

    try:
        return await answer(handler), attempts
    except OrchestratorError as error:
        return error.info, attempts


def fine() -> httpx.Response:
    return httpx.Response(200, content=events(said("Hi", "stop")))


def busy(seconds: str | None = None) -> Reply:
    headers = {} if seconds is None else {"Retry-After": seconds}
    return lambda: httpx.Response(503, json={"error": {"message": "Loading model"}}, headers=headers)


@pytest.mark.parametrize(
    "first",
    [
        broken(httpx.RemoteProtocolError("Server disconnected without sending a response.")),
        broken(httpx.ReadError("reset")),
        lambda: httpx.Response(200, stream=Blocks([httpx.RemoteProtocolError("closed")])),
        lambda: httpx.Response(200, stream=Blocks([])),
        busy(),
        busy("0"),
    ],
)
async def test_what_fails_before_the_first_byte_is_tried_once_more(first: Reply) -> None:
    turn, attempts = await tried(first, fine)
    assert isinstance(turn, Written)
    assert (turn.text, attempts) == ("Hi", 2)


async def test_what_fails_twice_is_told() -> None:
    gone = broken(httpx.RemoteProtocolError("Server disconnected without sending a response."))
    broke_off = ErrorInfo(ErrorKind.ENGINE_ERROR, f"{WHO} broke off its answer (RemoteProtocolError).")
    assert await tried(gone, gone, fine) == (broke_off, 2)
    loading = ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, f"{WHO} cannot answer now (status 503): Loading model")
    assert await tried(busy(), busy(), fine) == (loading, 2)


async def test_a_server_that_wants_to_be_left_alone_for_long_is() -> None:
    info, attempts = await tried(busy("60"), fine)
    assert isinstance(info, ErrorInfo)
    assert (info.kind, info.retry_after_seconds, attempts) == (ErrorKind.ENGINE_UNAVAILABLE, 60, 1)


async def test_after_the_first_byte_nothing_is_sent_again() -> None:
    def half() -> httpx.Response:
        return httpx.Response(200, stream=Blocks([b": hello\n\n", httpx.ReadError("reset")]))

    info = ErrorInfo(ErrorKind.ENGINE_ERROR, f"{WHO} broke off its answer (ReadError).")
    assert await tried(half, fine) == (info, 1)


REFUSALS: dict[int, ErrorInfo] = {
    400: ErrorInfo(ErrorKind.INVALID_VALUE, f"{WHO} refused the request (status 400): no"),
    402: ErrorInfo(ErrorKind.INVALID_VALUE, f"{WHO} refused the request (status 402): no"),
    404: ErrorInfo(
        ErrorKind.UNKNOWN_MODEL, f"{WHO} does not know this model, or its URL is not right (status 404): no", "model"
    ),
    408: ErrorInfo(ErrorKind.ENGINE_ERROR, f"{WHO} answered with status 408: no"),
    413: ErrorInfo(ErrorKind.REQUEST_TOO_LARGE, f"{WHO} finds the request too large (status 413): no"),
    429: ErrorInfo(ErrorKind.RATE_LIMITED, f"{WHO} takes no more requests now (status 429): no"),
    500: ErrorInfo(ErrorKind.ENGINE_ERROR, f"{WHO} answered with status 500: no"),
}


@pytest.mark.parametrize("status", REFUSALS)
async def test_a_refusal_is_told_as_what_it_is_and_not_tried_again(status: int) -> None:
    def refusing() -> httpx.Response:
        return httpx.Response(status, json={"error": {"message": "no"}}, headers={"Retry-After": "7"})

    info, attempts = await tried(refusing, fine)
    assert isinstance(info, ErrorInfo)
    assert (info, info.retry_after_seconds, attempts) == (REFUSALS[status], 7, 1)


@pytest.mark.parametrize(
    ("said_when", "seconds"),
    [("7", 7), (" 0 ", 0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("soon", None), ("-1", None), ("", None)],
)
def test_when_to_come_back_may_be_a_number_or_a_date(said_when: str, seconds: float | None) -> None:
    assert retry_after(httpx.Headers({"Retry-After": said_when})) == seconds
    later = datetime.now(UTC) + timedelta(hours=1)
    told = retry_after(httpx.Headers({"Retry-After": format_datetime(later, usegmt=True)}))
    assert told is not None and 3000 < told <= 3600


async def test_a_port_where_nobody_listens_is_unavailable() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
    address = f"http://127.0.0.1:{port}/v1"
    alone = OpenAICompatibleEngine(address, KEY)
    expected = ErrorInfo(
        ErrorKind.ENGINE_UNAVAILABLE, f"The OpenAI-compatible server at {address} cannot be reached (ConnectError)."
    )
    with pytest.raises(OrchestratorError) as caught:
        await alone.models()
    assert caught.value.info == expected
    with pytest.raises(OrchestratorError) as caught:
        await written(alone.generate(MODEL, "m", ask("Hi")))
    assert caught.value.info == expected
    await alone.aclose()


# ---- what is sent -----------------------------------------------------------------------------


async def test_the_request_carries_the_key_and_the_fields_outside_of_openai_only_when_asked_for() -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, content=events(said("Hi", "stop")))

    remote = engine(handler)
    await written(remote.generate(MODEL, "m", ask("Hi", reasoning=None, max_output_tokens=None, sampling=Sampling())))
    sampling = Sampling(top_k=5, min_p=0.1, repeat_penalty=1.1)
    await written(remote.generate(MODEL, "m", ask("Hi", reasoning="on", max_output_tokens=None, sampling=sampling)))
    await written(remote.generate(MODEL, "m", ask("Hi", reasoning="high", max_output_tokens=None, sampling=Sampling())))
    plain = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    extra = {
        "top_k": 5,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "repetition_penalty": 1.1,
        "chat_template_kwargs": {"enable_thinking": True},
    }
    assert [json.loads(request.content) for request in requests] == [
        plain,
        plain | extra,
        plain | {"reasoning_effort": "high"},
    ]
    assert {request.headers["authorization"] for request in requests} == {f"Bearer {KEY}"}


async def test_without_a_key_none_is_sent() -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, content=events(said("Hi", "stop")))

    await written(engine(handler, None).generate(MODEL, "m", ask("Hi")))
    assert "authorization" not in requests[0].headers


async def test_a_password_in_the_url_is_used_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(500, json={})

    caplog.set_level(logging.DEBUG)
    remote = OpenAICompatibleEngine("http://me:hunter2@models.test/v1", None, transport=httpx.MockTransport(handler))
    with pytest.raises(OrchestratorError) as caught:
        await remote.models()
    assert requests[0].headers["authorization"].startswith("Basic ")
    assert "hunter2" not in f"{remote!r} {caught.value} {caplog.text}"
    assert "http://models.test/v1" in repr(remote)


async def test_the_key_stands_in_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    remote = engine(streaming(events(said("Hi", "stop"))))
    await written(remote.generate(MODEL, "m", ask("Hi")))
    assert KEY not in f"{remote!r} {caplog.text} {vars(remote)['_client']!r}"


@pytest.mark.parametrize(
    "url", ["", "models.test/v1", "ftp://models.test/v1", "http://", "http://[::1/v1", "http://x:y/v1"]
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="must be http or https"):
        OpenAICompatibleEngine(url, None)


@pytest.mark.parametrize("key", ["sk-ü-secret", "sk-secret\n"])
def test_a_key_that_no_header_can_carry_is_refused_without_quoting_it(key: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a header") as caught:
        OpenAICompatibleEngine(URL, key)
    assert "secret" not in str(caught.value)


# ---- models -----------------------------------------------------------------------------------


async def test_models_are_listed_as_the_server_lists_them() -> None:
    listed = {
        "object": "list",
        "data": [
            {"id": "Qwen/Qwen3-8B", "object": "model", "max_model_len": 40960},
            {"id": "tiny", "meta": {"n_ctx": 2048, "n_ctx_train": 4096, "size": 5}, "architecture": {"input_modalities": ["text", "image"]}},
            {"id": "trained", "meta": {"n_ctx_train": 4096}, "created": 0},
            {"id": "gpt", "owned_by": "openai", "created": 1_700_000_000},
            {"id": "odd", "created": 1e300},
            {"id": "older", "created": "yesterday"},
        ],
    }  # fmt: skip
    assert await engine(lambda request: httpx.Response(200, json=listed)).models() == [
        Model("Qwen/Qwen3-8B", "openai_compatible", "llm", "Qwen", "Qwen3-8B", max_context_length=40960),
        Model("tiny", "openai_compatible", "llm", "", "tiny", size_bytes=5, max_context_length=2048, vision=True),
        Model("trained", "openai_compatible", "llm", "", "trained", max_context_length=4096),
        Model("gpt", "openai_compatible", "llm", "", "gpt", modified_at=datetime.fromtimestamp(1_700_000_000, UTC)),
        Model("odd", "openai_compatible", "llm", "", "odd"),
        Model("older", "openai_compatible", "llm", "", "older"),
    ]


@pytest.mark.parametrize("content", [b"<html>", b"{}", b'{"data": [{"name": "x"}]}'])
async def test_a_list_of_another_kind_is_unavailable(content: bytes) -> None:
    with pytest.raises(OrchestratorError) as caught:
        await engine(lambda request: httpx.Response(200, content=content)).models()
    message = f"{WHO} does not list its models as an OpenAI-compatible server does."
    assert caught.value.info == ErrorInfo(ErrorKind.ENGINE_UNAVAILABLE, message)


async def test_only_the_maximum_of_the_context_is_checked() -> None:
    remote = engine(streaming())
    assert [step async for step in remote.load(MODEL, "m", LoadSettings(100))] == [ModelReady(None)]
    with pytest.raises(OrchestratorError) as caught:
        _ = [step async for step in remote.load(MODEL, "m", LoadSettings(101))]
    message = "m has a context of at most 100 tokens, 101 were asked for."
    assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "context_length")
