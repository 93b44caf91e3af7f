"""One image with what has to be known about it: noise, PSF, and which pixels count.

Rays are traced for every pixel that counts and for those from which the PSF carries light into them; the blur is one sparse
matrix from the second to the first. A PSF on the pixels of the image acts on their mean brightness; of one on finer pixels each ray
has its own, at its place within the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage, sparse
from torch import Tensor

from darklens.errors import InputError
from darklens.fit.one_lens.point_spread import PointSpread

PSF_LIGHT = 0.999
"""Share of the PSF's light that is kept: its far wings cost time and carry nothing."""
LARGEST_BLUR = 100_000_000
"""Most entries of the blur: 6 GiB while it is built."""
OFF_CENTRE = 0.25
"""Largest distance of the light's centroid from the middle of the field, in units of half its side."""
PEAK_OFF_CENTRE = 0.3
"""The same of the brightest place, which may be an image of a quasar."""
SURROUNDINGS = 1.5
"""Radius about the middle, in units of the ring's, within which the light is that of the lens and its source."""
UNBALANCED = 0.25
"""Distance from the middle, in the same units, beyond which the centroid or the galaxy in it speaks of another middle."""
SIGNIFICANT = 3.0
"""Standard deviations above which a pixel counts for the centroid."""


@dataclass(frozen=True, eq=False)
class Observation:
    """An image of one lens; the origin of coordinates is the middle of the field.

    Args:
        image: `(H, W)`, background-subtracted.
        noise: `(H, W)` standard deviation of each pixel, in the unit of the image.
        kernel: `(K, K)` PSF on the pixels of the image, its centre on the middle pixel.
        pixel_scale: arcsec.
        mask: `(H, W)`, true where a pixel counts.
        subpixels: rays along a side of a pixel.
        spread: the PSF where it is known on finer pixels, or None.

    Raises:
        InputError: shapes that do not match, a noise that is not positive, a PSF without light, a mask without pixels.
    """

    image: np.ndarray
    noise: np.ndarray
    kernel: np.ndarray
    pixel_scale: float
    mask: np.ndarray
    subpixels: int = 2
    spread: PointSpread | None = None

    def __post_init__(self) -> None:
        _check(self.image, self.noise, self.kernel, self.pixel_scale, self.mask)
        object.__setattr__(self, "mask", self.mask & np.isfinite(self.image))
        object.__setattr__(self, "kernel", trimmed(self.kernel))

    def _check_blur(self) -> None:
        rays = 1 if self.spread is None else self.subpixels**2
        entries, (height, width) = self.size * self.kernel.size * rays, self.kernel.shape
        if entries > LARGEST_BLUR:
            side = int((LARGEST_BLUR / (self.size * rays)) ** 0.5 - 1) // 2 * 2 + 1
            raise InputError(
                f"PSF: {100 * PSF_LIGHT:g}% of its light take {height}x{width} pixels, and {self.size} pixels of the image count, "
                f"which makes {entries:.1e} numbers of blur, above {LARGEST_BLUR:.0e}: subtract the PSF's background, cut it to "
                f"{side}x{side} or less, or let fewer pixels count with --annulus or --mask"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.image.shape

    @property
    def size(self) -> int:
        """Number of pixels that count."""
        return int(self.mask.sum())

    @cached_property
    def data(self) -> np.ndarray:
        """`(N,)` pixels that count, in units of their noise."""
        return (self.image / self.noise)[self.mask]

    @cached_property
    def weight(self) -> np.ndarray:
        """`(N,)` one over the noise."""
        return 1 / self.noise[self.mask]

    @cached_property
    def support(self) -> np.ndarray:
        """`(H, W)`, true where light can reach a pixel that counts."""
        return ndimage.maximum_filter(self.mask, self.kernel.shape, mode="constant")

    @cached_property
    def rays(self) -> tuple[Tensor, Tensor]:
        """Positions x and y of the rays, `(R, K)` float64, arcsec: K of them for each column of the blur.

        These are the rays of the R pixels of the support; with a fine PSF, single rays, all pixels for each place within a pixel.
        """
        rows, columns = np.nonzero(self.support)
        dy, dx = self._inside
        x = (columns[:, None] + dx - (self.shape[1] - 1) / 2) * self.pixel_scale
        y = (rows[:, None] + dy - (self.shape[0] - 1) / 2) * self.pixel_scale
        if self.spread is not None:
            x, y = x.T.reshape(-1, 1), y.T.reshape(-1, 1)
        return torch.from_numpy(x), torch.from_numpy(y)

    @property
    def _inside(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the rays are in a pixel, rows and columns, in pixels from its middle."""
        inside = (np.arange(self.subpixels) + 0.5) / self.subpixels - 0.5
        dy, dx = (d.ravel() for d in np.meshgrid(inside, inside, indexing="ij"))
        return dy, dx

    @cached_property
    def blur(self) -> sparse.csr_array:
        """`(N, R)`: the light of the support's pixels, or of each ray in them, to the pixels that count, in units of the noise.

        Raises:
            InputError: it would have more than `LARGEST_BLUR` entries.
        """
        self._check_blur()
        if self.spread is None:
            return sparse.csr_array(self._spread(self.kernel).multiply(self.weight[:, None]))
        middle = np.array(self.kernel.shape) // 2
        kernels = [self.spread.at(middle[0] + v, middle[1] + u, self.kernel.shape) for v, u in zip(*self._inside, strict=True)]
        whole = sparse.hstack([self._spread(kernel) for kernel in kernels]) / len(kernels)
        return sparse.csr_array(whole.multiply(self.weight[:, None]))

    def _spread(self, kernel: np.ndarray) -> sparse.csr_array:
        number = np.full(self.shape, -1)
        number[self.support] = np.arange(self.support.sum())
        half = np.array(kernel.shape) // 2
        padded = np.pad(number, ((half[0],) * 2, (half[1],) * 2), constant_values=-1)
        rows, columns = np.nonzero(self.mask)
        entries = []
        for i, j in np.ndindex(kernel.shape):  # the light at kernel[i, j] comes from the pixel on the other side
            source = padded[rows + 2 * half[0] - i, columns + 2 * half[1] - j]
            there = np.flatnonzero(source >= 0)
            entries.append((np.full(len(there), kernel[i, j]), there, source[there]))
        value, row, column = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        return sparse.csr_array((value, (row, column)), shape=(len(rows), int(self.support.sum())))

    def scattered(self, values: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Return `(N,)` values on the field, `(H, W)`, and `fill` where no pixel counts."""
        field = np.full(self.shape, fill)
        field[self.mask] = values
        return field

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of all pixels, `(H, W)` arcsec."""
        y, x = np.indices(self.shape, dtype=float)
        return (x - (self.shape[1] - 1) / 2) * self.pixel_scale, (y - (self.shape[0] - 1) / 2) * self.pixel_scale

    def check_counts(self, x: np.ndarray, y: np.ndarray) -> None:
        """Refuse positions, `(n,)` each in arcsec, that do not lie on pixels that count.

        Raises:
            InputError: naming the first.
        """
        for number, (px, py) in enumerate(zip(x, y, strict=True), start=1):
            column, row = (round(p / self.pixel_scale + (n - 1) / 2) for p, n in ((px, self.shape[1]), (py, self.shape[0])))
            if not (0 <= row < self.shape[0] and 0 <= column < self.shape[1]):
                raise InputError(
                    f'position {number} at ({px:g}", {py:g}") lies outside the image, which reaches to {self.reach_told}: give x '
                    "and y in arcsec from its middle"
                )
            if not self.mask[row, column]:
                raise InputError(
                    f'position {number} at ({px:g}", {py:g}") lies on a pixel that does not count: correct it, or the mask'
                )

    @property
    def reach_told(self) -> str:
        """How far the image reaches in x and in y, in words."""
        x, y = (f'+-{0.5 * self.pixel_scale * n:.4g}"' for n in self.shape[::-1])
        return f"{x} and {y}"

    def check_inside(self, place: tuple[float, float]) -> None:
        """Refuse a centre, x and y in arcsec, that lies outside the image.

        Raises:
            InputError: naming it.
        """
        if any(abs(p) > 0.5 * self.pixel_scale * n for p, n in zip(place, self.shape[::-1], strict=True)):
            raise InputError(
                f'centre ({place[0]:g}", {place[1]:g}") lies outside the image, which reaches to {self.reach_told}: give x and y '
                "in arcsec from its middle"
            )

    def check_centred(self, bright_lens: bool, theta_E: float | None = None) -> None:
        """Refuse an image whose light is not about its middle.

        Args:
            bright_lens: the lens galaxy shines, so that the brightest place is near the middle too.
            theta_E: radius of the ring about the middle, arcsec; where the light within it is balanced about the middle, what is
                brighter is a neighbour, or the images of a quasar.

        Raises:
            InputError: the centroid of what stands out of the noise, or the brightest place, is too far out.
        """
        bright = np.where(np.isfinite(self.image) & (self.image > SIGNIFICANT * self.noise), self.image, 0.0)
        if not bright.any():
            raise InputError(
                f"no pixel stands {SIGNIFICANT:g} sigma above zero: there is no lens to fit; check image and noise map"
            )
        x, y = self.coordinates()
        half = 0.5 * min(self.shape) * self.pixel_scale
        smooth = ndimage.gaussian_filter(np.where(self.mask, bright, 0.0), 2.0)
        places = [("centroid of the light", *_centroid(bright, x, y), OFF_CENTRE * half)]
        if bright_lens:
            places.append(("brightest place", *_brightest(smooth, x, y), PEAK_OFF_CENTRE * half))
        if theta_E is not None:
            r = np.hypot(x, y)
            near = np.where(self.mask & (r < SURROUNDINGS * theta_E), bright, 0.0)
            balanced = near.any() and np.hypot(*_centroid(near, x, y)) < UNBALANCED * theta_E
            inner = np.where(r < 2 * UNBALANCED * theta_E, smooth, 0.0)
            if balanced and (not bright_lens or np.hypot(*_brightest(inner, x, y)) < UNBALANCED * theta_E):
                return
        for what, cx, cy, limit in places:
            if np.hypot(cx, cy) > limit:
                raise InputError(
                    f'the {what} is at ({cx:.2f}", {cy:.2f}"), more than {limit:.2f}" off the middle of the image: cut the image '
                    "about the lens, or say where the lens is with --centre X,Y"
                )


def _centroid(light: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    return float((light * x).sum() / light.sum()), float((light * y).sum() / light.sum())


def _brightest(light: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    return float(x.flat[light.argmax()]), float(y.flat[light.argmax()])


def trimmed(kernel: np.ndarray) -> np.ndarray:
    """Return the central square of a PSF that holds `PSF_LIGHT` of its light, normalised to a sum of one."""
    middle = kernel.shape[0] // 2, kernel.shape[1] // 2
    for half in range(1, max(middle) + 1):
        rows, columns = (slice(max(0, m - half), m + half + 1) for m in middle)
        inner = kernel[rows, columns]
        if inner.sum() >= PSF_LIGHT * kernel.sum():
            return inner / inner.sum()
    return kernel / kernel.sum()


def _check(image: np.ndarray, noise: np.ndarray, kernel: np.ndarray, pixel_scale: float, mask: np.ndarray) -> None:
    if image.ndim != 2:
        raise InputError(f"image of {image.ndim} axes: give one band, (H, W)")
    for name, array in (("noise map", noise), ("mask", mask)):
        if array.shape != image.shape:
            raise InputError(f"{name} of {array.shape} for an image of {image.shape}: give one value for each pixel")
    if not (np.isfinite(pixel_scale) and 0 < pixel_scale < 1e3):
        raise InputError(f'pixel scale {pixel_scale}" is outside 0 to 1000": give it in arcsec')
    if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
        raise InputError(f"PSF of shape {kernel.shape}: both sides must be odd, with the centre on the middle pixel")
    if not np.isfinite(kernel).all() or kernel.sum() <= 0:
        raise InputError(f"PSF with sum {kernel.sum():.4g}: its pixels must be finite with a positive sum; repair the file")
    bad = mask & ~(np.isfinite(noise) & (noise > 0))
    if bad.any():
        wrong = noise[bad][0]
        raise InputError(
            f"noise map is {wrong:g} in {int(bad.sum())} pixels that count, and has to be positive and finite: repair it, or leave "
            "these pixels out with --mask"
        )
    if not (mask & np.isfinite(image)).any():
        raise InputError("no pixel is left: the mask covers the whole image; it has to be non-zero where a pixel counts")
