"""The bench as a network's training images were made: its camera, its size, its brightness where that was always the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from darklens.errors import InputError
from darklens.serve.bench.cameras import CAMERAS, SOURCE_MAG
from darklens.serve.bench.parameters import Bench
from darklens.serve.bench.views import image_of
from darklens.simulate import PRESETS, Preset
from darklens.simulate.populations import PhysicalLens
from darklens.simulate.priors import Fixed


def as_seen(bench: Bench, described: dict[str, Any]) -> tuple[np.ndarray, str]:
    """Return the bench as a network would have been shown it.

    Args:
        bench: the numbers.
        described: the network, as `/api/models` describes it.

    Returns:
        `(2, 1, H, W)` with substructure and without, and how it was seen, in one sentence.

    Raises:
        InputError: the network was trained on images that the bench cannot make.
    """
    preset, name = str(described["preset"]), f"as-{described['preset']}"
    if name not in CAMERAS or described["shape"][0] != 1:
        could = ", ".join(known.removeprefix("as-") for known in CAMERAS if known.startswith("as-"))
        raise InputError(
            f"{described['name']} was trained on {described['data'] or 'images of its own'}, which the laboratory does not make: "
            f"choose a network trained on {could}"
        )
    camera, side = CAMERAS[name], described["shape"][1]
    usual = _usual(PRESETS[preset])
    changed = bench.model_copy(update={"noise": True} | usual)
    images = [image_of(one, camera, side)[3] for one in (changed, changed.model_copy(update={"substructure": "none"}))]
    brightness = "with the brightness, size and profile of all its sources" if usual else f"at magnitude {bench.source_mag:g}"
    if any(getattr(bench, key) != usual[key] for key in ("e1", "e2", "gamma") if key in usual):
        brightness += f", its mass {'round and ' if 'e1' in usual else ''}isothermal as in all its lenses"
    sentence = f'Seen as in {preset}: {side}x{side} pixels of {camera.instrument.pixel_scale:g}", {brightness}.'
    return np.stack(images)[:, None], sentence


def _usual(preset: Preset) -> dict[str, float]:
    """Return what is the same in every lens and source of a data set, so that a network has never seen it otherwise."""
    population = preset.population
    if isinstance(population, PhysicalLens):
        return {}
    priors = {name: getattr(population, name) for name in ("R_sersic", "n_sersic")}
    smooth = {"gamma": 2.0} | ({} if hasattr(population, "e1") else {"e1": 0.0, "e2": 0.0})
    return {"source_mag": SOURCE_MAG} | smooth | {name: p.value for name, p in priors.items() if isinstance(p, Fixed)}
