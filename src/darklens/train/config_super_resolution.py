"""What super-resolution is told beyond its training: the `super_resolution` section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darklens.train.config import Strict


class SuperResolutionConfig(Strict):
    """What is minimised, against what, and how much is looked at in the end."""

    target: Literal["recorded", "truth"] = "recorded"
    """What is learned and judged: the sharp images as they were recorded, noise and all, or, of simulated pairs, without noise."""
    loss: Literal["l1", "charbonnier", "nll"] = "l1"
    """Mean absolute error; its smooth form, sqrt(e^2 + 0.001^2); or the Gaussian negative log-likelihood of networks that answer
    a sigma as well."""
    beta: float = Field(0.0, ge=0, le=1)
    """While training with nll, pixels count as sigma^(2 beta): with 0, where a network does badly it soon learns a large sigma and
    no more; with 1, images are learned as by squared errors (Seitzer et al. 2022, arXiv:2203.09168)."""
    unit: Literal["noise", "images"] = "noise"
    """What errors are measured in: the noise of each coarse image, or one number for all images, their typical bright value."""
    fourier: float = Field(0.0, ge=0, le=10)
    """Weight of the mean absolute difference of the Fourier amplitudes, in the same unit, beside the loss."""
    patch: int | None = Field(None, ge=8)
    """Side in coarse pixels of the squares that are cut from the training images, each time elsewhere; null takes whole images."""
    smooth_lens: bool = False
    """Fit a smooth lens to every coarse image and render it as the sharp camera sees it; the network makes what it leaves over."""
    register_pairs: bool = True
    """Measure and remove the shift between the two images of pairs from files; simulated pairs have none."""
    pictures: int = Field(4, ge=1, le=24)
    """Rows of the figure."""

    def tiny(self) -> SuperResolutionConfig:
        """Return the settings of a trial of some seconds."""
        return self.model_copy(update={"patch": min(self.patch or 24, 24), "pictures": min(self.pictures, 2)})
