"""Models, their instances and their downloads, in the OpenAPI document."""

from typing import Final

from orchestrator.api.downloads import DOWNLOAD_ACTIONS, DOWNLOAD_PATH
from orchestrator.api.loading import LOAD_PATH, UNLOAD_PATH
from orchestrator.api.models import MODELS_PATH
from orchestrator.api.openapi.parts import WITH_BODY, WITH_TOKEN, Section, body, errors, path_parameter, success
from orchestrator.api.wire_downloads import DownloadBody, DownloadList, DownloadReply, DownloadStatusReply
from orchestrator.api.wire_models import LoadBody, LoadReply, ModelList, UnloadBody, UnloadReply
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject

LOAD: Final = """\
Loads a model and answers when it is in memory. It stays until it is unloaded, or until it was idle for `ttl` seconds.
Loading a model again makes a further instance of it, `key:2`, where the engine can have several; else that is a 501
`not_implemented`. A setting that the engine cannot apply is an `invalid_value` on that setting. A context may come out
longer than asked for, as llama.cpp rounds it up to a multiple of 256: `load_config` and the list say what it is.

What does not fit into memory is refused with `insufficient_resources`, an extension; nothing is unloaded for it in
vain. Nobody has to load anything: a chat loads the model that it names, for `MODEL_TTL` seconds beyond its last use."""

LOAD_EXAMPLES: Final[JsonObject] = {
    "With a context": {"model": "publisher/model", "context_length": 16384, "echo_load_config": True},
    "For an hour of idleness": {"model": "publisher/model", "ttl": 3600},
}

UNLOAD: Final = """\
Unloads an instance once the requests that use it are done, and answers then. What somebody else loaded in Ollama can
be unloaded, too."""

DOWNLOAD: Final = """\
Begins to download a model, or joins a download of the same one that is under way: however many ask, there is one
job. It goes on when the client leaves, and after a restart of the service.

`model` is one of

* a Hugging Face link, `https://huggingface.co/<publisher>/<name>`, to a repository of GGUF files. `quantization` says
  which; without it `Q4_K_M` is taken, or the nearest to it that there is. The link of a single file is taken as well.
  Split files come whole, and an image projector (`mmproj`) along with them. The files lie in `MODELS_DIR` as
  `publisher/name/*.gguf` once all of them are there and have the SHA-256 that the hub promises. `HF_ENDPOINT` and
  `HF_TOKEN` of the service's environment are honoured.
* a name of Ollama's catalogue, `qwen3:8b` or `hf.co/<publisher>/<name>:<quantization>`, which Ollama pulls.

What cannot be fetched, for want of a file, of permission or of room on the disk, is refused at once."""

DOWNLOAD_EXAMPLES: Final[JsonObject] = {
    "From Hugging Face": {"model": "https://huggingface.co/publisher/name-GGUF", "quantization": "Q4_K_M"},
    "By Ollama": {"model": "qwen3:8b"},
}

JOB_ACTIONS: Final = {
    "pause": "Stops it and keeps what has come. The reply comes when no more bytes move.",
    "resume": "Goes on with a download that was paused, or that failed, from where it ended.",
    "cancel": "Ends it and throws away what has come. Its `status` is `failed` then, its `state` `cancelled`.",
}

_JOB_ID: Final = path_parameter("job_id", "The id of a download.")
_WITH_JOB: Final = (ErrorKind.JOB_NOT_FOUND, ErrorKind.STORE_ERROR, *WITH_TOKEN)
_IN_UNLOAD: Final = (
    ErrorKind.UNKNOWN_INSTANCE,
    ErrorKind.NOT_IMPLEMENTED,
    ErrorKind.ENGINE_ERROR,
    ErrorKind.ENGINE_UNAVAILABLE,
    *WITH_BODY,
)
_IN_LOAD: Final = (
    ErrorKind.MODEL_NOT_FOUND,
    ErrorKind.INSUFFICIENT_RESOURCES,
    ErrorKind.NOT_IMPLEMENTED,
    ErrorKind.ENGINE_ERROR,
    ErrorKind.ENGINE_UNAVAILABLE,
    *WITH_BODY,
)
_IN_DOWNLOAD: Final = (
    *WITH_BODY,
    ErrorKind.UNKNOWN_MODEL,
    ErrorKind.RATE_LIMITED,
    ErrorKind.STORE_ERROR,
    ErrorKind.ENGINE_ERROR,
    ErrorKind.ENGINE_UNAVAILABLE,
    ErrorKind.INSUFFICIENT_STORAGE,
)


def _models() -> JsonObject:
    return {
        "operationId": "listModels",
        "tags": ["Models"],
        "summary": "List the models",
        "description": "Every model of every engine that answers, with its loaded instances.",
        "responses": {"200": success("The models.", "ModelList"), **errors(WITH_TOKEN)},
    }


def _load() -> JsonObject:
    return {
        "operationId": "loadModel",
        "tags": ["Models"],
        "summary": "Load a model",
        "description": LOAD,
        "requestBody": body("LoadBody", LOAD_EXAMPLES),
        "responses": {"200": success("It is loaded.", "LoadReply"), **errors(_IN_LOAD)},
    }


def _unload() -> JsonObject:
    return {
        "operationId": "unloadModel",
        "tags": ["Models"],
        "summary": "Unload a model",
        "description": UNLOAD,
        "requestBody": body("UnloadBody", {"An instance": {"instance_id": "publisher/model"}}),
        "responses": {"200": success("It is unloaded.", "UnloadReply"), **errors(_IN_UNLOAD)},
    }


def _download() -> JsonObject:
    return {
        "operationId": "downloadModel",
        "tags": ["Models"],
        "summary": "Download a model",
        "description": DOWNLOAD,
        "requestBody": body("DownloadBody", DOWNLOAD_EXAMPLES),
        "responses": {"200": success("The job, or that there is none.", "DownloadReply"), **errors(_IN_DOWNLOAD)},
    }


def _downloads() -> JsonObject:
    return {
        "operationId": "listDownloads",
        "tags": ["Models"],
        "summary": "List the downloads",
        "description": "An extension. Those under way, and those that ended in the last days (`DOWNLOAD_HISTORY_DAYS`).",
        "responses": {"200": success("The jobs.", "DownloadList"), **errors((ErrorKind.STORE_ERROR, *WITH_TOKEN))},
    }


def _download_status() -> JsonObject:
    return {
        "operationId": "downloadStatus",
        "tags": ["Models"],
        "summary": "How a download is",
        "parameters": [_JOB_ID],
        "responses": {"200": success("The job.", "DownloadStatusReply"), **errors(_WITH_JOB)},
    }


def _download_action(name: str) -> JsonObject:
    return {
        "operationId": f"{name}Download",
        "tags": ["Models"],
        "summary": f"{name.capitalize()} a download",
        "description": f"An extension. {JOB_ACTIONS[name]}",
        "parameters": [_JOB_ID],
        "responses": {
            "200": success("The job as it is now.", "DownloadStatusReply"),
            **errors((ErrorKind.INVALID_VALUE, *_WITH_JOB)),
        },
    }


SECTION: Final = Section(
    "Models",
    "What can be chatted with.",
    {
        MODELS_PATH: {"get": _models()},
        LOAD_PATH: {"post": _load()},
        UNLOAD_PATH: {"post": _unload()},
        DOWNLOAD_PATH: {"get": _downloads(), "post": _download()},
        f"{DOWNLOAD_PATH}/status/{{job_id}}": {"get": _download_status()},
        **{f"{DOWNLOAD_PATH}/{{job_id}}/{name}": {"post": _download_action(name)} for name in DOWNLOAD_ACTIONS},
    },
    (
        ModelList,
        LoadBody,
        LoadReply,
        UnloadBody,
        UnloadReply,
        DownloadBody,
        DownloadReply,
        DownloadStatusReply,
        DownloadList,
    ),
)
