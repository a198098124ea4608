"""Which files of a Hugging Face repository a link and a quantization mean. Pure: no I/O.

Repositories name their files as they like; what is relied on is what llama.cpp's own tools write: the quantization
as a word of the file's name (or of its folder's), `-00001-of-00003` for the parts of a split model, and `mmproj` at
the beginning of the name of an image projector.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from orchestrator.core.errors import ErrorKind, OrchestratorError

PREFERRED: Final = ("Q4_K_M", "Q4_K_S", "MXFP4", "MXFP4_MOE", "Q4_0", "Q5_K_M", "Q6_K", "Q8_0", "BF16", "F16", "F32")
"""What is taken when nobody says: four bits where they are, as nearly everybody wants them."""

NAMED_AT_MOST: Final = 30

_LINK: Final = re.compile(
    r"(?P<scheme>https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)"
    r"/(?P<publisher>[A-Za-z0-9][A-Za-z0-9._-]*)/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)"
    r"(?:/(?:tree|blob|resolve)/(?P<revision>[^/?#]+)(?:/(?P<path>[^?#]*))?)?/?(?:[?#].*)?",
    re.ASCII,
)
_SPLIT: Final = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)
_LABEL: Final = re.compile(
    r"(?<![A-Za-z0-9])((?:UD-)?(?:IQ|TQ|Q)\d(?:_[A-Z0-9]+)*|BF16|F16|F32|FP16|FP32|MXFP4(?:_MOE)?)(?![A-Za-z0-9_])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class HubLink:
    """A repository. `path` is a file, or a folder to look in; None of `revision` is the main branch."""

    repository: str
    revision: str | None
    path: str
    has_scheme: bool


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; `sha256` is None for one that the hub keeps no digest of."""

    path: str
    size_bytes: int
    sha256: str | None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def parse_link(text: str) -> HubLink | None:
    """The repository that `text` leads to, or None where it is no link to one."""
    found = _LINK.fullmatch(text.strip())
    if found is None:
        return None
    revision, path = found["revision"], (found["path"] or "").strip("/")
    return HubLink(
        repository=f"{found['publisher']}/{found['name']}",
        revision=None if revision is None else unquote(revision),
        path=unquote(path),
        has_scheme=found["scheme"] is not None,
    )


def choose_files(files: Iterable[HubFile], link: HubLink, quantization: str | None) -> tuple[HubFile, ...]:
    """The model's file, or the parts of it in order, then its image projector where the repository has one.

    Raises:
        OrchestratorError: `invalid_value` on `model` or `quantization`; the message lists what there is.
    """
    ggufs = [file for file in files if file.name.lower().endswith(".gguf") and not file.name.startswith(".")]
    projectors = [file for file in ggufs if file.name.lower().startswith("mmproj")]
    models = [group for group in _whole([file for file in ggufs if file not in projectors]) if _within(group, link)]
    if not models:
        where = f"{link.repository}{f' has, at {link.path},' if link.path else ' has'}"
        raise _invalid("model", f"{where} no GGUF file: only models in that format can be run here.")
    chosen = _chosen(models, link, quantization)
    projector = min(projectors, key=_projector_rank, default=None)
    return chosen if projector is None else (*chosen, projector)


def label_of(path: str) -> str:
    """The quantization in a file's name, else in its folder's; empty where there is none."""
    for part in reversed(path.removesuffix(".gguf").split("/")):
        found = _LABEL.findall(_SPLIT.sub("", part + ".gguf").removesuffix(".gguf"))
        if found:
            return found[-1].upper()
    return ""


def _whole(files: Sequence[HubFile]) -> list[tuple[HubFile, ...]]:
    """Files by model, in the order of their names; a split model that lacks parts is left out."""
    groups: dict[str, list[HubFile]] = {}
    for file in sorted(files, key=lambda file: file.path):
        groups.setdefault(_SPLIT.sub(r"-of-\2", file.path), []).append(file)
    return [tuple(group) for group in groups.values() if len(group) == _parts_of(group[0])]


def _parts_of(file: HubFile) -> int:
    found = _SPLIT.search(file.name)
    return 1 if found is None else int(found[2])


def _within(group: tuple[HubFile, ...], link: HubLink) -> bool:
    return not link.path or any(file.path == link.path or file.path.startswith(f"{link.path}/") for file in group)


def _chosen(models: Sequence[tuple[HubFile, ...]], link: HubLink, quantization: str | None) -> tuple[HubFile, ...]:
    labels = [label_of(group[0].path) for group in models]
    if quantization is not None:
        wanted = quantization.upper()
        found = [group for group, label in zip(models, labels, strict=True) if label == wanted]
        if not found:
            there = ", ".join(sorted({label or "(unnamed)" for label in labels})[:NAMED_AT_MOST])
            raise _invalid("quantization", f"{link.repository} has no {quantization}, only: {there}.")
    else:
        ranked = {label: rank for rank, label in enumerate(reversed(PREFERRED))}
        best = max(ranked.get(label, -1) for label in labels)
        found = [group for group, label in zip(models, labels, strict=True) if ranked.get(label, -1) == best]
    if len(found) > 1:
        there = ", ".join(group[0].path for group in found[:NAMED_AT_MOST])
        raise _invalid("model", f"{link.repository} has several such files; link to one of them: {there}.")
    return found[0]


def _projector_rank(file: HubFile) -> tuple[int, str]:
    order = ("F16", "FP16", "BF16", "Q8_0", "F32", "FP32")
    label = label_of(file.path)
    return (order.index(label) if label in order else len(order), file.path)


def _invalid(param: str, message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, message, param=param)
