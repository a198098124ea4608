"""Models that embed, and models that see: real ones, made of the demo model."""

import base64
import struct
import zlib
from pathlib import Path
from typing import Final

import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.items import ImageInput, TextInput
from orchestrator.core.models import LoadSettings
from orchestrator.core.prompt import UserMessage
from orchestrator.ports import Embeddings
from tests.engines.llama_cpp.conftest import DEMO_FILE, INSTANCE, Bench, OpenBench
from tests.engines.llama_cpp.gguf_files import WIDTH, projector, with_number
from tests.engines.samples import ask, written

pytestmark = pytest.mark.anyio
MEAN: Final = 1


@pytest.fixture
def embedding_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "a" / "embeds"
    folder.mkdir(parents=True)
    (folder / "x.gguf").write_bytes(with_number(DEMO_FILE.read_bytes(), "llama.pooling_type", MEAN))
    return tmp_path / "models"


async def embed(it: Bench, *texts: str) -> Embeddings:
    return await it.engine.embed(it.model, INSTANCE, texts)


async def test_an_embedding_model_makes_one_vector_of_each_text(bench: OpenBench, embedding_folder: Path) -> None:
    async with bench(embedding_folder, "a/embeds") as it:
        assert it.model.type == "embedding"
        both = await embed(it, "Hello", "What time is it?")
        assert [len(vector) for vector in both.vectors] == [WIDTH, WIDTH]
        assert all(abs(sum(number * number for number in vector) - 1) < 1e-3 for vector in both.vectors)
        assert both.vectors[0] != both.vectors[1]
        first, second = await embed(it, "Hello"), await embed(it, "What time is it?")
        assert both.input_tokens == (first.input_tokens or 0) + (second.input_tokens or 0) > 2
        assert await embed(it) == Embeddings(())


async def test_a_text_that_is_too_long_to_embed_is_refused_on_input(bench: OpenBench, embedding_folder: Path) -> None:
    async with bench(embedding_folder, "a/embeds") as it:
        async for _ in it.engine.load(it.model, INSTANCE, LoadSettings(512)):
            pass
        with pytest.raises(OrchestratorError) as caught:
            await embed(it, "Hello " * 600)
        assert (caught.value.info.kind, caught.value.info.param) == (ErrorKind.EXCEED_CONTEXT_SIZE, "input")


async def test_an_embedding_model_does_not_chat_and_a_chat_model_does_not_embed(
    bench: OpenBench, embedding_folder: Path
) -> None:
    async with bench(embedding_folder, "a/embeds") as it:
        with pytest.raises(OrchestratorError) as caught:
            await written(it.generate(ask("Hello!")))
        message = "a/embeds is an embedding model: it cannot chat."
        assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "model")
    async with bench() as it:
        with pytest.raises(OrchestratorError) as caught:
            await embed(it, "Hello")
        message = "demo/tiny-tools is not an embedding model."
        assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "model")


def picture(side: int) -> ImageInput:
    """A square of one colour, as a PNG (https://www.w3.org/TR/png-3/)."""

    def block(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xc8\x1e\x5a" * side) * side
    png = b"\x89PNG\r\n\x1a\n" + block(b"IHDR", header) + block(b"IDAT", zlib.compress(rows)) + block(b"IEND", b"")
    return ImageInput("data:image/png;base64," + base64.b64encode(png).decode())


async def test_a_model_with_a_projector_takes_pictures(bench: OpenBench, demo_folder: Path) -> None:
    (demo_folder / "someone" / "copied" / "mmproj-copied.gguf").write_bytes(projector())
    async with bench(demo_folder, "someone/copied") as it:
        assert it.model.vision
        plain = await written(it.generate(ask("What is this?")))
        seen = await written(it.generate(ask(UserMessage((TextInput("What is this?"), picture(16))))))
        assert plain.end is not None and seen.end is not None
        assert (seen.end.counters.input_tokens or 0) >= (plain.end.counters.input_tokens or 0) + 4


async def test_a_picture_that_cannot_be_read_is_refused_on_input(bench: OpenBench, demo_folder: Path) -> None:
    (demo_folder / "someone" / "copied" / "mmproj-copied.gguf").write_bytes(projector())
    async with bench(demo_folder, "someone/copied") as it:
        broken = ImageInput("data:image/png;base64,AAAA")
        with pytest.raises(OrchestratorError) as caught:
            await written(it.generate(ask(UserMessage((TextInput("What is this?"), broken)))))
        message = "llama.cpp cannot read the image."
        assert caught.value.info == ErrorInfo(ErrorKind.INVALID_VALUE, message, "input")


async def test_a_projector_that_llama_cpp_does_not_know_fails_the_load_with_a_reason(
    bench: OpenBench, demo_folder: Path
) -> None:
    (demo_folder / "someone" / "copied" / "mmproj-copied.gguf").write_bytes(projector().replace(b"gemma3", b"gemma?"))
    async with bench(demo_folder, "someone/copied") as it:
        with pytest.raises(OrchestratorError) as caught:
            await it.load()
        assert caught.value.info.kind == ErrorKind.ENGINE_ERROR
        assert caught.value.info.message.startswith("someone/copied could not be loaded: ")
        assert "ended with status" not in caught.value.info.message
