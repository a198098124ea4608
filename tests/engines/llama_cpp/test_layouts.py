"""The folders of other programs: Hugging Face's cache and Ollama's store, alone or inside ours."""

import json
import os
from pathlib import Path
from typing import Final

import pytest

from orchestrator.engines.llama_cpp.layouts import FoundModel, find_models

DIGEST: Final = "sha256:" + "0a" * 32
PROJECTOR: Final = "sha256:" + "0b" * 32


def touch(root: Path, *names: str) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.mark.parametrize("inside", ["", "hub", "huggingface/hub"])
def test_the_current_snapshot_of_a_hub_is_found(tmp_path: Path, inside: str) -> None:
    repository = tmp_path / inside / "models--org--name"
    touch(repository, "snapshots/new/b.gguf", "snapshots/old/a.gguf", "snapshots/new/deep/c.GGUF", "refs/main")
    touch(repository, "snapshots/new/mmproj-F16.gguf", "snapshots/new/config.json")
    (repository / "refs" / "main").write_text("new")
    new = repository / "snapshots" / "new"
    found = FoundModel("org/name", "org", "name", (new / "b.gguf", new / "deep" / "c.GGUF"), new / "mmproj-F16.gguf")
    assert list(find_models(tmp_path)) == [found]


def test_without_a_current_one_the_newest_snapshot_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, "models--name/snapshots/one/x.gguf", "models--name/snapshots/two/x.gguf")
    snapshots = tmp_path / "models--name" / "snapshots"
    os.utime(snapshots / "two", (1, 1))
    assert list(find_models(tmp_path)) == [FoundModel("name", "", "name", (snapshots / "one" / "x.gguf",))]


def manifest(store: Path, name: str, *layers: tuple[str, str]) -> None:
    file = store / "manifests" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    entries = [{"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest} for kind, digest in layers]
    file.write_text(json.dumps({"schemaVersion": 2, "layers": entries}))


@pytest.mark.parametrize("inside", ["", "models", "ollama/models"])
def test_the_models_of_ollama_are_found_by_their_manifests(tmp_path: Path, inside: str) -> None:
    store = tmp_path / inside
    manifest(store, "registry.test/library/qwen/8b", ("model", DIGEST), ("projector", PROJECTOR), ("params", DIGEST))
    manifest(store, "registry.test/library/qwen/gone", ("model", "sha256:" + "0c" * 32))
    manifest(store, "registry.test/library/qwen/outside", ("model", "sha256:../../../../etc/passwd"))
    (store / "manifests" / "registry.test" / "library" / "qwen" / "broken").write_text("no JSON")
    blobs = store / "blobs"
    touch(blobs, DIGEST.replace(":", "-"), PROJECTOR.replace(":", "-"))
    model, projector = blobs / DIGEST.replace(":", "-"), blobs / PROJECTOR.replace(":", "-")
    assert list(find_models(tmp_path)) == [
        FoundModel("library/qwen:8b", "library", "qwen:8b", (model,), projector),
    ]


def test_a_projector_lies_beside_its_model_and_is_none_itself(tmp_path: Path) -> None:
    touch(tmp_path, "a/sees/x.gguf", "a/sees/mmproj-x.gguf", "a/only/mmproj.gguf")
    folder = tmp_path / "a" / "sees"
    found = FoundModel("a/sees", "a", "sees", (folder / "x.gguf",), folder / "mmproj-x.gguf")
    assert list(find_models(tmp_path)) == [found]
