"""Where a fit starts: seen from the right lens, the bright pixels of a ring come from one spot of the source plane.

With `beta = theta - theta_E theta/|theta| - Gamma theta` the scatter of beta, weighted by the flux, is quadratic in the Einstein
radius, the shear and the spot: its minimum is one small linear system for each image. Holding the shear to different strengths, and
looking at different fractions of the light, gives several starts.
"""

from __future__ import annotations

import numpy as np

from darklens.fit.lens_model import PARAMETERS, LensModel

VARIANTS = ((0.5, 0.1), (0.25, 0.3), (0.6, 0.02), (0.3, 0.02), (0.1, 0.15), (0.75, 0.3))
"""(fraction of the peak above which a pixel counts, expected shear) of each start."""


def starts(data: np.ndarray, v0: np.ndarray, pixel_scale: float, model: LensModel, variants: int) -> np.ndarray:
    """Return starting points chosen from the images.

    Args:
        data: `(N, H, W)` flux a pixel.
        v0: `(N, H, W)`, not positive where masked.
        pixel_scale: arcsec.
        model: says what is fixed.
        variants: number of starts, up to `len(VARIANTS)`.

    Returns:
        `(N, variants, len(PARAMETERS))` float64.
    """
    n, height, width = data.shape
    y, x = ((np.arange(k) - (k - 1) / 2) * pixel_scale for k in (height, width))
    sky = np.stack([np.median(d[v > 0]) if (v > 0).any() else 0.0 for d, v in zip(data, v0, strict=True)])
    flux = np.where(v0 > 0, data - sky[:, None, None], 0.0).clip(min=0)
    peak = np.partition(flux.reshape(n, -1), -4, axis=1)[:, -4].clip(min=1e-30)  # the fourth brightest: a hot pixel is not a peak
    out = np.repeat(model.start(n)[:, None], variants, 1)
    column = {name: PARAMETERS.index(name) for name in PARAMETERS}
    for k, (threshold, shear) in enumerate(VARIANTS[:variants]):
        bright = np.minimum(flux, peak[:, None, None])
        bright = np.where(bright > threshold * peak[:, None, None], bright, 0.0)
        if model.lens_light:
            bright = bright * (np.hypot(x, y[:, None]) > 3 * pixel_scale)
        theta_E, gamma1, gamma2, sx, sy = _focus(bright, x, y, shear)
        found = {"theta_E": theta_E, "gamma1": gamma1, "gamma2": gamma2, "source_x": sx, "source_y": sy, "sky": sky}
        found["R_sersic"] = np.full(n, (0.3, 0.15, 0.5)[k % 3]) * np.clip(theta_E, 0.3, 3.0)
        area = pixel_scale**2
        found["source_amp"] = peak / area * 0.4
        found["lens_amp"] = peak / area * 0.2
        for name in found:
            if name in model.free:
                out[:, k, column[name]] = found[name]
    low, high = model.bounds()
    out[..., model.free_index] = np.clip(out[..., model.free_index], low, high)
    return out


def _focus(weight: np.ndarray, x: np.ndarray, y: np.ndarray, shear: float) -> tuple[np.ndarray, ...]:
    """Return Einstein radius, shear and source position of least scatter, each `(N,)`, the shear held to zero +- `shear`."""
    xx, yy = np.broadcast_arrays(x, y[:, None])
    r = np.hypot(xx, yy).clip(1e-9)
    one, zero = np.ones_like(xx), np.zeros_like(xx)
    in_x = np.stack([xx / r, xx, yy, one, zero]).reshape(5, -1)
    in_y = np.stack([yy / r, -yy, xx, zero, one]).reshape(5, -1)
    w = weight.reshape(len(weight), -1)
    w = w / w.sum(1, keepdims=True).clip(1e-30)
    pairs = (in_x[:, None] * in_x[None] + in_y[:, None] * in_y[None]).reshape(25, -1)
    normal = (w @ pairs.T).reshape(-1, 5, 5)
    right = w @ (in_x * xx.ravel() + in_y * yy.ravel()).T
    scale = np.einsum("np,p->n", w, (xx**2 + yy**2).ravel()).clip(1e-12)
    normal[:, [1, 2], [1, 2]] += (scale * 0.02 / shear**2)[:, None] * 0.1
    normal[:, range(5), range(5)] += 1e-9 * scale[:, None]
    found = np.linalg.solve(normal, right[..., None])[..., 0]
    return tuple(found.T)
