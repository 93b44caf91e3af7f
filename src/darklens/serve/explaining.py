"""The API that says where a network looks: in images that are sent, and in what stands on the bench."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from darklens.data import Record
from darklens.data.options import Options
from darklens.errors import unknown
from darklens.serve.answers import NothingUsed
from darklens.serve.bench.seen import as_seen
from darklens.serve.explainers import DEFAULT, Explainers, Explanation, check
from darklens.serve.frames import MEDIA_TYPE, frame
from darklens.serve.judges import Network
from darklens.serve.prediction import FILES, Bands, Hdu, Key, Model, Question, extension, half_width, opened
from darklens.serve.uploads import uploaded
from darklens.serve.work import workshop

router = APIRouter(tags=["prediction"])

FRAME: dict[int | str, dict[str, Any]] = {200: {"content": {MEDIA_TYPE: {}}}}


@router.post("/api/explain", openapi_extra=FILES, response_class=Response, responses=FRAME)
async def explain(
    request: Request,
    model: Model = None,
    method: Annotated[str, Query(max_length=40, description="A method of darklens explain.")] = DEFAULT,
    target: Annotated[str | None, Query(max_length=200, description="Class to explain; the one that is called by default.")] = None,
    image: Annotated[str | None, Query(max_length=200, description="This image alone, by its name in /api/predict.")] = None,
    resize: Annotated[bool, Query(description="Accept images of another size, by resampling.")] = False,
    hdu: Hdu = None,
    key: Key = None,
    bands: Bands = None,
) -> Response:
    """Draw where a network looks in the images of FITS, .npy, .npz or PNG files: a frame with image and map of each."""
    network: Network = request.app.state.judges.get(model)
    check(network, method, target)
    files = await uploaded(request)
    options = Options(hdu=extension(hdu), key=key, bands=bands)
    records, refused = await workshop(request).run(opened, request, files, options, network, resize)
    if not records:
        raise NothingUsed(refused)
    if image is not None:
        records = _alone(records, image)
    images = [one for _, one in records]
    found = await _explainers(request).explain(network, images, method, target)
    arrays: dict[str, np.ndarray] = {}
    for i, (seen, one) in enumerate(zip(images, found, strict=True)):
        arrays |= {f"image/{i}": seen[0], f"map/{i}": one.map}
    rows = [{"name": record.id} | _about(one) for (record, _), one in zip(records, found, strict=True)]
    answer = {"model": network.name, "classes": network.described["classes"], "method": method}
    return Response(frame(arrays, **answer, explanations=rows, refused=refused), media_type=MEDIA_TYPE)


def _alone(records: list[tuple[Record, np.ndarray]], name: str) -> list[tuple[Record, np.ndarray]]:
    """Return the image of that name.

    Raises:
        InputError: there is none.
    """
    found = [one for one in records if one[0].id == name]
    if not found:
        raise unknown("image of this request", name[:80], [record.id for record, _ in records[:8]])
    return found[:1]


class Wonder(Question):
    """What a network is to explain of the bench.

    Args:
        method: a method of darklens explain.
        target: class to explain; the one that is called by default.
    """

    method: str = Field(DEFAULT, max_length=40)
    target: str | None = Field(None, max_length=200)


@router.post("/api/explain/bench", response_class=Response, responses=FRAME)
async def explain_bench(request: Request, wonder: Wonder) -> Response:
    """Draw where a network looks in the bench, recorded as its own training images were: a frame with image and map."""
    network: Network = request.app.state.judges.get(wonder.model)
    check(network, wonder.method, wonder.target)
    images, sentence = await workshop(request).run(as_seen, wonder.bench, network.described)
    (found,) = await _explainers(request).explain(network, [images[0]], wonder.method, wonder.target)
    answer = {"model": network.name, "method": wonder.method, "seen": sentence, "half_width": half_width(network)}
    return Response(frame({"image": images[0, 0], "map": found.map}, **answer, **_about(found)), media_type=MEDIA_TYPE)


def _about(found: Explanation) -> dict[str, Any]:
    return {"explained": found.explained, "window": list(found.window)}


def _explainers(request: Request) -> Explainers:
    return request.app.state.explainers
