"""What inference is told beyond its training: the `inference` section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from darklens.train.config import Strict


class InferenceConfig(Strict):
    """Which numbers are inferred, how their posterior is described, and how much is looked at in the end."""

    parameters: list[str] = Field(min_length=1)
    """Truth columns of the images; those of whose images one is not known are left out."""
    posterior: Literal["flow", "gaussian"] = "flow"
    """A conditional normalising flow (neural posterior estimation), or independent Gaussians with a sigma for each image."""
    flow: Literal["nsf", "maf"] = "nsf"
    """Neural spline flow (Durkan et al. 2019, arXiv:1906.04032), or masked autoregressive flow (Papamakarios et al. 2017,
    arXiv:1705.07057)."""
    transforms: int = Field(3, ge=1, le=16)
    """Transformations of a flow, one after the other."""
    hidden: int = Field(64, ge=4, le=1024)
    """Width of the two hidden layers of each of them."""
    from_fit: bool = True
    """Tell a posterior as a departure from the smooth fit, for the parameters whose numbers of the fit stand in
    preprocess.columns (`fit_theta_E` for theta_E)."""
    context: int = Field(64, ge=2, le=4096)
    """Numbers that the network makes of an image, from which the posterior is told."""
    classes: list[str] | None = None
    """Images of these classes only; null takes all for which the parameters are known."""
    samples: int = Field(500, ge=50, le=10_000)
    """Draws from the posterior of each test image."""
    predictive: int = Field(24, ge=0, le=500)
    """Test images whose posterior draws are rendered and compared with the image, where the preset allows it."""

    @field_validator("parameters")
    @classmethod
    def _once_each(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("name each parameter once")
        return names

    def tiny(self) -> InferenceConfig:
        """Return the settings of a trial of some seconds."""
        return self.model_copy(update={"samples": min(self.samples, 100), "predictive": min(self.predictive, 2), "hidden": 16})
