"""Recomputes the lock files: exact versions and hashes for every platform, and no address of any index."""

import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from setup.environment import install_uv, uv_environ
from setup.project import Project, run, timed

UNIVERSAL = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--quiet")


def lock(project: Project, upgrade: bool) -> None:
    """Write `setup/*.txt` anew from `pyproject.toml`; without `upgrade` what is locked stays where it can.

    Raises:
        SetupError: uv found no set of versions.
    """
    uv, environ = install_uv(project), uv_environ()

    def compile_lock(name: str, source: Sequence[str], *, like: str | None = None, stdin: str = "") -> None:
        file = f"setup/{name}.txt"
        flags = [*UNIVERSAL, "--custom-compile-command", "python3 setup lock"]
        if like is not None:
            # uv prefers the versions that the output file has: the locks cannot drift apart.
            shutil.copyfile(project.locks / f"{like}.txt", project.root / file)
        elif upgrade:
            flags.append("--upgrade")
        command = [uv, "pip", "compile", *flags, *source, "--output-file", file]
        # The output is in the file; what uv prints as well is of no use.
        timed(f"locking {file}", lambda: run(command, project.root, environ, stdin) and "")

    compile_lock("uv", ["-"], stdin="uv")
    compile_lock("dev", ["pyproject.toml", "--group", "dev"])
    compile_lock("runtime", ["pyproject.toml"], like="dev")
    requirements = build_requirements(project.root / "pyproject.toml")
    compile_lock("build", ["-"], like="dev", stdin="\n".join(requirements))


def build_requirements(pyproject: Path) -> list[str]:
    """What building the project needs: it is installed before the project, so that nothing is fetched unlocked."""
    document = tomllib.loads(pyproject.read_text("utf-8"))
    return cast("list[str]", document["build-system"]["requires"])
