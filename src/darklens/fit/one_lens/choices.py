"""What a user may choose about the model of one lens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darklens.errors import InputError, unknown
from darklens.fit.one_lens.light import LIGHTS_OF_LENS
from darklens.fit.one_lens.macro import Macro
from darklens.fit.one_lens.source_grid import REGULARISATIONS

SOURCES = ("pixelised", "parametric")


@dataclass(frozen=True)
class Choices:
    """How one lens is modelled.

    Args:
        model: masses, see `Macro`.
        light: of the lens galaxy: mge, sersic, sersics, none.
        source: pixelised or parametric (an elliptical Sersic profile).
        regularisation: of a pixelised source: curvature or gradient.
        adaptive: a pixelised source may vary more where it is bright, as far as its evidence says; else one smoothness serves all.
        nodes: along a side of a pixelised source; None chooses by the number of pixels.
        theta_E: guess of the Einstein radius, arcsec; None takes it from the positions, or else from the image.
        centre: of the lens, arcsec; None says that it is in the middle.
        annulus: radii in arcsec between which pixels are fitted; None takes 0 (of a multi-Gaussian lens: half the ring's radius)
            to 1.5 times the ring's radius, of an image with a mask all that the mask leaves.
        starts: random starting points.
        seed: of them.
        subpixels: rays along a side of a pixel.
        point_images: images of a point source: positions `[[x, y], ...]` in arcsec, how many there are, "auto"; None for no such.
        point_sigma: how closely they meet in the source plane, as an offset in the image plane, arcsec; None takes 0.004.
        psf_error: relative error of the PSF, which adds to the noise where points shine; None measures it.

    Raises:
        InputError: a name that is not known, or a number out of its range.
    """

    model: str = "epl+shear"
    light: str = "mge"
    source: str = "pixelised"
    regularisation: str = "curvature"
    adaptive: bool = True
    nodes: int | None = None
    theta_E: float | None = None
    centre: tuple[float, float] | None = None
    annulus: tuple[float, float] | None = None
    starts: int = 6
    seed: int = 0
    subpixels: int = 2
    point_images: str | int | list[list[float]] | None = None
    point_sigma: float | None = None
    psf_error: float | None = None

    def __post_init__(self) -> None:
        Macro(self.model)
        if self.light not in LIGHTS_OF_LENS:
            raise unknown("lens light", self.light, LIGHTS_OF_LENS)
        if self.regularisation not in REGULARISATIONS:
            raise unknown("regularisation", self.regularisation, REGULARISATIONS)
        if self.source not in SOURCES:
            raise unknown("source", self.source, SOURCES)
        if self.starts < 1:
            raise InputError(f"{self.starts} starts: give at least one")
        if not 1 <= self.subpixels <= 5:
            raise InputError(f"{self.subpixels} rays along a side of a pixel are outside 1 to 5: choose a number in between")
        if self.point_images is None and (self.point_sigma is not None or self.psf_error is not None):
            raise InputError("--point-sigma and --psf-error are about --point-images: give that option, or leave them out")
        if self.nodes is not None and not 4 <= self.nodes <= 60:
            raise InputError(f"{self.nodes} source nodes along a side are outside 4 to 60: choose a number in between")
        if self.theta_E is not None and not 0 < self.theta_E < np.inf:
            raise InputError(f'Einstein radius {self.theta_E:g}": the guess must be above 0; give it in arcsec')
        if self.centre is not None and not np.isfinite(self.centre).all():
            raise InputError(f"centre {self.centre[0]:g},{self.centre[1]:g}: give two numbers, x and y in arcsec from the middle")
        if self.annulus is not None and not 0 <= self.annulus[0] < self.annulus[1] < np.inf:
            raise InputError(f"annulus {self.annulus}: give the inner radius first, then a larger one, in arcsec")
