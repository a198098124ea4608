"""Makes a release: the wheel, of a clean tree alone, its bill of materials (CycloneDX), and the digests of both."""

import hashlib
import os
import subprocess
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from setup.audit import Audit, audit, tell
from setup.project import Project, SetupError, run, say, timed

SHOWN = 5


def release(project: Project, folder: Path, *, without_audit: bool = False) -> list[Path]:
    """Write the files of a release of the last commit into `folder`; returns them.

    The wheel is built from what git has, not from the working tree: nothing that lies about can come in.

    Raises:
        SetupError: the tree is not clean, a locked package has a known weakness, not all could be looked up and
            nobody said `without_audit`, or something could not be built.
    """
    require_clean(project.root)
    checked = audit(project, os.environ)
    tell(checked)
    require_sound(checked, without_audit=without_audit)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        unpack_head(project.root, tree)
        committed = _git(project.root, "log", "-1", "--format=%ct").decode().strip()
        environ = os.environ | {"SOURCE_DATE_EPOCH": committed}
        build = [project.python, "-m", "hatchling", "build", "-t", "wheel", "-d", Path(place) / "dist"]
        timed("building the wheel", lambda: run(build, tree, environ) and "")
        (wheel,) = (Path(place) / "dist").glob("*.whl")
        built = folder / wheel.name
        built.write_bytes(wheel.read_bytes())
        written.append(built)
        bill = folder / f"{'-'.join(wheel.name.split('-')[:2])}.cdx.json"
        make = [project.python, "-m", "setup.sbom", tree, built, bill, outcome_of(checked)]
        # Its own code is of this checkout: what it describes is the tree.
        timed("writing the bill of materials", lambda: run(make, Path(__file__).parent.parent, environ) and "")
        written.append(bill)
    sums = folder / "SHA256SUMS"
    sums.write_text("".join(f"{digest_of(file)}  {file.name}\n" for file in written), "utf-8")
    written.append(sums)
    for file in written:
        say(f"wrote {file}")
    return written


def require_clean(root: Path) -> None:
    """See that what lies here is what git has.

    Raises:
        SetupError: it is not, or this is no checkout.
    """
    changed = _git(root, "status", "--porcelain", "--untracked-files=normal").decode().splitlines()
    if changed:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        names = ", ".join(line[3:] for line in changed[:SHOWN])
        raise SetupError(f"the tree is not clean: commit or remove {names}{more}. A release is made of commits alone.")


def require_sound(checked: Audit, *, without_audit: bool) -> None:
    """See that nothing of the locks has a weakness that is known.

    Raises:
        SetupError: something has, or nobody knows, and it is not to be released all the same.
    """
    if checked.findings:
        raise SetupError("no release is made of packages with known weaknesses; `python3 setup lock --upgrade` first")

    if checked.skipped is not None and not without_audit:
        what = "not everything" if checked.looked_up else "nothing"
        raise SetupError(
            f"{what} could be looked up for known weaknesses: {checked.skipped}. Release where the registry answers, "
            "or say `--without-audit`; the bill of materials will tell of it."
        )


def outcome_of(checked: Audit) -> str:
    """What the bill of materials says of the audit."""
    if checked.skipped is None:
        return f"{checked.looked_up} packages looked up, no known weaknesses"
    return f"{'incomplete' if checked.looked_up else 'not made'}: {checked.skipped}"


def unpack_head(root: Path, folder: Path) -> None:
    """Write the files of the last commit into `folder`."""
    with tarfile.open(fileobj=BytesIO(_git(root, "archive", "--format=tar", "HEAD"))) as archive:
        archive.extractall(folder, filter="data")


def digest_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _git(root: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", root, *arguments], capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise SetupError(f"`git {arguments[0]}` ended with status {done.returncode}: {said}")
    return done.stdout
