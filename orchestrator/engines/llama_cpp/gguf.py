"""What a GGUF file says about itself, read without touching its tensors.

The format is specified in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file comes from anywhere, so the reader
trusts no number in it: every count and every length is checked against a limit and against the bytes that are left
before anything is read or allocated, and whatever is wrong raises `InvalidGgufError`.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Final

from orchestrator.core.errors import ErrorKind, OrchestratorError

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
MAX_KEYS: Final = 4_096
MAX_TENSORS: Final = 1_048_576
MAX_NAME_BYTES: Final = 65_535
MAX_STRING_BYTES: Final = 1_048_576
MAX_ARRAY_STRINGS: Final = 4_194_304
MAX_DIMENSIONS: Final = 4
MAX_PARAMETERS: Final = 2**63 - 1
MAX_ALIGNMENT: Final = 65_536
DEFAULT_ALIGNMENT: Final = 32

_STRING: Final = 8
_ARRAY: Final = 9
_SCALAR_BYTES: Final[Mapping[int, int]] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UNSIGNED: Final = frozenset({0, 2, 4, 10})
_BOOL: Final = 7
_WHOLE: Final = frozenset({0, 1, 2, 3, 4, 5, 10, 11})

# `general.file_type`, the numbers of llama.cpp's enum llama_ftype.
_FILE_TYPES: Final[Mapping[int, str]] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L",
    14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M",
    32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
_FILE_TYPE_GUESSED: Final = 1024  # a flag that llama.cpp adds where the writer was not sure

# Tensor types, the numbers of enum ggml_type: (name, weights in a block, bytes of a block).
_TENSOR_TYPES: Final[Mapping[int, tuple[str, int, int]]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip

_KEPT_STRINGS: Final = frozenset(
    {"general.architecture", "general.name", "general.size_label", "tokenizer.chat_template"},
)
_SEES: Final = "clip.has_vision_encoder"
_KEPT_NUMBERS: Final = ("general.alignment", "general.file_type", _SEES)
_KEPT_NUMBER_ENDINGS: Final = (
    ".context_length", ".pooling_type", ".block_count", ".embedding_length", ".attention.head_count",
    ".attention.head_count_kv", ".attention.key_length", ".attention.value_length", ".attention.sliding_window",
    ".attention.causal", ".expert_used_count",
)  # fmt: skip
_TOKENS: Final = "tokenizer.ggml.tokens"
_CACHE_BYTES: Final = 2
"""Of one number in the cache of keys and values: f16, llama.cpp's default."""
_WINDOWED: Final = 6
"""Of layers with a sliding window at most this many stand beside one that sees everything (Gemma 3 has five)."""


class InvalidGgufError(OrchestratorError):
    """The file is not a GGUF that can be read: the message says where it is wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.ENGINE_ERROR, message)


class PoolingType(IntEnum):
    """How an embedding model makes one vector of many (llama.cpp's enum llama_pooling_type)."""

    NONE = 0
    MEAN = 1
    CLS = 2
    LAST = 3
    RANK = 4


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the weights are stored. `bits_per_weight` is the nominal figure in the name (4 for `Q4_K_M`), as in LM Studio's listing."""

    name: str
    bits_per_weight: int


@dataclass(frozen=True, slots=True)
class GgufMetadata:
    """What a model listing needs to know of a file. `None` stands where the file says nothing.

    `experts_used` are those of one token. Two, 0 where the file says nothing, are what memory is reckoned
    from: `cache_bytes_per_token` rather too little than too much, and the tokens that the model knows.
    """

    architecture: str
    name: str | None
    size_label: str | None
    context_length: int | None
    quantization: Quantization | None
    parameter_count: int
    chat_template: str | None
    pooling_type: PoolingType | None
    experts_used: int | None = None
    cache_bytes_per_token: int = 0
    vocabulary: int = 0
    is_image_projector: bool = False

    @property
    def is_embedding_model(self) -> bool:
        """Whether the model turns a text into one vector (a reranker and a model without pooling do not)."""
        return self.pooling_type in (PoolingType.MEAN, PoolingType.CLS, PoolingType.LAST)

    @property
    def params_string(self) -> str:
        """The publisher's own size label where there is one (`8x7B`), otherwise the counted parameters (`2M`, `1.5B`)."""
        return self.size_label or format_parameter_count(self.parameter_count)


def read_gguf(path: Path) -> GgufMetadata:
    """Read the metadata of the file at `path`. Blocks: call it from a thread.

    Raises:
        InvalidGgufError: the file is not a GGUF, is cut short, or holds a number beyond the limits above.
        OSError: the file cannot be opened or read.
    """
    with path.open("rb") as stream:
        return parse_gguf(stream)


def parse_gguf(stream: BinaryIO) -> GgufMetadata:
    """Read the metadata of a GGUF from a seekable stream that stands at its beginning.

    Raises:
        InvalidGgufError: as for `read_gguf`.
    """
    cursor = _Cursor(stream)
    if (magic := cursor.take(4)) != MAGIC:
        raise InvalidGgufError(f"not a GGUF: it begins with {magic!r}")
    version = cursor.number(4)
    if version not in VERSIONS:
        raise InvalidGgufError(
            f"GGUF version {version} is not one of {VERSIONS} (a big-endian file shows a huge number here)"
        )
    tensor_count = cursor.count("tensors", MAX_TENSORS)
    key_count = cursor.count("keys", MAX_KEYS)
    values = _read_values(cursor, key_count)
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise InvalidGgufError(f"general.alignment is {alignment}, not a power of two up to {MAX_ALIGNMENT}")
    weights = _read_tensor_sizes(cursor, tensor_count, alignment)
    return _metadata(values, weights)


def format_parameter_count(count: int) -> str:
    """Write a number of parameters as model listings do: `950`, `2M`, `494M`, `1.5B`, `70B`."""
    if count < 1_000:
        return str(count)
    if count < 999_500:
        return f"{count / 1e3:.0f}K"
    if count < 999_500_000:
        return f"{count / 1e6:.0f}M"
    billions = count / 1e9
    return f"{billions:.0f}B" if billions >= 9.95 else f"{billions:.1f}B".replace(".0B", "B")


class _Cursor:
    """Reads forward through a stream of known size and refuses to go beyond its end."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._position = stream.tell()
        self._size = stream.seek(0, os.SEEK_END)
        stream.seek(self._position)

    @property
    def position(self) -> int:
        return self._position

    @property
    def remaining(self) -> int:
        return self._size - self._position

    def _advance(self, length: int) -> None:
        if length > self.remaining:
            raise InvalidGgufError(
                f"cut short: {length} bytes are announced at offset {self._position}, {self.remaining} are left"
            )
        self._position += length

    def take(self, length: int) -> bytes:
        self._advance(length)
        data = self._stream.read(length)
        if len(data) != length:
            raise InvalidGgufError(f"cut short while it was read, before offset {self._position}")
        return data

    def skip(self, length: int) -> None:
        self._advance(length)
        self._stream.seek(length, os.SEEK_CUR)

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def count(self, what: str, limit: int) -> int:
        count = self.number(8)
        if count > limit:
            raise InvalidGgufError(f"{count} {what} are announced, the limit is {limit}")
        return count

    def text(self, what: str, limit: int) -> str:
        length = self.count(f"bytes of {what}", limit)
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise InvalidGgufError(f"{what} is not UTF-8") from error


def _read_values(cursor: _Cursor, key_count: int) -> dict[str, str | int]:
    """Read all key/value pairs; keep only the few that `GgufMetadata` is made of."""
    kept: dict[str, str | int] = {}
    seen: set[str] = set()
    for _ in range(key_count):
        key = cursor.text("a key", MAX_NAME_BYTES)
        if key in seen:
            raise InvalidGgufError(f"the key {key!r} stands there twice")
        seen.add(key)
        kind = cursor.number(4)
        if key in _KEPT_STRINGS and kind == _STRING:
            kept[key] = cursor.text(key, MAX_STRING_BYTES)
        elif (key in _KEPT_NUMBERS or key.endswith(_KEPT_NUMBER_ENDINGS)) and (kind in _UNSIGNED or kind == _BOOL):
            kept[key] = cursor.number(_SCALAR_BYTES[kind])
        elif kind == _ARRAY and (key == _TOKENS or key.endswith(".attention.head_count_kv")):
            kept[key + "[]"] = _measure_array(cursor, sums=key != _TOKENS)
        elif key in _KEPT_STRINGS or key in _KEPT_NUMBERS:
            raise InvalidGgufError(f"{key} has the value type {kind}")
        else:
            _skip_value(cursor, kind)
    return kept


def _measure_array(cursor: _Cursor, *, sums: bool) -> int:
    """Step over an array; the sum of its whole numbers, or how many elements it has."""
    element, count = cursor.number(4), cursor.number(8)
    if sums and element in _WHOLE and count <= MAX_TENSORS:
        return sum(cursor.number(_SCALAR_BYTES[element]) for _ in range(count))
    _skip_array(cursor, element, count)
    return count


def _skip_value(cursor: _Cursor, kind: int) -> None:
    """Step over one value. Arrays in arrays are refused, as llama.cpp refuses them."""
    if kind == _STRING:
        cursor.skip(cursor.number(8))
    elif kind == _ARRAY:
        _skip_array(cursor, cursor.number(4), cursor.number(8))
    elif kind in _SCALAR_BYTES:
        cursor.skip(_SCALAR_BYTES[kind])
    else:
        raise InvalidGgufError(f"the value type {kind} is unknown")


def _skip_array(cursor: _Cursor, element: int, count: int) -> None:
    if element == _STRING:
        if count > MAX_ARRAY_STRINGS:
            raise InvalidGgufError(f"an array of {count} strings is announced, the limit is {MAX_ARRAY_STRINGS}")
        for _ in range(count):
            cursor.skip(cursor.number(8))
    elif element in _SCALAR_BYTES:
        cursor.skip(count * _SCALAR_BYTES[element])
    else:
        raise InvalidGgufError(f"the array element type {element} is unknown")


def _read_tensor_sizes(cursor: _Cursor, tensor_count: int, alignment: int) -> Counter[int]:
    """Count the weights of each tensor type, and check that the data of every tensor lies within the file."""
    weights: Counter[int] = Counter()
    end = 0
    for _ in range(tensor_count):
        name = cursor.text("a tensor's name", MAX_NAME_BYTES)
        dimensions = cursor.number(4)
        if dimensions > MAX_DIMENSIONS:
            raise InvalidGgufError(f"the tensor {name!r} has {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= cursor.number(8)
        kind, offset = cursor.number(4), cursor.number(8)
        weights[kind] += elements
        if weights.total() > MAX_PARAMETERS:
            raise InvalidGgufError(f"the tensor {name!r} brings the parameters above {MAX_PARAMETERS}")
        if kind in _TENSOR_TYPES:  # a type that is newer than this table cannot be measured
            _, block, width = _TENSOR_TYPES[kind]
            end = max(end, offset + elements // block * width)
    padding = -cursor.position % alignment
    if end and padding + end > cursor.remaining:
        raise InvalidGgufError(f"cut short: its tensors need {padding + end} bytes, {cursor.remaining} are left")
    return weights


def _metadata(values: Mapping[str, str | int], weights: Counter[int]) -> GgufMetadata:
    architecture = _text(values, "general.architecture")
    if not architecture:
        raise InvalidGgufError("general.architecture is missing")
    pooling = _number(values, f"{architecture}.pooling_type")
    if pooling is not None and pooling not in tuple(PoolingType):
        raise InvalidGgufError(f"the pooling type {pooling} is unknown")
    return GgufMetadata(
        architecture=architecture,
        name=_text(values, "general.name"),
        size_label=_text(values, "general.size_label"),
        context_length=_number(values, f"{architecture}.context_length"),
        quantization=_quantization(_number(values, "general.file_type"), weights),
        parameter_count=weights.total(),
        chat_template=_text(values, "tokenizer.chat_template"),
        pooling_type=None if pooling is None else PoolingType(pooling),
        experts_used=_number(values, f"{architecture}.expert_used_count") or None,
        cache_bytes_per_token=_cache_bytes_per_token(values, architecture),
        vocabulary=_number(values, f"{_TOKENS}[]") or 0,
        is_image_projector=architecture == "clip" and _number(values, _SEES) != 0,
    )


def _cache_bytes_per_token(values: Mapping[str, str | int], architecture: str) -> int:
    """Keys and values of every layer, for one token of one slot."""

    def number(name: str) -> int:
        return _number(values, f"{architecture}.{name}") or 0

    if _number(values, f"{architecture}.attention.causal") == 0:
        return 0  # it reads a text at once, and keeps nothing
    heads = number("attention.head_count")
    by_layer = number("attention.head_count_kv[]")
    kept_heads = by_layer or number("block_count") * (number("attention.head_count_kv") or heads)
    usual = number("embedding_length") // heads if heads else 0
    width = (number("attention.key_length") or usual) + (number("attention.value_length") or usual)
    total = kept_heads * width * _CACHE_BYTES
    return total // _WINDOWED if number("attention.sliding_window") else total


def _quantization(file_type: int | None, weights: Counter[int]) -> Quantization | None:
    """The file's own word for it, otherwise the tensor type that most weights have."""
    name = None if file_type is None else _FILE_TYPES.get(file_type & ~_FILE_TYPE_GUESSED)
    if name is None and weights:
        name = _TENSOR_TYPES.get(weights.most_common(1)[0][0], (None,))[0]
    bits = re.search(r"\d+", name) if name else None
    return Quantization(name, int(bits.group())) if name and bits else None


def _text(values: Mapping[str, str | int], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) and value else None


def _number(values: Mapping[str, str | int], key: str) -> int | None:
    value = values.get(key)
    return value if isinstance(value, int) else None
