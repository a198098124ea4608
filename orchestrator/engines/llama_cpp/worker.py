"""The worker: a process of its own that holds one model in llama.cpp and serves it on loopback.

Native code can abort its process, and loading holds the interpreter's lock: both must not be the service's. Run as
`python -m orchestrator.engines.llama_cpp.worker NAME`; the name is for whoever reads the list of processes, the
settings come on stdin (`Launch`). With `--devices` in place of the name it tells what kinds of device there are. On stdout stand llama.cpp's own lines about the load (`LLAMA_SERVER_ROUTER_PORT`)
and one of ours; llama.cpp ends the process when stdin is closed.
"""

import ctypes
import importlib
import os
import signal
import sys
import threading
from typing import Any, Final

import msgspec

from orchestrator.engines.llama_cpp.launch import LISTENING, Launch

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
FAILED: Final = 1
STACK_BYTES: Final = 256 * 1024 * 1024
GROWTH_BYTES: Final = 4 * 1024**3
"""More than the prompt cache and the buffers of requests take."""


def main() -> int:
    """Load and serve until killed; 1 where the model cannot be loaded, its reason on stderr."""
    if sys.argv[1:] == ["--devices"]:
        os.write(1, " ".join(_devices()).encode())
        return 0
    launch = msgspec.json.decode(_first_line(0), type=Launch)
    _die_with_parent(launch.parent)
    _deepen_stacks()
    # llama.cpp takes stdout over for its lines about the load and points descriptor 1 elsewhere.
    report = os.dup(1)
    try:
        server = _serve(launch)
    except RuntimeError:  # "Failed to init server": the reason is already on stderr
        return FAILED
    _bound_memory()
    os.write(report, f"{LISTENING}{server.listening_address}\n".encode())
    threading.Event().wait()
    return 0


def _first_line(descriptor: int) -> bytes:
    """One line, byte by byte: what follows it belongs to llama.cpp, which watches the same descriptor."""
    line = bytearray()
    while (byte := os.read(descriptor, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)


def _die_with_parent(parent: int) -> None:
    """Closing stdin ends us too, but not while a load holds the interpreter; the kernel's signal does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call above
        os._exit(FAILED)


def _devices() -> list[str]:
    """The kinds of device that llama.cpp finds: `cpu`, `gpu`, `accel`; a GPU that shares main memory is one too."""
    library: Any = importlib.import_module("xllamacpp")
    names = [device["type"].name.rpartition("_")[2].lower() for device in library.get_device_info()]
    return ["gpu" if name == "igpu" else name for name in names]


def _deepen_stacks() -> None:
    """Give the threads of the library stacks of `STACK_BYTES`; they are virtual until they are used.

    llama.cpp splits text with `std::regex`, which calls itself for every character of a run of letters: 30,000 of
    them overflowed the usual 8 MiB and ended the process, whoever else it was serving. Measured with b11549: these
    hold 400,000 and not 800,000; `long_runs.py` refuses what is longer. Elsewhere than with glibc the default stays.
    """
    set_default = getattr(ctypes.CDLL(None), "pthread_setattr_default_np", None)
    if set_default is None:
        return
    libc = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(256)  # larger than any pthread_attr_t
    libc.pthread_attr_init(attributes)
    libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(STACK_BYTES))
    set_default(attributes)
    libc.pthread_attr_destroy(attributes)


def _bound_memory() -> None:
    """Everything is allocated when a load is done; what grows by gigabytes afterwards is a leak, and ours alone."""
    if sys.platform == "linux":
        import resource

        with open("/proc/self/status", encoding="ascii") as status:
            kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmData:"))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = kilobytes * 1024 + GROWTH_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


def _serve(launch: Launch) -> Any:
    """Start llama.cpp's server; this function and the one above are the only places that touch the untyped library.

    Context, measured with the demo model (trained for 2,048 tokens) and 4 requests at once:

    * `kv_unified=True`, `n_ctx=N`: every slot is promised N, all share N. 4 x 531 tokens in a context of 2,048 ended
      all four with 500 "Context size has been exceeded". With `n_ctx=4N` nothing failed, but a slot could then take
      up to the training context, whatever N was. `kv_unified_per_slot` changed nothing.
    * `kv_unified=False`, `n_ctx=4N`: every slot has exactly N (rounded up to a multiple of 256), 4 x 2,031 tokens
      of 2,048 passed at once, and a prompt above N is refused by itself with `exceed_context_size_error`.

    So: not unified, slots x context. The memory is the same; it is taken whole at the load, not found missing later.
    """
    library: Any = importlib.import_module("xllamacpp")
    params = library.CommonParams()
    params.model.path = launch.model_path
    params.n_ctx = launch.context_length * launch.slots
    params.n_parallel = launch.slots
    params.kv_unified = False
    params.n_batch = launch.batch  # the grain of prompt progress, and of noticing that a client went away
    params.n_ubatch = launch.batch
    params.cache_ram_mib = launch.cache_mib
    # On a GPU llama.cpp decides how many layers go there by what it finds free; on a CPU there is nothing to fit.
    params.fit_params = launch.gpu
    params.no_kv_offload = launch.offload_kv_cache is False
    if launch.flash_attention is not None:
        kinds = library.llama_flash_attn_type
        enabled, disabled = kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED, kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.flash_attn_type = enabled if launch.flash_attention else disabled
    params.embedding = launch.embedding  # how it pools is what the file says
    if launch.mmproj_path is not None:
        params.mmproj.path = launch.mmproj_path
        params.mmproj_use_gpu = launch.gpu
    params.warmup = False
    params.offline = True
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_props = False
    params.sse_ping_interval = -1  # a ping is no sign of life: it comes from another thread than the tokens
    params.verbosity = 1  # errors: the reason of a failed load; nothing of what is generated
    params.api_keys = [launch.api_key]
    params.port = 0
    if launch.threads:
        params.cpuparams.n_threads = launch.threads
        params.cpuparams_batch.n_threads = launch.threads
    return library.Server(params)


if __name__ == "__main__":
    sys.exit(main())
