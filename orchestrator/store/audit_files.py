"""Exports outside of the database: their manifests and signatures, and the proof of their rows. Needs no database.

A manifest lies beside an export, `FILE.manifest.json`. It has the SHA-256 of the file and of the definitions beside
it (`store/audit_definition_files.py`), the heads of the chains when the export began, and an Ed25519 signature over
the canonical JSON (RFC 8785) of all the rest.
"""

import base64
import csv
import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import rfc8785
from cryptography.exceptions import InvalidSignature

from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.storable_text import original
from orchestrator.ports.audit import AuditHead, AuditProblem, AuditVerification, ExportedCall
from orchestrator.store import audit_keys
from orchestrator.store.audit_definition_files import DEFINITIONS, DefinitionsFile, file_digest, prove_definitions
from orchestrator.store.audit_links import KINDS, argument_text
from orchestrator.store.audit_proof import NOT_READ, ChainLink, is_erased, link_problem
from orchestrator.store.audit_readable import UNREADABLE

FORMAT: Final = "orchestrator-audit-export/1"
MANIFEST: Final = ".manifest.json"
_MOST_WAITING: Final = 100_000
"""Links that may be out of order: as many as calls were open at once. Beyond that one is missing."""

_COLUMNS: Final = ExportedCall._fields
_WHOLE_NUMBERS: Final = frozenset({"turn", "position", "duration_ms", *(f"{kind}_sequence" for kind in KINDS)})
_HEX: Final = (
    *("arguments_salt", "decision_salt", "output_salt"),
    *(f"{kind}_{part}" for kind in KINDS for part in ("digest", "previous", "hash")),
)
_JSON: Final = ("arguments", "decision_arguments")

GAP: Final = "this link is missing in the file"
UNCHAINED: Final = "no link of the chain speaks of it"
NOT_LINKED: Final = "it does not follow from the link before it"
TWICE: Final = "the file has this link twice"
NOT_THE_FILE: Final = "the file is not the one that the manifest was made for"


def _refused(message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, message)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export says of itself."""

    file: str
    export: str
    sha256: str
    rows: int
    filters: Mapping[str, str]
    heads: tuple[AuditHead, ...]
    created_at: str
    definitions: DefinitionsFile | None = None

    def as_json(self) -> dict[str, Any]:
        """What is signed."""
        beside = {} if self.definitions is None else {"definitions": asdict(self.definitions)}
        return {
            **beside,
            "format": FORMAT,
            "file": self.file,
            "export": self.export,
            "sha256": self.sha256,
            "rows": self.rows,
            "filters": dict(self.filters),
            "heads": [{"owner": head.owner, "sequence": head.sequence, "hash": head.hash} for head in self.heads],
            "created_at": self.created_at,
        }


# ---- manifests -------------------------------------------------------------------------------


def write_manifest(export: Path, manifest: Manifest, key: Path | None) -> Path:
    """Put the manifest beside its export, signed with the key at `key` where there is one.

    Raises:
        OrchestratorError: the key cannot be used.
    """
    told = manifest.as_json()
    if key is not None:
        told["signature"] = base64.b64encode(audit_keys.private_key(key).sign(rfc8785.dumps(told))).decode()
    path = export.with_name(export.name + MANIFEST)
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return path


def read_manifest(path: Path, public_key: Path | None = None) -> Manifest:
    """The manifest at `path`, which the owner of `public_key` has signed, where one is given.

    Raises:
        OrchestratorError: it is no manifest, or its signature is missing or wrong.
    """
    try:
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
        signature = told.pop("signature", None)
        heads = tuple(AuditHead(head["owner"], int(head["sequence"]), head["hash"]) for head in told["heads"])
        bytes.fromhex("".join(head.hash for head in heads))
        manifest = Manifest(
            told["file"], told["export"], told["sha256"], told["rows"], told["filters"], heads, told["created_at"]
        )
        if (beside := told.get("definitions")) is not None:
            manifest = replace(manifest, definitions=DefinitionsFile(beside["file"], beside["sha256"], beside["count"]))
    except OSError as error:
        raise _refused(f"the manifest {path} cannot be read: {error.strerror}") from None
    except UNREADABLE:
        raise _refused(f"{path} is no manifest of an audit export") from None
    if public_key is not None:
        key = audit_keys.public_key(public_key)
        if not isinstance(signature, str):
            raise _refused(f"{path} is not signed")
        try:
            key.verify(base64.b64decode(signature), rfc8785.dumps(told))
        except (InvalidSignature, ValueError):
            raise _refused(f"the signature of {path} is wrong: it was changed, or somebody else signed it") from None
    return manifest


def new_manifest(
    export: Path,
    form: str,
    rows: int,
    filters: Mapping[str, str],
    heads: Sequence[AuditHead],
    *,
    beside: DefinitionsFile | None = None,
) -> Manifest:
    """The manifest of an export that has just been written."""
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    return Manifest(export.name, form, file_digest(export), rows, filters, tuple(heads), moment, beside)


# ---- rows -------------------------------------------------------------------------------------


def read_rows(path: Path, form: str) -> Iterator[dict[str, Any]]:
    """The rows of an export, as `link_problem` takes them.

    Raises:
        OrchestratorError: a row cannot be read; the message has its number.
    """
    readers = {"jsonl": _json_rows, "csv": _csv_rows, "parquet": _parquet_rows}
    number = 0
    try:
        for row in readers[form](path):
            yield _as_journaled(row)
            number += 1
    except OSError as error:
        raise _refused(f"the export {path} cannot be read: {error.strerror or 'it is damaged'}") from None
    except (*UNREADABLE, csv.Error, NotImplementedError):  # the last is pyarrow's for what it knows nothing of
        raise _refused(f"{path}: row {number + 1} is no exported call") from None


def form_of(path: Path) -> str:
    """How the export at `path` is written, by its name.

    Raises:
        OrchestratorError: the name does not say.
    """
    form = path.suffix.removeprefix(".")
    if form not in ("jsonl", "csv", "parquet"):
        raise _refused(f"{path}: the name of an export ends in .jsonl, .csv or .parquet")
    return form


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            # msgspec refuses lone surrogates and numbers beyond any double; models write both.
            row: dict[str, Any] = json.loads(line)
            for name in _JSON:
                row[name] = argument_text(row[name])
            yield row


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(2**31 - 1)
    with path.open(newline="", encoding="utf-8") as file:
        for cells in csv.DictReader(file):
            row: dict[str, Any] = {}
            for name, cell in cells.items():
                text = cell[1:] if cell.startswith("'") else cell  # so an empty text is told from none at all
                value = original(text) if cell else None
                row[name] = int(text) if cell and name in _WHOLE_NUMBERS else value
            row["is_error"] = {"true": True, "false": False}[row["is_error"]]
            yield _with_arguments(row)


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    parquet: Any = importlib.import_module("pyarrow.parquet")
    for batch in parquet.ParquetFile(path).iter_batches(1_000):
        for row in cast("list[dict[str, Any]]", batch.to_pylist()):
            yield _with_arguments(
                {name: original(value) if isinstance(value, str) else value for name, value in row.items()}
            )


def _with_arguments(row: dict[str, Any]) -> dict[str, Any]:
    for name in _JSON:
        if row[name] is not None:
            row[name] = argument_text(json.loads(row[name]))
    return row


def _as_journaled(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the names and the values of the journal."""
    for name in _HEX:
        if row[name] is not None:
            row[name] = bytes.fromhex(row[name])
    row["model_key"] = row["model"]
    row["the_owner"] = row["owner"]
    return row


# ---- proof ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _OwnerLinks:
    """The links of one owner as they come: those that are too early wait for those before them."""

    next: int = 1
    last_hash: bytes | None = None
    waiting: dict[int, ChainLink] = field(default_factory=dict[int, ChainLink])
    last: AuditHead | None = None


class FileProof:
    """Proves the rows of an export, one after the other.

    `whole` False: the export is a selection, each row of which is proved by itself. `heads` are those
    of the manifest: up to them no link may be missing.
    """

    def __init__(self, heads: Sequence[AuditHead], *, whole: bool) -> None:
        self._whole = whole
        self._heads = {head.owner: head for head in heads}
        self._owners: dict[str, _OwnerLinks] = {}
        self.rows = self.links = self.erased = 0
        self.offered: dict[str, AuditProblem] = {}
        """Who is first to have each definition, as a problem of theirs would name it."""

    def row_problem(self, row: Mapping[str, Any]) -> AuditProblem | None:
        """What is wrong with a row, of which any value may be of any type."""
        self.rows += 1
        try:
            return self._row_problem(row)
        except UNREADABLE:
            return AuditProblem(str(row["owner"]), 0, str(row["call_id"]), NOT_READ)

    def _row_problem(self, row: Mapping[str, Any]) -> AuditProblem | None:
        owner: str = row["owner"]
        if row["definition_digest"] is not None:
            self.offered.setdefault(row["definition_digest"], AuditProblem(owner, 0, row["call_id"], ""))
        happened = {"journaled": True, "decided": row["decided_at"], "settled": row["settled_at"]}
        for kind in KINDS:
            if happened[kind] is not None and row[f"{kind}_hash"] is None:
                return AuditProblem(owner, 0, row["call_id"], UNCHAINED)
        for kind in KINDS:
            if row[f"{kind}_hash"] is not None:
                problem = self._link_problem(_link(row, kind), row)
                if problem is not None:
                    return problem
        return None

    def _link_problem(self, link: ChainLink, row: Mapping[str, Any]) -> AuditProblem | None:
        what = link_problem(link, row)
        if what is not None:
            return AuditProblem(link.owner, link.sequence, link.call_id, what)
        self.links += 1
        self.erased += is_erased(link, row)
        chain = self._owners.setdefault(link.owner, _OwnerLinks())
        if not self._whole:
            return None
        if link.sequence < chain.next or link.sequence in chain.waiting:
            return AuditProblem(link.owner, link.sequence, link.call_id, TWICE)
        chain.waiting[link.sequence] = link
        return self._in_order(chain, link.owner)

    def _in_order(self, chain: _OwnerLinks, owner: str) -> AuditProblem | None:
        while (link := chain.waiting.pop(chain.next, None)) is not None:
            if chain.last_hash is not None and link.previous != chain.last_hash:
                return AuditProblem(owner, link.sequence, link.call_id, NOT_LINKED)
            head = self._heads.get(owner)
            if head is not None and head.sequence == link.sequence and head.hash != link.hash.hex():
                return AuditProblem(owner, link.sequence, link.call_id, "it is not the head that the manifest has")
            chain.last_hash, chain.next = link.hash, chain.next + 1
            chain.last = AuditHead(owner, link.sequence, link.hash.hex())
        if len(chain.waiting) > _MOST_WAITING:
            return AuditProblem(owner, chain.next, None, GAP)
        return None

    def end_problem(self) -> AuditProblem | None:
        """What is missing, once all rows are there."""
        for head in self._heads.values() if self._whole else ():
            chain = self._owners.get(head.owner, _OwnerLinks())
            if chain.next <= head.sequence:
                return AuditProblem(head.owner, chain.next, None, GAP)
        return None

    def verification(self, problem: AuditProblem | None, definitions: int | None = None) -> AuditVerification:
        """What was proved."""
        heads = tuple(chain.last for chain in self._owners.values() if chain.last is not None)
        return AuditVerification(self.links, 0, self.erased, heads, problem, definitions)


def _link(row: Mapping[str, Any], kind: str) -> ChainLink:
    return ChainLink(
        row["owner"],
        row[f"{kind}_sequence"],
        kind,
        row["call_id"],
        row[f"{kind}_digest"],
        row[f"{kind}_previous"],
        row[f"{kind}_hash"],
    )


def verify_file(path: Path, manifest: Manifest | None) -> AuditVerification:
    """Prove the export at `path`: row by row, and by its manifest that it is whole; stops at the first problem.

    Without a manifest, or where the export is a selection, every row is proved by itself. The definitions beside it
    are proved by the digests that the links of their calls have.

    Raises:
        OrchestratorError: the file cannot be read.
    """
    form = form_of(path)
    whole = manifest is not None and not manifest.filters
    proof = FileProof(() if manifest is None else manifest.heads, whole=whole)
    for row in read_rows(path, form):
        problem = proof.row_problem(row)
        if problem is not None:
            return proof.verification(problem)
    problem = proof.end_problem()
    if problem is None and manifest is not None:
        same = proof.rows == manifest.rows and file_digest(path) == manifest.sha256
        problem = None if same else AuditProblem("", 0, None, NOT_THE_FILE)
    definitions = None
    if problem is None:
        told = None if manifest is None else manifest.definitions
        definitions, problem = prove_definitions(path.with_name(path.name + DEFINITIONS), told, proof.offered)
    return proof.verification(problem, definitions)
