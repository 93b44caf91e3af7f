"""Templates: what a clump of some mass changes in an image, at many places, in units of the noise."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from darklens.infer.substructure.clump import Clump
from darklens.infer.substructure.smooth_lens import SmoothLens
from darklens.simulate import pixel_grid

DIM = 0.1
"""In units of a pixel's noise: where the source is fainter, and all within `SHIFT` of it, bending light changes nothing."""
SHIFT = 0.2
"""Arcsec; about what the heaviest clump bends."""


class Templates(Protocol):
    """What `gain_maps` asks of an image and its smooth lens; N pixels are compared.

    `residual` is `(N,)`, the image less the smooth lens in units of the noise.
    """

    pixel_scale: float
    residual: Tensor

    def arcs(self) -> np.ndarray:
        """Return the light of the source as the camera sees it, in units of the noise, `(H, W)`; zero where masked."""

    def whitened(self, log10_m: float, places: np.ndarray) -> Tensor:
        """Return templates `(n, N)` of a mass at places `(n, 2)`, rows and columns."""

    def orthogonal(self, template: Tensor) -> Tensor:
        """Return templates less what the smooth lens can imitate of them."""


class ParametricTemplates:
    """Templates before a parametric source, on the pixels that any of them changes.

    Args:
        lens: the smooth lens.
        clump: the kind of clump.
    """

    def __init__(self, lens: SmoothLens, clump: Clump) -> None:
        self.lens, self.clump, self.pixel_scale, margin = lens, clump, lens.pixel_scale, lens.margin
        self.shape = tuple(lens.beta[0].shape)
        light = lens.brightness(*lens.beta) * lens.pixel_scale**2
        self.light = light
        root = torch.from_numpy(np.sqrt(lens.weights).astype(np.float32))
        padded = torch.nn.functional.pad(root[None, None], (margin,) * 4, mode="replicate")[0, 0]
        deepest = padded.amax()
        reach = round(SHIFT / lens.pixel_scale)
        near = torch.nn.functional.max_pool2d((light * deepest)[None, None], 2 * reach + 1, 1, reach)[0, 0]
        self.lit = (near > DIM).flatten().nonzero()[:, 0]
        self.beta = tuple(b.flatten()[self.lit] for b in lens.beta)
        self.dark = light.flatten()[self.lit]
        seen = torch.zeros(self.shape)
        seen.view(-1)[self.lit] = 1
        touched = lens.psf.convolve(seen, lens.pixel_scale) > 0
        self.used = ((root > 0) & touched).flatten().nonzero()[:, 0]
        self.root = root.flatten()[self.used]
        self.residual = torch.from_numpy(lens.residual.astype(np.float32)).flatten()[self.used] * self.root
        self.basis = self._basis()
        self._kernels: dict[float, tuple[Tensor, Tensor]] = {}

    def arcs(self) -> np.ndarray:
        """Return the light of the source in units of the noise, `(H, W)`."""
        return self.lens.arcs()

    def _basis(self) -> Tensor:
        """Return `(K, pixels)` V with `V^T V = W^(1/2) L A^-1 L^T W^(1/2)`: what the smooth lens can imitate."""
        nuisances = torch.from_numpy(np.ascontiguousarray(self.lens.nuisances)).flatten(1).double()
        root = torch.from_numpy(np.sqrt(self.lens.weights)).flatten().double()
        nuisances = nuisances * root
        normal = nuisances @ nuisances.T
        if self.lens.prior is not None:
            normal = normal + torch.from_numpy(self.lens.prior).double()
        told = normal.diagonal() > 0
        normal, nuisances = normal[told][:, told], nuisances[told]
        gauge = normal.diagonal().rsqrt()
        scaled = normal * gauge[:, None] * gauge + 1e-9 * torch.eye(len(normal), dtype=normal.dtype)
        whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(scaled), nuisances * gauge[:, None], upper=False)
        return whitened[:, self.used].float()

    def _kernel(self, log10_m: float) -> tuple[Tensor, Tensor]:
        """Return the deflection by a clump in the middle, on a grid that holds every offset between two pixels."""
        if log10_m not in self._kernels:
            height, width = self.shape
            x, y = pixel_grid((2 * height - 1, 2 * width - 1), self.lens.pixel_scale, 0, torch.float32)
            zero = torch.zeros(1)
            profile = self.clump.profile(torch.tensor([log10_m]), zero, zero)
            alpha_x, alpha_y = profile.deflection(x, y)
            self._kernels[log10_m] = alpha_x.flatten(), alpha_y.flatten()
        return self._kernels[log10_m]

    def whitened(self, log10_m: float, places: np.ndarray) -> Tensor:
        """Return templates `(n, pixels)` of a mass at places `(n, 2)`."""
        height, width = self.shape
        rows, columns = (torch.from_numpy(places[:, k]) + self.lens.margin for k in (0, 1))
        first = (height - 1 - rows) * (2 * width - 1) + (width - 1 - columns)
        index = first[:, None] + (self.lit // width) * (2 * width - 1) + self.lit % width
        alpha = [kernel[index] for kernel in self._kernel(log10_m)]
        bent = self.lens.brightness(self.beta[0] - alpha[0], self.beta[1] - alpha[1]) * self.lens.pixel_scale**2
        change = torch.zeros(len(places), height * width)
        change[:, self.lit] = bent - self.dark
        seen = self.lens.psf.convolve(change.view(-1, height, width), self.lens.pixel_scale)
        return seen.flatten(1)[:, self.used] * self.root

    def orthogonal(self, template: Tensor) -> Tensor:
        """Return templates less what the smooth lens can imitate of them."""
        return template - (template @ self.basis.T) @ self.basis
