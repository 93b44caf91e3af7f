"""Every failure is one sentence: as JSON for programs, as a page for people."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from darklens.errors import DarklensError, InputError
from darklens.serve.database import Unreachable
from darklens.serve.pages import page

GONE = 499
"""Status, as nginx counts it, of a request whose sender left; nobody reads the answer, the log and the measures do."""


class Busy(DarklensError):
    """More at once than the server takes; the text says when to come again."""


class TookTooLong(DarklensError):
    """Work that went over its time; the text says what to ask less of."""


class NothingUsed(InputError):
    """No file of a request could be used.

    Args:
        refused: name of each, and its sentence.
    """

    def __init__(self, refused: Sequence[dict[str, str]]) -> None:
        more = f" (and {len(refused) - 1} more that could not be used)" if len(refused) > 1 else ""
        super().__init__(f"{refused[0]['error']}{more}")
        self.refused = list(refused)


def add_answers(app: FastAPI) -> None:
    """Make an application answer every failure with one sentence."""

    @app.exception_handler(DarklensError)
    async def ours(request: Request, error: DarklensError) -> Response:
        about = {"refused": error.refused} if isinstance(error, NothingUsed) and len(error.refused) > 1 else {}
        return failure(request, _status(error), str(error), about=about)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return failure(request, 422, said_of(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return failure(request, error.status_code, _http_sentence(request, error), dict(error.headers or {}))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return failure(request, GONE, "the sender left before the request was whole: send it again")


def failure(
    request: Request, status: int, sentence: str, headers: dict[str, str] | None = None, about: dict[str, Any] | None = None
) -> Response:
    """Return a sentence as the answer, in the form that the request can read; programs are told what it is about as well."""
    headers = (headers or {}) | ({"retry-after": "1"} if status == 503 else {})
    if "text/html" in request.headers.get("accept", "") and request.method in ("GET", "HEAD"):
        answer = page(request, "failure.html", status=status, sentence=sentence)
        answer.status_code = status
        answer.headers.update(headers)
        return answer
    return JSONResponse({"error": sentence} | (about or {}), status, headers)


def said_of(errors: Sequence[Any]) -> str:
    """Return the first of what pydantic finds wrong as one sentence."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query")) or "the request"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    given = repr(first.get("input"))
    given = "" if first["type"] == "missing" or len(given) > 60 else f" is {given}:"
    return f"{where[:80]}{given or ':'} {first['msg'].lower()}{more}; see /interface for what is taken"


def _status(error: DarklensError) -> int:
    if isinstance(error, Busy | TookTooLong | Unreachable):
        return 503
    return 400 if isinstance(error, InputError) else 500


def _http_sentence(request: Request, error: HTTPException) -> str:
    if error.status_code == 404 and error.detail == "Not Found":
        return f"there is nothing at {request.url.path[:80]}: begin at /"
    if error.status_code == 405:
        return f"{request.method} is not for {request.url.path[:80]}: see /interface"
    standard = HTTPStatus(error.status_code).phrase
    return str(error.detail) if error.detail != standard else f"{standard.lower()}: see /interface"
