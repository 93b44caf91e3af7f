r"""Point images: a quasar seen several times, each image the PSF with an amplitude of its own.

Amplitudes are linear and solved for with everything else. Positions are parameters, which the pixels fix to a small part of a
pixel, and the lens equation binds: traced back, the images of one point must meet. It enters as the chi^2 of `Positions`, whose
sigma is then no error of measurement but how far smooth masses may miss the truth (a clump moves images by milliarcseconds).

No PSF is known to a part in a thousand, and bright images would see it: the noise of a pixel grows by `psf_error` times what the
points shed on it and its neighbours (rms over 3 x 3 pixels, because light that is missing in one of them is in the next).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from scipy.optimize import minimize_scalar
from torch import Tensor

from darklens.errors import InputError
from darklens.fit.one_lens.observation import Observation
from darklens.fit.one_lens.point_spread import PointSpread
from darklens.fit.one_lens.positions import Positions

SIGMA = 0.004
"""How closely images must meet, as an offset in the image plane, arcsec: what clumps do to them, and smooth masses do not."""
REACH = 3.0
"""Pixels by which an image may move away from where it was located."""
LARGEST_ERROR = 0.5
"""Of the PSF."""
LOOSE = 5.0
"""Times sigma that images may miss each other in the first descents, whose source is coarse."""


@dataclass(frozen=True, eq=False)
class Points:
    """The images of one point source.

    Args:
        seen: where they were located, and how closely the lens equation holds.
        spread: the PSF.
        flux: `(n,)` as they were located; it only says how much the noise grows.
        psf_error: relative error of the PSF.
        measured: whether that was measured on the image rather than given.
        reach: how far each may move, arcsec.
    """

    seen: Positions
    spread: PointSpread
    flux: np.ndarray
    psf_error: float
    measured: bool
    reach: float

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.seen.x)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters: x and y of the first, of the second, ..."""
        return tuple(f"point{k + 1}_{axis}" for k in range(self.count) for axis in "xy")

    @property
    def start(self) -> dict[str, float]:
        """Where they were located, by name."""
        return dict(zip(self.names, np.stack([self.seen.x, self.seen.y], 1).ravel().tolist(), strict=True))

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Where each parameter may go."""
        return {name: (value - self.reach, value + self.reach) for name, value in self.start.items()}

    @property
    def loose(self) -> Points:
        """The same with a lens equation that is less strict."""
        return replace(self, seen=replace(self.seen, sigma=LOOSE * self.seen.sigma))

    def where(self, value: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return x and y of the images as a row of an image grid, `(..., 1, n)`."""
        x, y = (torch.stack([value[f"point{k + 1}_{axis}"] for k in range(self.count)], -1)[..., None, :] for axis in "xy")
        return x, y

    def at(self, value: dict[str, Tensor]) -> Positions:
        """Return the images where the parameters put them."""
        x, y = self.where(value)
        return replace(self.seen, x=x[0].numpy(), y=y[0].numpy())

    def images(self, value: dict[str, Tensor], observation: Observation, along: str = "") -> np.ndarray:
        """Return each image with unit flux, or its derivative along "x" or "y" in arcsec, `(n, H, W)`."""
        places = zip(*(t[0].tolist() for t in self.where(value)), strict=True)
        return np.stack([self._image(x, y, observation, along) for x, y in places])

    def light(self, place: dict[str, float], flux: np.ndarray, observation: Observation) -> np.ndarray:
        """Return the light of all of them, `(H, W)`, for positions by name."""
        value = {name: torch.tensor(place[name], dtype=torch.float64) for name in self.names}
        return np.einsum("n,nij->ij", flux, self.images(value, observation))

    def shed(self, place: dict[str, float], flux: np.ndarray, observation: Observation) -> np.ndarray:
        """Return what they shed on the pixels and their neighbours, `(H, W)`: where a wrong PSF would be seen."""
        return np.sqrt(np.clip(ndimage.uniform_filter(self.light(place, flux, observation) ** 2, 3), 0, None))

    def _image(self, x: float, y: float, observation: Observation, along: str) -> np.ndarray:
        (height, width), scale = observation.shape, observation.pixel_scale
        place = y / scale + (height - 1) / 2, x / scale + (width - 1) / 2
        image = self.spread.at(*place, observation.shape, {"": "", "x": "column", "y": "row"}[along])
        return image / scale if along else image

    def columns(self, value: dict[str, Tensor], observation: Observation, along: str = "") -> np.ndarray:
        """Return the columns of the linear problem in units of the noise, or their derivatives, `(N, n)`."""
        return (self.images(value, observation, along)[:, observation.mask] * observation.weight).T

    def louder(self, noise: np.ndarray, shed: np.ndarray) -> np.ndarray:
        """Return a noise map with the PSF's error in it.

        Args:
            noise: `(H, W)` as given.
            shed: `(H, W)`, see `shed`.
        """
        return np.hypot(noise, self.psf_error * shed)

    def with_error_of(self, residual: np.ndarray, noise: np.ndarray, shed: np.ndarray) -> Points:
        """Return the points with the PSF's error as measured, unless it was given.

        Args:
            residual: `(N,)` data minus model, in the unit of the image.
            noise: `(N,)` as given.
            shed: `(N,)`, see `shed`.
        """
        return replace(self, psf_error=psf_error(residual, noise, shed)) if self.measured else self


def psf_error(residual: np.ndarray, noise: np.ndarray, shed: np.ndarray) -> float:
    """Return the relative error f of a PSF that makes residuals most likely, of variance `noise^2 + (f shed)^2`.

    Zero where that is as likely. Only pixels count where a wrong PSF could be seen.
    """
    seen = LARGEST_ERROR * shed > noise
    if not seen.any():
        return 0.0
    square, base, light = residual[seen] ** 2, noise[seen] ** 2, shed[seen] ** 2

    def cost(f: float) -> float:
        variance = base + f * f * light
        return float((square / variance + np.log(variance)).sum())

    found = minimize_scalar(lambda t: cost(np.exp(t)), bounds=(np.log(1e-5), np.log(LARGEST_ERROR)), method="bounded")
    best = float(np.exp(found.x))
    return best if cost(best) < cost(0.0) - 1 else 0.0


def check_error(value: float | None) -> None:
    """Refuse a relative error of the PSF that is none.

    Raises:
        InputError: it is outside 0 to `LARGEST_ERROR`.
    """
    if value is not None and not 0 <= value <= LARGEST_ERROR:
        raise InputError(
            f"PSF error {value:g} is outside 0 to {LARGEST_ERROR:g}: give it relative to the PSF, for example 0.01, or leave it "
            "out to have it measured"
        )
