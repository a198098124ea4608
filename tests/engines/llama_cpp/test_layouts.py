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
    found = FoundModel("org/name", "org", "name", (new / "b.gguf", new / "deep" / "c.GGUF"), (new / "mmproj-F16.gguf",))
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
        FoundModel("library/qwen:8b", "library", "qwen:8b", (model,), (projector,)),
    ]


def test_a_projector_lies_beside_its_model_and_is_none_itself(tmp_path: Path) -> None:
    touch(tmp_path, "a/sees/x.gguf", "a/sees/mmproj-x.gguf", "a/only/mmproj.gguf")
    folder = tmp_path / "a" / "sees"
    found = FoundModel("a/sees", "a", "sees", (folder / "x.gguf",), (folder / "mmproj-x.gguf",))
    assert list(find_models(tmp_path)) == [found]


def test_loose_and_deep_files_are_found_however_they_write_their_ending(tmp_path: Path) -> None:
    touch(tmp_path, "top.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "mmproj-top.gguf")
    touch(tmp_path, "p/two.GGUF", "p/name/one.Gguf", "p/name/Q4/sub/deep.gguf", "p/name/Q4/sub/deeper/not.gguf")
    name = tmp_path / "p" / "name"
    assert sorted(find_models(tmp_path), key=lambda one: one.key) == [
        FoundModel("big", "", "big", (tmp_path / "big-00001-of-00002.gguf",)),
        FoundModel("p/name", "p", "name", (name / "one.Gguf", name / "Q4" / "sub" / "deep.gguf")),
        FoundModel("p/two", "p", "two", (tmp_path / "p" / "two.GGUF",)),
        FoundModel("top", "", "top", (tmp_path / "top.gguf",)),
    ]


def test_a_link_that_leads_back_is_not_followed_and_one_that_leads_on_is(tmp_path: Path) -> None:
    touch(tmp_path, "models/a/b/x.gguf", "elsewhere/y.gguf")
    models = tmp_path / "models"
    (models / "loop").symlink_to(models)
    (models / "a" / "again").symlink_to(models / "a")
    (models / "a" / "self.gguf").symlink_to(models / "a" / "self.gguf")
    (models / "a" / "far").symlink_to(tmp_path / "elsewhere")
    assert [found.key for found in find_models(models)] == ["a/b", "a/far"]
