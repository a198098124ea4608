"""Known weaknesses of what is locked: pip-audit asks the registry's advisories, where the registry answers."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from setup.project import Project, say

SECONDS = 120
"""How long the whole question may take; a registry that is not there must not hold a check up."""

LOCKS = ("runtime.txt", "dev.txt", "build.txt", "uv.txt")
"""What the service runs with, and what has a hand in making it."""


@dataclass(frozen=True)
class Finding:
    """A package of the lock with a known weakness, and the versions without it."""

    package: str
    version: str
    advisory: str
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        fixed = f", fixed in {', '.join(self.fixed_in)}" if self.fixed_in else ""
        return f"{self.package} {self.version} has {self.advisory}{fixed}"


@dataclass(frozen=True)
class Audit:
    """What is known: how many packages were looked up, what was found, and why anything was left out."""

    looked_up: int = 0
    findings: tuple[Finding, ...] = ()
    skipped: str | None = None


def audit(project: Project, environ: Mapping[str, str]) -> Audit:
    """Look up everything that the service, its development and its build are locked to."""
    locks = [project.locks / name for name in LOCKS if (project.locks / name).exists()]
    program = project.script("pip-audit")
    if not program.exists():
        return Audit(skipped="pip-audit is not installed; `python3 setup install` does that")
    # With hashes and without pip: nothing is resolved anew, downloaded or run.
    flags = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--timeout", "10", "--format", "json")
    try:
        done = subprocess.run(
            [program, *flags, *(part for lock in locks for part in ("-r", lock))],
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Audit(skipped=f"the registry did not answer within {SECONDS} s")
    try:
        found: object = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return Audit(skipped=f"pip-audit could not ask: {last[0][:200]}")
    return read_audit(cast("dict[str, Any]", found))


def read_audit(found: dict[str, Any]) -> Audit:
    """What pip-audit's JSON says."""
    packages: list[dict[str, Any]] = found["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    findings = tuple(
        Finding(package["name"], package["version"], weakness["id"], tuple(weakness["fix_versions"]))
        for package in known
        for weakness in package["vulns"]
    )
    unknown = len(packages) - len(known)
    why = f"the registry that is used here tells nothing about {unknown} of {len(packages)} packages"
    return Audit(len(known), findings, why if unknown else None)


def tell(result: Audit) -> None:
    """Say what is known, a line for each finding."""
    for finding in result.findings:
        say(f"WEAK: {finding}")
    if result.looked_up:
        say(f"audit: {result.looked_up} packages looked up, {len(result.findings)} known weaknesses")
    if result.skipped is not None:
        say(f"audit {'incomplete' if result.looked_up else 'skipped'}: {result.skipped}")
