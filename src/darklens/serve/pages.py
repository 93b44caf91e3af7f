"""The pages: a template for each, and the navigation that they share."""

from __future__ import annotations

import asyncio
import hmac
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from darklens.explain import METHODS
from darklens.serve.bench.cameras import CAMERAS
from darklens.serve.bench.parameters import GROUPS, KINDS, Bench, controls
from darklens.serve.security import COOKIE, session_of
from darklens.serve.settings import VERSION, Settings

HERE = Path(__file__).parent
NAVIGATION = (
    ("/", "Laboratory"),
    ("/guess", "Guess the class"),
    ("/predict", "Predict"),
    ("/vet", "Vetting room"),
    ("/interface", "API"),
)
"""Path and title of each page; that of the vetting room is shown where there is something to vet."""

router = APIRouter(include_in_schema=False)
_templates = Jinja2Templates(directory=HERE / "templates")
_templates.env.trim_blocks = _templates.env.lstrip_blocks = True


def page(request: Request, template: str, **content: Any) -> Response:
    """Return a page made of a template that extends `base.html`.

    Args:
        request: what is answered; the page that it is for is marked in the navigation.
        template: file in `templates/`.
        content: what the template needs.
    """
    settings: Settings = request.app.state.settings
    shown = [(path, title) for path, title in NAVIGATION if path != "/vet" or settings.vet is not None]
    common = {"navigation": shown, "here": request.url.path, "version": VERSION, "guarded": settings.token is not None}
    return _templates.TemplateResponse(request, template, common | content)


def _models(request: Request) -> list[dict[str, Any]]:
    return [network.described for network in request.app.state.judges.networks.values()]


@router.get("/")
def laboratory(request: Request) -> Response:
    """Show the laboratory."""
    bench = {"groups": GROUPS, "kinds": KINDS, "controls": controls(), "cameras": list(CAMERAS.values()), "defaults": Bench()}
    return page(request, "laboratory.html", models=_models(request), methods=METHODS, **bench)


@router.get("/guess")
def guess(request: Request) -> Response:
    """Show the game."""
    return page(request, "guess.html")


@router.get("/predict")
def predict(request: Request) -> Response:
    """Show the page for own images."""
    limits = request.app.state.settings.limits
    return page(request, "predict.html", limits=limits, models=_models(request), methods=METHODS)


@router.get("/interface")
def interface(request: Request) -> Response:
    """Show what the API takes and gives."""
    first = _models(request)[0]["name"]
    return page(request, "interface.html", limits=request.app.state.settings.limits, origin=str(request.base_url), first=first)


def _ours(wanted: str) -> str:
    """Return a page of this server with its query, or the first page for anything else: a login must lead to nobody else."""
    return wanted if wanted.partition("?")[0] in dict(NAVIGATION) else "/"


@router.get("/login")
def login(request: Request, to: str = "/") -> Response:
    """Ask for the token."""
    if request.app.state.settings.token is None:
        return RedirectResponse("/", 303)
    return page(request, "login.html", wrong=False, to=_ours(to))


@router.post("/login")
async def enter(request: Request, token: Annotated[str, Form(max_length=1000)], to: str = "/") -> Response:
    """Give the cookie to a visitor who knows the token, and lead to the page that was asked for."""
    wanted = request.app.state.settings.token
    if wanted is None or hmac.compare_digest(token.strip().encode(), wanted.encode()):
        answer: Response = RedirectResponse(_ours(to), 303)
        if wanted is not None:
            secure = request.url.scheme == "https"
            answer.set_cookie(COOKIE, session_of(wanted), httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
        return answer
    await asyncio.sleep(1)  # guessing takes time
    answer = page(request, "login.html", wrong=True, to=_ours(to))
    answer.status_code = 403
    return answer
