"""``/ui/``: the built interface. Files with a hash in their name are kept by browsers for ever, the page never."""

import gzip
import mimetypes
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

STATIC: Final = Path(__file__).parent / "static"

_MISSING: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Relevo</title>
<h1>The interface is not built</h1><p>Run <code>make setup</code> in the project's folder, or install a released
wheel. The API works: see <a href="/openapi.json">/openapi.json</a>.</p></html>"""

_COMPRESSIBLE: Final = ("text/", "application/javascript", "application/json", "application/wasm", "image/svg+xml")

# ticket -> redirection that signs its holder in, or None
Redeem = Callable[[Request, str], Awaitable[Response | None]]


class _File(NamedTuple):
    data: bytes
    packed: bytes | None
    media_type: str


@lru_cache(maxsize=256)
def _load(path: Path, changed_ns: int) -> _File:
    data = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    packed = gzip.compress(data, 9, mtime=0) if media_type.startswith(_COMPRESSIBLE) else None
    return _File(data, packed, media_type)


def _respond(request: Request, path: Path) -> Response:
    file = _load(path, path.stat().st_mtime_ns)
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if path.parent.name == "assets" else "no-cache",
        "Vary": "Accept-Encoding",
    }
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.packed, headers=headers, media_type=file.media_type)
    return Response(file.data, headers=headers, media_type=file.media_type)


def routes(redeem: Redeem, static: Path = STATIC) -> list[Route]:
    """The interface's routes. ``redeem`` turns a one-time sign-in ticket into a signed-in answer."""
    root = static.resolve()

    async def page(request: Request) -> Response:
        try:
            wanted = (root / request.path_params.get("path", "")).resolve()
            found = wanted.is_file()
        except (OSError, ValueError):
            return Response("not found", 404, media_type="text/plain")
        if found and wanted.is_relative_to(root):
            return _respond(request, wanted)
        index = root / "index.html"
        if not index.is_file():
            return HTMLResponse(_MISSING, 503)
        # Browser routes live in the page itself; a missing file is a missing file.
        if wanted.parent.name in ("assets", "vendor"):
            return Response("not found", 404, media_type="text/plain")
        return _respond(request, index)

    async def enter(request: Request) -> Response:
        return await redeem(request, request.path_params["ticket"]) or RedirectResponse("/ui/signin", 302)

    async def bare(request: Request) -> Response:
        return RedirectResponse("/ui/", 302)

    return [
        Route("/ui", bare, methods=["GET"]),
        Route("/ui/enter/{ticket}", enter, methods=["GET"]),
        Route("/ui/", page, methods=["GET"]),
        Route("/ui/{path:path}", page, methods=["GET"]),
    ]
