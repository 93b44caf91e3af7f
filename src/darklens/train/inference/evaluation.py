"""From a trained inference run and images with known parameters to numbers with intervals, predictions and pictures in a folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from darklens.evaluate.posterior import intervals, posterior_metrics, ranks
from darklens.evaluate.posterior_figures import save_posterior_figures, save_predictive_figure
from darklens.evaluate.proportion import proportion
from darklens.runs import Evaluation
from darklens.simulate import Preset
from darklens.train.config_inference import InferenceConfig
from darklens.train.inference.estimator import Estimator
from darklens.train.inference.image_set import FreshParameters, ParameterSet
from darklens.train.inference.predictive import can_predict, residual_power
from darklens.train.novelty import RATE, Novelty

LEARN = 4096
"""Training images from which it is learnt what they are like."""
HEADLINE = ("mae", "coverage_68", "coverage_95", "bias", "rmse", "scatter")
HIDDEN = ("rmse", "scatter")
"""Of these, what a page shows with each parameter's own table only."""
LEVELS, RANKED = 11, 1000
"""Levels at which posteriors are calibrated: few, for a few hundred images; draws of each."""
PER_IMAGE = 4
"""Draws of the posterior of an image that are rendered."""


def learn_novelty(estimator: Estimator, train: ParameterSet | FreshParameters, validation: ParameterSet) -> None:
    """Learn what the run's own images are like, and write `novelty.safetensors` and `novelty.json`."""
    n = min(len(train), LEARN)
    order = np.linspace(0, len(train) - 1, n).astype(int)
    found = [estimator.look(inputs.numpy())[1] for inputs, _ in train.epoch(0, order, min(n, 256))]
    features = np.concatenate(found)
    learnt = Novelty.learn(features, np.zeros(len(features), int))
    held_out = estimator.look(validation)[1], validation.chi2
    estimator.novelty = learnt.with_thresholds(*held_out)
    flags = estimator.novelty.judge(*held_out).flags
    about = {
        "rate": RATE,
        "method": "reduced chi^2 of the smooth fit, where there is one; Mahalanobis distance in the features (arXiv:1807.03888)",
        "learnt_on": {"split": "train", "n": len(features)},
        "set_on": {"split": "validation"} | proportion(int(flags.sum()), len(flags)),
    }
    estimator.novelty.save(estimator.run, about)


def calibrate(estimator: Estimator, validation: ParameterSet) -> None:
    """Measure on validation images how often the truth lies below each level of their posteriors, and write `calibration.json`."""
    draws = estimator.draws_from(*estimator.look(validation), validation.chi2, RANKED, raw=True)
    below = ranks(draws.samples, validation.theta)
    levels = np.linspace(0, 1, LEVELS)
    quantiles = {name: np.quantile(below[:, k], levels).tolist() for k, name in enumerate(estimator.names)}
    for row in quantiles.values():
        row[0], row[-1] = 0.0, 1.0  # no draw of the network is lost at the ends
    about = {"fitted_on": "validation", "n": len(validation), "method": "ranks of the truth (arXiv:1807.00263)"}
    coverage = {name: float((np.abs(below[:, k] - 0.5) <= 0.34).mean()) for k, name in enumerate(estimator.names)}
    estimator.run.write("calibration", {"rank_quantiles": quantiles, "coverage_68_before": coverage} | about)
    estimator.levels = np.array(list(quantiles.values()))


def judge_posteriors(
    estimator: Estimator,
    images: ParameterSet,
    into: Evaluation,
    *,
    preset: Preset | None = None,
    seed: int | None = None,
    labels: np.ndarray | None = None,
    pixels: Any = None,
    history: Any = (),
    beyond: Callable[[np.ndarray], dict[str, Any]] = lambda samples: {},
) -> dict[str, Any]:
    """Ask about images whose parameters are known, and write metrics, predictions and figures into a folder.

    Args:
        estimator: the trained network.
        images: with their parameters.
        into: the folder.
        preset: whose images they are, for a posterior-predictive check; None makes none.
        seed: of their table.
        labels: `(n,)` their classes.
        pixels: function from positions to the images themselves, `(m, bands, H, W)`.
        history: rows of `history.csv`, for the run itself.
        beyond: from draws `(n, S, P)` to further metrics.

    Returns:
        The metrics; they are written last.
    """
    settings = InferenceConfig.model_validate(estimator.described["inference"])
    summaries, features = estimator.look(images)
    draws = estimator.draws_from(summaries, features, images.chi2, settings.samples)
    metrics = posterior_metrics(draws.samples, images.theta, estimator.names)
    units = dict(zip(estimator.names, estimator.space.units, strict=True))
    nll = -estimator.log_prob_of(summaries, images.theta)
    metrics |= {"task": "inference", "classes": [], "posterior": settings.posterior, "units": units}
    metrics |= {f"{key}_{name}": found[key] for name, found in metrics["parameters"].items() for key in HEADLINE}
    metrics |= {"headline": [f"{key}_{name}" for name in estimator.names for key in HEADLINE if key not in HIDDEN]}
    metrics["negative_log_density"] = float(nll.mean())
    if draws.unusual is not None:
        metrics["unusual"] = proportion(int(draws.unusual.flags.sum()), len(images))
    into.write_predictions(_columns(images, draws.samples, estimator.names))
    save_posterior_figures(into.path / "figures", draws.samples, images.theta, metrics, history, units)
    if settings.predictive and preset is not None and seed is not None and labels is not None and pixels is not None:
        metrics |= _predictive(estimator, images, draws.samples, into, preset, seed, labels, pixels, settings.predictive)
    metrics |= beyond(draws.samples)
    into.write("metrics", metrics)
    return metrics


def _columns(images: ParameterSet, samples: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    columns: dict[str, Any] = {"id": [str(i) for i in images.ids]}
    low, high = intervals(samples, 0.68)
    below = ranks(samples, images.theta)
    for k, name in enumerate(names):
        columns |= {f"true_{name}": images.theta[:, k], name: np.median(samples[:, :, k], axis=1)}
        columns |= {f"{name}_low": low[:, k], f"{name}_high": high[:, k], f"{name}_rank": below[:, k]}
    return columns


def _predictive(
    estimator: Estimator,
    images: ParameterSet,
    samples: np.ndarray,
    into: Evaluation,
    preset: Preset,
    seed: int,
    labels: np.ndarray,
    pixels: Any,
    count: int,
) -> dict[str, Any]:
    """Render draws of posterior and prior of some test images; nothing where the preset cannot be told these numbers."""
    chosen = np.arange(min(count, len(images)))
    shown, names = pixels(chosen)[:, 0], estimator.names
    if not can_predict(preset, seed, int(images.rows[0]), labels[0], names, images.theta[0], shown[0]):
        return {}
    other = np.random.default_rng(0).permutation(len(images))
    found: dict[str, list[np.ndarray]] = {"posterior": [], "prior": [], "truth": []}
    pictures = []
    for i in chosen:
        sources = {
            "posterior": samples[i, :PER_IMAGE],
            "prior": images.theta[other[(i + np.arange(PER_IMAGE)) % len(images)]],
            "truth": np.repeat(images.theta[i][None], PER_IMAGE, 0),
        }
        for kind, theta in sources.items():
            power, predicted = residual_power(preset, seed, int(images.rows[i]), labels[i], names, theta, shown[i])
            found[kind].append(power)
            if kind == "posterior":
                pictures.append(predicted[:3])
    flat = {kind: np.concatenate(values) for kind, values in found.items()}
    save_predictive_figure(into.path / "figures", shown, np.stack(pictures), flat)
    return {"predictive": {kind: {"median": float(np.median(v)), "n": len(v)} for kind, v in flat.items()}}
