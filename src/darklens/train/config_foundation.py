"""What learning without labels is told: the `foundation` section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darklens.train.config import Strict


class FoundationConfig(Strict):
    """Settings of the tasks masked-autoencoder, joint-embedding and denoising."""

    loss: Literal["noise", "pixels"] = "noise"
    """Of a masked autoencoder: in units of the noise, or squared errors of the pixels as they are, as published; see
    `darklens.train.masked_autoencoder`."""
    invariance: float = Field(25.0, ge=0)
    """Of a joint embedding: weight of the distance between two views of one lens."""
    variance: float = Field(25.0, gt=0)
    """Weight of the hinge that keeps the deviation of each component above 1: without it, all vectors are one."""
    covariance: float = Field(1.0, ge=0)
    """Weight of the correlation of different components."""
    renoise: float = Field(0.5, ge=0, le=10)
    """Largest deviation of the noise that a view gets more, in units of the image's own."""
    reconvolve: float = Field(0.7, ge=0, le=8)
    """Largest deviation in pixels of the Gaussian that a view is convolved with."""
    split: float = Field(0.5, gt=0, le=4)
    """Of a denoiser: noise that the copy it sees gets more, in units of what the residual has; the smaller, the more noise has the
    copy that it predicts (`darklens.train.denoising`)."""
    probe: int = Field(3000, ge=10)
    """Most labelled training images, where there are any, from which a linear layer on the finished vectors is learned to judge
    them."""

    def tiny(self) -> FoundationConfig:
        """Return the same for a few images."""
        return self.model_copy(update={"probe": min(self.probe, 24)})
