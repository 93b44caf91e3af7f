"""The fast path of `render` on CUDA: the kinds of scenes of `compiled.py`, lit by one Triton kernel; the PSF is PyTorch's.

The formulas are those of `render.cpp`, in float32. A program has one block of pixels of one image; deflections and flux stay in its
registers while it loops over the masses, and nothing of the size of an image is written but the light itself.

Import this only where triton is installed: it comes with PyTorch for CUDA, and is no dependency of darklens.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from darklens.lensing import CoredTNFWHalos, PointMasses, TNFWHalos
from darklens.simulate.compiled import MACRO, _columns, _lights, _many, _supported
from darklens.simulate.instruments import Instrument
from darklens.simulate.scene import Scene

BLOCK = 512
"""Pixels of a program: four for each thread of four warps."""
CHUNK_PIXELS = 1 << 26
"""Pixels lit at once: 256 MiB of light, and about three times as much on its way through the PSF."""
MAX_TERMS = 64
"""Most terms of the power law's angular series, as in `render.cpp`."""
PRECISION = 1e-8
"""Size of the first term of the series that is left out, in units of the first."""


def render_triton(
    scene: Scene, instrument: Instrument, shape: tuple[int, int], dtype: torch.dtype, device: torch.device | str
) -> Tensor | None:
    """Return flux `(B, H, W)` on the device, or None where PyTorch has to do it: another kind of scene, or not float32."""
    if not _supported(scene, instrument) or dtype != torch.float32:
        return None
    margin = instrument.psf.margin(instrument.pixel_scale)
    high, wide = (n + 2 * margin for n in shape)
    out = torch.empty(len(scene), *shape, dtype=dtype, device=device)
    size = max(1, CHUNK_PIXELS // (high * wide))
    for first in range(0, len(scene), size):
        rows = np.arange(first, min(first + size, len(scene)))
        light = torch.empty(len(rows), high, wide, dtype=dtype, device=device)
        arguments = _arguments(scene.select(rows), light, instrument)
        with torch.cuda.device_of(light):
            _light[(len(rows), triton.cdiv(high * wide, BLOCK))](*arguments, BLOCK=BLOCK, enable_fp_fusion=True)
        out[first : first + size] = instrument.psf.convolve(light, instrument.pixel_scale)
    return out


def _arguments(scene: Scene, light: Tensor, instrument: Instrument) -> list[Tensor | int | float]:
    """Return the kernel's arguments, arrays on the device of `light`, `(B, H, W)`, which the kernel fills."""
    count, (high, wide) = len(scene), light.shape[1:]
    macro = _columns(scene.macro, MACRO, count, np.float64, gamma=2.0)
    arrays: list[np.ndarray | int] = [macro.astype(np.float32), *_series(macro)]
    for kind in (PointMasses, TNFWHalos, CoredTNFWHalos):
        masses, last = _many(scene, kind, count, np.float32)
        arrays += [masses, last, masses.shape[1]]
    for group in (scene.source, scene.lens_light):
        profiles = _lights(group, count, np.float32)
        arrays += [profiles, profiles.shape[1]]
    placed = [torch.from_numpy(a).to(light.device) if isinstance(a, np.ndarray) else a for a in arrays]
    return [light, *placed, wide, high * wide, 0.5 * (wide - 1), 0.5 * (high - 1), float(instrument.pixel_scale)]


def _series(macro: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients of the power law's angular series, `(B, MAX_TERMS)` float32, and how many count, `(B,)` int32."""
    t, e = macro[:, 1] - 1, np.hypot(macro[:, 2], macro[:, 3])
    n = np.arange(1, MAX_TERMS)
    ratios = (2 * n - 2 + t[:, None]) / (2 * n + 2 - t[:, None])
    a = np.concatenate([np.ones((len(t), 1)), ratios.cumprod(1)], 1)
    terms = 1 + (e[:, None] ** n > PRECISION).sum(1)
    return a.astype(np.float32), terms.astype(np.int32)


@triton.jit
def _points(masses, count, x, y, ax, ay):
    for k in range(count):
        strength, px, py = tl.load(masses + 3 * k), tl.load(masses + 3 * k + 1), tl.load(masses + 3 * k + 2)
        dx, dy = x - px, y - py
        per = tl.rsqrt(tl.maximum(dx * dx + dy * dy, 1e-16))  # one instruction on the device; a division is several
        scale = strength * per * per
        ax += scale * dx
        ay += scale * dy
    return ax, ay


@triton.jit
def _atan(w):
    """Return the arc tangent of w >= 0: to 2e-7, after the single-precision Cephes library."""
    beyond, middle = w > 2.414213562, w > 0.4142135624
    z = tl.where(beyond, -1.0 / tl.where(beyond, w, 1.0), tl.where(middle, (w - 1.0) / (w + 1.0), w))
    start = tl.where(beyond, 1.5707963268, tl.where(middle, 0.7853981634, 0.0))
    q = z * z
    return start + z + z * q * (((8.05374449538e-2 * q - 1.38776856032e-1) * q + 1.99777106478e-1) * q - 3.33329491539e-1)


@triton.jit
def _tnfw(halos, count, x, y, ax, ay):
    for k in range(count):
        h = halos + 9 * k
        dx, dy, per_Rs, factor = x - tl.load(h), y - tl.load(h + 1), tl.load(h + 2), tl.load(h + 3)
        tau, tau2, middle, weight = tl.load(h + 4), tl.load(h + 5), tl.load(h + 6), tl.load(h + 7)
        r = tl.sqrt(tl.maximum(dx * dx + dy * dy, 1e-10))
        z = r * per_Rs
        square = z * z
        gap = 1.0 - square
        far = tl.abs(gap) > 1e-3  # nearer to z = 1 the closed form is 0/0
        w = tl.sqrt(tl.where(far, tl.abs(gap), 0.5))
        closed = tl.where(gap > 0, tl.log((1.0 + tl.minimum(w, 1.0)) / z), _atan(w)) / w
        nfw = tl.where(far, closed, 1.0 + gap * (0.3333333333 + gap * 0.2))
        s = tl.sqrt(tau2 + square)
        outer = s * (weight * tl.log(z / (s + tau)) - 3.141592653589793)
        scale = factor * (middle + outer + (tau2 - 1.0 + 2.0 * square) * nfw) / (z * r)
        ax += scale * dx
        ay += scale * dy
    return ax, ay


@triton.jit
def _cored(halos, count, x, y, ax, ay):
    for k in range(count):
        h = halos + 9 * k
        dx, dy, per_Rs, factor = x - tl.load(h), y - tl.load(h + 1), tl.load(h + 2), tl.load(h + 3)
        beta2, d1, tau2, dt, middle = tl.load(h + 4), tl.load(h + 5), tl.load(h + 6), tl.load(h + 7), tl.load(h + 8)
        r = tl.sqrt(tl.maximum(dx * dx + dy * dy, 1e-10))
        z = r * per_Rs
        square = z * z
        half = 0.5 * tl.log(beta2 + square)
        s1, st = tl.sqrt(1.0 + square), tl.sqrt(tau2 + square)
        mass = middle + 2.0 / d1 * s1 * (tl.log(s1 + d1) - half) - 2.0 / dt * st * (tl.log(st + dt) - half)
        scale = factor * mass / (z * r)
        ax += scale * dx
        ay += scale * dy
    return ax, ay


@triton.jit
def _macro(m, a, terms, x, y):
    """Return the deflection of the power law, its series summed by Clenshaw's rule (see `lensing/epl.py`), and of the shear."""
    theta_E, t, e1, e2 = tl.load(m), tl.load(m + 1) - 1.0, tl.load(m + 2), tl.load(m + 3)
    px, py, g1, g2 = x - tl.load(m + 4), y - tl.load(m + 5), tl.load(m + 6), tl.load(m + 7)
    square = e1 * e1 + e2 * e2
    s = theta_E * tl.sqrt(tl.maximum(1.0 - square, 2e-4))
    wx, wy = (1.0 - e1) * px - e2 * py, (1.0 + e1) * py - e2 * px
    w2 = wx * wx + wy * wy
    held = tl.where(w2 > 1e-16, w2, 1.0)
    per = 1.0 / held
    cos2, sin2 = (wx * wx - wy * wy) * per, 2.0 * wx * wy * per
    zx, zy = -e1 * cos2 - e2 * sin2, e2 * cos2 - e1 * sin2
    b, after = x * 0.0, x * 0.0
    for k in range(1, terms):
        held_b = b
        b = tl.load(a + terms - k) + 2.0 * zx * b - square * after
        after = held_b
    # |w| (s/|w|)^t: with t = 1 to full precision, as is usual
    scale = tl.where(t == 1.0, s * tl.rsqrt(held), tl.exp(t * (tl.log(s) - 0.5 * tl.log(held))))
    sx, sy = 1.0 + zx * b - square * after, zy * b
    return scale * (wx * sx - wy * sy) + g1 * x + g2 * y, scale * (wx * sy + wy * sx) + g2 * x - g1 * y


@triton.jit
def _sersic(profiles, count, x, y, brightness):
    for k in range(count):
        p = profiles + 7 * k
        amp, radius, n, e1, e2 = tl.load(p), tl.load(p + 1), tl.load(p + 2), tl.load(p + 3), tl.load(p + 4)
        px, py = x - tl.load(p + 5), y - tl.load(p + 6)
        wx, wy = (1.0 - e1) * px - e2 * py, (1.0 + e1) * py - e2 * px
        square = (wx * wx + wy * wy) / tl.maximum(1.0 - e1 * e1 - e2 * e2, 2e-4)
        reduced = tl.maximum(square, 1e-8) / (radius * radius)
        b = tl.maximum(1.9992 * n - 0.3271, 1e-5)
        brightness += amp * tl.exp(b - b * tl.exp(tl.log(reduced) * (0.5 / n)))
    return brightness


@triton.jit(do_not_specialize=["most_points", "most_tnfw", "most_cored", "n_sources", "n_lights"])
def _light(
    light, macro, series, terms,
    points, n_points, most_points, tnfw, n_tnfw, most_tnfw, cored, n_cored, most_cored,
    sources, n_sources, lights, n_lights,
    wide, pixels, middle_x, middle_y, scale, BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill a block of pixels of `light` with flux before the PSF; of each array the image's own part is taken."""
    image = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x, y = ((pixel % wide).to(tl.float32) - middle_x) * scale, ((pixel // wide).to(tl.float32) - middle_y) * scale
    ax, ay = _macro(macro + 8 * image, series + 64 * image, tl.load(terms + image), x, y)
    ax, ay = _points(points + 3 * most_points * image, tl.load(n_points + image), x, y, ax, ay)
    ax, ay = _tnfw(tnfw + 9 * most_tnfw * image, tl.load(n_tnfw + image), x, y, ax, ay)
    ax, ay = _cored(cored + 9 * most_cored * image, tl.load(n_cored + image), x, y, ax, ay)
    brightness = _sersic(sources + 7 * n_sources * image, n_sources, x - ax, y - ay, x * 0.0)
    brightness = _sersic(lights + 7 * n_lights * image, n_lights, x, y, brightness)
    tl.store(light + image * pixels + pixel, brightness * (scale * scale), mask=pixel < pixels)
