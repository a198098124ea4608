"""Which models there are, and what is said of them without loading one."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestrator.core.models import Model, Quantization, ReasoningSupport
from orchestrator.engines.llama_cpp import catalogue
from orchestrator.engines.llama_cpp.catalogue import Catalogue
from orchestrator.engines.llama_cpp.gguf import GgufMetadata, read_gguf
from tests.engines.llama_cpp.conftest import DEMO_FILE
from tests.engines.llama_cpp.gguf_files import projector

DEMO = Model(
    key="demo/tiny-tools",
    engine="embedded",
    type="llm",
    publisher="demo",
    display_name="tiny-tools",
    format="gguf",
    architecture="llama",
    quantization=Quantization("Q8_0", 8),
    size_bytes=DEMO_FILE.stat().st_size,
    params_string="2M",
    max_context_length=2048,
    trained_for_tool_use=True,
    reasoning=ReasoningSupport(("off", "on"), "off"),
    selected_variant="demo/tiny-tools@Q8_0",
    modified_at=datetime.fromtimestamp(int(DEMO_FILE.stat().st_mtime), UTC),
)


def install(root: Path, name: str) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(DEMO_FILE, file)
    return file


def test_the_bundled_model_is_there_without_any_folder() -> None:
    assert [installed.model for installed in Catalogue(None).scan().values()] == [DEMO]
    assert [installed.path for installed in Catalogue(None).scan().values()] == [DEMO_FILE]


def test_a_folder_that_does_not_exist_has_no_models(tmp_path: Path) -> None:
    assert list(Catalogue(tmp_path / "none").scan()) == ["demo/tiny-tools"]


def test_models_are_found_as_publisher_and_name(tmp_path: Path) -> None:
    install(tmp_path, "b/second/x.gguf")
    install(tmp_path, "a/first/x.gguf")
    install(tmp_path, "loose.gguf")
    install(tmp_path, "a/first/mmproj-x.gguf")
    install(tmp_path, ".hidden/first/x.gguf")
    (tmp_path / "a" / "first" / "README.md").touch()
    assert list(Catalogue(tmp_path).scan()) == ["a/first", "b/second", "loose", "demo/tiny-tools"]


def test_a_model_of_the_user_hides_the_bundled_one_of_the_same_key(tmp_path: Path) -> None:
    file = install(tmp_path, "demo/tiny-tools/mine.gguf")
    assert [installed.path for installed in Catalogue(tmp_path).scan().values()] == [file]


def test_several_files_of_one_model_are_told_apart(tmp_path: Path) -> None:
    install(tmp_path, "a/model/model-1.gguf")
    install(tmp_path, "a/model/model-2.gguf")
    (tmp_path / "a" / "model" / "model-3.gguf").write_bytes(b"broken")
    found = Catalogue(tmp_path, tmp_path / "none").scan()
    variants = ("a/model@Q8_0", "a/model@model-2", "a/model@model-3")
    assert [(key, one.model.selected_variant, one.model.variants) for key, one in found.items()] == [
        ("a/model", "a/model@Q8_0", variants),
        ("a/model@model-2", "a/model@model-2", variants),
        ("a/model@model-3", "a/model@model-3", variants),
    ]


def test_a_split_model_is_one_model_of_the_whole_size(tmp_path: Path) -> None:
    install(tmp_path, "a/model/m[x]-00001-of-00002.gguf")
    install(tmp_path, "a/model/m[x]-00002-of-00002.gguf")
    found = Catalogue(tmp_path, tmp_path / "none").scan()
    assert [(key, one.model.size_bytes, one.path.name) for key, one in found.items()] == [
        ("a/model", 2 * DEMO_FILE.stat().st_size, "m[x]-00001-of-00002.gguf")
    ]


def test_a_file_that_cannot_be_read_stays_in_the_list_and_is_marked(tmp_path: Path) -> None:
    (tmp_path / "a" / "broken").mkdir(parents=True)
    (tmp_path / "a" / "broken" / "x.gguf").write_bytes(b"no model")
    os.utime(tmp_path / "a" / "broken" / "x.gguf", (7, 7))
    found = Catalogue(tmp_path, tmp_path / "none").scan()
    problem = "its file cannot be read: not a GGUF: it begins with b'no m'"
    assert found["a/broken"].model == Model(
        "a/broken",
        "embedded",
        "llm",
        "a",
        "broken",
        format="gguf",
        size_bytes=len(b"no model"),
        problem=problem,
        modified_at=datetime.fromtimestamp(7, UTC),
    )


def test_of_several_folders_the_first_that_has_a_model_counts(tmp_path: Path) -> None:
    first = install(tmp_path / "one", "a/model/x.gguf")
    install(tmp_path / "two", "a/model/x.gguf")
    second = install(tmp_path / "two", "b/model/x.gguf")
    found = Catalogue(tmp_path / "one", tmp_path / "none", [tmp_path / "two"]).scan()
    assert [(key, one.path) for key, one in found.items()] == [("a/model", first), ("b/model", second)]


def test_an_empty_file_is_no_model_and_is_told_once(tmp_path: Path) -> None:
    install(tmp_path, "a/model/x.gguf")
    empty = tmp_path / "a" / "model" / "y.gguf"
    empty.touch()
    models = Catalogue(tmp_path, tmp_path / "none")
    with capture_logs() as logs:
        assert [list(models.scan()), list(models.scan())] == [["a/model"], ["a/model"]]
    assert logs == [
        {"event": "model_file_ignored", "log_level": "warning", "path": str(empty), "reason": "it is empty"}
    ]


@pytest.mark.parametrize(("content", "sees"), [(projector(), True), (DEMO_FILE.read_bytes(), False), (b"no", False)])
def test_only_what_says_that_it_is_a_projector_lets_a_model_see(tmp_path: Path, content: bytes, *, sees: bool) -> None:
    file = install(tmp_path, "a/model/x.gguf").with_name("mmproj-x.gguf")
    file.write_bytes(content)
    (found,) = Catalogue(tmp_path, tmp_path / "none").scan().values()
    assert (found.model.vision, found.mmproj, found.mmproj_bytes) == (
        (True, file, len(content)) if sees else (False, None, 0)
    )


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = install(tmp_path, "a/model/x.gguf")
    reads: list[str] = []

    def counted(path: Path) -> GgufMetadata:
        reads.append(path.name)
        return read_gguf(path)

    monkeypatch.setattr(catalogue, "read_gguf", counted)
    models = Catalogue(tmp_path, tmp_path / "none")
    models.scan()
    models.scan()
    assert reads == ["x.gguf"]
    os.utime(file, ns=(1, 1))
    models.scan()
    assert reads == ["x.gguf", "x.gguf"]
    file.unlink()
    assert models.scan() == {}
