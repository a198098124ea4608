"""Which models the embedded engine has: the files below `MODELS_DIR`, and the one that comes with the package."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from orchestrator.core.models import Model, Quantization
from orchestrator.engines.llama_cpp.gguf import GgufMetadata, InvalidGgufError, read_gguf
from orchestrator.engines.llama_cpp.templates import is_trained_for_tool_use, reasoning_support

BUNDLED: Final = Path(__file__).with_name("bundled")
ENGINE_NAME: Final = "embedded"

_SPLIT: Final = re.compile(r"-(\d{5})-of-\d{5}$")
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model and the file that llama.cpp is given for it (of a split one the first part).

    `num_experts` are those used for a token, None where the model has none. What memory it will take is reckoned
    from the last three.
    """

    model: Model
    path: Path
    mmproj: Path | None = None
    num_experts: int | None = None
    cache_bytes_per_token: int = 0
    vocabulary: int = 0
    mmproj_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What a file is known by: reading it again is needed only where this has changed."""

    path: Path
    modified_ns: int
    size: int


class Catalogue:
    """Finds models as `publisher/name/*.gguf`. Every method blocks on the disk: call it from a thread.

    Where a folder holds several files, the first by name has the key `publisher/name` and each of the others
    `publisher/name@` and its quantization. A model of the user hides the bundled one of the same key. A file that cannot be read stays in
    the list with what is known of it, so that loading it says what is wrong.
    """

    def __init__(self, models_dir: Path | None, bundled: Path = BUNDLED) -> None:
        self._roots = [root for root in (models_dir, bundled) if root is not None]
        self._lock = threading.Lock()
        self._read: dict[_Stamp, GgufMetadata | None] = {}

    def scan(self) -> dict[str, InstalledModel]:
        """Every model by its key: the user's by key, then the bundled ones."""
        with self._lock:
            found: dict[str, InstalledModel] = {}
            seen: set[_Stamp] = set()
            for root in self._roots:
                for publisher, name, files in _folders(root):
                    for installed in self._models(f"{publisher}/{name}", publisher, name, files, seen):
                        found.setdefault(installed.model.key, installed)
            self._read = {stamp: metadata for stamp, metadata in self._read.items() if stamp in seen}
            return found

    def _models(
        self, key: str, publisher: str, name: str, files: list[Path], seen: set[_Stamp]
    ) -> Iterator[InstalledModel]:
        variants: set[str] = set()
        for path in files:
            parts = _parts(path)
            try:
                stamps = [_Stamp(part, (stat := part.stat()).st_mtime_ns, stat.st_size) for part in parts]
            except OSError:  # removed while we looked
                continue
            seen.update(stamps)
            metadata = self._metadata(stamps[0])
            variant = metadata.quantization.name if metadata and metadata.quantization else path.stem
            variant = path.stem if variant in variants else variant
            own_key = f"{key}@{variant}" if variants else key
            variants.add(variant)
            size = sum(stamp.size for stamp in stamps)
            yield InstalledModel(_model(own_key, publisher, name, size, metadata), path)

    def _metadata(self, stamp: _Stamp) -> GgufMetadata | None:
        if stamp not in self._read:
            try:
                self._read[stamp] = read_gguf(stamp.path)
            except (InvalidGgufError, OSError) as error:
                _log.warning("model_file_unreadable", path=str(stamp.path), reason=str(error))
                self._read[stamp] = None
        return self._read[stamp]


def _folders(root: Path) -> Iterator[tuple[str, str, list[Path]]]:
    """Publisher, name, and the model files of every folder that has any, in order."""
    for publisher in _subfolders(root):
        for folder in _subfolders(publisher):
            try:
                files = sorted(path for path in folder.iterdir() if _is_model(path))
            except OSError:
                continue
            if files:
                yield publisher.name, folder.name, files


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # it is not there, or not ours to read
        return []


def _is_model(path: Path) -> bool:
    """A file that can be loaded by itself: no image projector, no later part of a split model."""
    if path.suffix.lower() != ".gguf" or path.name.lower().startswith("mmproj") or not path.is_file():
        return False
    part = _SPLIT.search(path.stem)
    return part is None or int(part.group(1)) == 1


def _parts(path: Path) -> list[Path]:
    part = _SPLIT.search(path.stem)
    if part is None:
        return [path]
    return sorted(path.parent.glob(f"{_glob_escaped(path.stem[: part.start()])}-*-of-*{path.suffix}"))


def _glob_escaped(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _model(key: str, publisher: str, name: str, size: int, metadata: GgufMetadata | None) -> Model:
    if metadata is None:
        return Model(key, ENGINE_NAME, "llm", publisher, name, format="gguf", size_bytes=size)
    quantization = metadata.quantization
    embedding = metadata.is_embedding_model
    return Model(
        key=key,
        engine=ENGINE_NAME,
        type="embedding" if embedding else "llm",
        publisher=publisher,
        display_name=metadata.name or name,
        format="gguf",
        architecture=metadata.architecture,
        quantization=Quantization(quantization.name, quantization.bits_per_weight) if quantization else None,
        size_bytes=size,
        params_string=metadata.params_string,
        max_context_length=metadata.context_length,
        trained_for_tool_use=not embedding and is_trained_for_tool_use(metadata.chat_template),
        reasoning=None if embedding else reasoning_support(metadata.chat_template),
    )
