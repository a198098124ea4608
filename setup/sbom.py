"""Writes the bill of materials of a release: `python -m setup.sbom TREE WHEEL FILE`, in the environment.

What the service is locked to, with every hash of the lock, the licences that the packages themselves name and who
needs whom; and what stands in the tree itself that others made. The same wheel has the same bill.
"""

import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import SchemabasedValidator, make_schemabased_validator

Json: TypeAlias = dict[str, Any]
"""As CycloneDX 1.6 has it: https://cyclonedx.org/docs/1.6/json/"""

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>[^\\]+))?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass
class Locked:
    """A package of the lock; `needed_by` are names of packages, and that of the project."""

    name: str
    version: str
    marker: str | None
    hashes: list[str] = field(default_factory=list[str])
    needed_by: list[str] = field(default_factory=list[str])


_KNOWN_LICENCES = {
    "colorama": "BSD-3-Clause",
    "httpx2-jsfetch": "BSD-3-Clause",
    "pywin32": "PSF-2.0",
    "rich-click": "MIT",
}
"""Of packages for other systems, which are not installed here, and of those that put the whole text in that place."""


def read_lock(text: str) -> list[Locked]:
    """The packages of a lock that uv wrote."""
    found: list[Locked] = []
    for line in text.splitlines():
        pinned = _PINNED.match(line)
        if pinned is not None:
            marker = pinned["marker"]
            found.append(Locked(pinned["name"], pinned["version"], marker.strip() if marker else None))
        elif (digest := _HASH.search(line)) is not None:
            found[-1].hashes.append(digest[1])
        elif found and (comment := re.fullmatch(r"    #(?: via)? *(.*)", line)) is not None and comment[1]:
            found[-1].needed_by.append(comment[1].removeprefix("via ").split()[0])
    return found


def bill_of(tree: Path, wheel: Path, made_at: datetime, audit: str) -> Json:
    """The bill of the release whose sources are `tree` and whose wheel is `wheel`; `audit` is what came of the audit."""
    project: Json = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["project"]
    name, version, digest = project["name"], project["version"], digest_of(wheel)
    root: Json = {
        **_package(name, version),
        "type": "application",
        "description": project["description"],
        "hashes": [_sha256(digest)],
        "licenses": [{"expression": project["license"]}],
    }
    packages = read_lock((tree / "setup" / "runtime.txt").read_text("utf-8"))
    bundled = list(_bundled(tree, project["license"]))
    refs: dict[str, str] = {
        name: root["bom-ref"],
        **{package.name: _package(package.name, package.version)["bom-ref"] for package in packages},
    }
    needs: dict[str, list[str]] = {ref: [] for ref in refs.values()}
    needs[root["bom-ref"]] += [part["bom-ref"] for part in bundled]
    for package in packages:
        for needed_by in package.needed_by:
            needs[refs[needed_by]].append(refs[package.name])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid5(NAMESPACE_URL, f"sha256:{digest}").urn,
        "version": 1,
        "metadata": {
            "timestamp": made_at.isoformat(),
            "component": root,
            "properties": [{"name": "audit", "value": audit}],
        },
        "components": [*map(_component, packages), *bundled],
        "dependencies": [{"ref": ref, "dependsOn": sorted(needed)} for ref, needed in needs.items()],
    }


def written(bill: Json) -> str:
    """The bill as text, which the schema of CycloneDX admits.

    Raises:
        ValueError: the schema does not admit it.
    """
    text = json.dumps(bill, indent=2, ensure_ascii=False) + "\n"
    problem = _validator().validate_str(text)
    if problem is not None:
        raise ValueError(f"the bill of materials is not valid: {problem}")
    return text


@cache
def _validator() -> SchemabasedValidator:
    """One for all: to read the schema takes seconds."""
    return make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6)


def _package(name: str, version: str) -> Json:
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    return {"type": "library", "name": name, "version": version, "bom-ref": purl, "purl": purl}


def _component(package: Locked) -> Json:
    found = _package(package.name, package.version)
    found["hashes"] = [_sha256(digest) for digest in package.hashes]
    found["licenses"] = _licences(package.name)
    if package.marker is not None:
        found["properties"] = [{"name": "python:marker", "value": package.marker}]
    return found


def _licences(name: str) -> list[Json]:
    """What the installed package says of its licence, or what is known of one that is not, or says nothing short."""
    if name in _KNOWN_LICENCES:
        return [{"expression": _KNOWN_LICENCES[name]}]
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return []
    if "License-Expression" in told:
        return [{"expression": told["License-Expression"]}]
    words = told["License"] if "License" in told else ""
    classifiers: list[str] = told.get_all("Classifier") or []
    classified = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License ::")]
    short = [words] if words and len(words) < 100 and "\n" not in words else classified[:1]
    return [{"license": {"name": text}} for text in short]


def _bundled(tree: Path, licence: str) -> Iterator[Json]:
    """What others made, or what was trained, and lies in the tree; that is under `licence`, the project's own."""
    for sums in sorted(tree.glob("orchestrator/**/SHA256SUMS")):
        for line in sums.read_text("utf-8").splitlines():
            digest, name = line.split()
            yield {
                "type": "machine-learning-model",
                "name": name,
                "bom-ref": f"model:{name}",
                "hashes": [_sha256(digest)],
                "licenses": [{"expression": licence}],
            }
    for origin in sorted(tree.glob("orchestrator/**/static/*/ORIGIN.md")):
        version = re.search(r"\b\d+\.\d+\.\d+\b", origin.read_text("utf-8"))
        files = sorted(file for file in origin.parent.iterdir() if file.suffix in (".js", ".css"))
        yield {
            "type": "library",
            "name": origin.parent.name,
            "bom-ref": f"bundled:{origin.parent.name}",
            "hashes": [_sha256(digest_of(file)) for file in files],
            "licenses": [{"license": {"name": _first_line(origin.parent / "LICENSE")}}],
            "components": [{"type": "file", "name": file.name, "hashes": [_sha256(digest_of(file))]} for file in files],
            **({} if version is None else {"version": version[0]}),
        }


def _first_line(file: Path) -> str:
    return next(filter(None, (line.strip() for line in file.read_text("utf-8").splitlines())))


def digest_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _sha256(digest: str) -> Json:
    return {"alg": "SHA-256", "content": digest}


def main(arguments: Sequence[str]) -> None:
    """Write the bill; its time is that of the commit, `SOURCE_DATE_EPOCH`."""
    tree, wheel, file = map(Path, arguments[:3])
    made_at = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    file.write_text(written(bill_of(tree, wheel, made_at, arguments[3])), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
