"""Where models lie in a folder: `publisher/name/`, loose files, the cache of Hugging Face's hub, and Ollama's store.

Sources: https://huggingface.co/docs/huggingface_hub/guides/manage-cache and the manifests that Ollama writes.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

MAX_MANIFEST_BYTES: Final = 1024 * 1024
DEEPEST: Final = 4
"""How many folders deep loose files are looked for: a folder with much else in it is not to be read whole."""
OLLAMA_MODEL: Final = "application/vnd.ollama.image.model"
OLLAMA_PROJECTOR: Final = "application/vnd.ollama.image.projector"

_SPLIT: Final = re.compile(r"-(\d{5})-of-\d{5}$")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model and its files, one for each quantization. `projectors` are those that by their names let it see."""

    key: str
    publisher: str
    name: str
    files: tuple[Path, ...]
    projectors: tuple[Path, ...] = ()


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
    """`publisher/name/` with all that is in it; a file that lies above that is a model by its own name."""
    by_name: defaultdict[tuple[str, str], list[Path]] = defaultdict(list)
    for folders, files in _below(root, (), frozenset()):
        for path in files:
            match folders:
                case (publisher, name, *_):
                    by_name[publisher, name].append(path)
                case _ if not _is_named_projector(path):  # nobody knows whose a loose one is
                    by_name["".join(folders), _SPLIT.sub("", path.stem)].append(path)
                case _:
                    pass
    for (publisher, name), files in by_name.items():
        yield from _found(f"{publisher}/{name}" if publisher else name, publisher, name, files)


def _below(
    folder: Path, names: tuple[str, ...], above: frozenset[tuple[int, int]]
) -> Iterator[tuple[tuple[str, ...], list[Path]]]:
    """The GGUF files of each folder; one that leads back to a folder `above` it is passed over, as is another layout."""
    try:
        stat = folder.stat()
    except OSError:
        return
    itself = (stat.st_dev, stat.st_ino)
    if itself in above:
        return
    yield names, _files(folder, "*")
    if len(names) < DEEPEST:
        for inner in _subfolders(folder):
            if not inner.name.startswith("models--"):
                yield from _below(inner, (*names, inner.name), above | {itself})


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
                        projectors = (blobs[OLLAMA_PROJECTOR],) if OLLAMA_PROJECTOR in blobs else ()
                        yield FoundModel(key, namespace.name, name, (model,), projectors)


def _layers(manifest: Path) -> dict[str, str]:
    """The digest of each kind of layer, the first where there are several."""
    try:
        with manifest.open("rb") as stream:
            layers = msgspec.json.decode(stream.read(MAX_MANIFEST_BYTES), type=_Manifest).layers
    except (OSError, msgspec.MsgspecError):
        return {}
    return {layer.media_type: layer.digest for layer in reversed(layers) if _DIGEST.fullmatch(layer.digest)}


def _found(key: str, publisher: str, name: str, files: list[Path]) -> Iterator[FoundModel]:
    models = tuple(path for path in files if not _is_named_projector(path) and _is_first_part(path))
    if models:
        yield FoundModel(key, publisher, name, models, tuple(path for path in files if _is_named_projector(path)))


def _is_named_projector(path: Path) -> bool:
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
