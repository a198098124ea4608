"""Downloads from a hub that cuts, lies, refuses and hangs: what is placed is whole and right, or not there."""

import hashlib
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.core.downloads import DownloadPlan, DownloadProgress
from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError
from orchestrator.engines.llama_cpp.catalogue import BUNDLED, Catalogue
from orchestrator.engines.llama_cpp.hugging_face import HuggingFaceDownloader
from tests.engines.hub import COMMIT, PIECE, Hub, running_hub

pytestmark = pytest.mark.anyio

DEMO = (BUNDLED / "demo" / "tiny-tools" / "tiny-tools-q8_0.gguf").read_bytes()
LINK = "https://huggingface.co/ada/tiny-GGUF"
TOKEN = "hf_averysecrettoken"


@pytest.fixture
def hub() -> Generator[Hub]:
    with running_hub() as hub:
        hub.files["ada/tiny-GGUF"] = {"README.md": b"#", "tiny-Q8_0.gguf": DEMO, "tiny-F16.gguf": b"GGUF, larger"}
        yield hub


def downloader(hub: Hub, models_dir: Path, **options: Any) -> HuggingFaceDownloader:
    options.setdefault("retry_seconds", (0, 0))
    return HuggingFaceDownloader(models_dir, endpoint=hub.url, **options)


def ignore(_: DownloadProgress) -> None:
    pass


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def everything_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def failure(work: Callable[[], Any]) -> ErrorInfo:
    with pytest.raises(OrchestratorError) as caught:
        await work()
    return caught.value.info


async def test_a_file_is_fetched_checked_and_placed_where_the_engine_finds_it(hub: Hub, tmp_path: Path) -> None:
    fetching, told = downloader(hub, tmp_path), list[DownloadProgress]()
    plan = await fetching.plan(LINK, "q8_0")
    assert (plan.reference, plan.revision, plan.total_size_bytes) == ("ada/tiny-GGUF", COMMIT, len(DEMO))
    await fetching.fetch(plan, told.append)
    assert (tmp_path / "ada" / "tiny-GGUF" / "tiny-Q8_0.gguf").read_bytes() == DEMO
    assert list(Catalogue(tmp_path, bundled=tmp_path / "none").scan()) == ["ada/tiny-GGUF"]
    counts = [progress.downloaded_bytes for progress in told]
    assert counts == sorted(counts)
    assert (counts[0], told[-1]) == (0, DownloadProgress(len(DEMO), len(DEMO)))
    again = await fetching.plan(LINK, "Q8_0")
    assert again == DownloadPlan(plan.source, plan.reference, plan.revision, plan.files, present=True)


async def test_a_file_that_the_hub_has_changed_since_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    fetching = downloader(hub, tmp_path)
    await fetching.fetch(await fetching.plan(LINK, "Q8_0"), ignore)
    newer = DEMO[:-1] + bytes([DEMO[-1] ^ 1])
    hub.files["ada/tiny-GGUF"]["tiny-Q8_0.gguf"] = newer
    plan = await fetching.plan(LINK, "Q8_0")
    assert not plan.present
    await fetching.fetch(plan, ignore)
    assert (tmp_path / "ada" / "tiny-GGUF" / "tiny-Q8_0.gguf").read_bytes() == newer


async def test_a_connection_that_is_cut_is_made_again_from_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    fetching = downloader(hub, tmp_path, retry_seconds=())
    hub.cut = [5 * PIECE, 3 * PIECE]
    await fetching.fetch(await fetching.plan(LINK, "Q8_0"), ignore)
    assert hub.ranges == [None, f"bytes={5 * PIECE}-", f"bytes={8 * PIECE}-"]
    assert files_in(tmp_path / "ada" / "tiny-GGUF") == [".downloads/tiny-Q8_0.gguf.sha256", "tiny-Q8_0.gguf"]


async def test_a_server_that_knows_no_ranges_is_read_from_the_beginning(hub: Hub, tmp_path: Path) -> None:
    fetching = downloader(hub, tmp_path, retry_seconds=())
    hub.cut, hub.ignores_ranges = [5 * PIECE], True
    await fetching.fetch(await fetching.plan(LINK, "Q8_0"), ignore)
    assert hub.ranges == [None, f"bytes={5 * PIECE}-"]
    assert (tmp_path / "ada" / "tiny-GGUF" / "tiny-Q8_0.gguf").read_bytes() == DEMO


async def test_a_hub_that_keeps_cutting_is_given_up_and_what_came_is_kept(hub: Hub, tmp_path: Path) -> None:
    fetching = downloader(hub, tmp_path, retry_seconds=(0, 0))
    plan = await fetching.plan(LINK, "Q8_0")
    hub.cut = [PIECE, 0, 0, 0]
    told = await failure(lambda: fetching.fetch(plan, ignore))
    assert told.kind is ErrorKind.ENGINE_UNAVAILABLE
    assert hub.url in told.message
    part = tmp_path / "ada" / "tiny-GGUF" / ".downloads" / f"{plan.files[0].sha256}.part"
    assert part.read_bytes() == DEMO[:PIECE]
    await fetching.fetch(plan, ignore)
    assert hub.ranges == [None, *[f"bytes={PIECE}-"] * 4]


async def test_what_is_not_what_was_promised_is_removed(hub: Hub, tmp_path: Path) -> None:
    hub.digests["tiny-Q8_0.gguf"] = hashlib.sha256(b"something else").hexdigest()
    fetching = downloader(hub, tmp_path)
    plan = await fetching.plan(LINK, "Q8_0")
    told = await failure(lambda: fetching.fetch(plan, ignore))
    assert told.kind is ErrorKind.ENGINE_ERROR
    assert "SHA-256" in told.message
    assert files_in(tmp_path) == []


async def test_a_file_without_a_digest_is_refused_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.digests["tiny-Q8_0.gguf"] = None
    told = await failure(lambda: downloader(hub, tmp_path).plan(LINK, "Q8_0"))
    assert told.kind is ErrorKind.ENGINE_ERROR
    assert hub.ranges == []


async def test_a_disk_without_room_is_told_before_the_first_byte_and_before_going_on(hub: Hub, tmp_path: Path) -> None:
    def little(_: Path) -> int:
        return len(DEMO)

    full = downloader(hub, tmp_path, free_bytes=little)
    told = await failure(lambda: full.plan(LINK, "Q8_0"))
    assert told == ErrorInfo(
        ErrorKind.INSUFFICIENT_STORAGE,
        f"ada/tiny-GGUF needs 0.0 GiB more, and 0.2 GiB to spare; 0.0 GiB are free at {tmp_path}.",
    )
    plan = await downloader(hub, tmp_path).plan(LINK, "Q8_0")
    assert (await failure(lambda: full.fetch(plan, ignore))).kind is ErrorKind.INSUFFICIENT_STORAGE
    assert (hub.ranges, files_in(tmp_path)) == ([], [])


async def test_a_disk_that_becomes_full_while_writing_is_told_as_such(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching = downloader(hub, tmp_path)
    plan = await fetching.plan(LINK, "Q8_0")

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    told = await failure(lambda: fetching.fetch(plan, ignore))
    monkeypatch.undo()
    assert told.kind is ErrorKind.INSUFFICIENT_STORAGE


@pytest.mark.parametrize(
    ("model", "kind", "param"),
    [
        ("https://huggingface.co/ada/nothing", ErrorKind.UNKNOWN_MODEL, "model"),
        (f"{LINK}/tree/nowhere", ErrorKind.UNKNOWN_MODEL, "model"),
        (f"{LINK}/blob/main/other.gguf", ErrorKind.INVALID_VALUE, "model"),
    ],
)
async def test_what_the_hub_does_not_have_is_unknown(
    hub: Hub, tmp_path: Path, model: str, kind: ErrorKind, param: str
) -> None:
    told = await failure(lambda: downloader(hub, tmp_path).plan(model, None))
    assert (told.kind, told.param) == (kind, param)


async def test_a_gated_repository_needs_a_token_which_is_never_told(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    hub.gated, hub.readers = {"ada/tiny-GGUF"}, {TOKEN}
    others = [downloader(hub, tmp_path, token=token) for token in ("hf_somebodyelses", None)]
    told = [await failure(lambda other=other: other.plan(LINK, "Q8_0")) for other in others]
    assert {(info.kind, info.param) for info in told} == {(ErrorKind.PERMISSION_DENIED, "model")}
    assert "gated" in told[0].message and "HF_TOKEN" in told[0].message
    fetching = downloader(hub, tmp_path, token=TOKEN)
    await fetching.fetch(await fetching.plan(LINK, "Q8_0"), ignore)
    assert f"Bearer {TOKEN}" in hub.tokens
    assert "hf_" not in "".join(info.message for info in told) + caplog.text


async def test_bytes_that_are_on_another_host_are_asked_for_there_without_the_token(hub: Hub, tmp_path: Path) -> None:
    fetching = downloader(hub, tmp_path, token=TOKEN, retry_seconds=())
    hub.elsewhere, hub.cut = True, [5 * PIECE]
    await fetching.fetch(await fetching.plan(LINK, "Q8_0"), ignore)
    assert (hub.tokens, hub.tokens_elsewhere) == ({f"Bearer {TOKEN}"}, {None})
    assert hub.ranges == [None, f"bytes={5 * PIECE}-"]
    assert (tmp_path / "ada" / "tiny-GGUF" / "tiny-Q8_0.gguf").read_bytes() == DEMO


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, ErrorKind.PERMISSION_DENIED),
        (403, ErrorKind.PERMISSION_DENIED),
        (404, ErrorKind.UNKNOWN_MODEL),
        (429, ErrorKind.ENGINE_UNAVAILABLE),
        (500, ErrorKind.ENGINE_UNAVAILABLE),
        (418, ErrorKind.ENGINE_ERROR),
    ],
)
async def test_a_file_that_is_refused_says_why(hub: Hub, tmp_path: Path, status: int, kind: ErrorKind) -> None:
    fetching = downloader(hub, tmp_path)
    plan = await fetching.plan(LINK, "Q8_0")
    hub.file_status = status
    assert (await failure(lambda: fetching.fetch(plan, ignore))).kind is kind


async def test_a_hub_that_is_not_there_is_named_without_credentials(tmp_path: Path) -> None:
    fetching = HuggingFaceDownloader(tmp_path, endpoint="http://ada:secret@127.0.0.1:9")
    told = await failure(lambda: fetching.plan(LINK, None))
    assert told.kind is ErrorKind.ENGINE_UNAVAILABLE
    assert told.message.startswith("http://127.0.0.1:9 cannot be reached")


async def test_a_cancelled_fetch_stops_at_once_and_the_next_one_goes_on(hub: Hub, tmp_path: Path) -> None:
    fetching = downloader(hub, tmp_path)
    plan, begun = await fetching.plan(LINK, "Q8_0"), 0.0
    hub.hold_at = 20 * PIECE
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fetching.fetch, plan, ignore)
        assert await anyio.to_thread.run_sync(hub.holding.wait, 10)
        begun = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert anyio.current_time() - begun < 1
    part = tmp_path / "ada" / "tiny-GGUF" / ".downloads" / f"{plan.files[0].sha256}.part"
    kept = part.stat().st_size
    assert 0 < kept <= 20 * PIECE
    hub.hold_at = None
    told = list[DownloadProgress]()
    await fetching.fetch(plan, told.append)
    assert (told[0].downloaded_bytes, hub.ranges[-1]) == (kept, f"bytes={kept}-")
    assert (tmp_path / "ada" / "tiny-GGUF" / "tiny-Q8_0.gguf").read_bytes() == DEMO


async def test_what_a_cancelled_download_left_is_discarded_with_its_empty_folders(hub: Hub, tmp_path: Path) -> None:
    fetching = downloader(hub, tmp_path, retry_seconds=())
    plan = await fetching.plan(LINK, "Q8_0")
    hub.cut = [PIECE, 0]
    await failure(lambda: fetching.fetch(plan, ignore))
    assert len(files_in(tmp_path)) == 1
    await fetching.discard(plan)
    assert not everything_in(tmp_path)


async def test_two_at_once_do_not_write_into_the_same_part(hub: Hub, tmp_path: Path) -> None:
    plan = await downloader(hub, tmp_path).plan(LINK, "Q8_0")
    hub.hold_at = 4 * PIECE
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(downloader(hub, tmp_path).fetch, plan, ignore)
        assert await anyio.to_thread.run_sync(hub.holding.wait, 10)
        told = await failure(lambda: downloader(hub, tmp_path).fetch(plan, ignore))
        assert told.kind is ErrorKind.ENGINE_ERROR and "already" in told.message
        await downloader(hub, tmp_path).discard(plan)
        hub.go_on.set()
    assert (tmp_path / "ada" / "tiny-GGUF" / "tiny-Q8_0.gguf").read_bytes() == DEMO


async def test_a_split_model_comes_whole_with_its_projector_and_appears_last(hub: Hub, tmp_path: Path) -> None:
    third = len(DEMO) // 3
    parts = {f"Q8_0/big-Q8_0-0000{n + 1}-of-00003.gguf": DEMO[n * third : (n + 1) * third] for n in range(3)}
    hub.files["ada/big"] = {**parts, "mmproj-F32.gguf": b"larger", "mmproj-F16.gguf": b"eye", "Q4_K_M.gguf": b"four"}
    fetching, told = downloader(hub, tmp_path, retry_seconds=()), list[DownloadProgress]()
    plan = await fetching.plan("hf.co/ada/big", "Q8_0")
    assert [file.path for file in plan.files] == [*parts, "mmproj-F16.gguf"]
    hub.cut = [10**9, 10**9, 5, 0]
    await failure(lambda: fetching.fetch(plan, told.append))
    assert [name for name in files_in(tmp_path / "ada" / "big") if name.endswith(".gguf")] == []
    before = len(hub.ranges)
    await fetching.fetch(plan, told.append)
    assert hub.ranges[before:] == ["bytes=5-", None]
    folder = tmp_path / "ada" / "big"
    assert b"".join((folder / path.rpartition("/")[2]).read_bytes() for path in parts) == DEMO[: 3 * third]
    assert (folder / "mmproj-F16.gguf").read_bytes() == b"eye"
    assert told[-1] == DownloadProgress(3 * third + 3, 3 * third + 3)
