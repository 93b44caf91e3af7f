r"""Where parameters live while a network learns them: without bounds, and of unit scatter.

- `probit`: `u = (theta - low)/(high - low)`, `z = Phi^-1(u)`. No draw leaves the range of the training images, which a flow on the
  parameters themselves cannot promise, and a uniform prior becomes the very Gaussian that a flow begins with: an image that says
  nothing needs no learning.
- `standard`: `z = (theta - mean)/std`, for Gaussians, which have no bounds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

MARGIN = 2e-3
"""Part of the range by which it is widened to both sides: the outermost training images are not at infinity."""
EDGE = 1e-6
"""Nearest that u comes to 0 and 1."""


@dataclass(frozen=True)
class ParameterSpace:
    """P parameters by name, and the map to z.

    Args:
        names: of the truth columns.
        kind: probit or standard.
        low, high: range of the training images, `(P,)`.
        mean, std: over the training images, `(P,)`.
        units: of each, for figures.
    """

    names: tuple[str, ...]
    kind: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    units: tuple[str, ...] = ()

    @classmethod
    def measured(cls, names: list[str], values: np.ndarray, kind: str, units: dict[str, str]) -> ParameterSpace:
        """Return the space of training images with parameters `(n, P)`."""
        margin = MARGIN * np.ptp(values, axis=0)
        numbers = (values.min(0) - margin, values.max(0) + margin, values.mean(0), values.std(0))
        low, high, mean, std = (tuple(map(float, part)) for part in numbers)
        return cls(tuple(names), kind, low, high, mean, std, tuple(units.get(name, "") for name in names))

    def to_z(self, theta: np.ndarray) -> np.ndarray:
        """Return z of parameters `(..., P)`; what lies outside the range stands at its edge."""
        if self.kind == "standard":
            return ((theta - self.mean) / np.array(self.std)).astype(np.float32)
        u = (theta - np.array(self.low)) / (np.array(self.high) - self.low)
        return ndtri(u.clip(EDGE, 1 - EDGE)).astype(np.float32)

    def to_theta(self, z: np.ndarray) -> np.ndarray:
        """Return parameters `(..., P)` float64."""
        wide = np.asarray(z, np.float64)
        if self.kind == "standard":
            return self.mean + wide * self.std
        return self.low + (np.array(self.high) - self.low) * ndtr(wide)

    def log_jacobian(self, z: np.ndarray) -> np.ndarray:
        """Return ln |dz/dtheta| `(...)` at z `(..., P)`: added to the log density of z it gives that of the parameters."""
        wide = np.asarray(z, np.float64)
        if self.kind == "standard":
            return np.broadcast_to(-np.log(self.std).sum(), wide.shape[:-1])
        return (0.5 * wide**2 + 0.5 * np.log(2 * np.pi) - np.log(np.array(self.high) - self.low)).sum(-1)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data that `from_dict` reads."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ParameterSpace:
        """Return the space that `as_dict` described."""
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
        return cls(**values)
