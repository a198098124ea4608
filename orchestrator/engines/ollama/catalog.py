"""What Ollama says of a model, as the service speaks of it. What it does not say is None, never guessed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from orchestrator.core.models import LoadConfig, Model, ModelInstance, ModelType, Quantization, ReasoningSupport

ENGINE: Final = "ollama"

_OFF_OR_ON: Final = ReasoningSupport(("off", "on"), "on")
"""Ollama lets a model think unless it is told not to."""

_LEVELS: Final = ReasoningSupport(("low", "medium", "high"), "medium")
"""gpt-oss thinks always, and more or less: https://docs.ollama.com/capabilities/thinking."""

_FAMILIES_WITH_LEVELS: Final = frozenset({"gptoss", "gpt-oss"})


@dataclass(frozen=True, slots=True)
class Details:
    """What Ollama keeps beside a model; None is what it does not know."""

    format: str | None = None
    family: str | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None


@dataclass(frozen=True, slots=True)
class Tag:
    """An installed model as `/api/tags` lists it. `remote` is one that Ollama only passes on to another machine."""

    key: str
    digest: str
    size_bytes: int | None
    details: Details
    remote: bool
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What `/api/show` says, which is the same as long as the digest is.

    `capabilities` None is a server that is too old to tell.
    """

    capabilities: frozenset[str] | None
    architecture: str | None
    context_length: int | None
    details: Details


UNKNOWN: Final = Facts(None, None, None, Details())


def facts_of(capabilities: Sequence[str] | None, model_info: Mapping[str, object], details: Details) -> Facts:
    """The facts in a reply of `/api/show`."""
    architecture = model_info.get("general.architecture")
    name = architecture if isinstance(architecture, str) and architecture else None
    length = model_info.get(f"{name}.context_length")
    return Facts(
        capabilities=None if capabilities is None else frozenset(capabilities),
        architecture=name,
        context_length=length if isinstance(length, int) and length > 0 else None,
        details=details,
    )


def describe(tag: Tag, facts: Facts, loaded: Mapping[str, int | None]) -> Model | None:
    """The model that is installed as `tag`, or None for one that neither writes text nor embeds it.

    `loaded` are the models in memory by name, with their context lengths.
    """
    kind = _type_of(facts.capabilities)
    if kind is None:
        return None
    able = facts.capabilities or frozenset[str]()
    family = facts.details.family or tag.details.family or ""
    level = facts.details.quantization_level or tag.details.quantization_level
    key = tag.key
    return Model(
        key=key,
        engine=ENGINE,
        type=kind,
        publisher=publisher_of(key),
        display_name=key.removesuffix(":latest"),
        format=facts.details.format or tag.details.format,
        architecture=facts.architecture or family or None,
        quantization=Quantization(name=level) if level and level != "unknown" else None,
        size_bytes=tag.size_bytes,
        params_string=facts.details.parameter_size or tag.details.parameter_size,
        max_context_length=facts.context_length,
        vision="vision" in able,
        trained_for_tool_use="tools" in able,
        reasoning=_reasoning_of(able, {family, facts.architecture or ""}),
        loaded_instances=(ModelInstance(key, LoadConfig(context_length=loaded[key])),) if key in loaded else (),
        modified_at=tag.modified_at,
    )


def whole_name(name: str) -> str:
    """The name with its tag: without one, Ollama means `latest`."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def publisher_of(key: str) -> str:
    """The namespace: `library` for Ollama's own models, the owner for `owner/name` and `hf.co/owner/name`."""
    parts = key.split("/")
    return parts[-2] if len(parts) > 1 else "library"


def leaves_the_machine(name: str) -> bool:
    """Whether Ollama would take this name to its cloud: https://docs.ollama.com/cloud."""
    tag = whole_name(name).rpartition(":")[2]
    return tag == "cloud" or tag.endswith("-cloud")


def _type_of(capabilities: frozenset[str] | None) -> ModelType | None:
    if not capabilities or "completion" in capabilities:
        return "llm"
    return "embedding" if "embedding" in capabilities else None


def _reasoning_of(capabilities: frozenset[str], families: set[str]) -> ReasoningSupport | None:
    if "thinking" not in capabilities:
        return None
    return _LEVELS if families & _FAMILIES_WITH_LEVELS else _OFF_OR_ON
