"""What the services need of the audit: the journal of everybody's calls, and the proof that it is whole."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of a chain: who keeps it outside can tell later whether it was cut. `hash` is hexadecimal."""

    owner: str
    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """The first thing that is not as it was chained. `sequence` is 0 for what no link is about."""

    owner: str
    sequence: int
    call_id: str | None
    what: str


@dataclass(frozen=True, slots=True)
class AuditVerification:
    """What was proved. `erased` counts the links whose content is deleted; `heads` are the ends that were reached."""

    links: int
    events: int
    erased: int
    heads: tuple[AuditHead, ...]
    problem: AuditProblem | None = None
