"""Where models lie in a folder: `publisher/name/*.gguf`, the cache of Hugging Face's hub, and Ollama's store.

Sources: https://huggingface.co/docs/huggingface_hub/guides/manage-cache and the manifests that Ollama writes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

MAX_MANIFEST_BYTES: Final = 1024 * 1024
OLLAMA_MODEL: Final = "application/vnd.ollama.image.model"
OLLAMA_PROJECTOR: Final = "application/vnd.ollama.image.projector"

_SPLIT: Final = re.compile(r"-(\d{5})-of-\d{5}$")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model and its files, one for each quantization. `projector` is what lets it see."""

    key: str
    publisher: str
    name: str
    files: tuple[Path, ...]
    projector: Path | None = None


class _Layer(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    digest: str


class _Manifest(msgspec.Struct, frozen=True):
    layers: list[_Layer] = []


def find_models(root: Path) -> Iterator[FoundModel]:
    """Every model in `root`, whichever layouts it is or contains; what cannot be read is passed over."""
    yield from _plain(root)
    for hub in (root, root / "hub", root / "huggingface" / "hub"):
        yield from _hub(hub)
    for store in (root, root / "models", root / "ollama", root / "ollama" / "models"):
        yield from _ollama(store)


def parts_of(path: Path) -> list[Path]:
    """The files of a model that is split into several, or the only one."""
    part = _SPLIT.search(path.stem)
    if part is None:
        return [path]
    begin = re.sub(r"([*?\[])", r"[\1]", path.stem[: part.start()])
    return sorted(path.parent.glob(f"{begin}-*-of-*{path.suffix}"))


def _plain(root: Path) -> Iterator[FoundModel]:
    for publisher in _subfolders(root):
        for folder in _subfolders(publisher):
            yield from _found(f"{publisher.name}/{folder.name}", publisher.name, folder.name, _files(folder, "*"))


def _hub(hub: Path) -> Iterator[FoundModel]:
    """`models--org--name/snapshots/REVISION/`, of which `refs/main` names the current one."""
    for folder in _subfolders(hub):
        kind, *names = folder.name.split("--")
        if kind != "models" or not 1 <= len(names) <= 2 or not all(names):
            continue
        snapshot = _snapshot(folder)
        if snapshot is not None:
            publisher = names[0] if len(names) == 2 else ""
            yield from _found("/".join(names), publisher, names[-1], _files(snapshot, "**/*"))


def _snapshot(folder: Path) -> Path | None:
    there = {snapshot.name: snapshot for snapshot in _subfolders(folder / "snapshots")}
    try:
        current = (folder / "refs" / "main").read_text().strip()
    except (OSError, UnicodeDecodeError):
        current = ""
    return there.get(current) or max(there.values(), key=lambda snapshot: snapshot.stat().st_mtime, default=None)


def _ollama(store: Path) -> Iterator[FoundModel]:
    """`manifests/HOST/NAMESPACE/MODEL/TAG`, each a list of the blobs that make the model."""
    for host in _subfolders(store / "manifests"):
        for namespace in _subfolders(host):
            for folder in _subfolders(namespace):
                for manifest in _all_files(folder):
                    layers = _layers(manifest)
                    blobs = {kind: store / "blobs" / digest.replace(":", "-") for kind, digest in layers.items()}
                    model = blobs.get(OLLAMA_MODEL)
                    if model is not None and model.is_file():
                        key = f"{namespace.name}/{folder.name}:{manifest.name}"
                        name = f"{folder.name}:{manifest.name}"
                        yield FoundModel(key, namespace.name, name, (model,), blobs.get(OLLAMA_PROJECTOR))


def _layers(manifest: Path) -> dict[str, str]:
    """The digest of each kind of layer, the first where there are several."""
    try:
        with manifest.open("rb") as stream:
            layers = msgspec.json.decode(stream.read(MAX_MANIFEST_BYTES), type=_Manifest).layers
    except (OSError, msgspec.MsgspecError):
        return {}
    return {layer.media_type: layer.digest for layer in reversed(layers) if _DIGEST.fullmatch(layer.digest)}


def _found(key: str, publisher: str, name: str, files: list[Path]) -> Iterator[FoundModel]:
    models = tuple(path for path in files if not _is_projector(path) and _is_first_part(path))
    projector = next((path for path in files if _is_projector(path)), None)
    if models:
        yield FoundModel(key, publisher, name, models, projector)


def _is_projector(path: Path) -> bool:
    return path.name.lower().startswith("mmproj")


def _is_first_part(path: Path) -> bool:
    part = _SPLIT.search(path.stem)
    return part is None or int(part.group(1)) == 1


def _files(folder: Path, pattern: str) -> list[Path]:
    return [path for path in _all_files(folder, pattern) if path.suffix.lower() == ".gguf"]


def _all_files(folder: Path, pattern: str = "*") -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    except OSError:
        return []


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # it is not there, or not ours to read
        return []
