"""The vetting room over HTTP: the page, pictures, decisions, who is at work, how far people agree, and everything as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from darklens.evaluate.agreement import agreement
from darklens.evaluate.composite import STRETCHES
from darklens.serve.ledger import LEASE, OLDEST, Word
from darklens.serve.pages import page
from darklens.serve.room import VettingRoom
from darklens.serve.settings import Settings

AT_ONCE = 100
"""Decisions of one request."""
Who = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^\w[^\x00-\x1f\x7f]*$")]


@asynccontextmanager
async def _while_open(app: FastAPI) -> AsyncIterator[None]:
    """Keep the sheet of decisions up to date as long as the server runs."""
    room: VettingRoom | None = getattr(app.state, "vetting", None)
    if room is not None:
        room.start()
    try:
        yield
    finally:
        if room is not None:
            room.close()


router = APIRouter(tags=["vetting"], lifespan=_while_open)


def open_room(settings: Settings) -> VettingRoom | None:
    """Open what a server was told to vet, None if it was told nothing.

    Raises:
        InputError: a list or a database that cannot be used.
    """
    if settings.vet is None:
        return None
    return VettingRoom.open(settings.vet, db=settings.db, images=settings.images, voters=settings.voters)


def _room(request: Request) -> VettingRoom:
    room: VettingRoom | None = getattr(request.app.state, "vetting", None)
    if room is None:
        raise HTTPException(404, "this server has nothing to vet: start it with darklens serve --vet SCORES")
    return room


Room = Annotated[VettingRoom, Depends(_room)]


class Said(BaseModel):
    """One decision."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=8, max_length=64, pattern=r"^[\w:-]+$", description="PAGE:NUMBER, another one for each decision.")
    candidate: str = Field(max_length=4096, description="Id of the image.")
    decision: str | None = Field(max_length=200, description="One of the answers; null takes the last one back.")
    age: float = Field(0.0, ge=0, le=OLDEST, description="Seconds since it was made.")


class Decisions(BaseModel):
    """Decisions of one person, in the order in which they were made."""

    model_config = ConfigDict(extra="forbid")

    who: Who
    decisions: list[Said] = Field(min_length=1, max_length=AT_ONCE)


class Next(BaseModel):
    """Somebody asks for work."""

    model_config = ConfigDict(extra="forbid")

    who: Who
    n: int = Field(8, ge=1, le=AT_ONCE)


@router.get("/vet", include_in_schema=False)
def vetting_page(request: Request, room: Room) -> Response:
    """Show the vetting room."""
    return page(request, "vetting.html", answers=room.listed.answers, title=room.listed.name)


@router.get("/api/vet")
def about(room: Room) -> dict[str, Any]:
    """Return what there is to vet: the images in order, what may be said of them, and how they can be shown."""
    listed = room.listed
    images = [
        {"id": c.id, "size": room.pictures.size(c.id), "missing": room.missing.get(c.id), **c.about} for c in listed.candidates
    ]
    return {
        "name": listed.name,
        "version": listed.version,
        "searched": listed.classes[-1],
        "answers": listed.answers,
        "views": room.pictures.views,
        "stretches": list(STRETCHES),
        "voters": room.voters,
        "lease_seconds": LEASE,
        "left_out": listed.left_out,
        "images": images,
    }


@router.get("/api/vet/images/{number}", response_class=Response)
def picture(
    room: Room,
    number: int,
    view: Annotated[str, Query(max_length=80)],
    stretch: Annotated[str, Query(max_length=20)] = "asinh",
    version: Annotated[str | None, Query(max_length=20, description="Of the list; a picture of another one is refused.")] = None,
) -> Response:
    """Return an image as PNG, one pixel each."""
    if version not in (None, room.listed.version):
        raise HTTPException(409, "the server has another list by now: reload the page")
    if not 0 <= number < len(room.ids) or (name := room.ids[number]) in room.missing:
        raise HTTPException(404, f"there is no picture {number}: give 0 to {len(room.ids) - 1}")
    keep = "private, max-age=86400, immutable" if version else "no-store"
    return Response(room.pictures.png(name, view, stretch), media_type="image/png", headers={"cache-control": keep})


@router.post("/api/vet/decisions")
def decide(room: Room, said: Decisions) -> dict[str, Any]:
    """Write decisions down; they are on the disk when this answers. A decision that is sent again is not entered again."""
    words = [Word(one.key, one.candidate, one.decision, one.age) for one in said.decisions]
    return {"kept": [{"key": k.key, "new": k.new, "decision": k.decision} for k in room.record(said.who, words)]}


@router.post("/api/vet/next")
def hand_out(room: Room, asked: Next) -> dict[str, Any]:
    """Hand out the images that somebody shall look at next; where people share the work they are held for a while."""
    return {"ids": room.next_for(asked.who, asked.n)}


@router.get("/api/vet/state")
def state(room: Room, who: Annotated[Who | None, Query()] = None) -> dict[str, Any]:
    """Return what somebody has said, and how many images each person has decided about."""
    votes = room.decisions()
    people: dict[str, int] = {}
    for vote in votes:
        people[vote.who] = people.get(vote.who, 0) + 1
    mine = {vote.id: vote.decision for vote in votes if vote.who == who}
    return {"mine": mine, "people": people, "decided": len({vote.id for vote in votes})}


@router.get("/api/vet/agreement")
def agree(room: Room) -> dict[str, Any]:
    """Return how far people agree: Fleiss' kappa of all, Cohen's of each pair, with 95% intervals."""
    return agreement(room.decisions(), room.listed.answers)


@router.get("/api/vet/export", response_class=Response)
def export(
    room: Room,
    what: Annotated[Literal["decisions", "history", "verdicts"], Query()] = "decisions",
    form: Annotated[Literal["csv", "parquet"], Query(alias="format")] = "csv",
) -> Response:
    """Return the last words (as darklens active learn reads them), everything ever said, or a verdict for each image."""
    columns, rows = _rows(room, what)
    content = _csv(columns, rows) if form == "csv" else _parquet(columns, rows)
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/vnd.apache.parquet"
    return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{what}.{form}"'})


def _rows(room: VettingRoom, what: str) -> tuple[list[str], list[tuple]]:
    if what == "decisions":
        return ["id", "decision", "who", "when"], [(d.id, d.decision, d.who, d.when) for d in room.decisions()]
    if what == "history":
        entries = room.ledger.history()
        return ["number", "id", "decision", "who", "when"], [(e.number, e.id, e.decision, e.who, e.when) for e in entries]
    columns = ["id", "label", "conflict", *room.listed.answers]
    return columns, [tuple(row[name] for name in columns) for row in room.verdicts()]


def _csv(columns: Sequence[str], rows: Sequence[tuple]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(columns: Sequence[str], rows: Sequence[tuple]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"number", "conflict"} if "who" in columns else set(columns) - {"id", "label"}
    arrays = [pa.array([row[i] for row in rows], pa.int64() if name in numbers else pa.string()) for i, name in enumerate(columns)]
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(columns)), buffer)
    return buffer.getvalue()
