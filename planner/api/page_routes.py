"""The page and what it needs, all from this host."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from planner.api.answers import refused, takes_gzip

_PAGE = Path(__file__).parent / "page"
# Asked about each time, and then mostly answered by 304: after an upgrade nobody sees an old page.
_REVALIDATE = {"Cache-Control": "no-cache"}
_LEVEL = 6


class PageFiles(StaticFiles):
    """The folder `page`, with the header that keeps caches honest."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or 304 when the client has it."""
        response = await super().get_response(path, scope)
        response.headers.update(_REVALIDATE)
        return response


def add_page(app: FastAPI) -> None:
    """Serve the page at / and its files below /page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def index() -> Response:
        return FileResponse(_PAGE / "index.html", headers=_REVALIDATE)

    @router.get("/page/plotly.js")
    def plotly(request: Request) -> Response:
        library = _plotly()
        if library is None:
            raise refused(404, "plotly: is not installed, so there are no charts; install sla-planner[sim]")
        etag, packed = library
        headers = {**_REVALIDATE, "ETag": etag, "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        if takes_gzip(request):
            return Response(packed, media_type="text/javascript", headers={**headers, "Content-Encoding": "gzip"})
        return Response(gzip.decompress(packed), media_type="text/javascript", headers=headers)

    app.include_router(router)
    app.mount("/page", PageFiles(directory=_PAGE, check_dir=False))


@cache
def _plotly() -> tuple[str, bytes] | None:
    """The ETag and the compressed text of the library in the plotly package, which is found and not imported."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        return None
    script = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    if not script.is_file():
        return None
    packed = gzip.compress(script.read_bytes(), _LEVEL, mtime=0)
    return f'"{hashlib.sha256(packed).hexdigest()[:32]}"', packed
