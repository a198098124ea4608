"""The definitions beside an export, and the proof of them: each is what the digest in its calls' links stands for.

They lie in `FILE.definitions.jsonl`, one a line with its digest, each once. Needs no database.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.json_types import canonical_json
from orchestrator.ports.audit import AuditProblem
from orchestrator.store.audit_readable import UNREADABLE
from orchestrator.store.rows import content_digest

DEFINITIONS: Final = ".definitions.jsonl"

GONE: Final = "the definitions that lay beside the export, {}, are not there any more"
CHANGED: Final = "its definition {} in {} is not the one that its digest stands for"
CHANGED_OF_NONE: Final = "the definition {} in {} is not the one that its digest stands for"
MISSING: Final = "its definition {} is not in {}"
NOT_THE_FILE: Final = "{} is not the file of definitions that the manifest was made for"


@dataclass(frozen=True, slots=True)
class DefinitionsFile:
    """What a manifest says of the definitions beside its export."""

    file: str
    sha256: str
    count: int


def described(path: Path) -> DefinitionsFile:
    """What there is to say of a file of definitions that has just been written."""
    return DefinitionsFile(path.name, file_digest(path), sum(1 for _ in _read(path)))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prove_definitions(
    path: Path, told: DefinitionsFile | None, offered: Mapping[str, AuditProblem]
) -> tuple[int | None, AuditProblem | None]:
    """How many definitions at `path` are what their digests stand for, None where there is no file; and what is wrong.

    `told` is what the manifest says of the file. `offered` has the digests that calls of the export name, each with
    the problem of the first of them, but for what it is.

    Raises:
        OrchestratorError: the file cannot be read.
    """
    if not path.exists():
        return None, None if told is None else AuditProblem("", 0, None, GONE.format(told.file))
    proved: set[str] = set()
    for digest, definition in _read(path):
        if not is_definition(digest, definition):
            call = offered.get(digest)
            what = CHANGED_OF_NONE if call is None else CHANGED
            return len(proved), replace(call or AuditProblem("", 0, None, ""), what=what.format(digest, path.name))
        proved.add(digest)
    for digest, call in offered.items():
        if digest not in proved:
            return len(proved), replace(call, what=MISSING.format(digest, path.name))
    if told is not None and (len(proved) != told.count or file_digest(path) != told.sha256):
        return len(proved), AuditProblem("", 0, None, NOT_THE_FILE.format(path.name))
    return len(proved), None


def is_definition(digest: Any, definition: Any) -> bool:
    """Whether the digest stands for this definition; either may be anything."""
    try:
        return content_digest(canonical_json(definition)) == digest
    except UNREADABLE:
        return False


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    number = 0
    try:
        with path.open("rb") as file:
            for line in file:
                entry: dict[str, Any] = json.loads(line)
                yield entry["digest"], entry["definition"]
                number += 1
    except OSError as error:
        message = f"the definitions {path} cannot be read: {error.strerror}"
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message) from None
    except UNREADABLE:
        message = f"{path}: line {number + 1} is no definition"
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message) from None
