"""Networks from lens images to logits; one architecture per file, all of them named in `MODELS`."""

from darklens.models.contrast import sky_and_noise
from darklens.models.detail import small_structures
from darklens.models.features import count_parameters, first_convolution
from darklens.models.registry import MODELS, architecture, build, for_trained, settle, summaries

__all__ = [
    "MODELS",
    "architecture",
    "build",
    "count_parameters",
    "first_convolution",
    "for_trained",
    "settle",
    "sky_and_noise",
    "small_structures",
    "summaries",
]
