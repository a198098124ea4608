"""Labels: what a response is found by beside its columns, each as a number that any database looks up fast.

A label is 64 bits of a digest of an owner (or everybody), a kind and a value. So a value may be as long
as it likes, and one index answers for all of them, in the order of listings.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

from orchestrator.core.items import ClientProvider, EphemeralProvider, PluginProvider, ProviderInfo

LabelKind: TypeAlias = Literal["model", "metadata", "plugin", "server", "tool"]

EVERYBODY: Final = ""
"""Stands for an owner where nobody's in particular is asked for."""


def label(owner: str, kind: LabelKind, *value: str) -> int:
    """The label, a signed 64-bit number."""
    digest = hashlib.sha256(repr((owner, kind, value)).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def opening_labels(owner: str, model_key: str, metadata: Mapping[str, str]) -> list[int]:
    """The labels that a response has from its beginning."""
    values: list[tuple[LabelKind, tuple[str, ...]]] = [("model", (model_key,))]
    for key, value in metadata.items():
        values.append(("metadata", (key, value)))
    return _for_owner_and_everybody(owner, values)


def call_labels(owner: str, calls: Iterable[tuple[str, ProviderInfo]]) -> list[int]:
    """The labels that a response has from its calls, each a tool and whose it is."""
    values: list[tuple[LabelKind, tuple[str, ...]]] = []
    for tool, provider in calls:
        values.append(("tool", (tool,)))
        match provider:
            case PluginProvider(plugin_id):
                values.append(("plugin", (plugin_id,)))
            case EphemeralProvider(server_label):
                values.append(("server", (server_label,)))
            case ClientProvider():
                pass  # its tools are found by their names
    return _for_owner_and_everybody(owner, values)


def owner_word(owner: str) -> str:
    """What stands among the words of a response for its owner: nothing that is a word in a text."""
    return "¶" + hashlib.sha256(owner.encode()).hexdigest()[:16]


def _for_owner_and_everybody(owner: str, values: Iterable[tuple[LabelKind, tuple[str, ...]]]) -> list[int]:
    return sorted({label(whose, kind, *value) for kind, value in values for whose in (owner, EVERYBODY)})
