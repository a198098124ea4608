"""Makes `.venv` of the locked packages: uv in a folder of the project, then the packages, then the project itself.

Whatever is there already and unchanged is left alone: a second run does nothing.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, cast

from setup.project import Project, SetupError, run, running_python, timed

Profile: TypeAlias = Literal["runtime", "dev"]
LOCKS: Mapping[Profile, tuple[str, ...]] = {
    "runtime": ("runtime.txt", "build.txt"),
    "dev": ("dev.txt", "build.txt"),
}
STATE = ".setup.json"
UV_CACHE = Path(__file__).resolve().parent.parent / ".uv" / "cache"

# What pip was told about its sources, in uv's words: uv does not read pip's settings.
FROM_PIP: Mapping[str, str] = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
}


def install(project: Project, profile: Profile) -> None:
    """Make the environment hold at least `profile`; development packages are never taken away.

    Raises:
        SetupError: it could not be done; the message says at which step and why.
    """
    state = _read_state(project)
    environ_of_uv: dict[str, str] | None = None

    def uv(*arguments: str | Path) -> str:
        nonlocal environ_of_uv
        environ_of_uv = environ_of_uv or uv_environ()
        return run([install_uv(project), *arguments], project.root, environ_of_uv)

    if not project.python.exists() or not _made_of_this_python(project, state):
        state = {}
        install_uv(project)
        timed("making .venv", lambda: _nothing(uv("venv", "--quiet", "--clear", "--python", sys.executable, ".venv")))
    wanted = lock_digest(project, profile)
    if state.get(profile) != wanted:
        _forget_state(project)
        install_uv(project)
        files = [part for name in LOCKS[profile] for part in _lock_argument(profile, project.locks / name)]
        action = ["sync"] if profile == "dev" else ["install"]
        timed(
            "installing the locked packages",
            lambda: _installed(uv("pip", *action, "--python", project.python, "--require-hashes", *files)),
        )
        state = {profile: wanted}
        if profile == "dev":
            state["runtime"] = lock_digest(project, "runtime")
    metadata = digest(project.root / "pyproject.toml")
    if state.get("project") != metadata:
        install_uv(project)
        flags = ("--quiet", "--no-build-isolation", "--no-deps", "--editable", ".")
        timed("installing the project", lambda: _nothing(uv("pip", "install", "--python", project.python, *flags)))
        state |= {"project": metadata, "python": running_python()}
        (project.venv / STATE).write_text(json.dumps(state), "utf-8")


def install_uv(project: Project) -> Path:
    """uv, of the version and with the hash that the lock has; returns its path.

    Raises:
        SetupError: there is no pip, or pip could not install it.
    """
    executable = project.uv_folder / "bin" / "uv"
    lock = project.locks / "uv.txt"
    mark = project.uv_folder / ".lock-digest"
    if executable.exists() and mark.exists() and mark.read_text("utf-8") == digest(lock):
        return executable
    pip = [python_with_pip(), "-m", "pip"]
    shutil.rmtree(project.uv_folder, ignore_errors=True)
    flags = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command = [*pip, "install", *flags, "--target", project.uv_folder, "-r", lock]
    # What a user may have set for other occasions: `user = true` contradicts --target.
    environ = os.environ | {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_ROOT_USER_ACTION": "ignore"}
    timed("installing uv into .uv", lambda: _nothing(run(command, project.root, environ)))
    mark.write_text(digest(lock), "utf-8")
    return executable


def digest(*files: Path) -> str:
    """One digest over the contents of `files`."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def lock_digest(project: Project, profile: Profile) -> str:
    """Changes when anything that `profile` installs changes."""
    return digest(*(project.locks / name for name in LOCKS[profile]))


def uv_settings(pip_config: str, environ: Mapping[str, str]) -> dict[str, str]:
    """uv's variables for what `pip config list` says; what uv was told itself, it keeps.

    pip lists its sources from the weakest to the strongest, the environment last.
    """
    settings: dict[str, str] = {}
    for line in pip_config.splitlines():
        match = re.fullmatch(r"(?:global|install|:env:)\.([a-z-]+)='(.*)'", line)
        if match is not None and match[1] in FROM_PIP and match[2]:
            settings[FROM_PIP[match[1]]] = match[2].replace(r"\n", " ").strip()
    links = settings.pop("UV_FIND_LINKS", "").split()
    usable = [link for link in links if "://" in link or Path(link).is_dir()]
    if usable:
        settings["UV_FIND_LINKS"] = ",".join(usable)
    if "UV_INDEX" in settings:
        # pip takes the best version of all its indexes; with hashes that is safe.
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {name: value for name, value in settings.items() if name not in environ}


def uv_environ() -> dict[str, str]:
    """The environment for uv: pip's sources where it has none of its own, and never another Python."""
    environ = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PROJECT")}
    environ["UV_PYTHON_DOWNLOADS"] = "never"
    environ.setdefault("UV_CACHE_DIR", str(UV_CACHE))
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True)
    return environ | uv_settings(listed.stdout if listed.returncode == 0 else "", environ)


def _lock_argument(profile: Profile, file: Path) -> list[str | Path]:
    return [file] if profile == "dev" else ["-r", file]


def python_with_pip() -> str:
    """The running interpreter, or the one that its environment was made of.

    Raises:
        SetupError: neither has pip.
    """
    base: str = getattr(sys, "_base_executable", None) or sys.executable
    for python in (sys.executable, base):
        if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
            return python
    raise SetupError(
        f"{sys.executable} has no pip, which is needed to fetch uv. "
        "Install it (Debian and Ubuntu: apt install python3-pip) and run this again."
    )


def _made_of_this_python(project: Project, state: Mapping[str, str]) -> bool:
    if "python" in state:
        return state["python"] == running_python()
    # An environment that somebody else made: usable if it is of the same version.
    code = "import sys; print(sys.version.split()[0])"
    try:
        asked = subprocess.run([project.python, "-c", code], capture_output=True, text=True)
    except OSError:
        return False
    return asked.stdout.strip() == sys.version.split()[0]


def _read_state(project: Project) -> dict[str, str]:
    """What the last run left, as far as it finished."""
    try:
        read: object = json.loads((project.venv / STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    pairs = cast("dict[object, object]", read).items() if isinstance(read, dict) else ()
    return {name: value for name, value in pairs if isinstance(name, str) and isinstance(value, str)}


def _forget_state(project: Project) -> None:
    """From here on the environment is in between: a run that is cut off must not look finished."""
    (project.venv / STATE).unlink(missing_ok=True)


def _installed(printed: str) -> str:
    match = re.search(r"Installed (\d+) packages?", printed)
    return f"{match[1]} installed" if match else ""


def _nothing(_printed: str) -> str:
    return ""
