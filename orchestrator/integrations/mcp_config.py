"""The files that install plugins, merged: the user's own, the project's, and those that were named at the start.

Each file stands for itself: one that is broken by an edit goes on counting as it last was, and the
others' edits take effect.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from orchestrator.integrations.env_file import EnvFile
from orchestrator.integrations.file_version import FileVersion, file_version
from orchestrator.integrations.mcp_json import (
    McpConfig,
    McpJsonError,
    PluginConfig,
    UnreadableFileError,
    normal_plugin_id,
    parse_mcp_json,
    read_config,
)
from orchestrator.ports import PluginFile, PluginFiles


@dataclass(frozen=True, slots=True)
class ConfigLayer:
    """A file and whose it is; a `required` one must be there, the others may come and go."""

    path: Path
    origin: Literal["user", "project", "flag"]
    required: bool = False


def config_layers(
    user: Path, project: Sequence[Path], named: Sequence[Path], *, project_required: bool
) -> tuple[ConfigLayer, ...]:
    """The layers, the least important first; a file that is there twice counts at its last place."""
    layers = [
        ConfigLayer(user, "user"),
        *(ConfigLayer(path, "project", project_required) for path in project),
        *(ConfigLayer(path, "flag", True) for path in named),
    ]
    last = {layer.path: layer for layer in layers}
    return tuple(layer for layer in layers if last[layer.path] is layer)


@dataclass(slots=True)
class _File:
    layer: ConfigLayer
    version: FileVersion | Literal["unread"] = "unread"
    text: str | None = None
    config: McpConfig = field(default_factory=McpConfig)
    error: McpJsonError | None = None
    loaded_at: datetime | None = None

    @property
    def env_files(self) -> tuple[EnvFile, ...]:
        """Those that its entries name."""
        return tuple(plugin.env_file for plugin in self.config.plugins if plugin.env_file is not None)

    @property
    def has_changed(self) -> bool:
        """Whether it, or a file that it names, looks otherwise than when it was read."""
        return self.version != file_version(self.layer.path) or any(named.has_changed for named in self.env_files)


class McpConfigFiles:
    """The files of `layers`; what a later one installs replaces what an earlier one does, by label.

    `load` once, then `reload` after every change.
    """

    def __init__(self, layers: Sequence[ConfigLayer], *, environ: Mapping[str, str] | None = None) -> None:
        self._files = [_File(layer) for layer in layers]
        self._environ = os.environ if environ is None else environ
        self.watched = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where the files are, or would be."""
        return tuple(file.layer.path for file in self._files)

    @property
    def watched_paths(self) -> tuple[Path, ...]:
        """The files, and those that entries of them name as their environment."""
        return (*self.paths, *(named.path for file in self._files for named in file.env_files))

    @property
    def config(self) -> McpConfig:
        """What is installed: of each file its last good version."""
        merged: dict[str, PluginConfig] = {}
        for file in self._files:
            merged.update({normal_plugin_id(plugin.id): plugin for plugin in file.config.plugins})
        return McpConfig(
            tuple(merged.values()),
            tuple(note for file in self._files for note in file.config.warnings),
            tuple(file.error for file in self._files if file.error is not None),
        )

    def load(self) -> McpConfig:
        """Read every file for the first time; one that cannot be used takes no other down, and `state` has its error.

        Raises:
            McpJsonError: a file of `--mcp-config` cannot be used: who names it there is there to mend it; or
                another one that was named cannot even be opened.
        """
        for file in self._files:
            self._read(file)
            layer = file.layer
            unreadable = layer.required and isinstance(file.error, UnreadableFileError)
            if file.error is not None and (layer.origin == "flag" or unreadable):
                raise file.error
        return self.config

    def versions(self) -> tuple[FileVersion, ...]:
        """What the watched files look like from outside now."""
        return tuple(file_version(path) for path in self.watched_paths)

    def has_changed(self) -> bool:
        """Whether a watched file looks otherwise than when it was read."""
        return any(file.has_changed for file in self._files)

    def reload(self) -> tuple[Path, ...]:
        """Read the files that have changed; returns those whose content did, or what they name."""
        return tuple(file.layer.path for file in self._files if file.has_changed and self._read(file))

    def state(self) -> PluginFiles:
        """What the files say, and what is wrong with them."""
        states = tuple(self._state(file, self._files[place + 1 :]) for place, file in enumerate(self._files))
        errors = [state.error for state in states if state.error is not None]
        return PluginFiles(
            tuple(str(path) for path in self.paths),
            "; ".join(errors) or None,
            self.config.warnings,
            states,
            self.watched,
        )

    def error(self, path: Path) -> McpJsonError | None:
        """Why what this file holds now is not in use."""
        return next((file.error for file in self._files if file.layer.path == path), None)

    def _read(self, file: _File) -> bool:
        path = file.layer.path
        before = (file.text, file.error is None)
        again = file.version == "unread" or any(named.has_changed for named in file.env_files)
        file.version = file_version(path)
        try:
            text = read_config(path)
            if text is None and file.layer.required:
                raise UnreadableFileError("the file does not exist", file=path)
            if text == file.text and file.error is None and not again:
                return False
            file.config = McpConfig() if text is None else parse_mcp_json(text, file=path, environ=self._environ)
        except McpJsonError as error:
            known = file.error is not None and file.error.info == error.info
            file.error = error
            return not known
        file.text, file.error, file.loaded_at = text, None, datetime.now(UTC)
        return again or before != (text, True)

    def _state(self, file: _File, later: Iterable[_File]) -> PluginFile:
        elsewhere = {normal_plugin_id(plugin.id) for other in later for plugin in other.config.plugins}
        installed = file.config.plugins
        return PluginFile(
            path=str(file.layer.path),
            origin=file.layer.origin,
            exists=file.version not in (None, "unread"),
            loaded_at=file.loaded_at,
            error=None if file.error is None else file.error.info.message,
            plugins=tuple(plugin.id for plugin in installed),
            replaced=tuple(plugin.id for plugin in installed if normal_plugin_id(plugin.id) in elsewhere),
            warnings=file.config.warnings,
        )
