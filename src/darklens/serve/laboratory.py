"""The laboratory's side of the wire: frames while sliders move, files to keep."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, ValidationError

from darklens.errors import DarklensError
from darklens.serve.answers import Busy, said_of
from darklens.serve.bench import Bench, curves_of, view_of
from darklens.serve.bench.keeping import FORMATS, kept
from darklens.serve.frames import MEDIA_TYPE, frame
from darklens.serve.work import workshop

router = APIRouter(tags=["laboratory"])
MOMENT, PATIENCE = 0.03, 0.5
"""Seconds without a newer wish before curves are drawn, and seconds after which they are drawn anyhow."""


class Wish(BaseModel):
    """What a laboratory sends: the state of its sliders.

    Args:
        sequence: comes back with the frames.
        bench: the numbers.
    """

    model_config = ConfigDict(extra="forbid")

    sequence: int = 0
    bench: Bench


def drawn(bench: Bench) -> tuple[bytes, Any]:
    """Return the quick frame, and what the other is made of."""
    view, scene, eye = view_of(bench)
    return frame(view.arrays, numbers=view.numbers, noisy=eye.noisy), (scene, view.numbers["half_width"])


def outlined(scene: Any, half: float) -> bytes:
    """Return the frame of convergence and curves."""
    view = curves_of(scene, half)
    return frame(view.arrays, numbers=view.numbers)


@router.post("/api/render", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
async def render(
    request: Request, bench: Bench, format: Annotated[Literal["frame", "fits", "png", "coolest", "python"], Query()] = "frame"
) -> Response:
    """Render the bench: as a frame of float32 maps and curves, or as a file to keep."""
    if format == "frame":
        quick, more = await workshop(request).run(drawn, bench)
        slow = await workshop(request).run(outlined, *more)
        return Response(joined(quick, slow), media_type=MEDIA_TYPE)
    media_type, suffix = FORMATS[format]
    content = await workshop(request).run(kept, bench, format)
    name = f"darklens-{bench.substructure}{suffix}"
    return Response(content, media_type=media_type, headers={"content-disposition": f'attachment; filename="{name}"'})


def joined(*frames: bytes) -> bytes:
    """Return several frames as one message: each behind its length."""
    return b"".join(len(one).to_bytes(4, "little") + one for one in frames)


@router.websocket("/api/live")
async def live(socket: WebSocket) -> None:
    """Draw as long as sliders move: the newest wish is drawn, those that were overtaken are not.

    A text message is a `Wish`. Its answers are a byte 0 and the quick frame, then, unless a newer wish has come, a byte 1 and the
    frame of convergence and curves; each behind the sequence number in 4 bytes. What is wrong comes back as text: `{"error": ...}`.
    """
    measures, limits = socket.app.state.measures, socket.app.state.settings.limits
    if measures.sockets._value.get() >= limits.sockets:
        await socket.close(1013, f"{limits.sockets} laboratories are open, which is the limit: close one")
        return
    await socket.accept()
    with measures.sockets.track_inprogress():
        try:
            await _Live(socket).run()
        except (WebSocketDisconnect, RuntimeError):  # it went away, maybe in the middle of an answer
            return


class _Live:
    """One open laboratory."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket, self.newest, self.arrived, self.outlined = socket, "", asyncio.Event(), 0.0

    async def run(self) -> None:
        """Draw until the socket closes."""
        drawing = asyncio.create_task(self._draw())
        try:
            while True:
                self.newest = await self.socket.receive_text()
                self.arrived.set()
        finally:
            drawing.cancel()

    async def _draw(self) -> None:
        while True:
            await self.arrived.wait()
            self.arrived.clear()
            try:
                wish = Wish.model_validate_json(self.newest)
                await self._answer(wish)
            except ValidationError as error:
                await self._say(said_of(error.errors()))
            except (DarklensError, KeyError) as error:
                await self._say(str(error))
                if isinstance(error, Busy):
                    await asyncio.sleep(0.5)

    async def _answer(self, wish: Wish) -> None:
        shop, mark = workshop(self.socket), wish.sequence.to_bytes(4, "little", signed=True)
        quick, more = await shop.run(drawn, wish.bench)
        await self.socket.send_bytes(b"\x00\x00\x00\x00" + mark + quick)
        self.socket.app.state.measures.frames.inc()
        if await self._quiet():
            await self.socket.send_bytes(b"\x01\x00\x00\x00" + mark + await shop.run(outlined, *more))
            self.outlined = time.monotonic()

    async def _quiet(self) -> bool:
        """Tell whether there is time for curves: no newer wish has come for a moment, or they have waited for long."""
        if time.monotonic() - self.outlined > PATIENCE:
            return True
        try:
            await asyncio.wait_for(self.arrived.wait(), MOMENT)
        except TimeoutError:
            return True
        return False

    async def _say(self, sentence: str) -> None:
        await self.socket.send_text(json.dumps({"error": sentence}))
