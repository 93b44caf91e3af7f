"""How good a reconstructed image is, one by one: PSNR, SSIM, power and correlation against scale, light, place, honesty of sigma.

All take images `(n, bands, H, W)` and what they should be, and return `(n,)` or `(n, K)`. The dynamic range of PSNR and SSIM is
that of each target, its brightest less its faintest pixel, as it is for images scaled to between 0 and 1.
"""

from __future__ import annotations

import numpy as np

BRIGHT = 0.1
"""Part of its brightest pixel from which a target counts as light, for place and coverage."""
SSIM_SIGMA, SSIM_RADIUS, K1, K2 = 1.5, 5, 0.01, 0.03
"""Of Wang et al. 2004 (IEEE Trans. Image Process. 13, 600): window of 11 pixels, deviation 1.5."""


def psnr(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio in dB, `(n,)`."""
    error = ((images.astype(np.float64) - targets) ** 2).mean((1, 2, 3))
    return 10 * np.log10(_range(targets) ** 2 / np.maximum(error, 1e-300))


def ssim(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the structural similarity, `(n,)`, 1 for equal images (Wang et al. 2004, eq. 13); pixels with a whole window count."""
    a, b = images.astype(np.float64), targets.astype(np.float64)
    c1, c2 = ((k * _range(targets)[:, None, None, None]) ** 2 for k in (K1, K2))
    mean_a, mean_b = _smooth(a), _smooth(b)
    var_a, var_b = _smooth(a * a) - mean_a**2, _smooth(b * b) - mean_b**2
    both = _smooth(a * b) - mean_a * mean_b
    found = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return found.mean((1, 2, 3))


def _range(targets: np.ndarray) -> np.ndarray:
    return np.maximum(targets.max((1, 2, 3)) - targets.min((1, 2, 3)), 1e-30).astype(np.float64)


def _smooth(maps: np.ndarray) -> np.ndarray:
    """Return means under a Gaussian window where it fits whole."""
    taps = np.exp(-0.5 * (np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1) / SSIM_SIGMA) ** 2)
    taps /= taps.sum()
    for axis in (-2, -1):
        size = maps.shape[axis] - 2 * SSIM_RADIUS
        maps = sum(tap * np.take(maps, np.arange(k, k + size), axis) for k, tap in enumerate(taps))
    return maps


def spectra(images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return azimuthal means of power and cross-power.

    The mean of each target's border is taken off first: a level that does not end at the border leaks into all frequencies.

    Returns:
        k `(K,)` in cycles a side; power of the images, of the targets, and their cross-power, `(n, K)` each.
    """
    height, width = images.shape[-2:]
    ky, kx = np.fft.fftfreq(height) * height, np.fft.rfftfreq(width) * width
    ring = np.hypot(ky[:, None] * max(height, width) / height, kx[None, :] * max(height, width) / width).round().astype(int)
    last = max(height, width) // 2
    weight = np.where((kx == 0) | ((width % 2 == 0) & (kx == width // 2)), 1.0, 2.0)[None, :] * (ring <= last)
    counts = np.bincount(ring.ravel(), weight.ravel(), minlength=last + 1)[: last + 1]
    edge = _border(targets)

    def mean_of(power: np.ndarray) -> np.ndarray:
        flat = (power.sum(1) * weight).reshape(len(power), -1)
        found = [np.bincount(ring.ravel(), row, minlength=last + 1)[: last + 1] for row in flat]
        return np.array(found).reshape(-1, last + 1) / counts

    first, second = (np.fft.rfft2(a.astype(np.float64) - edge, norm="ortho") for a in (images, targets))
    powers = (mean_of(np.abs(first) ** 2), mean_of(np.abs(second) ** 2), mean_of((first * second.conj()).real))
    made, true, common = (power[:, 1:] for power in powers)
    return np.arange(1, last + 1), made, true, common


def _border(images: np.ndarray) -> np.ndarray:
    frame = np.ones(images.shape[-2:], dtype=bool)
    frame[2:-2, 2:-2] = False
    return images[..., frame].mean(-1, dtype=np.float64)[..., None, None]


def flux_bias(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the relative error of the light above the border's level where the target is bright, `(n,)`."""
    bright, edge = _bright(targets), _border(targets)
    light = [((a.astype(np.float64) - edge) * bright).sum((1, 2, 3)) for a in (images, targets)]
    return light[0] / np.maximum(np.abs(light[1]), 1e-30) - np.sign(light[1])


def displacement(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return `(n, 2)`: by how many pixels the centroid of the light, where the target is bright, lies too far up and right."""
    bright, edge = _bright(targets), _border(targets)
    y, x = np.mgrid[: images.shape[-2], : images.shape[-1]]
    found = []
    for one in (images, targets):
        light = np.clip(one.astype(np.float64) - edge, 0, None) * bright
        whole = np.maximum(light.sum((1, 2, 3)), 1e-30)
        found.append(np.stack([(light * axis).sum((1, 2, 3)) / whole for axis in (y, x)], 1))
    return found[0] - found[1]


def coverage(images: np.ndarray, targets: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which part of the pixels lies within one sigma of the target, `(n,)`: of all pixels, and of the bright ones."""
    within, bright = np.abs(images - targets) <= sigma, _bright(targets)
    return within.mean((1, 2, 3)), (within & bright).sum((1, 2, 3)) / np.maximum(bright.sum((1, 2, 3)), 1)


def _bright(targets: np.ndarray) -> np.ndarray:
    edge = _border(targets)
    return targets - edge > BRIGHT * (targets.max((-2, -1), keepdims=True) - edge)
