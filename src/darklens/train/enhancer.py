"""A trained super-resolution run that answers: images on finer pixels, with a sigma where the network gives one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from darklens.errors import InputError
from darklens.models import build, upsampled
from darklens.runs import Run
from darklens.train.checkpoint import load_weights
from darklens.train.predictor import resolve_device
from darklens.train.preprocess import check
from darklens.train.smooth_pairs import SmoothPairs
from darklens.train.super_resolution import AT_ONCE, SuperResolution
from darklens.units import same_unit

DERIVED = ("scale", "gain", "unit", "blur", "smooth_lens")
"""What a network may be told about the pairs: those of these that its constructor takes."""
BEYOND = 3.0
"""Factor by which an image may be fainter than the faintest, or brighter than the brightest, of the training."""
SAME_SCALE = 0.02
"""Relative difference of pixel scales that counts as none."""
WORSE = 1.5
"""Factor by which a smooth lens may fit worse than the worst of the training."""


def build_enhancer(described: Mapping[str, Any]) -> nn.Module:
    """Build the network that `model.json` describes, with fresh weights."""
    import inspect

    from darklens.models import architecture

    accepted = inspect.signature(architecture(described["name"])).parameters
    told = {name: described["pairs"][name] for name in DERIVED if name in accepted and name in described["pairs"]}
    return build(described["name"], bands=described["shape"][0], seed=described["seed"], **told | dict(described["options"]))


class Enhancer:
    """The best weights of a run.

    Args:
        run: a finished, or at least begun, super-resolution run.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        InputError: the run is of another task, or its weights are missing or damaged.
    """

    def __init__(self, run: Run, device: str = "auto") -> None:
        with run.read_whole():
            self._open(run, device)

    def _open(self, run: Run, device: str) -> None:
        described = run.model
        if described.get("task") != "super-resolution":
            kind = described.get("task", "classification")
            raise InputError(f"{run} is a run of {kind} and makes no image sharper: give a run of super-resolution")
        self.run, self.described, self.pairs = run, described, described["pairs"]
        self.shape, self.scale, self.gain = tuple(described["shape"]), self.pairs["scale"], self.pairs["gain"]
        self.pixel_scale: float | None = described["pixel_scale"]
        self.smooth = SmoothPairs.from_dict(described["smooth"]) if "smooth" in described else None
        self.device = resolve_device(device)
        self.model = build_enhancer(described).to(self.device)
        try:
            self.model.load_state_dict(load_weights(run.weights))
        except RuntimeError as error:
            raise InputError(f"{run.weights} does not fit the recipe of {run}: restore it or train again") from error
        self.model.eval()

    def checked(self, image: np.ndarray, name: str, pixel_scale: float | None = None, unit: str | None = None) -> np.ndarray:
        """Return an image `(bands, h, w)` float32, if it is like those of the training.

        Args:
            image: `(bands, h, w)` or `(h, w)`.
            name: what to call it in an error.
            pixel_scale: arcsec a pixel, where it is known.
            unit: of the pixels, where it is known.

        Raises:
            InputError: another number of bands, size, unit, range or pixel scale, or values that are not finite.
        """
        image = check(image, self.shape, name, resizable=False)
        if not same_unit(unit, own := self.described["flux_unit"]):
            raise InputError(
                f"{name} is in {unit} and the run was trained on {own}: bring it into that unit (BUNIT in its header), or train on "
                "pairs of yours"
            )
        if pixel_scale is not None and self.pixel_scale is not None and abs(pixel_scale / self.pixel_scale - 1) > SAME_SCALE:
            raise InputError(
                f'{name} has pixels of {pixel_scale:.4g}" and the run was trained on {self.pixel_scale:.4g}": '
                "give images of that scale, or train on pairs of yours"
            )
        peak, (low, high) = float(image.max() - np.median(image)), self.pairs["peaks"]
        if not low / BEYOND <= peak <= high * BEYOND:
            raise InputError(
                f"{name} rises {peak:.4g} above its median, and the images of the training {low:.4g} to {high:.4g} "
                f"{self.described['flux_unit'] or ''}: bring it into their unit, or train on pairs of yours"
            )
        self._check_smooth(image, name)
        return image

    def _check_smooth(self, image: np.ndarray, name: str) -> None:
        if self.smooth is None:
            return
        fit, worst = self.smooth.fit(image[None]), WORSE * self.pairs["smooth_chi2"]
        if not fit.converged[0] or not fit.chi2[0] <= worst:
            raise InputError(
                f"no smooth lens ({self.smooth.coarse.model.name}) fits {name}: reduced chi^2 {fit.chi2[0]:.3g}, the limit is "
                f"{worst:.3g}; use a run that fits none, such as srresnet-arc:sr-pairs, or train on pairs of yours"
            )

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return images `(n, bands, scale h, scale w)` and their sigma, None where the network gives none."""
        image, sigma = zip(*[self._sharper(images[i : i + AT_ONCE]) for i in range(0, len(images), AT_ONCE)], strict=True)
        return np.concatenate(image), None if sigma[0] is None else np.concatenate(sigma)

    @torch.inference_mode()
    def _sharper(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        seen = images
        below: np.ndarray | float = 0.0
        if self.smooth is not None:
            smooth, below = self.smooth.render(self.smooth.fit(images).parameters, images.shape[-2:], self.device)
            seen = np.concatenate([images, smooth], axis=1)
        output = self.model(torch.from_numpy(np.array(seen)).to(self.device))
        image, sigma = SuperResolution.split(output, self.shape[0])
        return image.cpu().numpy() + below, None if sigma is None else sigma.cpu().numpy()

    def smooth_lens(self, images: np.ndarray) -> np.ndarray | None:
        """Return what the smooth lenses of coarse images are on fine pixels, None where the run uses none."""
        if self.smooth is None:
            return None
        return self.smooth.render(self.smooth.fit(images).parameters, images.shape[-2:])[1]

    def classical(self, images: np.ndarray, method: str) -> np.ndarray:
        """Return what a method without learning makes of images; see `darklens.models.upsampled`."""
        return classical(images, method, self.pairs)


def classical(images: np.ndarray, method: str, pairs: Mapping[str, Any]) -> np.ndarray:
    """Return what a method without learning makes of coarse images, given what is known about the pairs."""
    parts = [torch.from_numpy(np.ascontiguousarray(images[i : i + AT_ONCE])) for i in range(0, len(images), AT_ONCE)]
    known = {name: pairs[name] for name in ("gain", "blur", "iterations")}
    return np.concatenate([upsampled(part, pairs["scale"], method, **known).numpy() for part in parts])
