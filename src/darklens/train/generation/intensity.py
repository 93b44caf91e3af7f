"""From pixel values in physical units to what a diffusion works on, and back without loss: stored in the run.

Noise that is as large in a bright arc as in the sky is easy to make, so the square root that evens out Poisson noise comes first
(Anscombe 1948): with the variance `v0 + v1 x` of a pixel, `z = 2 / v1 (sqrt(v0 + v1 x) - sqrt(v0))` has noise of unit variance at
any flux, and continues as a straight line below the flux where the variance would vanish. For images without photon noise, or with
other statistics, z is `asinh(x / s)` or x itself. Then mean and standard deviation of all pixels of the training images are brought
to 0 and 1, which is what a velocity or a flow wants.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darklens.errors import InputError, unknown
from darklens.evaluate.image_statistics import pixel_noise

KINDS = ("root", "asinh", "linear", "range")
FAINTEST = 0.05
"""Variance, as a fraction of that of an empty pixel, below which the root goes on as a straight line."""
ENOUGH = 2048
"""Images that mean and deviation are measured on."""


@dataclass(frozen=True)
class Intensity:
    """An invertible map of pixel values, the same for every pixel and image.

    Args:
        kind: "root", "asinh", "linear", or "range", which maps the smallest and largest training pixel to -1 and 1, as published.
        v0: variance of an empty pixel; for "asinh", the square of the softening.
        v1: growth of the variance with the flux.
        mean: of the mapped pixels.
        std: of the mapped pixels.
        noise: standard deviation of an empty pixel's noise, once mapped and divided by `std`.
    """

    kind: str = "linear"
    v0: float = 1.0
    v1: float = 0.0
    mean: float = 0.0
    std: float = 1.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("intensity transform", self.kind, KINDS)

    @classmethod
    def measured(
        cls, kind: str, images: np.ndarray, variance: tuple[float, float] | None = None, noise: float | None = None
    ) -> Intensity:
        """Return the transform of training images.

        Args:
            kind: one of `KINDS`; "root" becomes "asinh" where the variance does not grow with the flux.
            images: `(n, bands, H, W)` in physical units.
            variance: v0 and v1 of the noise; measured on the images, without photon noise, if not given.
            noise: standard deviation of an empty pixel, where that is not the root of v0.

        Raises:
            InputError: images without contrast, or unknown kind.
        """
        some = torch.from_numpy(np.ascontiguousarray(images[:: max(1, len(images) // ENOUGH)], dtype=np.float32))
        if kind not in KINDS:
            raise unknown("intensity transform", kind, KINDS)
        if float(some.min()) == float(some.max()):
            raise InputError(
                f"every pixel of the training images is {float(some.min()):g}: a generator learns from images that differ"
            )
        measured = float(np.median(pixel_noise(some.numpy())) ** 2)
        v0, v1 = variance if variance else (measured, 0.0)
        if kind == "root" and not v1 > 0:
            kind = "asinh"
        if v0 <= 0:  # images without noise: a hundredth of their own deviation stands for it
            v0 = (0.01 * float(some.std())) ** 2
        plain = cls(kind, v0, v1)
        mapped = plain._mapped(some.double())
        if kind == "range":
            low, high = float(mapped.min()), float(mapped.max())
            mean, std = (low + high) / 2, (high - low) / 2
        else:
            mean, std = float(mapped.mean()), float(mapped.std())
        empty = noise or (variance[0] if variance else measured) ** 0.5
        return cls(kind, v0, v1, mean, std, empty * plain._slope() / std)

    def forward(self, images: Tensor) -> Tensor:
        """Return what the network sees of images in physical units, any shape."""
        return (self._mapped(images) - self.mean) / self.std

    def inverse(self, mapped: Tensor) -> Tensor:
        """Return images in physical units."""
        z = mapped * self.std + self.mean
        if self.kind == "asinh":
            return torch.sinh(z) * self.v0**0.5
        if self.kind != "root":
            return z
        root = 0.5 * self.v1 * z + self.v0**0.5
        least = (FAINTEST * self.v0) ** 0.5
        bent = (root.clamp_min(least) ** 2 - self.v0) / self.v1
        return torch.where(root >= least, bent, bent + (root - least) * 2 * least / self.v1)

    def _mapped(self, images: Tensor) -> Tensor:
        if self.kind == "asinh":
            return torch.asinh(images / self.v0**0.5)
        if self.kind != "root":
            return images
        variance = self.v0 + self.v1 * images
        least = FAINTEST * self.v0
        root = variance.clamp_min(least).sqrt() + (variance - least).clamp_max(0) / (2 * least**0.5)
        return 2 / self.v1 * (root - self.v0**0.5)

    def _slope(self) -> float:
        """Return by how much an empty pixel's noise grows on the map."""
        return 1 / self.v0**0.5 if self.kind in ("root", "asinh") else 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, of which `Intensity(**data)` makes the same again."""
        return asdict(self)
