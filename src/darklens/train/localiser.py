"""A trained localisation run that answers: a map of clumps, and its peaks as places and masses with errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from darklens.errors import InputError
from darklens.fit import Plan
from darklens.models import build
from darklens.runs import Run
from darklens.train.checkpoint import load_weights
from darklens.train.clump_set import ClumpSet
from darklens.train.config import Preprocess
from darklens.train.fitted import network_inputs
from darklens.train.localisation import AT_ONCE, MIDDLE
from darklens.train.predictor import resolve_device
from darklens.train.preprocess import check, prepare

LOWEST = 1e-3
"""Height of a peak that is kept at all."""
APART = 2
"""Pixels of the map within which a lower peak belongs to a higher one."""


@dataclass(frozen=True)
class Detections:
    """Peaks of the maps of n images, all in one list.

    Args:
        image: `(m,)` which image.
        score: `(m,)` height of the peak, 0 to 1.
        x: `(m,)` arcsec.
        y: `(m,)` arcsec.
        place_error: `(m,)` standard deviation of x and of y, arcsec.
        log10_m: `(m,)` M_sun.
        mass_error: `(m,)` its standard deviation.
    """

    image: np.ndarray
    score: np.ndarray
    x: np.ndarray
    y: np.ndarray
    place_error: np.ndarray
    log10_m: np.ndarray
    mass_error: np.ndarray

    def above(self, threshold: float) -> Detections:
        """Return the peaks that reach a threshold."""
        keep = self.score >= threshold
        return Detections(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


def build_localiser(described: Mapping[str, Any]) -> nn.Module:
    """Build the network that `model.json` describes, with fresh weights."""
    bands, *size = described["shape"]
    return build(described["name"], bands=bands, size=tuple(size), seed=described["seed"], **described["options"])


class Localiser:
    """The best weights of a run.

    Args:
        run: a finished, or at least begun, localisation run.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        InputError: the run is of another task, or its weights are missing or damaged.
    """

    def __init__(self, run: Run, device: str = "auto") -> None:
        described = run.model
        if described.get("task") != "localisation":
            kind = described.get("task", "classification")
            raise InputError(f"{run} is a run of {kind} and says not where clumps are: give a run of localisation, or likelihood")
        self.run, self.described, self.scale = run, described, float(described["scale"])
        self.shape = tuple(described["image_shape"])
        self.settings = described["settings"]
        self.preprocess = Preprocess.model_validate(described["preprocess"])
        self.plan = Plan.from_dict(described["fit"])
        self.device = resolve_device(device)
        self.model = build_localiser(described).to(self.device)
        try:
            self.model.load_state_dict(load_weights(run.weights))
        except RuntimeError as error:
            raise InputError(f"{run.weights} does not fit the recipe of {run}: restore it or train again") from error
        self.model.eval()

    @property
    def threshold(self) -> float:
        """Height of a peak from which on it is a detection, set on validation images.

        Raises:
            InputError: it is not set yet.
        """
        if (calibration := self.run.calibration) is None:
            raise InputError(f"{self.run} has no threshold: the training is not finished; continue it with --resume")
        return float(calibration["threshold"])

    def maps(self, inputs: np.ndarray) -> np.ndarray:
        """Return the network's maps `(n, 6, h, w)` for evidence maps `(n, 5, h, w)`."""
        found = []
        with torch.inference_mode():
            for start in range(0, len(inputs), AT_ONCE):
                batch = torch.from_numpy(np.ascontiguousarray(inputs[start : start + AT_ONCE])).to(self.device)
                found.append(self.model(prepare(batch, self.preprocess)).float().cpu().numpy())
        return np.concatenate(found)

    def of_images(self, images: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return the network's maps of images `(n, 1, H, W)`, and their smooth fits.

        Raises:
            InputError: images of another shape than those of the training.
        """
        images = np.stack([check(image, self.shape, f"image {k}") for k, image in enumerate(images)])
        inputs, fit = network_inputs(images, self.plan, self.preprocess)
        return self.maps(inputs), fit

    def peaks(self, maps: np.ndarray, at_least: float = LOWEST) -> Detections:
        """Return the local maxima of maps `(n, 6, h, w)`."""
        heat = torch.from_numpy(maps[:, 0]).sigmoid()
        top = max_pool2d(heat[:, None], 2 * APART + 1, 1, APART)[:, 0]
        image, row, column = ((heat == top) & (heat >= at_least)).nonzero().numpy().T
        _, dx, dy, log_place, log10_m, log_mass = maps[image, :, row, column].T
        height, width = maps.shape[-2:]
        return Detections(
            image,
            heat.numpy()[image, row, column],
            (column + dx - 0.5 * (width - 1)) * self.scale,
            (row + dy - 0.5 * (height - 1)) * self.scale,
            np.exp(log_place) * self.scale,
            log10_m + MIDDLE,
            np.exp(log_mass),
        )

    def calibrated(self, images: ClumpSet) -> dict[str, Any]:
        """Return `calibration.json`: the threshold at which clump-free validation images have the asked number of detections.

        Raises:
            InputError: no image is without a clump.
        """
        free = np.flatnonzero(~np.isfinite(images.clumps[..., 2]).any(1))
        if not len(free):
            raise InputError(
                "no validation image is without a clump, so no rate of false positives can be set: raise data.validation"
            )
        found = self.peaks(self.maps(images.images[free]), 0.0)
        allowed = int(self.settings["false_positives"] * len(free))
        scores = np.sort(found.score)[::-1]
        threshold = float(np.nextafter(scores[allowed], np.float32(2))) if allowed < len(scores) else 0.0
        return {"threshold": threshold, "false_positives_per_image": allowed / len(free), "images": len(free)}
