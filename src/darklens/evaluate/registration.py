"""How far one image is shifted against another, to a fraction of a pixel, and shifting it back.

Phase correlation: the cross-power spectrum of two images that differ by a shift is a plane wave, whose transform is a peak at the
shift (Kuglin & Hines 1975). The peak is first found on whole pixels, then refined on a finer and finer grid about it with the
matrix-multiply transform of Guizar-Sicairos, Thurman & Fienup (2008, Opt. Lett. 33, 156). Frequencies count by their amplitude, not
equally: at those where there is only noise, the phase says nothing.
"""

from __future__ import annotations

import numpy as np

FINEST = 0.002
"""Pixels to which a shift is searched; noise usually sets a higher limit."""


def measured_shift(image: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return `(dy, dx)` in pixels by which an image is shifted against a reference of the same shape.

    Args:
        image: `(H, W)`; several bands `(bands, H, W)` are measured together.
        reference: likewise. Level and contrast may differ.
    """
    image, reference = (np.atleast_3d(a.astype(np.float64).T).T for a in (image, reference))
    window = _window(image.shape[-2:])
    frame = window < 0.5  # a level that is left would be a pedestal that does not move
    first, second = (np.fft.fft2(window * (a - a[..., frame].mean(-1)[..., None, None])) for a in (image, reference))
    product = (first * second.conj()).sum(0)
    if not np.abs(product).max() > 0:
        return 0.0, 0.0  # nothing but a level
    correlation = np.fft.ifft2(product).real
    place = np.array(np.unravel_index(correlation.argmax(), correlation.shape), dtype=np.float64)
    size = np.array(correlation.shape)
    place = np.where(place > size // 2, place - size, place)
    step = 0.5
    while step > FINEST:
        place = _refined(product, place, step)
        step /= 2
    return float(place[0]), float(place[1])


def shifted(image: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Return an image `(..., H, W)` moved by `(dy, dx)` pixels; what leaves on one side enters on the other.

    A phase in Fourier space, exact for images that the pixels sample well enough.
    """
    height, width = image.shape[-2:]
    phase = np.exp(-2j * np.pi * (dy * np.fft.fftfreq(height)[:, None] + dx * np.fft.rfftfreq(width)[None, :]))
    if width % 2 == 0:
        phase[:, -1] = phase[:, -1].real  # the highest frequency of an even side is real
    if height % 2 == 0:
        phase[height // 2] = phase[height // 2].real
    return np.fft.irfft2(np.fft.rfft2(image) * phase, s=(height, width)).astype(image.dtype)


def _window(shape: tuple[int, int]) -> np.ndarray:
    """Return a window that falls off over a tenth of each side: what the border cuts would be a feature that does not move."""
    tapers = []
    for side in shape:
        edge = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / max(1.0, 0.1 * side)
        tapers.append(0.5 - 0.5 * np.cos(np.pi * np.clip(edge, 0, 1)))
    return tapers[0][:, None] * tapers[1][None, :]


def _refined(product: np.ndarray, place: np.ndarray, step: float) -> np.ndarray:
    """Return the largest of nine values of the correlation about a place, `step` apart."""
    offsets = np.array([-step, 0.0, step])
    rows, columns = (
        np.exp(2j * np.pi * (centre + offsets)[:, None] * np.fft.fftfreq(side)[None, :])
        for centre, side in zip(place, product.shape, strict=True)
    )
    values = (rows @ product @ columns.T).real
    best = np.unravel_index(values.argmax(), values.shape)
    return place + offsets[list(best)]
