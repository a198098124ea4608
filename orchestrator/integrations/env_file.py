"""Files of environment variables, as `envFile` of VS Code and Cursor names them: a line `NAME=value` each."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.integrations.file_version import FileVersion, file_version

_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*?)\s*", re.DOTALL)
_QUOTED: Final = re.compile(r"""(["'])(.*)\1\s*(?:#.*)?""", re.DOTALL)
_ESCAPES: Final = {"\\n": "\n", "\\r": "\r", "\\t": "\t", '\\"': '"', "\\\\": "\\"}


class EnvFileProblem(Exception):
    """The file cannot be used; the message holds no value of it."""


@dataclass(frozen=True, slots=True)
class EnvFile:
    """A file that an entry names, in the version that was read, or that was missed."""

    path: Path
    version: FileVersion

    @property
    def has_changed(self) -> bool:
        """Whether another version is there now."""
        return file_version(self.path) != self.version


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of the file, literally: references to others in it are not expanded.

    Raises:
        EnvFileProblem: it cannot be read, or has a line that is none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or "it cannot be read"
        raise EnvFileProblem(f"the file {path} cannot be read ({why})") from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise EnvFileProblem(f"line {number} of {path} is not NAME=value")
        found[match[1]] = _value(match[2])
    return found


def _value(written: str) -> str:
    quoted = _QUOTED.fullmatch(written)
    if quoted is None:
        return re.split(r"\s#", written, maxsplit=1)[0].rstrip()
    if quoted[1] == "'":
        return quoted[2]
    return re.sub(r"\\[nrt\"\\]", lambda found: _ESCAPES[found[0]], quoted[2])
