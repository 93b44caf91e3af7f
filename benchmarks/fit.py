"""Fitting smooth lenses: images a second and quality, beside lenstronomy's own optimiser on the same images.

    python -m benchmarks.fit [--n 600] [--peer 2] [--repeats 3]

Prints one JSON line: 150x150 `common-test` images of class `no`, 9 parameters, all threads; chi^2, convergence and the pulls of
every parameter; and lenstronomy's particle swarm and simplex on the first images, given the same model, noise and bounds, until
their iterations end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
import torch

from benchmarks.peers import band, sequence, silent
from darklens.fit import SmoothFit, counts_per_unit, plan_for
from darklens.simulate import simulate
from darklens.train.provenance import commit, machine

TRUE = ("theta_E", "gamma1", "gamma2", "source_x", "source_y", "source_e1", "source_e2")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=600, help="images")
    parser.add_argument("--peer", type=int, default=2, help="images for lenstronomy")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    table = simulate("common-test", 3 * options.n, seed=options.seed)
    table = table.select(label="no")
    images, plan = table.images()[:, 0], plan_for("common-test")
    plan.fit(images[:8])  # compile
    seconds, fit = [], None
    for _ in range(options.repeats):
        start = time.perf_counter()
        fit = plan.fit(images)
        seconds.append(time.perf_counter() - start)
    rate = len(images) / statistics.median(seconds)
    line = {
        "benchmark": "fit",
        "machine": machine(),
        "commit": commit(),
        "shape": list(images.shape[1:]),
        "model": plan.model.name,
        "parameters": len(plan.model.free),
        "n": len(images),
        "seed": options.seed,
        "threads": torch.get_num_threads(),
        "images_per_s": round(rate, 1),
        "images_per_s_best": round(len(images) / min(seconds), 1),
    }
    print(json.dumps(line | quality(fit, table, images) | peer(images[: options.peer], plan, fit, rate)))


def quality(fit: SmoothFit, table: Any, images: np.ndarray) -> dict[str, Any]:
    """Return chi^2, convergence, and mean and scatter of the pulls."""
    scale = np.array([counts_per_unit(image) for image in images])
    pulls = {name: (fit[name] - table.column(name)) / fit.error(name) for name in TRUE}
    # 100 counts a pixel of 0.05" at R_sersic, 10 counts of sky over a minimum that is a whole number
    pulls["source_amp"] = (fit["source_amp"] * scale * 0.05**2 - 100) / (fit.error("source_amp") * scale * 0.05**2)
    counts = fit["sky"] * scale
    pulls["sky"] = (counts - np.round(counts - 10) - 10) / (fit.error("sky") * scale)
    good = fit.converged
    return {
        "chi2_mean": round(float(fit.chi2.mean()), 4),
        "chi2_max": round(float(fit.chi2.max()), 4),
        "converged": round(float(good.mean()), 5),
        "pulls": {name: [round(float(p[good].mean()), 3), round(float(p[good].std()), 3)] for name, p in pulls.items()},
    }


def peer(images: np.ndarray, plan: Any, fit: SmoothFit, rate: float) -> dict[str, Any]:
    """Fit the first images with lenstronomy's particle swarm and simplex."""
    seconds, chi2 = [], []
    for image in images:
        start = time.perf_counter()
        chi2.append(_lenstronomy(image, plan))
        seconds.append(time.perf_counter() - start)
    if not seconds:
        return {}
    return {
        "lenstronomy": "PSO 60 x 100, then simplex",
        "lenstronomy_images_per_s": round(1 / statistics.mean(seconds), 4),
        "lenstronomy_chi2": [round(c, 3) for c in chi2],
        "same_images_chi2": [round(float(c), 3) for c in fit.chi2[: len(images)]],
        "ratio": round(rate * statistics.mean(seconds), 1),
    }


def _lenstronomy(image: np.ndarray, plan: Any) -> float:
    r = counts_per_unit(image)
    data = (image * r).astype(float)
    sky = 10.0
    low = np.round(np.median(data[:10])) - sky  # lenstronomy fits no offset: it is taken off before
    data = data - low - sky
    one_band = band(
        data,
        np.sqrt(np.maximum(data, 0) + sky),
        0.05,
        {"psf_type": "GAUSSIAN", "fwhm": plan.psf.fwhm, "pixel_size": 0.05, "truncation": 5},
        1,
    )
    shape = {"e1": (0.0, 0.1, -0.5, 0.5), "e2": (0.0, 0.1, -0.5, 0.5)}
    place = {"center_x": (0.0, 0.2, -0.7, 0.7), "center_y": (0.0, 0.2, -0.7, 0.7)}
    masses = {
        "SIS": ({"theta_E": (1.25, 0.1, 0.7, 1.9)}, {"center_x": 0, "center_y": 0}),
        "SHEAR": ({"gamma1": (0.1, 0.1, -0.4, 0.4), "gamma2": (0.0, 0.05, -0.4, 0.4)}, {"ra_0": 0, "dec_0": 0}),
    }
    search = sequence(one_band, masses, {"SERSIC_ELLIPSE": (shape | place, {"R_sersic": 0.5, "n_sersic": 1.5})})
    with silent():
        search.fit_sequence(
            [["PSO", {"sigma_scale": 1.0, "n_particles": 60, "n_iterations": 100}], ["SIMPLEX", {"n_iterations": 400}]]
        )
        return float(-2 * search.best_fit_likelihood() / data.size)


if __name__ == "__main__":
    main()
