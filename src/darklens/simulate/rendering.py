"""Rendering: scene -> flux on the detector.

For every pixel of the image plane the lens equation `beta = theta - alpha(theta)` says where in the source plane the light
comes from; the flux is the source's surface brightness there times the pixel's area (light sampled at pixel centres, as the
data sets of the field do, or integrated over the pixel), convolved with the PSF on a wider field and cropped. Batched,
differentiable, on any device.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from subprocess import CalledProcessError

import numpy as np
import torch
from torch import Tensor

from darklens.lensing import Light, Mass
from darklens.simulate.compiled import render_compiled
from darklens.simulate.instruments import Instrument
from darklens.simulate.point_sources import point_flux
from darklens.simulate.sampling import Supersampling, check_supersampling, mean_brightness
from darklens.simulate.scene import Scene, strength

CHUNK_PIXELS = 1 << 18
"""Pixels rendered at once: a chunk's temporaries stay in the processor's cache, and memory does not grow with the batch."""
PADDING = 1.15
"""Most perturbers that a chunk computes for every one that its first system has."""

_log = logging.getLogger("darklens")


def pixel_grid(
    shape: tuple[int, int],
    pixel_scale: float,
    margin: int = 0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Return x and y in arcsec of the pixel centres, each `(H + 2 margin, W + 2 margin)`, zero at the field's centre."""
    rows, columns = ((torch.arange(-margin, n + margin, dtype=torch.float64) - (n - 1) / 2) * pixel_scale for n in shape)
    y, x = torch.meshgrid(rows.to(device, dtype), columns.to(device, dtype), indexing="ij")
    return x, y


def render(
    scene: Scene,
    instrument: Instrument,
    shape: tuple[int, int] = (64, 64),
    *,
    supersampling: Supersampling = 1,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Render the flux of a scene, without noise.

    Args:
        scene: B systems.
        instrument: pixel scale and PSF.
        shape: rows and columns of the image.
        supersampling: 1 samples light at pixel centres; n averages n x n samples a pixel; `adaptive` samples 4 x 4 or 16 x 16
            where the light bends. Largest error of a pixel against 16 x 16, in units of the image's peak, as the median and the
            worst of images like those of `common-test` and `model-iii`: a source of index 1 to 1.5 at centres 0.02-0.08 and 0.3,
            adaptive 0.003 and 0.011; of index 4 at centres 0.1-0.5 and 6, adaptive 0.001 and 0.013. It costs 3 to 6 times
            the time of the centres, and up to 15 times with many point masses, each of which bends the light; 16 x 16 costs 256.
        dtype: float32 for production, float64 for reference.
        device: where to compute.

    Returns:
        `(B, H, W)` flux per pixel in e-/s.

    Raises:
        InputError: `supersampling` is neither of these, or there are point sources behind several lens planes.
    """
    check_supersampling(supersampling)
    if scene.point_source:
        points = point_flux(scene, instrument, shape).to(device, dtype)
        extended = replace(scene, point_source=())
        return points + render(extended, instrument, shape, supersampling=supersampling, dtype=dtype, device=device)
    differentiable = torch.is_grad_enabled() and _needs_gradient(scene)
    if supersampling == 1 and not differentiable:
        fast = None
        if torch.device(device).type == "cpu":
            fast = render_compiled(scene, instrument, shape, dtype)
        elif torch.device(device).type == "cuda" and (on_cuda := triton_renderer()):
            fast = on_cuda(scene, instrument, shape, dtype, device)
        if fast is not None:
            return fast
    out = torch.empty(len(scene), *shape, dtype=dtype, device=device)

    def fill(chunk: np.ndarray) -> None:
        flux = _render_chunk(scene.select(chunk).to(dtype, device), instrument, shape, supersampling)
        out[torch.as_tensor(chunk, device=device)] = flux

    chunks = list(_chunks(scene, shape, supersampling))
    if torch.device(device).type != "cpu" or len(chunks) == 1 or differentiable:
        for chunk in chunks:
            fill(chunk)
    else:
        with _one_thread_per_operation() as workers, ThreadPoolExecutor(workers) as pool:
            list(pool.map(fill, chunks))
    return out


@functools.cache
def triton_renderer() -> Callable[..., Tensor | None] | None:
    """Return the fast path on CUDA; None where triton is missing or cannot compile, which is logged once."""
    try:
        from triton.runtime import driver

        driver.active.get_current_device()  # finds out now whether triton has what it needs: a CUDA driver, a C compiler

        from darklens.simulate.render_triton import render_triton
    except (ImportError, RuntimeError, OSError, CalledProcessError) as error:
        _log.warning("triton cannot be used (%s), so images on CUDA are rendered in PyTorch, slower; install triton and gcc", error)
        return None
    return render_triton


def _chunks(scene: Scene, shape: tuple[int, int], supersampling: Supersampling) -> Iterator[np.ndarray]:
    """Group systems with about the same numbers of perturbers, so that nobody computes much padding, and cut groups to size."""
    samples = 1 if supersampling == "adaptive" else supersampling**2
    size = max(1, CHUNK_PIXELS // (shape[0] * shape[1] * samples))
    counts = scene.counts
    chunk: list[int] = []
    for row in np.lexsort(counts.T):
        width = counts[[*chunk, row]].max(0).sum()
        if chunk and (len(chunk) == size or width > PADDING * counts[chunk[0]].sum()):
            yield np.array(chunk)
            chunk = []
        chunk.append(int(row))
    yield np.array(chunk)


def _needs_gradient(scene: Scene) -> bool:
    profiles: tuple[Mass | Light, ...] = (*scene.masses(), *scene.source, *scene.lens_light)
    parameters = [getattr(item, f.name) for item in profiles for f in fields(item)]
    return any(isinstance(p, Tensor) and p.requires_grad for p in parameters)


@contextmanager
def _one_thread_per_operation() -> Iterator[int]:
    """Let whole chunks run in parallel instead of the inside of each operation.

    Operations of this size are too short to share: their threads would wait for each other at every one, and on a machine with
    other work that costs a factor of ten.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _render_chunk(scene: Scene, instrument: Instrument, shape: tuple[int, int], supersampling: Supersampling) -> Tensor:
    parameter, scale = strength(scene.macro[0]), instrument.pixel_scale
    x, y = pixel_grid(shape, scale, instrument.psf.margin(scale), parameter.dtype, parameter.device)
    light = mean_brightness(scene, x[:1], y[:, :1], scale, supersampling)  # an open grid: one row and one column
    return instrument.psf.convolve(light * scale**2, scale)
