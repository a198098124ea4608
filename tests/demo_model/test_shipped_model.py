"""The model in the package is the one that the recipe speaks of."""

import hashlib
from pathlib import Path

import pytest

from demo_model.files import CHECKPOINT, SHIPPED_MODEL, TEMPLATE
from orchestrator.engines.llama_cpp.gguf import read_gguf


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("path", [SHIPPED_MODEL, CHECKPOINT], ids=["model", "checkpoint"])
def test_the_digest_beside_the_file_is_that_of_the_file(path: Path) -> None:
    assert (path.parent / "SHA256SUMS").read_text() == f"{digest_of(path)}  {path.name}\n"


def test_the_origin_names_digest_and_size_of_the_file() -> None:
    origin = (SHIPPED_MODEL.parent / "ORIGIN.md").read_text()
    assert digest_of(SHIPPED_MODEL) in origin
    assert f"{SHIPPED_MODEL.stat().st_size:,} bytes" in origin
    assert f"{read_gguf(SHIPPED_MODEL).parameter_count:,} parameters" in origin


def test_the_template_beside_the_recipe_is_the_one_inside_the_model() -> None:
    assert read_gguf(SHIPPED_MODEL).chat_template == TEMPLATE.read_text()
