"""The variables of `mcp.json`: `${VAR}`, `${env:VAR}`, `${VAR:-default}`, and those of VS Code and Cursor. Pure.

They are expanded in what `mcp.json` says and nowhere else: `${VAR}` in what a client sends stays text.
https://code.visualstudio.com/docs/reference/variables-reference
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.integrations.secret_values import secrets_in

_REFERENCE: Final = re.compile(r"\$\{([^{}]*)\}")
_NAME: Final = re.compile(r"(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_INPUT: Final = re.compile(r"input:(.+)", re.DOTALL)
_ELSEWHERE: Final = re.compile(r"(?:config|command|secret):.*", re.DOTALL)
EDITOR_FOLDERS: Final = frozenset({".vscode", ".cursor", ".idea"})


class VariableProblem(Exception):
    """A reference that cannot be expanded; the message holds no value."""


@dataclass(frozen=True, slots=True)
class Variables:
    """What variables mean in one file. `inputs` are VS Code's, by id, with what a person would be asked."""

    environ: Mapping[str, str]
    folder: Path
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def workspace(self) -> Path:
        """The project that the file belongs to: `.vscode/mcp.json` and `.cursor/mcp.json` lie one folder below."""
        return self.folder.parent if self.folder.name in EDITOR_FOLDERS else self.folder

    def expand(self, text: str, secrets: set[str]) -> str:
        """`text` with values for its references; what of the environment is secret is added to `secrets`.

        Raises:
            VariableProblem: a variable is not set, or means nothing here.
        """
        return _REFERENCE.sub(lambda reference: self._value(reference[1], secrets), text)

    def _value(self, reference: str, secrets: set[str]) -> str:
        match reference:
            case "workspaceFolder":
                return str(self.workspace)
            case "workspaceFolderBasename":
                return self.workspace.name
            case "userHome":
                return self.environ.get("HOME") or str(Path.home())
            case "pathSeparator" | "/":
                return os.sep
            case _:
                return self._environment(reference, secrets)

    def _environment(self, reference: str, secrets: set[str]) -> str:
        match = _NAME.fullmatch(reference)
        if match is None:
            raise VariableProblem(self._refusal(reference))
        name, default = match.groups()
        found = self.environ.get(name)
        if found:
            secrets.update(secrets_in(name, found))
            return found
        if default is not None:
            return default
        if found is None:
            raise VariableProblem(f"the environment variable {name} is not set")
        return found

    def _refusal(self, reference: str) -> str:
        asked = _INPUT.fullmatch(reference)
        if asked is not None:
            id_ = asked[1]
            told = self.inputs.get(id_)
            about = f" ({told})" if told else ""
            return (
                f"${{input:{id_}}} is asked of a person by VS Code{about}, and nobody can be asked here: set an "
                f"environment variable and write ${{{environment_name(id_)}}}"
            )
        if _ELSEWHERE.fullmatch(reference):
            return f"${{{reference.partition(':')[0]}:…}} is a variable of VS Code that has no meaning here"
        return "has a reference that is not ${VAR}, ${env:VAR} or ${VAR:-default}"


def environment_name(input_id: str) -> str:
    """A name of an environment variable for an input of VS Code: `api-key` becomes `API_KEY`."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", input_id).strip("_").upper() or "INPUT"
    return name if not name[0].isdigit() else f"INPUT_{name}"
