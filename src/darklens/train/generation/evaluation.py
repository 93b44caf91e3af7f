"""What a generator's images are like, beside real ones, and beside what two sets of real ones are like: figures and pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from darklens.evaluate.generated import compare_features, compare_pixels, compare_spectra, memorisation, nearest
from darklens.evaluate.generated_figures import save_fits, save_losses, save_neighbours, save_samples, save_statistics
from darklens.evaluate.resampling import number
from darklens.evaluate.style import FigureSet
from darklens.fit import Plan, SmoothFit
from darklens.train.config import Preprocess
from darklens.train.generation.generator import Generator
from darklens.train.generation.image_set import ConditionedImages
from darklens.train.generation.measuring import Ruler
from darklens.train.preprocess import prepare

MOST_TRAINING = 8192
"""Training images among which neighbours are looked for."""
LEVEL = 0.95
Progress = Callable[[str, int, int], None]


def evaluate_generator(
    generator: Generator,
    train: ConditionedImages,
    validation: ConditionedImages,
    test: ConditionedImages,
    plan: Plan | None,
    card: Mapping[str, Any],
    *,
    log: Callable[[str], None],
    progress: Progress = lambda phase, done, total: None,
) -> dict[str, Any]:
    """Generate the like of test images and measure them; write metrics, predictions and figures of the run.

    Args:
        generator: the trained one.
        train: what it has learned from.
        validation: real images for the floors.
        test: real images, whose classes and numbers are asked for.
        plan: how smooth lenses are fitted, if they can be.
        card: the data card.
        log: receives sentences.
        progress: receives (phase, done, total).

    Returns:
        The metrics.
    """
    n = min(generator.settings.judged, len(test), len(validation))
    real, held = (_some(images, n) for images in (test, validation))
    start = time.perf_counter()
    made = generator.images(real.told, generator.noise(n, 0), progress=lambda i, k: progress("generating images", i, k))
    seconds = time.perf_counter() - start
    settings = Preprocess.model_validate(generator.described["preprocess"])
    pictures = [made, *(_seen(images, settings) for images in (real, held))]
    ruler = Ruler(generator.shape, plan, generator.described.get("preset"))
    features, fits = zip(*(ruler.measure(images) for images in pictures), strict=True)
    log(f"{n} images generated in {seconds:.0f} s and compared with as many real ones, by {ruler.name}")
    flat = [images[:, 0].astype(np.float64) for images in pictures]
    metrics: dict[str, Any] = compare_features(*features) | compare_spectra(*flat) | compare_pixels(*flat)
    trained = _seen(_some(train, min(len(train), MOST_TRAINING)), settings)
    even = [_even(images, generator) for images in (made, pictures[2], trained)]
    where, distances = nearest(even[0], even[2])
    _, usual = nearest(even[1], even[2])
    metrics |= memorisation(distances, usual)
    physics = _physics(fits, real, held, generator) if fits[0] is not None else {}
    metrics |= _physical_metrics(physics)
    metrics |= {
        "n": n,
        "headline": _headline(metrics),
        "features": ruler.name,
        "sampler": {"name": generator.settings.sampler, "steps": generator.settings.steps, "guidance": generator.settings.guidance},
        "seconds_per_image": round(seconds / n, 4),
    }
    _draw(generator, metrics, pictures, fits, physics, (where, distances, usual, trained), real, card)
    _write(generator, metrics, real, physics, distances, card)
    return metrics


def _headline(metrics: Mapping[str, Any]) -> list[str]:
    """Return the numbers in the order in which they are read: each with its floor behind it."""
    numbers = [key for key, value in metrics.items() if "value" in value]
    firsts = [key for key in numbers if not key.endswith("_floor")]
    return [key for first in firsts for key in (first, f"{first}_floor") if key in numbers]


def _some(images: ConditionedImages, n: int) -> ConditionedImages:
    return images if n == len(images) else images.take(np.sort(np.random.default_rng(0).permutation(len(images))[:n]))


def _even(images: np.ndarray, generator: Generator) -> np.ndarray:
    """Return the first band `(n, H, W)`, mapped, in units of the sky's noise, where it has any."""
    intensity = generator.intensity if generator.backdrop is None else generator.backdrop.intensity
    mapped = intensity.forward(torch.from_numpy(images[:, 0])).numpy()
    return mapped / (intensity.noise or 1.0)


def _seen(images: ConditionedImages, settings: Preprocess) -> np.ndarray:
    return prepare(torch.from_numpy(np.ascontiguousarray(images.images)), settings).numpy()


def _physics(
    fits: tuple[SmoothFit, SmoothFit, SmoothFit], real: ConditionedImages, held: ConditionedImages, generator: Generator
) -> dict[str, np.ndarray]:
    """Return what the fits say of generated images and of the real ones, `(n,)` each."""
    made, true, other = fits
    found = {"chi2_made": made.chi2, "chi2_real": true.chi2, "chi2_held": other.chi2, "converged": made.converged}
    _, asked = generator.named(real.told)
    if "theta_E" in asked and "theta_E" in made.names:
        found |= {
            "asked": asked["theta_E"],
            "fitted": made["theta_E"],
            "true": real.truth["theta_E"],
            "fitted_real": true["theta_E"],
        }
    return found


def _physical_metrics(physics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return medians of chi^2, and bias and scatter of theta_E against what was asked for, beside those of real images."""
    if not physics:
        return {}
    found = {
        "chi2": _typical(physics["chi2_made"], np.median),
        "chi2_floor": _typical(physics["chi2_real"], np.median),
        "fit_converged": _typical(physics["converged"].astype(float), np.mean),
    }
    if "asked" in physics:
        for name, (fitted, meant) in {"": ("fitted", "asked"), "_floor": ("fitted_real", "true")}.items():
            relative = physics[fitted] / physics[meant] - 1
            found[f"theta_E_bias{name}"] = _typical(relative, np.median)
            found[f"theta_E_scatter{name}"] = _typical(relative, _robust_scatter)
    return found


def _robust_scatter(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation: the standard deviation, were they normal."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _typical(values: np.ndarray, statistic: Callable[[np.ndarray], float]) -> dict[str, Any]:
    values = values[np.isfinite(values)]
    rng = np.random.default_rng(0)
    spread = np.array([statistic(values[rng.integers(0, len(values), len(values))]) for _ in range(500)])
    return number(float(statistic(values)), spread, len(values), LEVEL)


def _draw(
    generator: Generator,
    metrics: dict[str, Any],
    images: list[np.ndarray],
    fits: tuple,
    physics: dict[str, np.ndarray],
    near: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    real: ConditionedImages,
    card: Mapping[str, Any],
) -> None:
    made, true = images[0][:, 0], images[1][:, 0]
    folder, unit = FigureSet(generator.run.path / "figures"), card.get("flux_unit") or ""
    scale = generator.pixel_scale
    titles = captions(generator, real.told)
    where, distances, usual, trained = near
    save_samples(folder, made, true, titles, unit=unit, pixel_scale=scale)
    save_statistics(folder, metrics, made, true, physics, unit)
    if fits[0] is not None:
        chi2 = [f"{title}\n$\\chi^2$ {value:.2f}".strip() for title, value in zip(titles, fits[0].chi2, strict=True)]
        save_fits(folder, made, fits[0].model, fits[0].residual, chi2)
    save_neighbours(folder, made, trained[where, 0], distances, usual)
    save_losses(folder, generator.run.history)


def captions(generator: Generator, told: np.ndarray) -> list[str]:
    """Return in few words what images were asked to be."""
    labels, truth = generator.named(told)
    words = {"theta_E": "$\\theta_E$", "f_sub": "$f_{sub}$"}
    found = []
    for i, label in enumerate(labels):
        numbers = [f"{words.get(name, name)} {values[i]:.3g}" for name, values in truth.items() if np.isfinite(values[i])]
        found.append(", ".join([*([label] if label else []), *numbers[:1]]))
    return found


def _write(
    generator: Generator,
    metrics: dict[str, Any],
    real: ConditionedImages,
    physics: dict[str, np.ndarray],
    distances: np.ndarray,
    card: Mapping[str, Any],
) -> None:
    """Write what was measured of each generated image, and the metrics last: a run with metrics is complete."""
    run = generator.run
    labels, asked = generator.named(real.told)
    columns: dict[str, Any] = {"id": [f"like {name}" for name in real.ids], "label": [label or "" for label in labels]}
    columns |= asked | {"nearest_rms_sigma": distances}
    if physics:
        columns |= {"fit_chi2": physics["chi2_made"]} | ({"fit_theta_E": physics["fitted"]} if "fitted" in physics else {})
    run.write_predictions(columns)
    run.write("data", dict(card))
    run.write("metrics", metrics)
