"""Point spread functions, as pixel kernels.

The image is rendered on a field wider than the one asked for by the kernel's radius, convolved, and cropped: never the other
way round, which would dim the borders (a false residual there reads as substructure).
"""

from __future__ import annotations

import functools
import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.units import FWHM_PER_SIGMA


class PSF(ABC):
    """A point spread function; `margin` is how many pixels it reaches on each side."""

    @abstractmethod
    def margin(self, pixel_scale: float) -> int:
        """Return the reach in pixels at a pixel scale in arcsec."""

    @abstractmethod
    def convolve(self, image: Tensor, pixel_scale: float) -> Tensor:
        """Convolve `(..., H + 2m, W + 2m)` and crop the margin m: `(..., H, W)`; the kernel's sum is one."""


@functools.lru_cache(maxsize=64)
def gaussian_taps(sigma_px: float, radius: int) -> tuple[float, ...]:
    """Return the `2 radius + 1` weights of a Gaussian sampled at pixel centres, of sum one."""
    offsets = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (offsets / sigma_px) ** 2)
    return tuple((taps / taps.sum()).tolist())


@dataclass(frozen=True)
class GaussianPSF(PSF):
    """Gaussian of full width at half maximum `fwhm` (arcsec), sampled at pixel centres out to `truncation` sigma.

    Sampling and normalisation are those of `scipy.ndimage.gaussian_filter`, which lenstronomy uses too.
    """

    fwhm: float
    truncation: float = 5.0

    @property
    def sigma(self) -> float:
        """Standard deviation in arcsec."""
        return self.fwhm / FWHM_PER_SIGMA

    def margin(self, pixel_scale: float) -> int:
        """Return the reach in pixels."""
        return max(1, int(self.truncation * self.sigma / pixel_scale + 0.5))

    def convolve(self, image: Tensor, pixel_scale: float) -> Tensor:
        """Convolve by two passes of shifted sums.

        Shifted sums, not a convolution routine: they are element-wise, so a row does not depend on its neighbours in the
        batch to the last bit, and for these few taps they are as fast.
        """
        radius = self.margin(pixel_scale)
        taps = gaussian_taps(self.sigma / pixel_scale, radius)
        for dim in (-1, -2):
            size = image.shape[dim] - 2 * radius
            out = image.narrow(dim, radius, size) * taps[radius]
            for k in range(1, radius + 1):
                pair = image.narrow(dim, radius - k, size) + image.narrow(dim, radius + k, size)
                out = torch.add(out, pair, alpha=taps[radius + k])
            image = out
        return image


@dataclass(frozen=True, eq=False)
class TabulatedPSF(PSF):
    """A PSF given as an odd-sized kernel; it is divided by its sum.

    A kernel on pixels of another size than the instrument's is integrated onto the instrument's: its pixels are taken as flat,
    and every detector pixel gets the part of their flux that falls on it. (An effective PSF, which has the detector's pixel in
    it already, is meant to be sampled instead: give it at the instrument's own scale.)

    Args:
        kernel: `(K, L)` with K and L odd, finite, of positive sum.
        pixel_scale: arcsec per pixel of the kernel; None where it is the instrument's own.
        origin: where the kernel comes from, for manifests; by default its checksum.

    Raises:
        InputError: the kernel is not of that form.
    """

    kernel: np.ndarray = field(repr=False)
    pixel_scale: float | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        kernel = np.asarray(self.kernel, dtype=np.float64)
        if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
            raise InputError(f"PSF kernel of shape {kernel.shape}: both sides must be odd; crop or pad it by one pixel")
        if not np.isfinite(kernel).all() or kernel.sum() <= 0:
            raise InputError(f"PSF kernel with sum {kernel.sum()}: it must be finite with a positive sum; repair the file")
        if self.pixel_scale is not None and not 0 < self.pixel_scale < math.inf:
            raise InputError(f'PSF with {self.pixel_scale}" a pixel: the scale must be positive; give arcsec per pixel')
        object.__setattr__(self, "kernel", kernel / kernel.sum())
        digest = hashlib.sha256(np.ascontiguousarray(self.kernel).data).hexdigest()
        object.__setattr__(self, "origin", self.origin or f"array {kernel.shape[0]}x{kernel.shape[1]} sha256:{digest}")

    @classmethod
    def from_file(cls, path: str | Path, *, hdu: int | str | None = None, pixel_scale: float | None = None) -> TabulatedPSF:
        """Read a PSF from a FITS or `.npy` file; see `darklens.simulate.psf_file.read_psf`."""
        from darklens.simulate.psf_file import read_psf

        return read_psf(Path(path), hdu=hdu, pixel_scale=pixel_scale)

    @functools.lru_cache(maxsize=8)  # noqa: B019 - a PSF is small, and there are few
    def on_pixels(self, pixel_scale: float) -> np.ndarray:
        """Return the kernel on the detector's pixels, `(K, L)` with K and L odd, of sum one."""
        if self.pixel_scale is None or math.isclose(self.pixel_scale, pixel_scale, rel_tol=1e-3):
            return self.kernel
        rows, columns = (overlap(n, self.pixel_scale / pixel_scale) for n in self.kernel.shape)
        kernel = rows @ self.kernel @ columns.T
        return kernel / kernel.sum()

    def margin(self, pixel_scale: float) -> int:
        """Return the reach in pixels."""
        return max(self.on_pixels(pixel_scale).shape) // 2

    def convolve(self, image: Tensor, pixel_scale: float) -> Tensor:
        """Convolve through the Fourier plane."""
        m = self.margin(pixel_scale)
        kernel = torch.as_tensor(self.on_pixels(pixel_scale), dtype=image.dtype, device=image.device)
        size = image.shape[-2:]
        padded = torch.zeros(size, dtype=image.dtype, device=image.device)
        padded[: kernel.shape[0], : kernel.shape[1]] = kernel
        padded = padded.roll((-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), dims=(0, 1))
        out = torch.fft.irfft2(torch.fft.rfft2(image) * torch.fft.rfft2(padded), s=size)
        return out[..., m : size[0] - m, m : size[1] - m]


def fwhm(psf: PSF, pixel_scale: float) -> float:
    """Return the full width at half maximum in arcsec; of a kernel, that of the circle as large as its part above half."""
    if isinstance(psf, GaussianPSF):
        return psf.fwhm
    assert isinstance(psf, TabulatedPSF), "there are two kinds"
    kernel = psf.on_pixels(pixel_scale)
    return 2.0 * pixel_scale * math.sqrt(float((kernel >= 0.5 * kernel.max()).sum()) / math.pi)


def overlap(n: int, ratio: float) -> np.ndarray:
    """Return what share of each of n pixels, `ratio` wide, falls on each pixel of width one, both centred: `(odd, n)`."""
    half = math.ceil(round(0.5 * n * ratio - 0.5, 9))  # rounded: 3 x 0.1 is no more than 0.3
    fine = (np.arange(n + 1) - 0.5 * n) * ratio
    coarse = np.arange(-half, half + 2) - 0.5
    low, high = np.maximum(fine[:-1], coarse[:-1, None]), np.minimum(fine[1:], coarse[1:, None])
    return np.clip(high - low, 0, None) / ratio
