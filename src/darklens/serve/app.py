"""The application: its rooms, each a router in a file of its own, behind one guard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

from darklens.serve import explaining, game, laboratory, operations, pages, prediction, vetting
from darklens.serve.answers import add_answers
from darklens.serve.explainers import Explainers
from darklens.serve.judges import Judges
from darklens.serve.measures import Measures, Measuring
from darklens.serve.security import Guard
from darklens.serve.settings import VERSION, Settings
from darklens.serve.work import Workshop

ROUTERS: tuple[APIRouter, ...] = (
    pages.router,
    laboratory.router,
    prediction.router,
    explaining.router,
    game.router,
    vetting.router,
    operations.router,
)
"""Adding a room is one router here; what it has to open and close goes into the router's `lifespan`."""


@asynccontextmanager
async def _open(app: FastAPI) -> AsyncIterator[None]:
    """Let go of the threads at the end."""
    yield
    app.state.workshop.close()
    app.state.judges.close()
    app.state.explainers.close()


def create_app(settings: Settings | None = None) -> FastAPI:
    """Put a server together.

    Args:
        settings: what to serve; every shipped run, to this machine, by default.

    Returns:
        An ASGI application; `app.state.settings` is what it was told.

    Raises:
        InputError: what is to be vetted, or its database, cannot be used.
    """
    settings = settings or Settings()
    app = FastAPI(
        title="darklens", version=VERSION, docs_url=None, redoc_url=None,
        summary="From images of strong gravitational lenses to statements about dark matter.", lifespan=_open,
    )  # fmt: skip
    app.state.settings = settings
    app.state.measures = Measures()
    app.state.workshop = Workshop(settings.limits, app.state.measures)
    app.state.judges = Judges(settings, app.state.measures)
    app.state.explainers = Explainers(settings.limits, app.state.measures)
    app.state.vetting = vetting.open_room(settings)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=pages.HERE / "static"))
    add_answers(app)
    app.add_middleware(Measuring, measures=app.state.measures)
    app.add_middleware(Guard, settings=settings)
    return app
