"""The reader of a GGUF's metadata: what it tells of good files, and that bad ones meet exactly one error."""

import io
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engines.llama_cpp.gguf import (
    GgufMetadata,
    InvalidGgufError,
    PoolingType,
    Quantization,
    format_parameter_count,
    parse_gguf,
    read_gguf,
)

UINT32, STRING, ARRAY, INT32 = 4, 8, 9, 5
F32, Q8_0, UNHEARD_OF = 0, 8, 999


def text(value: str | bytes) -> bytes:
    """A string as GGUF has it: its length, its bytes."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str | bytes, value: str | int | bytes, kind: int | None = None) -> bytes:
    """A key with a string, an unsigned number, or raw bytes of the given kind."""
    if isinstance(value, bytes):
        return text(key) + struct.pack("<I", kind if kind is not None else STRING) + value
    if isinstance(value, int):
        return text(key) + struct.pack("<II", UINT32, value)
    return text(key) + struct.pack("<I", STRING) + text(value)


def tensor(name: str, dimensions: tuple[int, ...], kind: int, offset: int = 0) -> bytes:
    return (
        text(name)
        + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
        + struct.pack("<IQ", kind, offset)
    )


@dataclass(frozen=True)
class File:
    """A GGUF to be written, right or wrong."""

    pairs: tuple[bytes, ...] = (pair("general.architecture", "llama"),)
    tensors: tuple[bytes, ...] = ()
    data: bytes = b""
    magic: bytes = b"GGUF"
    version: int = 3
    key_count: int | None = None
    tensor_count: int | None = None

    def written(self) -> bytes:
        keys = len(self.pairs) if self.key_count is None else self.key_count
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        head = self.magic + struct.pack("<IQQ", self.version, tensors, keys)
        head += b"".join(self.pairs) + b"".join(self.tensors)
        return head + bytes(-len(head) % 32) + self.data if self.data else head

    def read(self) -> GgufMetadata:
        return parse_gguf(io.BytesIO(self.written()))

    def plus(self, *pairs: bytes) -> "File":
        return replace(self, pairs=(*self.pairs, *pairs))


BARE = GgufMetadata(
    architecture="llama",
    name=None,
    size_label=None,
    context_length=None,
    quantization=None,
    parameter_count=0,
    chat_template=None,
    pooling_type=None,
)
SMALL = File(
    pairs=(
        pair("general.architecture", "llama"),
        pair("general.name", "small"),
        pair("general.file_type", 7),
        pair("llama.context_length", 2048),
        pair("tokenizer.ggml.tokens", struct.pack("<IQ", STRING, 2) + text("a") + text("b"), ARRAY),
        pair("tokenizer.ggml.scores", struct.pack("<IQ", INT32, 2) + bytes(8), ARRAY),
        pair("tokenizer.chat_template", "{{ messages }}"),
    ),
    tensors=(tensor("token_embd.weight", (32, 4), Q8_0), tensor("output_norm.weight", (32,), F32, 160)),
    data=bytes(160 + 128),
)
PACKAGE = Path(__file__).parents[3] / "orchestrator" / "engines" / "llama_cpp"
SHIPPED = PACKAGE / "bundled" / "demo" / "tiny-tools" / "tiny-tools-q8_0.gguf"


def test_the_shipped_model_is_described() -> None:
    found = read_gguf(SHIPPED)
    assert found == GgufMetadata(
        architecture="llama",
        name="tiny-tools",
        size_label=None,
        context_length=2048,
        quantization=Quantization("Q8_0", 8),
        parameter_count=2_066_112,
        chat_template=found.chat_template,
        pooling_type=None,
        cache_bytes_per_token=3072,
        vocabulary=1536,
    )
    assert found.params_string == "2M"
    assert not found.is_embedding_model
    assert "<tool_call>" in (found.chat_template or "")


def test_arrays_are_stepped_over_and_the_tensors_are_counted() -> None:
    assert SMALL.read() == replace(
        BARE,
        name="small",
        context_length=2048,
        quantization=Quantization("Q8_0", 8),
        parameter_count=160,
        chat_template="{{ messages }}",
        vocabulary=2,
    )


SHAPE = (
    pair("llama.block_count", 10),
    pair("llama.embedding_length", 64),
    pair("llama.attention.head_count", 8),
)


def test_the_cache_of_a_token_is_reckoned_from_layers_and_heads() -> None:
    assert File().plus(*SHAPE).read().cache_bytes_per_token == 10 * 8 * (8 + 8) * 2
    grouped = (*SHAPE, pair("llama.attention.head_count_kv", 2), pair("llama.attention.value_length", 4))
    assert File().plus(*grouped).read().cache_bytes_per_token == 10 * 2 * (8 + 4) * 2
    by_layer = pair("llama.attention.head_count_kv", struct.pack("<IQ3i", INT32, 3, 0, 2, 0), ARRAY)
    assert File().plus(*SHAPE, by_layer).read().cache_bytes_per_token == 2 * (8 + 8) * 2


def test_of_layers_with_a_window_only_the_others_are_reckoned_and_an_encoder_keeps_nothing() -> None:
    windowed = File().plus(*SHAPE, pair("llama.attention.sliding_window", 512))
    assert windowed.read().cache_bytes_per_token == 10 * 8 * (8 + 8) * 2 // 6
    encoder = File().plus(*SHAPE, pair("llama.attention.causal", b"\0", 7))
    assert encoder.read().cache_bytes_per_token == 0


def test_the_experts_of_a_token_are_told() -> None:
    assert File().plus(pair("llama.expert_used_count", 2)).read().experts_used == 2


def test_a_file_without_tensors_is_described_by_its_keys_alone() -> None:
    assert File().read() == BARE


@pytest.mark.parametrize(
    ("file_type", "expected"),
    [
        (0, Quantization("F32", 32)),
        (1, Quantization("F16", 16)),
        (15, Quantization("Q4_K_M", 4)),
        (19, Quantization("IQ2_XXS", 2)),
        (32, Quantization("BF16", 16)),
        (38, Quantization("MXFP4", 4)),
        (1024 + 7, Quantization("Q8_0", 8)),
    ],
)
def test_the_quantization_is_named_with_its_nominal_bits(file_type: int, expected: Quantization) -> None:
    assert File().plus(pair("general.file_type", file_type)).read() == replace(BARE, quantization=expected)


def test_without_a_known_file_type_the_most_frequent_tensor_type_is_named() -> None:
    file = replace(SMALL, pairs=(pair("general.architecture", "llama"), pair("general.file_type", 900)))
    assert file.read() == replace(BARE, quantization=Quantization("Q8_0", 8), parameter_count=160)


def test_a_tensor_type_newer_than_the_table_is_counted_but_not_named() -> None:
    file = File(tensors=(tensor("a", (64,), UNHEARD_OF),))
    assert file.read() == replace(BARE, parameter_count=64)


@pytest.mark.parametrize(
    ("pooling", "is_embedding_model"),
    [
        (PoolingType.NONE, False),
        (PoolingType.MEAN, True),
        (PoolingType.CLS, True),
        (PoolingType.LAST, True),
        (PoolingType.RANK, False),
    ],
)
def test_a_model_that_pools_into_one_vector_is_an_embedding_model(
    pooling: PoolingType, is_embedding_model: bool
) -> None:
    found = File(pairs=(pair("general.architecture", "bert"), pair("bert.pooling_type", int(pooling)))).read()
    assert found == replace(BARE, architecture="bert", pooling_type=pooling)
    assert found.is_embedding_model is is_embedding_model


def test_keys_of_another_architecture_are_not_mistaken_for_ours() -> None:
    assert File().plus(pair("qwen3.context_length", 4096)).read() == BARE


def test_the_publishers_size_label_goes_before_the_count() -> None:
    assert SMALL.plus(pair("general.size_label", "8x7B")).read().params_string == "8x7B"


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (950, "950"),
        (22_700, "23K"),
        (999_600, "1M"),
        (2_066_112, "2M"),
        (494_032_768, "494M"),
        (999_700_000, "1B"),
        (1_543_714_304, "1.5B"),
        (7_998_000_000, "8B"),
        (9_960_000_000, "10B"),
        (70_553_706_496, "71B"),
    ],
)
def test_parameters_are_written_as_model_listings_do(count: int, expected: str) -> None:
    assert format_parameter_count(count) == expected


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (replace(SMALL, magic=b"GGML"), "not a GGUF"),
        (replace(SMALL, version=1), "version 1"),
        (replace(SMALL, version=3 << 24), "big-endian"),
        (replace(SMALL, tensor_count=2**62), "tensors are announced"),
        (replace(SMALL, key_count=2**62), "keys are announced"),
        (File(key_count=2), "cut short"),
        (File(pairs=(pair("general.name", "x"),)), "general.architecture is missing"),
        (File(pairs=(pair("general.architecture", ""),)), "general.architecture is missing"),
        (File(pairs=(pair("general.architecture", 7),)), "has the value type 4"),
        (File().plus(pair("general.file_type", "7")), "has the value type 8"),
        (File().plus(pair("general.architecture", "llama")), "stands there twice"),
        (File().plus(pair("general.name", struct.pack("<Q", 2**63))), "bytes of general.name are announced"),
        (File().plus(pair("general.name", text(b"\xff\xfe"))), "general.name is not UTF-8"),
        (File().plus(pair(b"\xff", "x")), "a key is not UTF-8"),
        (File().plus(pair("x", struct.pack("<Q", 2**63))), "cut short"),
        (File().plus(pair("x", b"", 77)), "value type 77 is unknown"),
        (File().plus(pair("x", struct.pack("<IQ", STRING, 2**40), ARRAY)), "strings is announced"),
        (File().plus(pair("x", struct.pack("<IQ", INT32, 2**63), ARRAY)), "cut short"),
        (File().plus(pair("x", struct.pack("<IQ", ARRAY, 1), ARRAY)), "element type 9 is unknown"),
        (File().plus(pair("llama.pooling_type", 9)), "pooling type 9"),
        (File().plus(pair("general.alignment", 0)), "general.alignment is 0"),
        (File().plus(pair("general.alignment", 24)), "general.alignment is 24"),
        (File(tensors=(tensor("a", (1,) * 5, F32),)), "has 5 dimensions"),
        (File(tensors=(tensor("a", (2**40, 2**40), UNHEARD_OF),)), "brings the parameters above"),
        (replace(SMALL, data=SMALL.data[:-1]), "its tensors need"),
        (replace(SMALL, tensors=(tensor("a", (32,), F32, 2**60),)), "its tensors need"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_wrong_is_refused_with_the_reason(file: File, reason: str) -> None:
    with pytest.raises(InvalidGgufError, match=reason):
        file.read()


def test_every_beginning_of_a_file_is_refused_as_cut_short() -> None:
    whole = SMALL.written()
    assert parse_gguf(io.BytesIO(whole)).parameter_count == 160
    for length in range(4, len(whole)):
        with pytest.raises(InvalidGgufError, match="cut short"):
            parse_gguf(io.BytesIO(whole[:length]))


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size)[:2]

    with pytest.raises(InvalidGgufError, match="cut short while it was read"):
        parse_gguf(Shrinking(SMALL.written()))


def test_a_missing_file_is_an_error_of_the_file_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_gguf(tmp_path / "absent.gguf")


def described_or_refused(data: bytes) -> GgufMetadata | InvalidGgufError:
    """Everything else that the reader might raise ends the test."""
    try:
        return parse_gguf(io.BytesIO(data))
    except InvalidGgufError as error:
        return error


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_described_or_refused(data: bytes) -> None:
    described_or_refused(data)
    described_or_refused(b"GGUF" + struct.pack("<I", 3) + data)


@given(st.lists(st.tuples(st.integers(0, len(SMALL.written()) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_a_file_with_corrupted_bytes_is_described_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL.written())
    for place, byte in changes:
        data[place] = byte
    found = described_or_refused(bytes(data))
    if isinstance(found, GgufMetadata):
        assert found.architecture
        assert 0 <= found.parameter_count < 2**63
        assert found.quantization is None or found.quantization.bits_per_weight > 0


@given(st.integers(0, len(SMALL.written()) - 8), st.integers(0, 2**64 - 1))
def test_a_file_with_a_wild_number_anywhere_is_described_or_refused(place: int, number: int) -> None:
    data = bytearray(SMALL.written())
    data[place : place + 8] = number.to_bytes(8, "little")
    described_or_refused(bytes(data))
