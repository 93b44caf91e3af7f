"""A trained model, ready to answer: run folder -> calibrated probabilities."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.evaluate.conformal import conformal_scores, conformal_threshold, prediction_sets
from darklens.fit import Plan
from darklens.models import build, build_tabular, for_trained
from darklens.runs import Evaluation, Run
from darklens.train.answers import Answers, Judge, softmax
from darklens.train.checkpoint import load_weights
from darklens.train.classification import Classification
from darklens.train.columns import stacked, with_planes
from darklens.train.config import Preprocess
from darklens.train.fitted import network_inputs
from darklens.train.held_out import load_held_out
from darklens.train.image_set import ImageSet
from darklens.train.logits import predict_logits
from darklens.train.measured import measured_plan, wrong_psf
from darklens.train.novelty import Features, Novelty
from darklens.train.preprocess import network_shape, scale_of
from darklens.train.symmetries import symmetric_views, symmetrised

COVERAGE = 0.9
"""Wanted of conformal sets, unless somebody asks for another."""


class Predictor(Judge):
    """The best weights of a run, with its preprocessing and its calibration.

    Args:
        run: a run folder whose training has written weights.
        device: "auto", "cpu", "cuda" or "mps".
        symmetries: answer with the mean of the logits over the symmetries of the square; None does what the run was trained for.
        coverage: fraction of the conformal sets that hold the true class.

    Raises:
        InputError: weights are missing, damaged, or do not fit the recipe; a coverage outside 0 to 1.
    """

    def __init__(self, run: Run, device: str = "auto", *, symmetries: bool | None = None, coverage: float = COVERAGE) -> None:
        conformal_threshold(np.zeros(0), coverage)  # a wrong one is refused before any work
        self.run = run
        self.device = resolve_device(device)
        self.coverage = coverage
        with run.read_whole():
            self._open(run, symmetries)
        self.calibrated = False

    def _open(self, run: Run, symmetries: bool | None) -> None:
        described = run.model
        if "classes" not in described:
            raise InputError(f"{run} is a run of {described['task']} and tells no classes apart: give a classifier")
        self.classes: tuple[str, ...] = tuple(described["classes"])
        self.shape: tuple[int, int, int] = tuple(described["shape"])
        self.preprocess = Preprocess.model_validate(described["preprocess"])
        offsets = tuple(described.get("offsets", ()))
        self.task = Classification(self.classes, described["group"], single_logit=described["single_logit"], offsets=offsets)
        trained = described | {"options": for_trained(described["options"])}
        self.model = build_model(trained, self.task.outputs).to(self.device)
        self._load(run)
        fit = described.get("fit")
        self.plan = Plan.from_dict(fit) if fit else None
        self.temperature: float = (run.calibration or {}).get("temperature", 1.0)
        self.validation = load_held_out(run)
        self.novelty = Novelty.load(run)
        self.symmetries: bool = described.get("symmetries", False) if symmetries is None else symmetries
        self.network = symmetrised(self.model) if self.symmetries else self.model

    def _load(self, run: Run) -> None:
        state, wanted = load_weights(run.weights), self.model.state_dict()
        wrong = sorted(set(state) ^ set(wanted)) or [k for k in wanted if state[k].shape != wanted[k].shape]
        if wrong:
            raise InputError(
                f"{run.weights} does not fit model {run.model['name']!r} of the recipe: {len(wrong)} tensors differ, "
                f"the first is {wrong[0]}; restore the file that belongs to this run or train again"
            )
        self.model.load_state_dict(state)

    def logits(self, images: np.ndarray | Tensor, columns: Mapping[str, Any] | None = None) -> np.ndarray:
        """Return `(n, k)` logits; arguments and errors are those of `probabilities`."""
        checked = self.checked(images)
        return self._look(self.inputs(with_planes(checked, stacked(columns or {}, self.columns, len(checked)))))[0]

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Return what the network sees of checked images `(n, bands, H, W)`; smooth lenses are fitted where it asks for that."""
        return self.see(images)[0]

    def see(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what the network sees of checked images, and `(n,)` reduced chi^2 of the smooth fit where it asks for one."""
        inputs, fit = network_inputs(images, self.plan, self.preprocess)
        return inputs, None if fit is None else fit.chi2

    def answers(self, images: np.ndarray) -> Answers:
        """Return probabilities, conformal sets and unusual images of checked images `(n, bands, H, W)`."""
        return self.answers_seen(*self.see(images))

    def answers_seen(self, inputs: np.ndarray | ImageSet, chi2: np.ndarray | None) -> Answers:
        """Return the answers for what `see` returned."""
        logits, features = self._look(inputs)
        probabilities = softmax(logits / self.temperature)
        sets = None if self.threshold is None else prediction_sets(probabilities, self.threshold)
        return Answers(probabilities, sets, None if self.novelty is None else self.novelty.judge(features, chi2))

    def answers_of(self, images: ImageSet) -> Answers:
        """Return the answers for a set; fits that it has already are not repeated."""
        return self.answers_seen(*self._seen(images))

    def logits_of(self, images: ImageSet) -> np.ndarray:
        """Return `(n, k)` logits of a set; fits that it has already are not repeated."""
        return self._look(self._seen(images)[0])[0]

    def features_of(self, images: ImageSet) -> tuple[np.ndarray, np.ndarray | None]:
        """Return `(n, d)` what the last layer sees of a set, and `(n,)` reduced chi^2 where smooth lenses are fitted."""
        seen, chi2 = self._seen(images)
        return self._look(seen)[1], chi2

    def features(self, inputs: np.ndarray | ImageSet) -> np.ndarray:
        """Return `(n, d)` what the last layer sees of network inputs, before `prepare`, or of a set as the network sees it."""
        return self._look(inputs)[1]

    def _seen(self, images: ImageSet) -> tuple[np.ndarray | ImageSet, np.ndarray | None]:
        if self.preprocess.input == "image" or (images.has(self.preprocess) and "chi2" in images.fitted):
            return images.seen_as(self.preprocess), images.fitted.get("chi2") if self.plan else None
        beside = stacked({name: images.columns[name] for name in self.columns}, self.columns, len(images))
        return self.see(with_planes(self.checked(images.pixels), beside))

    def _look(self, inputs: np.ndarray | ImageSet) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and features, always of the first of the symmetric views."""
        views = 1
        if self.network is not self.model:
            views = len(symmetric_views(torch.zeros(1, 1, *network_shape(self.shape, self.preprocess)[1:])))
        with Features(self.model, self.task.outputs, views) as features:
            logits = predict_logits(self.network, self.task, inputs, self.preprocess, self.device)
        return logits, features.array()

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands of the training images, where those are known."""
        return tuple(self.run.model.get("band_names") or ())

    @property
    def columns(self) -> tuple[str, ...]:
        """Numbers that the network sees beside an image, by name."""
        return tuple(self.preprocess.columns)

    @property
    def held_out(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Calibrated probabilities of the validation images and their class indices; None for runs that have not kept them."""
        if self.validation is None:
            return None
        logits, labels = self.validation
        return softmax(logits / self.temperature), labels

    @property
    def prior(self) -> dict[str, float] | None:
        """Class -> fraction of the training images."""
        if found := self.run.model.get("prior"):
            return found
        counts = (((self.run.data or {}).get("splits") or {}).get("train") or {}).get("counts")
        return {name: counts[name] / sum(counts.values()) for name in self.classes} if counts else None

    @property
    def threshold(self) -> float | None:
        """Score up to which a class belongs to a conformal set; None for runs that have not kept their validation answers."""
        if self.held_out is None:
            return None
        return conformal_threshold(conformal_scores(*self.held_out), self.coverage)

    def calibrated_on(self, images: np.ndarray, *, log: Callable[[str], None] = lambda sentence: None) -> Predictor:
        """Return the same model with the PSF and the noise of its fits measured on images `(n, bands, H, W)`, without labels.

        Raises:
            InputError: the model fits no lenses, or the images do not allow it; see `measured_plan`.
        """
        if self.plan is None:
            raise InputError(f"{self.run} sees images and fits no lenses: there is no PSF to calibrate, leave --calibrate out")
        found = copy.copy(self)
        found.plan, _ = measured_plan(images[:, :1], self.plan, log=log)
        found.calibrated = True
        return found

    def doubts(self, images: np.ndarray) -> list[str]:
        """Return a sentence where the PSF of its fits is not that of images `(n, bands, H, W)`; see `wrong_psf`."""
        if self.plan is None or self.calibrated or (found := wrong_psf(images[:, :1], self.plan)) is None:
            return []
        return [
            f'the PSF (FWHM) is {found.measured:.4f}" +- {found.error:.4f}", and {self.run.name} takes {found.assumed:.4f}":'
            " what it says is not to be trusted; darklens predict --calibrate measures PSF and noise, and uses them"
        ]

    def on(self, device: str) -> Predictor:
        """Return the same with its network on a device; this one's goes there as well.

        Raises:
            InputError: the device does not exist here.
        """
        found = self.with_network(self.model.to(resolve_device(device)))
        found.device = resolve_device(device)
        return found

    def with_network(self, network: torch.nn.Module) -> Predictor:
        """Return the same with another network of the same form; this one stays what it is."""
        found = copy.copy(self)
        found.model, found.network = network, symmetrised(network) if self.symmetries else network
        return found

    def evaluation(self, name: str) -> Evaluation:
        """Return the folder of an evaluation on other data: the run's."""
        name = f"{name}-calibrated" if self.calibrated else name
        return self.run.evaluation(f"{name}-symmetries" if self.symmetries != self.run.model.get("symmetries", False) else name)


def build_model(described: dict, outputs: int) -> torch.nn.Module:
    """Build the network that `model.json` describes, with fresh weights."""
    settings = Preprocess.model_validate(described["preprocess"])
    bands, height, width = network_shape(tuple(described["shape"]), settings)
    wanted: dict[str, Any] = {"bands": bands, "size": (height, width), "pixel_scale": scale_of(described) * settings.bin}
    wanted |= {"classes": outputs, "seed": described["seed"]} | described["options"]
    if not settings.columns:
        return build(described["name"], **wanted)
    return build_tabular(described["name"], columns={name: described["columns"][name] for name in settings.columns}, **wanted)


def resolve_device(name: str) -> torch.device:
    """Return the device of that name; "auto" takes an accelerator where there is one.

    Raises:
        InputError: the device does not exist here.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(k for k, there in found.items() if there))
    if not found.get(name.split(":")[0], False):
        raise InputError(
            f"device {name!r} is not available here: use {', '.join(k for k, there in found.items() if there)} or auto"
        )
    return torch.device(name)
