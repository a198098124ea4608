"""`/schema`: the OpenAPI document, and a page that shows it without asking anybody else for anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
from litestar import get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from orchestrator.api.openapi import openapi_document

_STATIC: Final = Path(__file__).with_name("static")
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page, by its path under `static/`."""

    path: str
    media_type: str


ASSETS: Final[Mapping[str, Asset]] = {
    "swagger-ui-bundle.js": Asset("swagger-ui/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": Asset("swagger-ui/swagger-ui.css", "text/css"),
    "page.js": Asset("page.js", "text/javascript"),
    "page.css": Asset("page.css", "text/css"),
}


def schema_routes() -> list[HTTPRouteHandler]:
    """The page, its files and the document."""

    @get("/schema")
    async def page() -> ASGIResponse:
        return ASGIResponse(
            body=_read("page.html"), media_type="text/html", headers={"Content-Security-Policy": _POLICY}
        )

    @get("/schema/openapi.json")
    async def document() -> ASGIResponse:
        return ASGIResponse(body=_document_text(), media_type="application/json")

    @get("/schema/{asset:str}")
    async def file(asset: FromPath[str]) -> ASGIResponse:
        known = ASSETS.get(asset)
        if known is None:
            raise NotFoundException
        headers = {"Cache-Control": "public, max-age=3600"}
        return ASGIResponse(body=_read(known.path), media_type=known.media_type, headers=headers)

    return [page, document, file]


@lru_cache
def _read(path: str) -> bytes:
    return (_STATIC / path).read_bytes()


@lru_cache(maxsize=1)
def _document_text() -> bytes:
    return msgspec.json.encode(openapi_document())
