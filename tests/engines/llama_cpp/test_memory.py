"""What is left of the memory, and what a load takes of it."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.core.models import LoadSettings
from orchestrator.engines.llama_cpp.catalogue import BUNDLED, Catalogue, InstalledModel
from orchestrator.engines.llama_cpp.load_plan import LoadPlan
from orchestrator.engines.llama_cpp.memory import PROCESS_BYTES, available_bytes, check_memory, needed_bytes
from tests.engines.llama_cpp.conftest import DEMO_FILE, OpenBench

GIB: Final = 2**30
PLAN: Final = LoadPlan(2048, 256, 4, None, None, False)
DEMO: Final = Catalogue(None, BUNDLED).scan()["demo/tiny-tools"]


def system(tmp_path: Path, meminfo: str, cgroup: str, groups: dict[str, str]) -> int | None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(meminfo)
    (proc / "self" / "cgroup").write_text(cgroup)
    for name, content in groups.items():
        file = cgroups / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return available_bytes(proc, cgroups)


def test_what_the_system_has_left_is_available(tmp_path: Path) -> None:
    assert system(tmp_path, "MemTotal: 9 kB\nMemAvailable:   1024 kB\n", "0::/\n", {}) == 2**20


def test_the_tightest_of_our_control_groups_counts(tmp_path: Path) -> None:
    groups = {
        "memory.max": "max\n",
        "a/memory.max": str(3 * GIB),
        "a/memory.current": str(2 * GIB),
        "a/memory.stat": f"anon 1\ninactive_file {GIB // 2}\n",
        "a/b/memory.max": str(9 * GIB),
        "a/b/memory.current": "0",
    }
    assert system(tmp_path, f"MemAvailable: {8 * 2**20} kB\n", "0::/a/b\n", groups) == GIB + GIB // 2


def test_the_older_control_groups_are_read_too(tmp_path: Path) -> None:
    groups = {
        "memory/x/memory.limit_in_bytes": str(2 * GIB),
        "memory/x/memory.usage_in_bytes": str(GIB),
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "memory/memory.usage_in_bytes": "1",
    }
    assert system(tmp_path, "", "5:cpu:/y\n4:memory:/x\n", groups) == GIB


def test_a_system_that_tells_nothing_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_bytes(tmp_path / "none", tmp_path / "none") is None
    monkeypatch.setattr("orchestrator.engines.llama_cpp.memory.available_bytes", lambda: None)
    check_memory(DEMO, replace(PLAN, context_length=10**12), 0)


def test_the_need_is_files_cache_and_room_to_compute() -> None:
    cache, compute = 3072 * 2048 * 4, 256 * 1536 * 4
    assert needed_bytes(DEMO, PLAN) == DEMO_FILE.stat().st_size + cache + compute + PROCESS_BYTES


def test_a_load_that_does_not_fit_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    large = replace(DEMO, model=replace(DEMO.model, size_bytes=8 * GIB))
    monkeypatch.setattr("orchestrator.engines.llama_cpp.memory.available_bytes", lambda: 6 * GIB)
    check_memory(large, PLAN, 3 * GIB)
    with pytest.raises(OrchestratorError) as caught:
        check_memory(large, PLAN, GIB)
    message = (
        "demo/tiny-tools with 4 x 2048 tokens of context needs about 8.1 GiB, and 7.0 GiB of memory are available."
    )
    assert caught.value.info == ErrorInfo(ErrorKind.INSUFFICIENT_RESOURCES, message)


@pytest.mark.anyio
async def test_what_is_given_up_counts_as_available(bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as it:
        await it.load()
        needed = needed_bytes(DEMO, PLAN)

        def room() -> int:
            return needed // 2

        monkeypatch.setattr("orchestrator.engines.llama_cpp.memory.available_bytes", room)
        beside_it = await it.engine.check_fit(it.model, LoadSettings(), ["an-instance", "no-such-instance"])
        assert not beside_it, "the other one has to go first"
        with pytest.raises(OrchestratorError) as caught:
            await it.engine.check_fit(it.model, LoadSettings(), [])
        assert caught.value.info.kind == ErrorKind.INSUFFICIENT_RESOURCES


@pytest.mark.anyio
async def test_nothing_has_to_go_where_there_is_room_for_both_and_nothing_goes_for_a_file_that_cannot_be_read(
    bench: OpenBench, monkeypatch: pytest.MonkeyPatch, demo_folder: Path
) -> None:
    broken = demo_folder / "someone" / "cut"
    broken.mkdir()
    (broken / "cut.gguf").write_bytes(DEMO_FILE.read_bytes()[: 2**20])
    async with bench(demo_folder, "someone/cut") as it:
        there = 64 * GIB
        monkeypatch.setattr("orchestrator.engines.llama_cpp.memory.available_bytes", lambda: there)
        assert await it.engine.check_fit(it.model, LoadSettings(), ["another"])
        there = needed_bytes(InstalledModel(it.model, broken / "cut.gguf"), PLAN)
        with pytest.raises(
            OrchestratorError, match="someone/cut could not be loaded: its file cannot be read: cut short"
        ):
            await it.engine.check_fit(it.model, LoadSettings(), ["another"])
