"""The smooth lens of a coarse image, as the blunt and as the sharp camera see it: the physics of a sharper image.

A lens that was fitted to the coarse pixels can be rendered on any others: what a telescope with a narrower PSF would have seen of
it needs no network. The network sees what the smooth lens leaves over of the coarse image, and makes what it leaves over of the
fine one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from darklens.errors import InputError
from darklens.fit import PARAMETERS, Linear, Plan, SmoothFit, smooth_form
from darklens.simulate import PAIRS, GaussianPSF, PairPreset
from darklens.units import FWHM_PER_SIGMA


@dataclass(frozen=True)
class SmoothPairs:
    """How smooth lenses are fitted to coarse images and rendered as fine ones.

    Args:
        coarse: of the blunt camera's images.
        fine: the same lenses in the sharp camera's.
    """

    coarse: Plan
    fine: Plan

    @classmethod
    def of(cls, about: dict[str, Any]) -> SmoothPairs:
        """Return the plans for pairs whose manifest says of which preset they are.

        Raises:
            InputError: it says none.
        """
        if about.get("preset") not in PAIRS:
            raise InputError(
                "super_resolution.smooth_lens fits a lens to coarse images and renders it as the sharp camera sees it, and these "
                "pairs do not say what cameras took them: set it to false, or simulate pairs"
            )
        return cls.of_preset(PAIRS[about["preset"]])

    @classmethod
    def of_preset(cls, pairs: PairPreset) -> SmoothPairs:
        """Return the plans for the two cameras of a preset."""
        form, origin = smooth_form(pairs.population), f"preset {pairs.name}"
        coarse = Plan(pairs.low.pixel_scale, _binned(pairs), _noise(pairs), form, origin=origin)
        return cls(coarse, replace(coarse, pixel_scale=pairs.high.pixel_scale, psf=pairs.high.psf))

    def fit(self, low: np.ndarray) -> SmoothFit:
        """Fit coarse images `(n, 1, h, w)`."""
        return self.coarse.fit(low)

    def render(
        self, parameters: np.ndarray, shape: tuple[int, int], device: str | torch.device = "cpu"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the smooth lenses `(n, 1, h, w)` and `(n, 1, scale h, scale w)` of fitted parameters.

        Args:
            parameters: `(n, len(PARAMETERS))` of a fit to coarse images.
            shape: `(h, w)`.
            device: where PyTorch computes.
        """
        scale = round(self.coarse.pixel_scale / self.fine.pixel_scale)
        finer = parameters.copy()
        finer[:, PARAMETERS.index("sky")] /= scale**2  # a fitted sky is flux in a pixel
        low = self.coarse.render(parameters, shape, device)
        high = self.fine.render(finer, (scale * shape[0], scale * shape[1]), device)
        return low[:, None], high[:, None]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data that `from_dict` reads."""
        return {"coarse": self.coarse.as_dict(), "fine": self.fine.as_dict()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> SmoothPairs:
        """Return the plans that `as_dict` described."""
        return cls(Plan.from_dict(content["coarse"]), Plan.from_dict(content["fine"]))


def _binned(pairs: PairPreset) -> GaussianPSF:
    """Return the blunt PSF, widened by the sum over the fine pixels of a coarse one (the variance of as many equal steps)."""
    assert isinstance(pairs.low.psf, GaussianPSF), "which both cameras of every preset have"
    sigma = pairs.low.psf.fwhm / FWHM_PER_SIGMA
    steps = pairs.high.pixel_scale**2 * (pairs.scale**2 - 1) / 12
    return GaussianPSF((sigma**2 + steps) ** 0.5 * FWHM_PER_SIGMA)


def _noise(pairs: PairPreset) -> Linear:
    """Return the noise of coarse images, which are in e-/s of the sharp camera."""
    ratio = pairs.low.flux(0.0) / pairs.high.flux(0.0)
    return Linear(pairs.low.background_sigma / ratio, pairs.low.total_exposure * ratio)
