"""GGUF files for tests: the demo model with one key more, and the smallest image projector that llama.cpp loads.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The projector has one layer with random
weights: what it makes of a picture means nothing, but it goes the whole way of one.
"""

import random
import struct
from typing import Final

ALIGNMENT: Final = 32
UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
F32: Final = 0
WIDTH: Final = 192
"""The demo model's embedding length."""


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", UINT32, value)


def word(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", STRING) + text(value)


def with_number(model: bytes, key: str, value: int) -> bytes:
    """`model` with one more key; another one fills up, so that the tensors stay aligned."""
    tensors, keys = struct.unpack_from("<QQ", model, 8)
    more = number(key, value)
    missing = -(len(more) + len(word("test.padding", ""))) % ALIGNMENT
    more += word("test.padding", "." * missing)
    return model[:8] + struct.pack("<QQ", tensors, keys + 2) + more + model[24:]


def projector() -> bytes:
    """An image of 16 x 16 becomes 4 x 4 patches, and those 4 tokens."""
    width, forward, patch = 8, 16, 4
    shapes: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (patch, patch, 3, width),
        "v.patch_embd.bias": (width,),
        "v.position_embd.weight": (width, 16),
        "v.post_ln.weight": (width,),
        "v.post_ln.bias": (width,),
        "mm.input_projection.weight": (WIDTH, width),
        "mm.soft_emb_norm.weight": (width,),
    }
    for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
        shapes |= {f"v.blk.0.{part}.weight": (width, width), f"v.blk.0.{part}.bias": (width,)}
    for part in ("ln1", "ln2"):
        shapes |= {f"v.blk.0.{part}.weight": (width,), f"v.blk.0.{part}.bias": (width,)}
    shapes |= {"v.blk.0.ffn_up.weight": (width, forward), "v.blk.0.ffn_up.bias": (forward,)}
    shapes |= {"v.blk.0.ffn_down.weight": (forward, width), "v.blk.0.ffn_down.bias": (width,)}
    vision = {
        "image_size": 16, "patch_size": patch, "embedding_length": width, "feed_forward_length": forward,
        "block_count": 1, "projection_dim": WIDTH, "attention.head_count": 2, "projector.scale_factor": 2,
    }  # fmt: skip
    thirds = struct.pack("<IIQ3f", ARRAY, FLOAT32, 3, 0.5, 0.5, 0.5)
    pairs = [
        word("general.architecture", "clip"),
        word("general.type", "mmproj"),
        word("clip.projector_type", "gemma3"),
        text("clip.has_vision_encoder") + struct.pack("<I?", BOOL, True),
        text("clip.use_gelu") + struct.pack("<I?", BOOL, True),
        text("clip.vision.attention.layer_norm_epsilon") + struct.pack("<If", FLOAT32, 1e-6),
        text("clip.vision.image_mean") + thirds,
        text("clip.vision.image_std") + thirds,
        *(number(f"clip.vision.{name}", value) for name, value in vision.items()),
    ]
    return _file(pairs, shapes)


def _file(pairs: list[bytes], shapes: dict[str, tuple[int, ...]]) -> bytes:
    weights = random.Random(1)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(pairs)) + b"".join(pairs)
    data = b""
    for name, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, F32, len(data))
        data += struct.pack(f"<{count}f", *(weights.uniform(-0.1, 0.1) for _ in range(count)))
        data += bytes(-len(data) % ALIGNMENT)
    return head + bytes(-len(head) % ALIGNMENT) + data
