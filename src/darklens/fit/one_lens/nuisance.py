"""Changes of the image that are linear and Gaussian: for chains they are a part of the noise, not parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Nuisance:
    """Noise that is correlated: white, plus changes of the image along a few directions.

    Args:
        directions: `(N, k)`, orthonormal, in units of the white noise.
        shrink: `(k,)` by which white noise and changes together, made white again, are less along each.
    """

    directions: np.ndarray
    shrink: np.ndarray

    @classmethod
    def of(cls, changes: np.ndarray, widths: np.ndarray) -> Nuisance:
        """Return the noise with these changes.

        Args:
            changes: `(N, k)` of the image with each quantity, in units of the white noise.
            widths: `(k,)` standard deviations of the quantities.
        """
        directions, size, _ = np.linalg.svd(changes * widths, full_matrices=False)
        return cls(directions, 1 - 1 / np.sqrt(1 + size**2))

    def whitened(self, images: np.ndarray) -> np.ndarray:
        """Return images `(N, ...)` in units of all the noise; the operator is symmetric."""
        weights = np.tensordot(self.directions, images, (0, 0))
        return images - np.tensordot(self.directions * self.shrink, weights, 1)
