"""From sharpened images to numbers with intervals, each beside bicubic on the same images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from darklens.evaluate import image_quality as quality
from darklens.evaluate.resampling import difference, number, resamples

REFERENCE = "bicubic"
FLOOR = 0.8
"""Part of the highest frequency beyond which the power of a recorded image is taken for noise."""
EXCESS = 2.0
"""Power in units of that noise down to which a frequency carries signal."""


def super_resolution_metrics(
    answers: Mapping[str, np.ndarray],
    targets: np.ndarray,
    *,
    network: str,
    recorded: np.ndarray | None = None,
    sigma: np.ndarray | None = None,
    n_boot: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure reconstructions of the same images by several methods.

    Args:
        answers: method -> images `(n, bands, H, W)`; bicubic among them.
        targets: what they should be.
        network: the method that the headline numbers are of.
        recorded: the sharp images with their noise, which say up to which frequency there is signal; the targets by default.
        sigma: of the network's images.
        n_boot: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the resamples.

    Returns:
        `n`, the network's `psnr` (dB), `ssim`, `gain_db` and `ssim_gain` over bicubic (paired), `flux_bias`, `displacement_x` and
        `displacement_y` (pixels), `coverage` and `coverage_bright` of sigma, `power_error` (largest |ratio - 1| up to `k_signal`),
        each with its interval; `methods`, the same of each; and `spectra`.
    """
    counts = np.concatenate(list(resamples(np.zeros(len(targets)), n_boot, seed)))
    k, *_ = quality.spectra(targets[:1], targets[:1])
    k_signal = _signal(k, recorded if recorded is not None else targets)
    powers = {name: quality.spectra(images, targets)[1:] for name, images in answers.items()}
    each = {name: _per_image(images, targets) for name, images in answers.items()}
    methods = {}
    for name, values in each.items():
        found = {key: _mean(column, counts, level) for key, column in values.items()}
        for key, short in (("gain_db", "psnr"), ("ssim_gain", "ssim")):
            found[key] = _mean(values[short] - each[REFERENCE][short], counts, level, paired=True)
        methods[name] = found | {"power_error": _power_error(powers[name], k <= k_signal, counts, level)}
    content = {"n": len(targets), "n_boot": n_boot, "level": level, "network": network} | methods[network]
    if sigma is not None:
        within = quality.coverage(answers[network], targets, sigma)
        names = ("coverage", "coverage_bright")
        content |= {name: _mean(column, counts, level) for name, column in zip(names, within, strict=True)}
    curves = {name: _curves(power, counts, level) for name, power in powers.items()}
    target_power = powers[network][1].mean(0).tolist()
    about = {"k": k.tolist(), "k_signal": int(k_signal), "power": target_power, "methods": curves}
    return content | {"methods": methods, "spectra": about}


def _per_image(images: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    moved = quality.displacement(images, targets)
    return {
        "psnr": quality.psnr(images, targets),
        "ssim": quality.ssim(images, targets),
        "flux_bias": quality.flux_bias(images, targets),
        "displacement_y": moved[:, 0],
        "displacement_x": moved[:, 1],
    }


def _mean(values: np.ndarray, counts: np.ndarray, level: float, *, paired: bool = False) -> dict[str, Any]:
    spread = counts @ values / len(values)
    return (difference if paired else number)(values.mean(), spread, len(values), level)


def _power_error(power: tuple[np.ndarray, ...], inside: np.ndarray, counts: np.ndarray, level: float) -> dict[str, Any]:
    """Return the largest deviation of the power from the target's, over the frequencies with signal."""
    own, target, _ = (p[:, inside] for p in power)
    ratios = (counts @ own) / (counts @ target)
    return number(np.abs(own.mean(0) / target.mean(0) - 1).max(), np.abs(ratios - 1).max(1), len(own), level)


def _curves(power: tuple[np.ndarray, ...], counts: np.ndarray, level: float) -> dict[str, Any]:
    own, target, cross = (counts @ p for p in power)
    found = {}
    for name, values, spread in (
        ("ratio", power[0].mean(0) / power[1].mean(0), own / target),
        ("correlation", power[2].mean(0) / np.sqrt(power[0].mean(0) * power[1].mean(0)), cross / np.sqrt(own * target)),
    ):
        low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2], axis=0)
        found[name] = {"value": values.tolist(), "low": low.tolist(), "high": high.tolist()}
    return found


def _signal(k: np.ndarray, recorded: np.ndarray) -> int:
    """Return the highest frequency up to which recorded images have more power than twice their noise."""
    power = quality.spectra(recorded, recorded)[1].mean(0)
    noise = np.median(power[k > FLOOR * k.max()])
    below = np.flatnonzero(power < EXCESS * noise)
    return int(k[max(0, below[0] - 1)]) if len(below) else int(k[-1])
