"""What generated images are measured with: the features of a classifier that comes with darklens, and fits of smooth lenses."""

from __future__ import annotations

import numpy as np

from darklens.evaluate.generated import power_spectrum
from darklens.evaluate.image_statistics import image_statistics
from darklens.fit import Plan, SmoothFit
from darklens.runs import Run, shipped
from darklens.train.fitted import network_inputs
from darklens.train.predictor import Predictor

OWN = "statistics and power spectrum of the image"
"""What the features are called where no classifier fits the images."""


class Ruler:
    """Turns images into features.

    The classifier sees what a smooth fit leaves, so the fit is the one that suits the images, whatever the classifier was trained
    on; it only has to have been trained on images of the same size and noise.

    Args:
        shape: `(bands, H, W)` of the images.
        plan: how lenses are fitted to them; None where that cannot be done.
        preset: of the images, where there is one: its own classifier is preferred.
    """

    def __init__(self, shape: tuple[int, int, int], plan: Plan | None, preset: str | None = None) -> None:
        self.plan = plan
        self.predictor = None if plan is None else _classifier(shape, plan, preset)
        self.name = OWN if self.predictor is None else self.predictor.run.name

    def measure(self, images: np.ndarray) -> tuple[np.ndarray, SmoothFit | None]:
        """Return features `(n, d)` of images `(n, bands, H, W)`, and their fits."""
        if self.predictor is None:
            return _own_features(images), None if self.plan is None else self.plan.fit(images)
        inputs, fit = network_inputs(images, self.plan, self.predictor.preprocess)
        return self.predictor.features(inputs), fit


def _classifier(shape: tuple[int, int, int], plan: Plan, preset: str | None) -> Predictor | None:
    """Return the shipped classifier for images of this preset, or of this shape and kind of noise."""
    fitting = []
    for name in shipped("classification"):
        run = Run.open(name)
        described = run.model
        if tuple(described["shape"]) == tuple(shape) and "fit" in described:
            noise = Plan.from_dict(described["fit"]).noise
            same = (name.endswith(f":{preset}"), noise == plan.noise, type(noise) is type(plan.noise))
            fitting.append((same, run))
    best = max(fitting, key=lambda pair: pair[0], default=None)
    return Predictor(best[1], "cpu") if best and best[0][2] else None


def _own_features(images: np.ndarray) -> np.ndarray:
    statistics = image_statistics(images)
    spectra = [np.log(np.maximum(power_spectrum(images[:, band].astype(np.float64))[1], 1e-300)) for band in range(images.shape[1])]
    columns = np.concatenate([*statistics.values(), *spectra], axis=1)
    return np.nan_to_num(columns, nan=0.0, posinf=0.0, neginf=0.0)
