"""Point sources in an image: solve for the images, magnify them, put a PSF at each, at its place within the pixel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.lensing import PointSource
from darklens.simulate.instruments import Instrument
from darklens.simulate.psf import GaussianPSF
from darklens.simulate.scene import Scene


def point_flux(scene: Scene, instrument: Instrument, shape: tuple[int, int]) -> Tensor:
    """Return the flux of the lensed images of point sources.

    Args:
        scene: B systems in one lens plane, each with the same kinds of point source.
        instrument: pixel scale and PSF. A Gaussian is sampled about the image's own place; a tabulated PSF is shifted by sharing
            the flux among the four pixels around it, which keeps flux and centroid.
        shape: rows and columns.

    Returns:
        `(B, H, W)` float64, e-/s a pixel.

    Raises:
        InputError: several lens planes.
    """
    if scene.planes:
        raise InputError("point sources behind several lens planes cannot be solved for: render the scene without planes")
    half = 0.75 * max(shape) * instrument.pixel_scale
    out = torch.zeros(len(scene), *shape, dtype=torch.float64)
    for i in range(len(scene)):
        system = scene.system(i).to(torch.float64)
        for source in system.point_source:
            where, flux = PointSource(source.amp, source.center_x, source.center_y).images(system.masses(), half_width=half)
            for (x, y), amount in zip(where.tolist(), flux.tolist(), strict=True):
                out[i] += amount * _stamp(x, y, instrument, shape)
    return out


def _stamp(x: float, y: float, instrument: Instrument, shape: tuple[int, int]) -> Tensor:
    """Return the share of a point's flux that falls on each pixel."""
    scale, psf = instrument.pixel_scale, instrument.psf
    row, column = y / scale + (shape[0] - 1) / 2, x / scale + (shape[1] - 1) / 2
    if isinstance(psf, GaussianPSF):
        width = psf.sigma / scale
        up, across = (np.exp(-0.5 * ((np.arange(n) - at) / width) ** 2) for n, at in zip(shape, (row, column), strict=True))
        reach = psf.margin(scale) + 1
        norms = (np.exp(-0.5 * ((np.arange(-reach, reach + 1) - (at - round(at))) / width) ** 2).sum() for at in (row, column))
        return torch.from_numpy(np.outer(up, across) / np.prod(list(norms)))
    margin = psf.margin(scale)
    padded = torch.zeros(shape[0] + 2 * margin, shape[1] + 2 * margin, dtype=torch.float64)
    top, left = int(np.floor(row)), int(np.floor(column))
    for r, share_r in ((top, 1 - (row - top)), (top + 1, row - top)):
        for c, share_c in ((left, 1 - (column - left)), (left + 1, column - left)):
            if 0 <= r + margin < padded.shape[0] and 0 <= c + margin < padded.shape[1]:
                padded[r + margin, c + margin] += share_r * share_c
    return psf.convolve(padded, scale)
