"""Networks from lens images to logits; one architecture per file, all of them named in `MODELS`."""

from darklens.models.contrast import sky_and_noise
from darklens.models.detail import small_structures
from darklens.models.encoder_classifier import ENCODERS
from darklens.models.features import count_parameters, first_convolution
from darklens.models.posterior import Posterior, posterior_over
from darklens.models.registry import (
    FAMILIES,
    MODELS,
    TASKS,
    architecture,
    build,
    for_trained,
    models_for,
    settle,
    summaries,
    task_of,
)
from darklens.models.tabular import build_tabular
from darklens.models.upsampling import CLASSICAL, ITERATIONS, blurred, upsampled

__all__ = [
    "CLASSICAL",
    "ENCODERS",
    "FAMILIES",
    "ITERATIONS",
    "MODELS",
    "TASKS",
    "Posterior",
    "architecture",
    "blurred",
    "build",
    "build_tabular",
    "count_parameters",
    "first_convolution",
    "for_trained",
    "models_for",
    "posterior_over",
    "settle",
    "sky_and_noise",
    "small_structures",
    "summaries",
    "task_of",
    "upsampled",
]
