"""Several bands: the same scenes through several filters, with the colours of source and lens.

A scene's amplitudes are fluxes in one band, that of the preset's own instrument. In another they differ by the zero point and by
the colour. `SPECTRUM` gives colours typical of a lensed star-forming galaxy and of the early-type galaxy in front of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from darklens.errors import InputError
from darklens.lensing import Light
from darklens.simulate.instruments import INSTRUMENTS, Instrument
from darklens.simulate.scene import Scene

SPECTRUM: dict[str, tuple[float, float]] = {
    #        source, lens: AB magnitude minus that in r
    "g": (0.35, 1.60),
    "r": (0.0, 0.0),
    "vis": (-0.10, -0.35),
    "i": (-0.25, -0.75),
    "f814w": (-0.30, -0.85),
    "f129": (-0.60, -1.60),
    "f150w": (-0.70, -1.80),
    "f158": (-0.70, -1.85),
    "f160w": (-0.70, -1.85),
}
"""Colours by filter: blue arcs (star-forming, z = 1: g - i = 0.6) around a red lens (early type, z = 0.5: g - i = 2.35)."""


@dataclass(frozen=True)
class Band:
    """One filter of a multi-band image.

    Args:
        instrument: the camera with this filter.
        source_colour: AB magnitude of the source in this band minus that in the band of the preset's own instrument.
        lens_colour: the same of the lens light.
    """

    instrument: Instrument
    source_colour: float = 0.0
    lens_colour: float = 0.0


def bands_of(instruments: list[Instrument]) -> tuple[Band, ...]:
    """Return bands with the colours of `SPECTRUM`, relative to the first instrument.

    Raises:
        InputError: the instruments have different pixel scales, or a filter without a colour.
    """
    scales = {i.pixel_scale for i in instruments}
    if len(scales) > 1:
        listed = ", ".join(f'{i.name} {i.pixel_scale}"' for i in instruments)
        raise InputError(f"the bands of one image must share a pixel scale, and these do not: {listed}; choose bands of one camera")
    first = _spectrum(instruments[0])
    colours = [_spectrum(i) for i in instruments]
    return tuple(
        Band(i, round(source - first[0], 6), round(lens - first[1], 6))
        for i, (source, lens) in zip(instruments, colours, strict=True)
    )


def names_of(instruments: Sequence[Instrument]) -> list[str]:
    """Return what the bands of these cameras are called: by their filters, or, where two have the same, by the cameras."""
    filters = [next((part for part in one.name.split("-") if part in SPECTRUM), one.name) for one in instruments]
    return filters if len(set(filters)) == len(filters) else [one.name for one in instruments]


def _spectrum(instrument: Instrument) -> tuple[float, float]:
    for part in instrument.name.split("-"):
        if part in SPECTRUM:
            return SPECTRUM[part]
    having = ", ".join(n for n in INSTRUMENTS if any(p in SPECTRUM for p in n.split("-")))
    raise InputError(f"instrument {instrument.name!r} has no filter whose colours are known: choose among {having}")


def in_band(scene: Scene, band: Band, reference: Instrument) -> Scene:
    """Return the scene with the fluxes that it has in a band.

    Args:
        scene: fluxes as the reference instrument sees them, e-/s.
        band: the filter.
        reference: the preset's own instrument.

    Raises:
        InputError: an instrument has no zero point.
    """
    scale = band.instrument.flux(0.0) / reference.flux(0.0)
    source, lens = (scale * 10.0 ** (-0.4 * colour) for colour in (band.source_colour, band.lens_colour))
    return replace(
        scene,
        source=tuple(_brighter(light, source) for light in scene.source),
        lens_light=tuple(_brighter(light, lens) for light in scene.lens_light),
    )


def _brighter(light: Light, factor: float) -> Light:
    amp = torch.as_tensor(light.amp, dtype=torch.float64)  # type: ignore[attr-defined]
    return replace(light, amp=amp * factor)
