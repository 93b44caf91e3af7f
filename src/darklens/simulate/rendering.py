"""Rendering: scene -> flux on the detector.

For every pixel of the image plane the lens equation `beta = theta - alpha(theta)` says where in the source plane the light
comes from; the flux is the source's surface brightness there times the pixel's area (light sampled at pixel centres, as the
data sets of the field do), convolved with the PSF on a wider field and cropped. Batched, differentiable, on any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from darklens.lensing import trace
from darklens.simulate.instruments import Instrument
from darklens.simulate.scene import Scene

CHUNK_PIXELS = 1 << 18
"""Pixels rendered at once: a chunk's temporaries stay in the processor's cache, and memory does not grow with the batch."""


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
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Render the flux of a scene, without noise.

    Args:
        scene: B systems.
        instrument: pixel scale and PSF.
        shape: rows and columns of the image.
        dtype: float32 for production, float64 for reference.
        device: where to compute.

    Returns:
        `(B, H, W)` flux per pixel in e-/s.
    """
    out = torch.empty(len(scene), *shape, dtype=dtype, device=device)

    def fill(chunk: np.ndarray) -> None:
        flux = _render_chunk(scene.select(chunk).to(dtype, device), instrument, shape)
        out[torch.as_tensor(chunk, device=device)] = flux

    chunks = list(_chunks(scene, shape))
    if torch.device(device).type != "cpu" or len(chunks) == 1 or (torch.is_grad_enabled() and _needs_gradient(scene)):
        for chunk in chunks:
            fill(chunk)
    else:
        with _one_thread_per_operation() as workers, ThreadPoolExecutor(workers) as pool:
            list(pool.map(fill, chunks))
    return out


def _chunks(scene: Scene, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Group systems with the same number of perturbers, so that nobody computes padding, and cut groups to size."""
    n = scene.n_perturbers
    size = max(1, CHUNK_PIXELS // (shape[0] * shape[1]))
    for count in np.unique(n):
        members = np.flatnonzero(n == count)
        yield from (members[i : i + size] for i in range(0, len(members), size))


def _needs_gradient(scene: Scene) -> bool:
    parameters = [getattr(item, f.name) for item in (*scene.masses(), *scene.source) for f in fields(item)]
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


def _render_chunk(scene: Scene, instrument: Instrument, shape: tuple[int, int]) -> Tensor:
    parameter = scene.macro[0].theta_E
    margin = instrument.psf.margin(instrument.pixel_scale)
    x, y = pixel_grid(shape, instrument.pixel_scale, margin, parameter.dtype, parameter.device)
    beta_x, beta_y = trace(scene.masses(), x[:1], y[:, :1])  # an open grid: one row and one column
    brightness = sum(light.intensity(beta_x, beta_y) for light in scene.source)
    return instrument.psf.convolve(brightness * instrument.pixel_scale**2, instrument.pixel_scale)
