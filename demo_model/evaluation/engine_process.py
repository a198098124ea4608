"""The child process that holds the engine: `python -m demo_model.evaluation.engine_process MODEL.gguf`.

It writes one line `ADDRESS http://127.0.0.1:PORT` when the model is loaded and ends when its standard input does. A process of its own,
because loading holds the interpreter's lock and a failed assertion in the engine aborts its host.
"""

import os
import sys

from xllamacpp.xllamacpp import CommonParams, Server

API_KEY_VARIABLE = "DEMO_MODEL_API_KEY"
ADDRESS_PREFIX = "ADDRESS "
CONTEXT_LENGTH = 2048


def parameters(model: str, api_key: str) -> CommonParams:
    """One slot, one thread: two threads cost such a small model more than they give."""
    params = CommonParams()
    params.model.path = model
    params.n_ctx = CONTEXT_LENGTH
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.api_keys = [api_key]
    params.cache_ram_mib = 64
    params.verbosity = 1
    params.warmup = False
    params.fit_params = False
    params.offline = True
    params.ui = False
    return params


def main() -> None:
    """Load the model, tell the address, wait for the end of the input."""
    server = Server(parameters(sys.argv[1], os.environ[API_KEY_VARIABLE]))
    sys.stdout.write(f"{ADDRESS_PREFIX}{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # tearing the server down can hang


if __name__ == "__main__":
    main()
