"""The web page: ``GET /`` and the files it is made of, which lie in the folder ``page``.

All addresses in them are relative, so that the page works behind a proxy under any path.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from toolkit.serving.service_errors import NotFoundError

FOLDER = Path(__file__).with_name("page")
INDEX = "index.html"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# The page loads and tells nothing but what this service serves; blob: is the audio that the user chose.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # kept, and asked for by its tag each time: a new version shows at once
}

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page."""
    return _answer(request, INDEX)


@router.api_route("/static/{name}", methods=["GET", "HEAD"])
async def static(request: Request, name: str) -> Response:
    """A style sheet, a script or a picture of the page."""
    return _answer(request, name)


@dataclass(frozen=True)
class Asset:
    """A file of the page, and the tag that changes when it does."""

    content: bytes
    media_type: str
    tag: str


@cache
def assets() -> dict[str, Asset]:
    """All files of the page by their names, read once."""
    found = {}
    for file in FOLDER.iterdir():
        if file.suffix in MEDIA_TYPES:
            content = file.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[file.name] = Asset(content, MEDIA_TYPES[file.suffix], tag)
    return found


def _answer(request: Request, name: str) -> Response:
    """The file, or 304 where the browser has it."""
    asset = assets().get(name)
    if asset is None:
        raise NotFoundError(f"{name!r}: there is no such file")
    headers = HEADERS | {"ETag": asset.tag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if asset.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)
