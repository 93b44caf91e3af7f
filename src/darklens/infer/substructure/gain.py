"""How much better an image is explained with a clump: at every place and mass at once, the smooth lens adjusting linearly.

A clump of mass m at p bends light by `alpha_m(theta - p)` more, so the image changes by

    T(theta) = PSF * [S(beta(theta) - alpha_m(theta - p)) - S(beta(theta))],

S the source as fitted and beta the smooth lens's map to the source plane: not linear in the mass, which a heavy clump would not
forgive. Everything else (lens, source, sky, or the pixels of a source) answers linearly: with derivatives L, weights W and, for
a pixelised source, the precision R of its prior, integrating over these parameters leaves

    ln L(p, m) - ln L(smooth) = s - F/2,   s = T^T W r,   F = T^T W T - b^T A^-1 b,   b = L^T W T,   A = L^T W L + R,

with r the residual of the best smooth lens. `F^(1/2)` is the significance with which such a clump would be seen, on average (that
a linear change of the source is integrated out is Koopmans 2005, MNRAS 363, 1136). Between the masses of the grid T is taken to
grow in proportion to the mass.

The same templates, against images of noise alone, give the largest gain that this very lens would show without any clump.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from darklens.errors import InputError
from darklens.infer.substructure.templates import Templates

MASSES = (8.0, 8.5, 9.0, 9.5, 10.0)
"""log10 M_sun of the templates; lighter clumps are scaled from the lightest."""
REACH = 0.5
"""Arcsec from the arcs within which clumps are looked for: farther away they would move nothing that shines."""
SPACING = 0.15
"""Arcsec between the places that are looked at."""
LIT = 1.0
"""In units of a pixel's noise: light from here on belongs to an arc."""
BLOCK = 32
"""Places treated together: their templates stay in the processor's cache."""
STEP = 0.25
"""Half the distance between masses, dex: how far a template is scaled."""
ROUNDING = 1e-6
"""Of a template's information: what single precision cannot tell from nothing."""


@dataclass(frozen=True)
class GainMaps:
    """Slope s and information F of every template, and what noise alone would give.

    Args:
        log10_m: `(M,)` masses of the templates.
        slope: `(M, H, W)`, NaN where nothing was looked for.
        information: `(M, H, W)`, likewise.
        maxima: `(D,)` largest significance in each of D images of noise alone.
    """

    log10_m: np.ndarray
    slope: np.ndarray
    information: np.ndarray
    maxima: np.ndarray

    @property
    def searched(self) -> np.ndarray:
        """Where a clump was looked for, `(H, W)`."""
        return np.isfinite(self.slope[0])

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Return significance `(2 (ln L - ln L_smooth))^(1/2)` at the best mass of each place, and log10 of that mass, `(H, W)`."""
        chi2, factor = _gain(torch.from_numpy(self.slope), torch.from_numpy(self.information), _limits(len(self.log10_m)))
        k = chi2.nan_to_num(-1.0).argmax(0, keepdim=True)
        chi2, factor = chi2.gather(0, k)[0], factor.gather(0, k)[0]
        mass = torch.from_numpy(self.log10_m)[k[0]] + factor.clamp_min(1e-9).log10()
        return chi2.clamp_min(0).sqrt().numpy(), torch.where(factor > 0, mass, torch.nan).numpy()

    def smallest(self, significance: float) -> np.ndarray:
        """Return log10 of the mass that reaches a significance on average, `(H, W)`: half of such clumps exceed it.

        Infinite where not even three times the heaviest template would; NaN where nothing was looked for.
        """
        root = np.sqrt(np.maximum(self.information, 0)) / significance
        with np.errstate(divide="ignore"):
            excess = np.log10(root)  # rises with the mass, about in proportion
        found = self.log10_m[-1] - excess[-1]
        found = np.where(found > self.log10_m[-1] + 2 * STEP, np.inf, found)
        for k in range(len(self.log10_m) - 1, 0, -1):  # downwards: the lightest that is seen has the last word
            rise = np.maximum(excess[k] - excess[k - 1], 1e-3) / (self.log10_m[k] - self.log10_m[k - 1])
            between = np.maximum(self.log10_m[k] - excess[k] / rise, self.log10_m[k - 1])
            found = np.where(excess[k] >= 0, between, found)
        found = np.where(excess[0] >= 0, self.log10_m[0] - excess[0], found)
        return np.where(self.searched, found, np.nan)


def gain_maps(
    work: Templates,
    *,
    log10_m: tuple[float, ...] = MASSES,
    draws: int = 400,
    seed: int = 0,
    stride: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GainMaps:
    """Compare an image with every template, and images of noise alone with them too.

    Args:
        work: templates of the image, `ParametricTemplates` or `PixelisedTemplates`.
        log10_m: masses of the templates, rising by 0.5.
        draws: images of noise.
        seed: of the noise.
        stride: look at every n-th pixel of each row and column, the others take the value of the nearest; None takes steps of
            about 0.15 arcsec, over which a halo's template hardly changes.
        progress: called with (done, total) places.

    Raises:
        InputError: the source is nowhere brighter than the noise, so that no clump could show.
    """
    stride, arcs = stride or max(1, round(SPACING / work.pixel_scale)), work.arcs()
    places = _places(arcs, work.pixel_scale, stride)
    if not len(places):
        raise InputError(
            "the fitted source is nowhere brighter than the noise of a pixel: no clump could show in this image; "
            "check the fit, its noise and its mask"
        )
    noise = torch.randn(draws, len(work.residual), generator=torch.Generator().manual_seed(seed)).T.contiguous()
    shape = (len(log10_m), *arcs.shape)
    slope, information = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    largest, (least, most) = torch.zeros(draws), _limits(len(log10_m))
    for first in range(0, len(places), BLOCK):
        some = places[first : first + BLOCK]
        for k, mass in enumerate(log10_m):
            template = work.whitened(mass, some)
            free = work.orthogonal(template)
            size = (template * template).sum(1)
            f = torch.maximum((template * free).sum(1), ROUNDING * size)
            slope[k, some[:, 0], some[:, 1]] = (template @ work.residual).numpy()
            information[k, some[:, 0], some[:, 1]] = f.numpy()
            chi2, _ = _gain(free @ noise, f[:, None], (least[k : k + 1], most[k : k + 1]))
            largest = torch.maximum(largest, chi2.amax(0))
        progress(min(first + BLOCK, len(places)), len(places))
    slope, information = (_filled(maps, places, stride) for maps in (slope, information))
    return GainMaps(np.array(log10_m), slope, information, largest.sqrt().numpy())


def _places(arcs: np.ndarray, pixel_scale: float, stride: int) -> np.ndarray:
    """Return rows and columns `(n, 2)` of the pixels at which clumps are looked for."""
    lit = arcs > LIT
    if not lit.any():
        return np.zeros((0, 2), int)
    near = distance_transform_edt(~lit) * pixel_scale <= REACH
    if stride > 1:
        grid = np.zeros_like(near)
        grid[stride // 2 :: stride, stride // 2 :: stride] = True
        near &= grid
    return np.argwhere(near)


def _filled(maps: np.ndarray, places: np.ndarray, stride: int) -> np.ndarray:
    """Give the pixels about every place its value."""
    found, (height, width) = maps.copy(), maps.shape[1:]
    for shift in np.ndindex(stride, stride):
        rows, columns = (places + np.array(shift) - stride // 2).T
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        found[:, rows[inside], columns[inside]] = maps[:, places[inside, 0], places[inside, 1]]
    return found


def _limits(count: int) -> tuple[Tensor, Tensor]:
    """Return by how much at least and at most the templates of each mass are scaled, `(M, 1, 1)` each."""
    low, high = torch.full((count, 1, 1), 10**-STEP), torch.full((count, 1, 1), 10**STEP)
    low[0], high[-1] = 0.0, 10 ** (2 * STEP)
    return low, high


def _gain(slope: Tensor, information: Tensor, limits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return twice the gain in ln L and the factor on the template's mass where it is largest."""
    low, high = (limit.view(-1, *([1] * (slope.ndim - 1))) if slope.ndim == 3 else limit.view(()) for limit in limits)
    factor = torch.minimum(torch.maximum(slope / information, low), high)
    return factor * (2 * slope - factor * information), factor


def peaks(significance: np.ndarray, radius: float, count: int) -> Iterator[tuple[int, int]]:
    """Yield rows and columns of the highest local maxima of a map, none nearer to a higher one than `radius` pixels."""
    left = np.where(np.isfinite(significance), significance, -np.inf).copy()
    y, x = np.ogrid[: left.shape[0], : left.shape[1]]
    for _ in range(count):
        row, column = np.unravel_index(left.argmax(), left.shape)
        if not left[row, column] > 0:
            return
        yield int(row), int(column)
        left[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = -np.inf
