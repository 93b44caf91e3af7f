"""For those who run the server: is it alive, and what has it done?"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from darklens.serve.settings import VERSION

router = APIRouter(tags=["operations"])


@router.get("/healthz", response_class=PlainTextResponse)
def healthz() -> str:
    """Say that the server is there."""
    return f"ok darklens {VERSION}\n"


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Return counters in Prometheus' text format."""
    return Response(request.app.state.measures.text(), media_type=CONTENT_TYPE_LATEST)
