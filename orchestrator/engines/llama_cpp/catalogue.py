"""Which models the embedded engine has: the files below `MODELS_DIR`, and the one that comes with the package."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from orchestrator.core.models import Model, Quantization
from orchestrator.engines.llama_cpp.gguf import GgufMetadata, InvalidGgufError, read_gguf
from orchestrator.engines.llama_cpp.layouts import FoundModel, find_models, parts_of
from orchestrator.engines.llama_cpp.templates import is_trained_for_tool_use, reasoning_support

BUNDLED: Final = Path(__file__).with_name("bundled")
ENGINE_NAME: Final = "embedded"

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


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A file that is no GGUF, and why."""

    why: str


class Catalogue:
    """Finds models in every layout of `layouts.py`, of the same key the one in the first folder. Every method blocks on the disk: call it from a thread.

    Where a model has several files, the first by name has the key `publisher/name` and each of the others
    `publisher/name@` and its quantization; each of them is found by that name as well, also where it is the only one.
    A model of the user hides the bundled one of the same key. A file that cannot be read stays in the list with what is
    known of it, so that loading it says what is wrong; an empty one, and a projector that is none, are told in the log.
    """

    def __init__(self, models_dir: Path | None, bundled: Path = BUNDLED, more_dirs: Sequence[Path] = ()) -> None:
        self._roots = [root for root in (models_dir, *more_dirs, bundled) if root is not None]
        self._lock = threading.Lock()
        self._read: dict[_Stamp, GgufMetadata | _Unreadable] = {}
        self._told: set[Path] = set()

    def scan(self) -> dict[str, InstalledModel]:
        """Every model by its key: the user's by key, then the bundled ones."""
        with self._lock:
            found: dict[str, InstalledModel] = {}
            seen: set[_Stamp] = set()
            for root in self._roots:
                for one in sorted(find_models(root), key=lambda one: one.key):
                    for installed in self._variants(one, seen):
                        found.setdefault(installed.model.key, installed)
            self._read = {stamp: metadata for stamp, metadata in self._read.items() if stamp in seen}
            return found

    def _variants(self, found: FoundModel, seen: set[_Stamp]) -> list[InstalledModel]:
        """One model for each file; which others there are is said where there are several."""
        by_variant: dict[str, InstalledModel] = {}
        projector = self._projector(found, seen)
        for path in found.files:
            try:
                stamps = [_stamp(part) for part in parts_of(path)]
            except OSError:  # removed while we looked
                continue
            if empty := next((stamp.path for stamp in stamps if not stamp.size), None):
                self._tell(empty, "it is empty")
                continue
            seen.update(stamps)
            metadata = self._metadata(stamps[0])
            named = metadata.quantization if isinstance(metadata, GgufMetadata) else None
            variant = path.stem if named is None else named.name
            variant = path.stem if variant in by_variant else variant
            own_key = f"{found.key}@{variant}" if by_variant else found.key
            model = _model(own_key, found, sum(stamp.size for stamp in stamps), metadata, sees=projector is not None)
            written = max(stamp.modified_ns for stamp in stamps) // 10**9
            model = replace(model, modified_at=datetime.fromtimestamp(written, UTC))
            by_variant[variant] = _installed(model, path, projector, metadata)
        if len(by_variant) == 1 and all(one.model.quantization is None for one in by_variant.values()):
            return list(by_variant.values())
        names = tuple(f"{found.key}@{variant}" for variant in by_variant)
        return [
            replace(one, model=replace(one.model, variants=names if len(names) > 1 else (), selected_variant=name))
            for name, one in zip(names, by_variant.values(), strict=True)
        ]

    def _projector(self, found: FoundModel, seen: set[_Stamp]) -> _Stamp | None:
        """The first of those that call themselves so which is one."""
        for path in found.projectors:
            try:
                stamp = _stamp(path)
            except OSError:  # removed while we looked
                continue
            seen.add(stamp)
            metadata = self._metadata(stamp)
            if isinstance(metadata, _Unreadable):  # the log has it
                continue
            if metadata.is_image_projector:
                return stamp
            self._tell(path, "it is no image projector, by what it says of itself")
        return None

    def _tell(self, path: Path, reason: str) -> None:
        if path not in self._told:
            self._told.add(path)
            _log.warning("model_file_ignored", path=str(path), reason=reason)

    def _metadata(self, stamp: _Stamp) -> GgufMetadata | _Unreadable:
        if stamp not in self._read:
            try:
                self._read[stamp] = read_gguf(stamp.path)
            except (InvalidGgufError, OSError) as error:
                _log.warning("model_file_unreadable", path=str(stamp.path), reason=str(error))
                self._read[stamp] = _Unreadable(error.strerror or "" if isinstance(error, OSError) else str(error))
        return self._read[stamp]


def _stamp(path: Path) -> _Stamp:
    stat = path.stat()
    return _Stamp(path, stat.st_mtime_ns, stat.st_size)


def _model(key: str, found: FoundModel, size: int, metadata: GgufMetadata | _Unreadable, *, sees: bool) -> Model:
    publisher, name = found.publisher, found.name
    if isinstance(metadata, _Unreadable):
        problem = f"its file cannot be read: {metadata.why}"
        return Model(key, ENGINE_NAME, "llm", publisher, name, format="gguf", size_bytes=size, problem=problem)
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
        vision=not embedding and sees,
        trained_for_tool_use=not embedding and is_trained_for_tool_use(metadata.chat_template),
        reasoning=None if embedding else reasoning_support(metadata.chat_template),
    )


def _installed(
    model: Model, path: Path, projector: _Stamp | None, metadata: GgufMetadata | _Unreadable
) -> InstalledModel:
    if isinstance(metadata, _Unreadable):
        return InstalledModel(model, path)
    if not model.vision:
        projector = None
    return InstalledModel(
        model=model,
        path=path,
        mmproj=None if projector is None else projector.path,
        num_experts=metadata.experts_used,
        cache_bytes_per_token=metadata.cache_bytes_per_token,
        vocabulary=metadata.vocabulary,
        mmproj_bytes=0 if projector is None else projector.size,
    )
