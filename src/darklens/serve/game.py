"""Guess the class: images whose answer the server keeps until the guess is in, and examples of what a network was trained on.

A puzzle is a random word. Class and seed of its image follow from the word and a key that lives as long as the server: nothing is
stored, and nobody can read the answer from the question.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from darklens.errors import InputError
from darklens.files import plain
from darklens.serve.frames import MEDIA_TYPE, frame
from darklens.serve.judges import Network
from darklens.serve.prediction import Model
from darklens.serve.work import workshop
from darklens.simulate import PRESETS, Preset, Scene

router = APIRouter(tags=["game"])

_KEY = secrets.token_bytes(32)
_EPOCH = hmac.new(_KEY, b"epoch", hashlib.sha256).hexdigest()[:8]

_SMOOTH = {"title": "No substructure", "hint": "a smooth lens and nothing else"}
_COLD = {"title": "Cold dark matter", "hint": "subhaloes: small dents here and there"}
_AXION = {"title": "Axion dark matter", "hint": "a vortex: one long disturbance"}
WORDS = {"no": _SMOOTH, "no_sub": _SMOOTH, "sphere": _COLD, "cdm": _COLD, "vort": _AXION, "axion": _AXION}
"""What the field's class names mean, for students."""


class Guess(BaseModel):
    """A guess.

    Args:
        level: name of a level.
        puzzle: what came with the image.
        guess: name of a class.
    """

    model_config = ConfigDict(extra="forbid")

    level: str = Field(max_length=200)
    puzzle: str = Field(max_length=60, pattern=r"^[\w.-]+$")
    guess: str = Field(max_length=60)


def levels_of(request: Request) -> dict[str, Network]:
    """Return the networks whose own images are simulated here, in one band, by name."""
    networks = request.app.state.judges.networks
    return {
        name: network
        for name, network in networks.items()
        if network.described["preset"] in PRESETS and network.described["shape"][0] == 1
    }


def _level(request: Request, name: str) -> Network:
    levels = levels_of(request)
    if name not in levels:
        raise InputError(f"there is no level {name[:60]!r}: choose one of {', '.join(levels) or 'none: no network here fits'}")
    return levels[name]


@router.get("/api/levels")
def levels(request: Request) -> list[dict[str, Any]]:
    """List the levels: the networks that one plays against."""
    found = []
    for name, network in levels_of(request).items():
        accuracy = (network.described["metrics"].get("accuracy") or {}).get("value")
        share = f" (the network gets {100 * accuracy:.1f}%)" if accuracy else ""
        found.append({"name": name, "title": f"as in {network.described['preset']}{share}"})
    return found


@router.get("/api/guess", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
async def deal(request: Request, level: str) -> Response:
    """Deal an image: a frame with the image, what a smooth lens leaves of it, and the puzzle to send back with the guess."""
    network = _level(request, level)
    puzzle = f"{_EPOCH}.{secrets.token_urlsafe(12)}"
    return Response(await workshop(request).run(_dealt, network, level, puzzle), media_type=MEDIA_TYPE)


def _dealt(network: Network, level: str, puzzle: str) -> bytes:
    preset = PRESETS[network.described["preset"]]
    image, _ = _drawn(preset, level, puzzle)
    arrays = {"image": image[0]}
    plan = network.loaded().plan
    if plan is not None:
        arrays["residual"] = plan.fit(image[:1]).residual[0]
    words = [{"name": name, "words": WORDS.get(name, {"title": name, "hint": ""})} for name in preset.classes]
    scale = preset.instrument.pixel_scale
    half = 0.5 * image.shape[-1] * scale
    question = f'A lens as in {preset.name}, {image.shape[-1]}x{image.shape[-2]} pixels of {scale:g}". What stands in it?'
    return frame(arrays, level=level, puzzle=puzzle, classes=words, half_width=half, question=question)


def _drawn(preset: Preset, level: str, puzzle: str) -> tuple[np.ndarray, Scene]:
    """Return the image `(bands, H, W)` of a puzzle, and its scene."""
    digest = hmac.new(_KEY, f"{level}|{puzzle}".encode(), hashlib.sha256).digest()
    label = preset.classes[int.from_bytes(digest[:4], "big") % len(preset.classes)]
    scene = preset.population.draw(1, int.from_bytes(digest[4:8], "big"), labels=(label,))
    return preset.images(scene)[0][0], scene


@router.post("/api/guess")
async def answer(request: Request, guess: Guess) -> dict[str, Any]:
    """Take a guess, and tell the truth and what the network says."""
    network = _level(request, guess.level)
    if not guess.puzzle.startswith(f"{_EPOCH}."):
        raise InputError("this image was dealt before the server started anew: take the next one")
    preset = PRESETS[network.described["preset"]]
    shop = workshop(request)
    await shop.run(network.loaded)
    image, scene = await shop.run(_drawn, preset, guess.level, guess.puzzle)
    (verdict,) = await network.judge([image])
    if isinstance(verdict, BaseException):
        raise verdict
    truth = scene.labels[0]
    told = WORDS.get(truth, {"title": truth})["title"]
    content = {"truth": truth, "title": told.lower(), "story": _story(scene), "model": network.name, "network": verdict.as_dict()}
    return plain(content)


def _story(scene: Scene) -> str:
    """Say what stands in the lens of one system."""
    value = {name: float(column[0]) for name, column in scene.truth.items() if np.isfinite(column[0])}
    words = [f'Einstein radius {value["theta_E"]:.2f}"']
    if value.get("n_sub", 0) > 0:
        words.append(f"{value['n_sub']:.0f} subhaloes")
    if value.get("m_sub", 0) > 0:
        words.append(f"of {value['m_sub']:.1e} solar masses together")
    if value.get("f_sub", 0) > 0:
        words.append(f"{100 * value['f_sub']:.1f}% of the mass in them")
    if "vortex_half_length" in value:
        words.append(f'a vortex {2 * value["vortex_half_length"]:.2f}" long')
    if "log10_m_axion" in value:
        words.append(f"of axions of 10^{value['log10_m_axion']:.1f} eV")
    return ", ".join(words) + "."


@router.get("/api/example", response_class=Response, responses={200: {"content": {"application/fits": {}}}})
async def example(request: Request, model: Model = None) -> Response:
    """Return a fresh image like those that a network was trained on, as FITS."""
    network: Network = request.app.state.judges.get(model)
    if network.described["preset"] not in PRESETS:
        raise InputError(f"{network.name} was trained on images of its own, which are not simulated here: send one of yours")
    content = await workshop(request).run(_example, PRESETS[network.described["preset"]])
    headers = {"content-disposition": 'attachment; filename="example.fits"'}
    return Response(content, media_type="application/fits", headers=headers)


def _example(preset: Preset) -> bytes:
    from astropy.io import fits

    image, scene = _drawn(preset, "example", secrets.token_urlsafe(12))
    primary = fits.PrimaryHDU(image[0] if len(image) == 1 else image)
    primary.header["PIXSCALE"] = preset.instrument.pixel_scale, "arcsec"
    primary.header["OBJECT"] = scene.labels[0], "what was simulated"
    content = io.BytesIO()
    primary.writeto(content)
    return content.getvalue()
