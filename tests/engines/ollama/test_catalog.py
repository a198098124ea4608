"""What Ollama says of a model, as the service shows it."""

import pytest

from orchestrator.core.models import LoadConfig, Model, ModelInstance, Quantization, ReasoningSupport
from orchestrator.engines.ollama.catalog import (
    UNKNOWN,
    Details,
    Facts,
    Tag,
    describe,
    facts_of,
    leaves_the_machine,
    publisher_of,
    whole_name,
)

DETAILS = Details("gguf", "qwen3", "8.2B", "Q4_K_M")
TAG = Tag("qwen3:8b", "d1", 5_200_000_000, DETAILS, remote=False)


def facts(*capabilities: str, family: str = "qwen3") -> Facts:
    details = Details("gguf", family, "8.2B", "Q4_K_M")
    return facts_of(capabilities, {"general.architecture": family, f"{family}.context_length": 40960}, details)


def test_a_model_that_can_do_everything() -> None:
    assert describe(TAG, facts("completion", "tools", "thinking", "vision"), {"qwen3:8b": 4096}) == Model(
        key="qwen3:8b",
        engine="ollama",
        type="llm",
        publisher="library",
        display_name="qwen3:8b",
        format="gguf",
        architecture="qwen3",
        quantization=Quantization("Q4_K_M"),
        size_bytes=5_200_000_000,
        params_string="8.2B",
        max_context_length=40960,
        vision=True,
        trained_for_tool_use=True,
        reasoning=ReasoningSupport(("off", "on"), "on"),
        loaded_instances=(ModelInstance("qwen3:8b", LoadConfig(context_length=4096)),),
    )


@pytest.mark.parametrize("family", ["gptoss", "gpt-oss"])
def test_a_family_that_thinks_in_levels_offers_them(family: str) -> None:
    model = describe(TAG, facts("completion", "thinking", family=family), {})
    assert model is not None and model.reasoning == ReasoningSupport(("low", "medium", "high"), "medium")


def test_an_embedding_model_is_one() -> None:
    model = describe(TAG, facts("embedding"), {})
    assert model is not None and (model.type, model.trained_for_tool_use, model.reasoning) == ("embedding", False, None)


def test_a_model_that_makes_pictures_is_none_of_ours() -> None:
    assert describe(TAG, facts("image"), {}) is None


@pytest.mark.parametrize("unknown", [UNKNOWN, facts_of((), {}, Details())])
def test_nothing_is_claimed_of_a_model_that_nothing_is_known_of(unknown: Facts) -> None:
    tag = Tag("old:latest", "d", None, Details(quantization_level="unknown"), remote=False)
    assert describe(tag, unknown, {}) == Model("old:latest", "ollama", "llm", "library", "old")


@pytest.mark.parametrize("length", [None, "40960", 0, -1])
def test_a_context_length_that_is_none_is_not_known(length: object) -> None:
    assert facts_of(None, {"general.architecture": "a", "a.context_length": length}, Details()).context_length is None


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("llama3.2:1b", "llama3.2:1b"),
        ("hf.co/a/b", "hf.co/a/b:latest"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
    ],
)
def test_a_name_without_a_tag_means_latest(name: str, whole: str) -> None:
    assert whole_name(name) == whole


@pytest.mark.parametrize(
    ("key", "publisher"),
    [("qwen3:8b", "library"), ("someone/model:latest", "someone"), ("hf.co/bartowski/Llama-GGUF:Q4_K_M", "bartowski")],
)
def test_the_publisher_is_the_namespace(key: str, publisher: str) -> None:
    assert publisher_of(key) == publisher


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("gpt-oss:120b-cloud", True),
        ("glm-4.6:cloud", True),
        ("gpt-oss:20b:cloud", True),
        ("cloud", False),
        ("cloud/model:8b", False),
        ("qwen3:8b", False),
    ],
)
def test_names_that_ollama_takes_to_its_cloud_are_told_apart(name: str, leaves: bool) -> None:
    assert leaves_the_machine(name) is leaves
