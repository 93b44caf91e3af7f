"""What a training is told: the `train` section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator


class Strict(BaseModel):
    """Base of every section of a recipe: unknown keys are refused, values are validated when they change."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, protected_namespaces=())


class Preprocess(Strict):
    """From a recorded image to what the network sees; the same in training, validation, test and serving."""

    input: Literal["image", "residual", "both", "lens", "evidence"] = "image"
    """The image; what is left of it in units of the noise once the smooth lens is fitted and subtracted; that and the image; these
    and the fitted lens, a plane for each of its seven numbers; or the evidence for substructure: residual, matched filters and
    sensitivity for a mass at every pixel, and the smooth model, as `darklens.fit.evidence` makes them."""
    limit: float = Field(10.0, gt=0)
    """Residuals are held between plus and minus this, in units of the noise."""
    normalise: Literal["min-max", "signed", "standard", "max", "none"] = "min-max"
    """Per image and band: to 0..1, to -1..1, to mean 0 and deviation 1, divided by the maximum, or as it is."""
    stretch: Literal["linear", "sqrt", "asinh", "log"] = "linear"
    """Applied before normalising: sqrt makes Poisson noise even, asinh shows faint arcs, log is for images without noise, whose
    faint outskirts say as much as the arc."""
    floor: float = Field(1e-4, gt=0, lt=1)
    """Fraction of the brightest pixel below which `log` is flat."""
    detail: float | None = Field(None, gt=0, le=32)
    """Deviation in pixels of a Gaussian blur that is subtracted after the stretch: what is left are the small structures, in which
    substructure shows, without the large smooth picture that a network would first have to learn to ignore."""
    crop: int | None = Field(None, ge=8)
    """Side of the central square that is kept, in pixels of the image."""
    bin: int = Field(1, ge=1, le=16)
    """Side of the blocks of pixels that are averaged after the crop."""
    columns: list[str] = Field(default_factory=list)
    """Columns of numbers in the table that the network sees beside the image, as measured: magnitudes, colours, the seeing."""

    @field_validator("columns")
    @classmethod
    def _once_each(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("name each column once")
        return names

    @property
    def view(self) -> str:
        """What has to be computed from an image before `prepare`, by name: two networks with one view share it."""
        return f"evidence-{self.crop or 'whole'}-{self.bin}" if self.input == "evidence" else self.input


Augmentation = Literal["dihedral", "rotate90", "flip", "rotate", "shift", "colour", "blur", "noise", "cutmix"]


class TrainConfig(Strict):
    """Optimisation settings."""

    task: Literal[
        "classification",
        "binary",
        "super-resolution",
        "generation",
        "masked-autoencoder",
        "joint-embedding",
        "denoising",
        "inference",
        "localisation",
    ] = "classification"
    epochs: int = Field(10, ge=1, le=100_000)
    batch_size: int = Field(64, ge=1)
    """Images of one step of the optimiser, on all devices together."""
    accumulate: int = Field(1, ge=1)
    """Parts in which each device computes its share of a batch, one after the other: less memory, the same step (but for batch
    statistics, which are those of a part)."""
    micro_batch: PositiveInt | Literal["auto"] | None = None
    """Images that a device computes at once; `auto` measures what fits, or is fastest; null takes the whole share."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(2e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    schedule: Literal["onecycle", "cosine", "exponential", "plateau", "constant"] = "onecycle"
    warmup: float = Field(0.3, gt=0, lt=1)
    """Fraction of the steps over which `onecycle` rises."""
    gamma: float = Field(0.8, gt=0, le=1)
    """Factor an epoch of `exponential`; factor on a plateau of `plateau`."""
    patience: int = Field(10, ge=0)
    """Epochs without a better validation loss before `plateau` lowers the rate."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    imbalance: Literal["none", "weighted", "focal", "logit-adjusted", "balanced-sampling"] = "none"
    """How unequal classes are learned, as `darklens.train.imbalance` says."""
    focal_gamma: float = Field(2.0, ge=0, le=10)
    """Exponent of `focal`: the larger, the less easy images count."""
    cost_fp: float = Field(1.0, gt=0)
    """What a false positive costs, of two classes; only the ratio to `cost_fn` counts, and only for the threshold of that name."""
    cost_fn: float = Field(1.0, gt=0)
    """What it costs to miss an image of the second class."""
    augment: list[Augmentation] = ["dihedral", "shift"]
    max_shift: int = Field(2, ge=0)
    """Pixels, for `shift`."""
    max_rotation: float = Field(30.0, ge=0, le=180)
    """Degrees either way, for `rotate`."""
    max_gain: float = Field(0.1, ge=0, lt=1)
    """Largest change of a band's brightness as a fraction, for `colour`."""
    max_blur: float = Field(0.8, ge=0, le=8)
    """Largest deviation in pixels of the Gaussian that `blur` convolves with."""
    max_noise: float = Field(0.5, ge=0, le=10)
    """Largest deviation of the noise that `noise` adds, in units of that of each image and band."""
    ema: float | None = Field(0.998, gt=0, lt=1)
    """Decay of the averaged weights that are judged and kept; null judges the raw ones."""
    early_stopping: int | None = Field(None, ge=1)
    """Epochs without a better validation loss before the training stops."""
    clip: float | None = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    auxiliary: float = Field(20.0, ge=0)
    """Weight of a model's own physics loss, for models that have one; only the lens encoder feels it."""
    symmetries: bool = False
    """Judge by the mean of the logits over the symmetries of the square wherever a trained network answers; not in training."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    seed: int = Field(0, ge=0)
