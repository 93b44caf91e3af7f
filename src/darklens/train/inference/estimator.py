"""A trained inference run that answers: images in, draws from the posterior of their parameters out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from darklens.errors import InputError
from darklens.evaluate.posterior import recalibrated
from darklens.fit import Plan
from darklens.models import Posterior, for_trained, posterior_over
from darklens.runs import Run
from darklens.train.checkpoint import load_weights
from darklens.train.config import Preprocess
from darklens.train.inference.image_set import ParameterSet, seen
from darklens.train.inference.space import ParameterSpace
from darklens.train.inference.task import Inference
from darklens.train.logits import predict_logits
from darklens.train.novelty import Features, Novelty, Unusual
from darklens.train.predictor import build_model, resolve_device
from darklens.train.preprocess import check

AT_ONCE = 64
"""Images whose draws are made at once."""
NOTHING = 0.02
"""Nats that test images tell of a parameter in the mean, below which nothing was learnt of it."""


def build_posterior(described: dict[str, Any]) -> Posterior:
    """Build the network that `model.json` describes, with fresh weights."""
    settings = described["inference"]
    return posterior_over(build_model(described, settings["context"]), settings, described["seed"], described.get("anchors"))


@dataclass(frozen=True)
class Draws:
    """Draws from the posteriors of n images.

    Args:
        names: the P parameters.
        samples: `(n, S, P)` float64.
        log_prob: `(n, S)` log density with which the network drew them, before they were calibrated.
        unusual: which images are unlike the training images; None for a run that has not learnt what those are like.
    """

    names: tuple[str, ...]
    samples: np.ndarray
    log_prob: np.ndarray
    unusual: Unusual | None


class Estimator:
    """The best weights of a run of inference.

    Args:
        run: its folder.
        device: "auto", "cpu", "cuda" or "mps".

    Attributes:
        shape: `(bands, H, W)` of the images it takes.
        space: of the parameters.
        preset: whose images it was trained on; None for files.

    Raises:
        InputError: the run is of another task, or its weights are missing or damaged.
    """

    def __init__(self, run: Run, device: str = "auto") -> None:
        described = run.model
        if described.get("task") != "inference":
            kind = described.get("task", "classification")
            raise InputError(f"{run} is a run of {kind} and infers no numbers: give a run of inference (darklens list recipes)")
        self.run, self.described = run, described
        self.shape: tuple[int, int, int] = tuple(described["shape"])
        self.preprocess = Preprocess.model_validate(described["preprocess"])
        self.space = ParameterSpace.from_dict(described["space"])
        self.task = Inference(self.space)
        self.preset: str | None = described.get("preset")
        self.plan = Plan.from_dict(described["fit"]) if described.get("fit") else None
        self.device = resolve_device(device)
        self.model = build_posterior(described | {"options": for_trained(described["options"])}).to(self.device)
        try:
            self.model.load_state_dict(load_weights(run.weights))
        except RuntimeError as error:
            raise InputError(f"{run.weights} does not fit the recipe of {run}: restore it or train again") from error
        self.model.eval()
        self.novelty = Novelty.load(run)
        self.levels = self._calibration()

    def _calibration(self) -> np.ndarray | None:
        """Return `(P, K)` quantiles of the ranks of validation images; None for a run that has not been calibrated yet."""
        known = (self.run.calibration or {}).get("rank_quantiles")
        return np.array([known[name] for name in self.names]) if known else None

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that were learnt."""
        return self.space.names

    def places(self, names: Iterable[str]) -> list[int]:
        """Return where parameters stand among those of the run.

        Raises:
            InputError: one was never learnt.
        """
        for name in names:
            if name not in self.names:
                raise InputError(
                    f"{self.run} never learnt {name!r}: it infers {', '.join(self.names)}; choose among these, or train with "
                    f"inference.parameters=[{name}]"
                )
        return [self.names.index(name) for name in names]

    def coverage(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return of parameters how often 68% and 95% intervals held on the run's own test images; empty before it was judged."""
        found = (self.run.metrics or {}).get("parameters", {})
        return {name: {key: found[name][key] for key in ("coverage_68", "coverage_95")} for name in names if name in found}

    def unlearnt(self, names: Iterable[str]) -> list[str]:
        """Return a sentence on each parameter of which the run's own test images said nothing."""
        found = (self.run.metrics or {}).get("parameters", {})
        told = {name: found[name]["information"]["value"] for name in names if "information" in found.get(name, {})}
        return [
            f"{name}: this run has learnt nothing of it (images tell {max(value, 0):.3f} nats, and {NOTHING} would narrow an "
            f"interval by {NOTHING:.0%}), and its intervals repeat the prior: leave it out with --parameters"
            for name, value in told.items()
            if value < NOTHING
        ]

    def checked(self, images: Any) -> np.ndarray:
        """Return images `(n, bands, H, W)` float32 of an array `(n, bands, H, W)`, `(n, H, W)` of one band, or one image.

        Raises:
            InputError: rank, bands, size or values that do not fit.
        """
        array = np.asarray(images, dtype=np.float32)
        array = array[None] if array.ndim == 2 else array
        array = array[:, None] if array.ndim == 3 and self.shape[0] == 1 else array
        array = array[None] if array.ndim == 3 else array
        return np.stack([check(image, self.shape, f"image {i}") for i, image in enumerate(array)])

    def see(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what the network sees of checked images, and `(n,)` reduced chi^2 of their fits where it asks for one."""
        inputs, fit = seen(images, self.plan, self.preprocess)
        return inputs, None if fit is None else fit.chi2

    def look(self, inputs: np.ndarray | ParameterSet) -> tuple[np.ndarray, np.ndarray]:
        """Return what the posteriors are told from, `(n, K)`, and features `(n, d)`, of what `see` returned."""
        with Features(self.model.trunk, self.described["inference"]["context"]) as features:
            summaries = predict_logits(self.model, self.task, inputs, self.preprocess, self.device)
        return summaries, features.array()

    def draws(self, images: Any, n: int, seed: int = 0, *, raw: bool = False) -> Draws:
        """Return n draws from the posterior of each image; arguments and errors are those of `checked`.

        With `raw` they are the network's own, whose density is `log_prob`; else calibrated ones.
        """
        inputs, chi2 = self.see(self.checked(images))
        return self.draws_from(*self.look(inputs), chi2, n, seed, raw=raw)

    def draws_from(
        self, summaries: np.ndarray, features: np.ndarray, chi2: np.ndarray | None, n: int, seed: int = 0, *, raw: bool = False
    ) -> Draws:
        """Return n draws from the posteriors of what `look` returned; `(seed, place)` fixes those of an image."""
        z, log_q = [], []
        for start in range(0, len(summaries), AT_ONCE):
            told = torch.from_numpy(summaries[start : start + AT_ONCE]).to(self.device)
            drawn = self.model.sample(told, n, seed + start)
            with torch.no_grad():
                log_q.append(self.model.log_prob(told[:, None].expand(-1, n, -1), drawn).cpu().numpy())
            z.append(drawn.cpu().numpy())
        flat = np.concatenate(z)
        unusual = None if self.novelty is None else self.novelty.judge(features, chi2)
        log_prob = np.concatenate(log_q) + self.space.log_jacobian(flat)
        theta = self.space.to_theta(flat)
        if self.levels is not None and not raw:
            theta = recalibrated(theta, self.levels)
        return Draws(self.names, theta, log_prob, unusual)

    def log_prob_of(self, summaries: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Return the log density `(n,)` of parameters `(n, P)`, one set an image."""
        z = self.space.to_z(theta)
        with torch.no_grad():
            found = self.model.log_prob(torch.from_numpy(summaries).to(self.device), torch.from_numpy(z).to(self.device))
        return found.cpu().numpy() + self.space.log_jacobian(z)
