"""What a generator is told beyond its training: the `generation` section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darklens.train.config import Strict

MOST_STEPS = 4000
MOST_GUIDANCE = 20.0


class GenerationConfig(Strict):
    """How images become noise, how they come out of it, and how much of that is looked at in the end."""

    process: Literal["noise", "velocity", "flow"] = "velocity"
    """What is mixed and predicted, as `darklens.train.generation.process` says; `noise` is as published."""
    intensity: Literal["root", "asinh", "linear", "range"] = "root"
    """Invertible map of the pixel values, stored in the run: `root` makes the noise even, `range` is as published."""
    smooth_lens: bool = False
    """Draw the parameters of a smooth lens, render it, and let the network make what it leaves over, in units of the noise: physics
    first. The images' noise has to be known, and `intensity` is then how the network sees the smooth lens."""
    conditions: list[str] = Field(default_factory=lambda: ["theta_E", "f_sub"])
    """Truth columns that the network is told beside the class; those that do not vary are left out."""
    classes: bool = True
    """Tell the network the class."""
    dropout: float = Field(0.1, ge=0, le=1)
    """Fraction of the training images of which nothing is told, and of which any one thing is not; guidance needs the first."""
    sampler: Literal["dpm-solver++", "ddim", "ancestral"] = "dpm-solver++"
    steps: int = Field(25, ge=1, le=MOST_STEPS)
    """Evaluations of the network for an image."""
    guidance: float = Field(1.0, ge=0, le=MOST_GUIDANCE)
    """How much more than told: 1 does what it is told, and costs half of any other number."""
    judged: int = Field(300, ge=8, le=100_000)
    """Images that are generated and measured at the end, beside as many real ones."""

    def tiny(self) -> GenerationConfig:
        """Return the settings of a trial of some seconds."""
        return self.model_copy(update={"steps": min(self.steps, 4), "judged": min(self.judged, 24)})
