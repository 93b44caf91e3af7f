"""The API that judges images: models, predictions, fits."""

from __future__ import annotations

import csv
import io
import json
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict

from darklens.data import Record, resize_image
from darklens.data.options import Options
from darklens.errors import DarklensError, InputError
from darklens.files import plain
from darklens.fit import Plan, SmoothFit
from darklens.fit.lens_model import PARAMETERS
from darklens.fit.request import Request as FitRequest
from darklens.serve.answers import NothingUsed
from darklens.serve.bench import Bench
from darklens.serve.bench.seen import as_seen
from darklens.serve.frames import MEDIA_TYPE, frame
from darklens.serve.judges import Network
from darklens.serve.uploads import images_in, uploaded
from darklens.serve.work import workshop
from darklens.train.columns import with_planes
from darklens.train.measured import ASKED
from darklens.train.preprocess import check, check_bands, scale_of

router = APIRouter(tags=["prediction"])

FILES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    "required": ["files"],
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""What the interface says of requests that carry files."""

Model = Annotated[str | None, Query(max_length=200, description="Name of a model, see /api/models; the first by default.")]
Hdu = Annotated[str | None, Query(max_length=40, pattern=r"^[\w-]+$", description="Extension of FITS files, by number or name.")]
Bands = Annotated[str | None, Query(max_length=100, pattern=r"^[\w.,-]+$", description="Bands in the model's order: g,r,i.")]
Key = Annotated[str | None, Query(max_length=100, description="Array of .npz files that hold several.")]
Maps = Annotated[bool, Query(description="Answer with a frame that carries image, model and residual of each.")]


@router.get("/api/models")
def models(request: Request) -> list[dict[str, Any]]:
    """List the networks on offer, the default first."""
    return [plain(network.described) for network in request.app.state.judges.networks.values()]


@router.get("/api/reliability")
async def reliability(request: Request, model: Model = None) -> dict[str, Any]:
    """Say how often each class was true among validation images that were given it with about a probability."""
    network = request.app.state.judges.get(model)
    return {"model": network.name, "classes": await workshop(request).run(network.reliability)}


@router.post("/api/predict", openapi_extra=FILES)
async def predict(
    request: Request,
    model: Model = None,
    resize: Annotated[bool, Query(description="Accept images of another size, by resampling.")] = False,
    hdu: Hdu = None,
    key: Key = None,
    bands: Bands = None,
    format: Annotated[Literal["json", "csv"], Query()] = "json",
    maps: Maps = False,
) -> Response:
    """Classify the images of FITS, .npy, .npz or PNG files."""
    network: Network = request.app.state.judges.get(model)
    files = await uploaded(request)
    options = Options(hdu=extension(hdu), key=key, bands=bands)
    records, refused = await workshop(request).run(opened, request, files, options, network, resize)
    verdicts = await network.judge([image for _, image in records]) if records else []
    rows: list[dict[str, Any]] = []
    for (record, _), verdict in zip(records, verdicts, strict=True):
        if isinstance(verdict, DarklensError):
            refused.append({"name": record.id, "error": str(verdict)})
        elif isinstance(verdict, BaseException):
            raise verdict
        else:
            rows.append({"name": record.id, "file": record.source} | verdict.as_dict() | noted(record))
    if not rows:
        raise NothingUsed(refused)
    if format == "csv":
        return Response(
            _csv(rows, network), media_type="text/csv", headers={"content-disposition": 'attachment; filename="predictions.csv"'}
        )
    known = {row["name"] for row in rows}
    images = [image for record, image in records if record.id in known]
    noticed = await workshop(request).run(network.loaded().doubts, np.stack(images[:ASKED]))
    answer = {"model": network.name, "classes": network.described["classes"], "predictions": rows, "refused": refused}
    answer |= {"noticed": noticed}
    if not maps:
        return JSONResponse(plain(answer))
    arrays, fits = await workshop(request).run(_maps, network, images)
    if fits:
        for row, fitted in zip(rows, fits, strict=True):
            row["fit"] = fitted
    return Response(frame(arrays, **answer), media_type=MEDIA_TYPE)


def opened(
    request: Request, files: list[tuple[str, bytes]], options: Options, network: Network, resize: bool
) -> tuple[list[tuple[Record, np.ndarray]], list[dict[str, str]]]:
    """Return images as a network takes them, and what could not be used, with its reason."""
    limits, judge = request.app.state.settings.limits, network.loaded()
    found: list[tuple[Record, np.ndarray]] = []
    refused = []
    for name, content in files:
        try:
            for record in images_in(name, content, limits, options):
                check_bands(record.metadata.get("bands"), judge.bands, record.id)
                image = resize_image(record.image, judge.shape[1:]) if resize else record.image
                image = check(image, judge.shape, record.id)[None]
                found.append((record, with_planes(image, np.full((1, len(judge.columns)), np.nan))[0]))
        except InputError as error:
            refused.append({"name": name, "error": _in_the_browser(str(error))})
    if len(found) > limits.images:
        raise InputError(f"{len(found)} images at once, the limit is {limits.images}: send them in parts")
    return found, refused


def noted(record: Record) -> dict[str, str]:
    """Return what there is to say about how an image was read."""
    return {"note": record.metadata["note"]} if "note" in record.metadata else {}


def _in_the_browser(sentence: str) -> str:
    """Return a sentence of the command line with its options as the API has them."""
    for option in ("resize", "bands", "hdu", "instrument", "preset", "psf-fwhm", "key"):
        sentence = sentence.replace(f"--{option}", option.replace("-", "_"))
    return sentence


def extension(value: str | None) -> int | str | None:
    """Return an extension as the readers take it."""
    return int(value) if value is not None and value.isdigit() else value


def _csv(rows: list[dict[str, Any]], network: Network) -> str:
    """Return predictions in the columns of `darklens predict`."""
    classes, text = network.described["classes"], io.StringIO()
    writer = csv.writer(text)
    more = [name for name in ("set", "unusual", "unusual_because") if name in rows[0]]
    writer.writerow(["id", "source", "predicted", *classes, *more])
    for row in rows:
        told = {
            "set": "|".join(row.get("set", [])),
            "unusual": int(row.get("unusual", 0)),
            "unusual_because": row.get("unusual_because", ""),
        }
        writer.writerow(
            [row["name"], row["file"], row["predicted"], *(row["probabilities"][c] for c in classes), *(told[m] for m in more)]
        )
    return text.getvalue()


def _maps(network: Network, images: list[np.ndarray]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]] | None]:
    """Return images, and model, residual and parameters of their smooth fits where the network fits any."""
    arrays = {f"image/{i}": image[0] for i, image in enumerate(images)}
    plan = network.loaded().plan
    if plan is None:
        return arrays, None
    fit = plan.fit(np.stack([image[:1] for image in images]))
    for i in range(len(images)):
        arrays |= {f"model/{i}": fit.model[i], f"residual/{i}": fit.residual[i]}
    return arrays, parameters_of(fit)


def parameters_of(fit: SmoothFit) -> list[dict[str, Any]]:
    """Return what was fitted to each image: parameters with errors, reduced chi^2, whether it converged."""
    found = []
    for i in range(len(fit)):
        values = {
            name: {"value": float(fit[name][i]), "error": float(fit.error(name)[i])} for name in PARAMETERS if name in fit.names
        }
        found.append({"parameters": values, "chi2": float(fit.chi2[i]), "converged": bool(fit.converged[i])})
    return found


@router.post("/api/fit", openapi_extra=FILES)
async def fit(
    request: Request,
    instrument: Annotated[
        str | None, Query(max_length=60, description="Sky-subtracted images in e-/s from this instrument.")
    ] = None,
    preset: Annotated[str | None, Query(max_length=60, description="Images like those of this preset.")] = None,
    lens: Annotated[str | None, Query(max_length=60, description="sis, sie or epl+shear+sersic, and +lens_light.")] = None,
    pixel_scale: Annotated[float | None, Query(gt=0, lt=1000, description="Arcsec, with psf_fwhm.")] = None,
    psf_fwhm: Annotated[float | None, Query(gt=0, lt=1000, description="Arcsec.")] = None,
    hdu: Hdu = None,
    key: Key = None,
    bands: Bands = None,
    maps: Maps = False,
) -> Response:
    """Fit smooth lenses to the images of FITS, .npy, .npz or PNG files."""
    files = await uploaded(request)
    options = Options(hdu=extension(hdu), key=key, bands=bands)
    wish = FitRequest(preset, instrument, lens, {}, pixel_scale, psf_fwhm)
    content = await workshop(request).run(_fitted, request, files, options, wish, maps)
    return Response(content, media_type=MEDIA_TYPE) if maps else Response(content, media_type="application/json")


def _fitted(request: Request, files: list[tuple[str, bytes]], options: Options, wish: FitRequest, maps: bool) -> bytes:
    limits = request.app.state.settings.limits
    try:
        records = [record for name, content in files for record in images_in(name, content, limits, options)]
        shapes = {record.image.shape for record in records}
        if len(shapes) > 1:
            raise InputError(f"images of {len(shapes)} shapes in one request: send those of one shape together")
        images = np.stack([record.image for record in records])
        if len(images) > limits.images or images.size > limits.fitted:
            size = f"{images.size:,} pixels in {len(images)} image{'s' if len(images) > 1 else ''}"
            raise InputError(
                f"{size} to fit, the limits are {limits.fitted:,} pixels and {limits.images} images: send cutouts of the lenses, "
                "or fewer at once"
            )
        plan: Plan = wish.plan(images[:5])
        found = plan.fit(images)
    except InputError as error:
        raise InputError(_in_the_browser(str(error))) from None
    rows = [{"name": record.id} | told | noted(record) for record, told in zip(records, parameters_of(found), strict=True)]
    answer = {"model": plan.model.name, "origin": plan.origin, "fits": rows}
    if not maps:
        return json.dumps(plain(answer), allow_nan=False).encode()
    arrays: dict[str, np.ndarray] = {}
    for i in range(len(records)):
        arrays |= {f"image/{i}": images[i, 0], f"model/{i}": found.model[i], f"residual/{i}": found.residual[i]}
    return frame(arrays, **answer)


def half_width(network: Network) -> float:
    """Return half the side of what a network is shown, arcsec."""
    return 0.5 * network.described["shape"][2] * scale_of(network.described)


class Question(BaseModel):
    """What a network is asked about the bench.

    Args:
        bench: the numbers.
        model: name of a network.
    """

    model_config = ConfigDict(extra="forbid")

    bench: Bench
    model: str = ""


@router.post("/api/classify", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
async def classify(request: Request, question: Question) -> Response:
    """Let a network judge the bench, with its substructure and without, as its own training images were recorded."""
    network: Network = request.app.state.judges.get(question.model)
    shop = workshop(request)
    await shop.run(network.loaded)
    images, sentence = await shop.run(as_seen, question.bench, network.described)
    verdicts = []
    for verdict in await network.judge(list(images)):
        if isinstance(verdict, BaseException):
            raise verdict
        verdicts.append(verdict)
    arrays, fits = await shop.run(_maps, network, [images[0]])
    named = {name.removesuffix("/0"): array for name, array in arrays.items()}
    answer = {"model": network.name, "classes": network.described["classes"], "seen": sentence, "fit": fits[0] if fits else None}
    answer["half_width"] = half_width(network)
    answer |= {"with": verdicts[0].as_dict(), "without": verdicts[-1].as_dict()}
    return Response(frame(named, **answer), media_type=MEDIA_TYPE)
