"""A Hugging Face hub on the loopback: the parts of its API that `huggingface_hub` uses, and its faults.

Shapes as https://huggingface.co/docs/hub/api and the headers of a resolve have them.
"""

import hashlib
import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40
PIECE = 64 * 1024


@dataclass
class Hub:
    """What the hub has, how it misbehaves, and what it was asked.

    `cut` are the bytes after which each of the next file requests is cut off; `hold_at` is where a file stops until
    `go_on` is set, and `holding` is set there. With `elsewhere` the bytes are on another host, as those of the real
    hub are. `ranges` are the `Range` headers of the file requests.
    """

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict[str, dict[str, bytes]])
    digests: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    gated: set[str] = field(default_factory=set[str])
    readers: set[str] = field(default_factory=set[str])
    cut: list[int] = field(default_factory=list[int])
    hold_at: int | None = None
    holding: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    ignores_ranges: bool = False
    elsewhere: bool = False
    file_status: int = 200
    listing_status: int = 200
    ranges: list[str | None] = field(default_factory=list[str | None])
    tokens: set[str | None] = field(default_factory=set[str | None])
    tokens_elsewhere: set[str | None] = field(default_factory=set[str | None])

    def digest(self, path: str, data: bytes) -> str | None:
        """What the hub says of a file, which need not be true."""
        return self.digests.get(path, hashlib.sha256(data).hexdigest())


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return cast(_Server, self.server).hub

    def do_GET(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        (hub.tokens_elsewhere if path.startswith("/cdn/") else hub.tokens).add(self.headers.get("Authorization"))
        if found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            self._send_file(hub.files[found[1]][found[2]], self.headers.get("Range"), found[2])
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(auth-check)|/revision/(.+))?", path):
            self._listing(found[1], found[2] is not None, found[3])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(found[1], found[2], found[3])
        else:
            self._fail(404)

    def _listing(self, repository: str, checks: bool, revision: str | None) -> None:
        hub = self.hub
        if hub.listing_status != 200:
            self._fail(hub.listing_status)
        elif repository not in hub.files:
            self._fail(401, "RepoNotFound")  # as the hub answers who has no token
        elif revision not in (None, "main", COMMIT):
            self._fail(404, "RevisionNotFound")
        elif checks and not self._may_read(repository):
            self._fail(403, "GatedRepo")
        else:
            self._answer(200, json.dumps(self._info(repository)).encode())

    def _info(self, repository: str) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = []
        for path, data in self.hub.files[repository].items():
            digest = self.hub.digest(path, data)
            lfs = None if digest is None else {"sha256": digest, "size": len(data), "pointerSize": 134}
            siblings.append({"rfilename": path, "size": len(data), "blobId": "b" * 40} | ({"lfs": lfs} if lfs else {}))
        gated = "manual" if repository in self.hub.gated else False
        return {"id": repository, "sha": COMMIT, "private": False, "gated": gated, "siblings": siblings, "tags": []}

    def _may_read(self, repository: str) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return repository not in self.hub.gated or token in self.hub.readers

    def _file(self, repository: str, revision: str, path: str) -> None:
        hub = self.hub
        data = hub.files.get(repository, {}).get(path)
        asked = self.headers.get("Range")
        hub.ranges.append(asked)
        if data is None or revision != COMMIT:
            self._fail(404, "EntryNotFound")
        elif not self._may_read(repository):
            self._fail(403, "GatedRepo")
        elif hub.file_status != 200:
            self._fail(hub.file_status)
        elif hub.elsewhere:
            self.send_response(302)
            self.send_header("Location", f"{hub.url.replace('127.0.0.1', 'localhost')}/cdn/{repository}/{path}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send_file(data, None if hub.ignores_ranges else asked, path)

    def _send_file(self, data: bytes, asked: str | None, path: str) -> None:
        hub, start = self.hub, 0
        if asked is not None:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", f'"{hub.digest(path, data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        end = start + hub.cut.pop(0) if hub.cut else len(data)
        for at in range(start, min(end, len(data)), PIECE):
            if hub.hold_at is not None and at >= hub.hold_at:
                hub.holding.set()
                hub.go_on.wait(30)
            self.wfile.write(data[at : min(at + PIECE, end)])
        self.close_connection = end < len(data)

    def _fail(self, status: int, code: str | None = None) -> None:
        self._answer(status, b'{"error":"no"}', code)

    def _answer(self, status: int, body: bytes, code: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code is not None:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.hub = hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some of the tests are about."""


@contextmanager
def running_hub() -> Generator[Hub]:
    """A hub that answers until the context is left."""
    hub = Hub()
    with _Server(hub) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            hub.go_on.set()
            server.shutdown()
            thread.join()
