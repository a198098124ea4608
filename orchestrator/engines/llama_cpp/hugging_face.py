"""GGUF files from the Hugging Face hub, into the folders where the embedded engine finds them.

`huggingface_hub` knows the hub: its addresses, its headers, its tokens, its errors. Its own download functions are
not used: since version 2 an interrupted one begins anew, they run in threads that cannot be stopped while they wait
for the network, and they check sizes, not digests. So the bytes are read here, through its client, with a `Range`
for what is there already. `HF_ENDPOINT`, `HF_TOKEN` and the token that `hf auth login` keeps are its own to read.
"""

import errno
import logging
import shutil
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import httpx2
import structlog

from orchestrator.core.downloads import DownloadPlan, DownloadProgress, PlannedFile
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.engines.llama_cpp import part_file
from orchestrator.engines.llama_cpp.hub_failures import hub_error, transport_error
from orchestrator.engines.llama_cpp.hub_files import HubFile, HubLink, choose_files, parse_link
from orchestrator.engines.llama_cpp.part_file import PartFile

if TYPE_CHECKING:
    from huggingface_hub import HfApi

NAME: Final = "hugging_face"
RETRY_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""How long to wait after each attempt in a row that brought nothing; after the last of them it is a failure."""

SPARE_BYTES: Final = 256 * 1024 * 1024
"""What a download leaves free on the disk: a full one stops more than downloads."""

WRITE_BYTES: Final = 1024 * 1024
ANSWER_SECONDS: Final = 20.0
_TIMEOUT: Final = httpx2.Timeout(30.0, connect=10.0)
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

log = structlog.stdlib.get_logger(__name__)


def free_bytes_at(folder: Path) -> int:
    """What is free on the disk that `folder` is, or will be, on."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


class HuggingFaceDownloader:
    """`Downloader` into `models_dir`. `endpoint` and `token` None are the library's, from the environment."""

    def __init__(
        self,
        models_dir: Path,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        free_bytes: Callable[[Path], int] = free_bytes_at,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
    ) -> None:
        self.name = NAME
        self.forms = "a Hugging Face link (https://huggingface.co/<publisher>/<name>) to a repository of GGUF files"
        self._models_dir = models_dir
        self._endpoint = endpoint
        self._token = token
        self._free_bytes = free_bytes
        self._retry_seconds = tuple(retry_seconds)

    def takes(self, model: str, quantization: str | None) -> bool:
        """Links with a scheme. One without is also a name of Ollama's, unless a quantization is asked for."""
        link = parse_link(model)
        return link is not None and (link.has_scheme or quantization is not None)

    async def plan(self, model: str, quantization: str | None) -> DownloadPlan:
        link = parse_link(model)
        if link is None:
            raise OrchestratorError(ErrorKind.INVALID_VALUE, f'"{model}" is no link to the hub.', param="model")
        revision, found = await anyio.to_thread.run_sync(self._listed, link, abandon_on_cancel=True)
        files = tuple(_planned(file, link) for file in choose_files(found, link, quantization))
        plan = DownloadPlan(NAME, link.repository, revision, files)
        if await anyio.to_thread.run_sync(self._is_present, plan):
            return DownloadPlan(NAME, link.repository, revision, files, present=True)
        await anyio.to_thread.run_sync(self._check_space, plan)
        return plan

    async def fetch(self, plan: DownloadPlan, report: Callable[[DownloadProgress], None]) -> None:
        folder, parts = self._folders(plan)
        with _disk_failures(folder):
            await anyio.to_thread.run_sync(self._check_space, plan)
            missing = [file for file in plan.files if not await anyio.to_thread.run_sync(_is_placed, folder, file)]
            done = sum(file.size_bytes for file in plan.files) - sum(file.size_bytes for file in missing)
            async with _hub_session() as session:
                for file in missing:

                    def tell(there: int, before: int = done) -> None:
                        report(DownloadProgress(before + there, plan.total_size_bytes))

                    if not await anyio.to_thread.run_sync(part_file.is_whole, parts, file.sha256, file.size_bytes):
                        await self._fetch_file(session, plan, file, tell)
                    tell(file.size_bytes)
                    done += file.size_bytes
            # The first part of a split model is what makes it appear, so it goes last.
            for file in reversed(missing):
                await anyio.to_thread.run_sync(part_file.place, parts, file.sha256, folder / file.name)

    async def discard(self, plan: DownloadPlan) -> None:
        folder, parts = self._folders(plan)

        def remove() -> None:
            for file in plan.files:
                part_file.discard(parts, file.sha256)
            for empty in (parts, folder, folder.parent):
                try:
                    empty.rmdir()
                except OSError:  # something is in it
                    return

        await anyio.to_thread.run_sync(remove)

    # ---- the hub ------------------------------------------------------------------------------

    def _listed(self, link: HubLink) -> tuple[str, list[HubFile]]:
        """The commit and its files. Blocks on the network."""
        api = self._api()
        with self._hub_failures(link.repository):
            info = api.model_info(link.repository, revision=link.revision, files_metadata=True, timeout=ANSWER_SECONDS)
            if info.gated:  # its listing is open to all, its files are not
                api.auth_check(link.repository)
        files = [
            HubFile(sibling.rfilename, sibling.size or 0, None if sibling.lfs is None else sibling.lfs.sha256)
            for sibling in info.siblings or ()
        ]
        return info.sha or link.revision or "main", files

    async def _fetch_file(
        self, session: httpx2.AsyncClient, plan: DownloadPlan, file: PlannedFile, tell: Callable[[int], None]
    ) -> None:
        """Bring one file to its end, over as many connections as it takes."""
        _, parts = self._folders(plan)
        async with PartFile(parts, file.sha256, file.size_bytes) as part:
            tell(part.length)
            failures = 0
            while part.length < file.size_bytes:
                before = part.length
                problem = await self._read_on(session, plan, file, part, tell)
                failures = 0 if part.length > before else failures + 1
                if problem is None:
                    continue
                if failures > len(self._retry_seconds):
                    raise problem
                pause = self._retry_seconds[max(0, failures - 1)] if self._retry_seconds else 0
                log.info("a download broke off and goes on", path=file.path, at=part.length, reason=str(problem))
                await anyio.sleep(pause)
            await part.complete()

    async def _read_on(
        self,
        session: httpx2.AsyncClient,
        plan: DownloadPlan,
        file: PlannedFile,
        part: PartFile,
        tell: Callable[[int], None],
    ) -> OrchestratorError | None:
        """Read from where the part ends, over one connection; returns what cut it short and may pass."""
        api = self._api()
        headers = {**_api_headers(api), "Accept-Encoding": "identity"}
        if part.length:
            headers["Range"] = f"bytes={part.length}-"
        url = _file_url(api, plan, file)
        try:
            async with session.stream("GET", url, headers=headers, timeout=_TIMEOUT) as response:
                if response.status_code in _PASSING:
                    return transport_error(api.endpoint, f"answered with status {response.status_code}")
                if response.status_code == 416 or (part.length and not _goes_on(response, part.length)):
                    await part.begin_anew()  # the server has another beginning, or none to go on from
                    if response.status_code != 200:
                        return transport_error(api.endpoint, "does not go on where the file ends")
                with self._hub_failures(plan.reference):
                    _raise_for_status(response)
                await _append_all(response, part, tell)
        except httpx2.TransportError as error:
            return transport_error(api.endpoint, f"broke the connection off ({type(error).__name__})")
        if part.length < file.size_bytes:
            return transport_error(api.endpoint, "ended the file before its end")
        return None

    def _api(self) -> "HfApi":
        from huggingface_hub import HfApi  # its import costs a tenth of a second, which only downloads should

        # It writes to standard error by itself; what it says goes the way of all other lines.
        logging.getLogger("huggingface_hub").handlers.clear()
        return HfApi(endpoint=self._endpoint, token=self._token)

    @contextmanager
    def _hub_failures(self, repository: str) -> Generator[None]:
        try:
            yield
        except (httpx2.HTTPError, ConnectionError, ValueError) as error:
            raise hub_error(error, repository, self._api().endpoint) from error

    # ---- the disk -----------------------------------------------------------------------------

    def _folders(self, plan: DownloadPlan) -> tuple[Path, Path]:
        """Where the files go, and where they grow."""
        folder = self._models_dir / plan.reference
        return folder, folder / part_file.FOLDER

    def _is_present(self, plan: DownloadPlan) -> bool:
        folder, _ = self._folders(plan)
        return all(_is_placed(folder, file) for file in plan.files)

    def _check_space(self, plan: DownloadPlan) -> None:
        folder, parts = self._folders(plan)
        needed = sum(
            file.size_bytes - part_file.bytes_there(parts, file.sha256, file.size_bytes)
            for file in plan.files
            if not _is_placed(folder, file)
        )
        free = self._free_bytes(folder)
        if needed and needed + SPARE_BYTES > free:
            message = (
                f"{plan.reference} needs {_gib(needed)} more, and {_gib(SPARE_BYTES)} to spare; "
                f"{_gib(free)} are free at {self._models_dir}."
            )
            raise OrchestratorError(ErrorKind.INSUFFICIENT_STORAGE, message)


async def _append_all(response: httpx2.Response, part: PartFile, tell: Callable[[int], None]) -> None:
    """Write the body in pieces of some size; what came before the connection broke is kept as well."""
    waiting = bytearray()
    try:
        async for data in response.aiter_bytes():
            waiting += data
            if len(waiting) >= WRITE_BYTES:
                await part.append(bytes(waiting))
                waiting.clear()
                tell(part.length)
                if part.length > part.size:
                    return
    finally:
        if waiting:
            with anyio.CancelScope(shield=True):
                await part.append(bytes(waiting))
    tell(part.length)


def _goes_on(response: httpx2.Response, start: int) -> bool:
    if response.status_code != 206:
        return response.status_code >= 400  # an error, which says nothing about the file
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _is_placed(folder: Path, file: PlannedFile) -> bool:
    return part_file.is_placed(folder / part_file.FOLDER, file.sha256, file.size_bytes, folder / file.name)


def _planned(file: HubFile, link: HubLink) -> PlannedFile:
    if file.sha256 is None:
        message = f"The hub tells no SHA-256 of {link.repository}/{file.path}: what comes could not be checked."
        raise OrchestratorError(ErrorKind.ENGINE_ERROR, message)
    return PlannedFile(file.path, file.name, file.size_bytes, file.sha256)


@asynccontextmanager
async def _hub_session() -> AsyncGenerator[httpx2.AsyncClient]:
    from huggingface_hub import get_async_session

    async with get_async_session() as session:
        yield session


def _raise_for_status(response: httpx2.Response) -> None:
    from huggingface_hub import hf_raise_for_status

    hf_raise_for_status(response)


def _api_headers(api: "HfApi") -> dict[str, str]:
    """The headers of a request to the hub, the token among them: for sending, never for showing."""
    from huggingface_hub import utils

    return utils.build_hf_headers(token=api.token)  # pyright: ignore[reportUnknownMemberType] - a bare dict in a parameter


def _file_url(api: "HfApi", plan: DownloadPlan, file: PlannedFile) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(plan.reference, file.path, revision=plan.revision, endpoint=api.endpoint)


@contextmanager
def _disk_failures(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"The disk that {folder} is on became full."
            raise OrchestratorError(ErrorKind.INSUFFICIENT_STORAGE, message) from error
        message = f"{folder} cannot be written: {error.strerror or type(error).__name__}."
        raise OrchestratorError(ErrorKind.ENGINE_ERROR, message) from error


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
