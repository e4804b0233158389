"""Answers as bytes: JSON that is compressed where the client takes it, and one line for every error.

Every error body is {"error": "field: value, remedy"}, whoever noticed it.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException as RoutingError
from starlette.responses import JSONResponse

from planner.api.schemas import Error
from planner.errors import UserError

_WORTH_COMPRESSING = 1024
_LEVEL = 1
"""Of gzip: a third of the time of its default for a tenth more bytes."""


async def compressed(
    request: Request, body: bytes, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The body, by gzip where the client takes it; large ones in a thread, so that others are served."""
    all_headers = {"Vary": "Accept-Encoding", **(headers or {})}
    if len(body) >= _WORTH_COMPRESSING and takes_gzip(request):
        body = await asyncio.to_thread(gzip.compress, body, _LEVEL)
        all_headers["Content-Encoding"] = "gzip"
    return Response(body, media_type=media_type, headers=all_headers)


def takes_gzip(request: Request) -> bool:
    """Whether the client said so."""
    offers = [offer.replace(" ", "") for offer in request.headers.get("accept-encoding", "").lower().split(",")]
    return any(offer == "gzip" or (offer.startswith("gzip;q=") and offer[7:].strip("0.")) for offer in offers)


async def json_answer(request: Request, body: bytes) -> Response:
    """JSON that is true now and not to be kept."""
    return await compressed(request, body, "application/json", {"Cache-Control": "no-store"})


def to_json(view: BaseModel) -> bytes:
    """The model's JSON."""
    return view.model_dump_json().encode()


def described(description: str) -> dict[str, Any]:
    """An error in the API's description: JSON, whatever the route's good answer is."""
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def refused(status: int, line: str, headers: Mapping[str, str] | None = None) -> HTTPException:
    """An error to raise; `line` names the field, the value and the remedy."""
    return HTTPException(status, line, dict(headers or {}))


def error_response(status: int, line: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error to send."""
    return JSONResponse(Error(error=line).model_dump(), status, dict(headers or {}))


def answer_errors(app: FastAPI) -> None:
    """Give every error of the app its one line."""
    app.add_exception_handler(RoutingError, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(Exception, _fault)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RoutingError)
    line = str(error.detail)
    if line == HTTPStatus(error.status_code).phrase:  # the router's own, which names nothing
        line = f"{request.method} {request.url.path[:200]}: {line}; the routes are in /openapi.json"
    elif error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI's, for a body of bytes that are no text
        line = "body: cannot be read; send JSON in UTF-8"
    return error_response(error.status_code, line, error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    # The first place says where the field stands: body, query or path.
    place = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    if first["type"] == "json_invalid":
        return error_response(422, f"body: is no JSON ({first['ctx']['error']}); send JSON")
    if first["type"] == "missing":
        return error_response(422, f"{place}: is missing; give it")
    if isinstance(first.get("input"), bytes):
        return error_response(422, "body: is not said to be JSON; send Content-Type: application/json")
    value = ascii(first.get("input"))
    shown = value if len(value) <= 80 else f"{value[:77]}..."
    return error_response(422, f"{place}: {shown} is refused: {first['msg']}")


async def _user_error(_: Request, error: Exception) -> Response:
    return error_response(409, str(error))


async def _fault(_: Request, error: Exception) -> Response:
    return error_response(500, f"the planner failed ({type(error).__name__}); its log says how")
