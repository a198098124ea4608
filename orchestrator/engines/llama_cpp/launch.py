"""What a worker is told when it starts: one line of JSON on its standard input."""

from typing import Final

import msgspec

LISTENING: Final = "worker:listening "
"""The worker's own line on its standard output, followed by its address, once it answers requests."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one worker. They go through stdin because others on the machine can read argv.

    `slots` requests run at once, each with the whole of `context_length`. `threads` 0 is llama.cpp's own choice, as
    is None for `flash_attention` and `offload_kv_cache`. `parent` is the process that the worker must not outlive.
    """

    model_path: str
    context_length: int
    slots: int
    batch: int
    api_key: str
    parent: int
    threads: int = 0
    cache_mib: int = 0
    gpu: bool = False
    flash_attention: bool | None = None
    offload_kv_cache: bool | None = None
    embedding: bool = False
    mmproj_path: str | None = None

    def __repr__(self) -> str:
        return f"Launch(model_path={self.model_path!r}, context_length={self.context_length})"
