"""Are generated images like real ones? Distances between two sets, each beside the same distance between two real sets.

- **Frechet distance** of features (Heusel et al. 2017, arXiv:1706.08500), in the principal directions of the real ones, each in
  units of its own deviation. It falls with the number of images even for one and the same kind: only beside the floor, the
  distance of two real sets of that size, does it say anything.
- **Precision, recall, density, coverage** with the k nearest neighbours (Kynkaanniemi et al. 2019, arXiv:1904.06991; Naeem et al.
  2020, arXiv:2002.09797): are generated images within the real ones, and do they reach all of them?
- **Power spectrum** and **pixel histogram**: the azimuthal mean of |FT|^2, as a ratio of geometric means over the images, and the
  distance of the distributions.
- **Neighbours**: how close generated images are to training images, beside how close real ones that were not trained on are.

Intervals are 95%, from resamples of the images with replacement, or from random halves of them where an image that comes twice
would mislead: halves scatter about the whole as the whole does about the truth (Shao & Wu 1989, Ann. Stat. 17, 1176).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from darklens.evaluate.resampling import number
from darklens.evaluate.two_samples import classifier_test, frechet_distance

NEIGHBOURS = 5
HALVES = 100
"""Random halves that intervals come from."""
DIRECTIONS = 32
"""Principal directions of features that count."""
LEVEL = 0.95


def whitened(real: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return features `(n, d)` of real images, and others, in the principal directions of the real ones, each of unit variance."""
    mean, scale = real.mean(0), np.maximum(real.std(0), 1e-9 * max(float(np.abs(real).max()), 1e-30))
    _, sizes, directions = np.linalg.svd((real - mean) / scale, full_matrices=False)
    kept = directions[:DIRECTIONS][sizes[:DIRECTIONS] > 1e-6 * sizes[0]].T
    spread = (((real - mean) / scale) @ kept).std(0)
    return tuple(((x - mean) / scale) @ kept / spread for x in (real, *others))


def compare_features(made: np.ndarray, real: np.ndarray, held: np.ndarray, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Compare features of generated images with those of real ones.

    Args:
        made: `(n, d)` of generated images.
        real: `(n, d)` of as many real ones.
        held: `(n, d)` of as many other real ones: they take the place of the generated ones for the floors.
        seed: of the halves.

    Returns:
        `frechet`, `precision`, `recall`, `density`, `coverage`, `two_sample_auc`, each as a number with interval, and its floor,
        what real images reach, as NAME_floor; `frechet_ratio`, the distance over its floor.
    """
    n = min(len(made), len(real), len(held))
    real, made, held = whitened(real[:n].astype(np.float64), made[:n].astype(np.float64), held[:n].astype(np.float64))
    found: dict[str, dict[str, Any]] = {}
    distance, floor = (_by_halves(frechet_distance, x, real, seed) for x in (made, held))
    found |= {"frechet": distance[0], "frechet_floor": floor[0], "frechet_ratio": _ratio(distance, floor, n)}
    for name, x in (("", made), ("_floor", held)):
        values, spread = neighbourhoods(x, real, seed)
        found |= {f"{key}{name}": number(values[key], spread[key], n, LEVEL) for key in values}
        found[f"two_sample_auc{name}"] = classifier_test(x, real, seed=seed, permutations=1)["auc"]
    return found


def neighbourhoods(made: np.ndarray, real: np.ndarray, seed: int = 0) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return precision, recall, density and coverage of `(n, d)` against `(n, d)`, and their spread over resampled images."""
    between = cdist(made, real)
    radius = {name: np.sort(cdist(x, x), axis=1)[:, min(NEIGHBOURS, len(x) - 1)] for name, x in (("made", made), ("real", real))}
    inside = between <= radius["real"][None]
    each = {
        "precision": inside.any(1).astype(float),
        "recall": (between <= radius["made"][:, None]).any(0).astype(float),
        "density": inside.sum(1) / min(NEIGHBOURS, len(real) - 1),
        "coverage": (between.min(0) <= radius["real"]).astype(float),
    }
    rng = np.random.default_rng(seed)
    spread = {name: x[rng.integers(0, len(x), (1000, len(x)))].mean(1) for name, x in each.items()}
    return {name: float(x.mean()) for name, x in each.items()}, spread


def _by_halves(
    distance: Callable[[np.ndarray, np.ndarray], float], a: np.ndarray, b: np.ndarray, seed: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Return a distance of two samples with its interval, and its spread; the halves' own larger bias is taken out."""
    whole, rng = distance(a, b), np.random.default_rng(seed)
    parts = [(rng.permutation(len(x))[: len(x) // 2] for x in (a, b)) for _ in range(HALVES)]
    halves = np.array([distance(a[i], b[j]) for i, j in parts])
    spread = np.maximum(whole + halves - halves.mean(), 0)
    return number(whole, spread, min(len(a), len(b)), LEVEL), spread


def _ratio(above: tuple[dict, np.ndarray], below: tuple[dict, np.ndarray], n: int) -> dict[str, Any]:
    (a, spread_a), (b, spread_b) = above, below
    return number(a["value"] / max(b["value"], 1e-12), spread_a / np.maximum(spread_b, 1e-12), n, LEVEL)


def power_spectrum(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return wave numbers in cycles a frame `(k,)` and the azimuthal mean power of images `(n, H, W)`, `(n, k)`."""
    height, width = images.shape[1:]
    power = np.abs(np.fft.fft2(images - images.mean((1, 2), keepdims=True))) ** 2 / (height * width)
    fy, fx = np.fft.fftfreq(height) * height, np.fft.fftfreq(width) * width
    ring = np.rint(np.hypot(fy[:, None], fx[None])).astype(int).ravel()
    k = np.arange(1, min(height, width) // 2)
    sums = np.stack([np.bincount(ring, weights=image.ravel(), minlength=k[-1] + 1)[k] for image in power])
    return k, sums / np.bincount(ring, minlength=k[-1] + 1)[k]


def compare_spectra(made: np.ndarray, real: np.ndarray, held: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """Compare the typical power spectra of images `(n, H, W)`.

    Returns:
        `spectrum_deviation`, the mean over wave numbers of |log10 of the ratio|, and `spectrum_deviation_floor`, with intervals;
        `spectrum`: `k`, `ratio` with `low` and `high`, and `ratio_floor`, lists.
    """
    k, (a, b, c) = power_spectrum(real)[0], (power_spectrum(x)[1] for x in (made, real, held))
    rng, found = np.random.default_rng(seed), {}
    curves = {}
    for name, x in (("", a), ("_floor", c)):
        resampled = np.stack([_log_ratio(x[_again(rng, x)], b[_again(rng, b)]) for _ in range(200)])
        value = _log_ratio(x, b)
        size = np.abs(value).mean()
        spread = size + np.abs(resampled).mean(1) - np.abs(resampled).mean()
        found[f"spectrum_deviation{name}"] = number(float(size), np.maximum(spread, 0), len(x), LEVEL)
        curves[name] = 10**value, 10 ** np.quantile(resampled, [0.025, 0.975], axis=0)
    (ratio, (low, high)), (floor, _) = curves[""], curves["_floor"]
    lists = {"k": k, "ratio": ratio, "low": low, "high": high, "ratio_floor": floor}
    return found | {"spectrum": {name: [float(v) for v in values] for name, values in lists.items()}}


def _log_ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return log10 of the ratio of the images' geometric means, in which one bright lens counts no more than a faint one."""
    return np.log10(np.maximum(a, 1e-300)).mean(0) - np.log10(np.maximum(b, 1e-300)).mean(0)


def _again(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    return rng.integers(0, len(x), len(x))


def compare_pixels(made: np.ndarray, real: np.ndarray, held: np.ndarray, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Compare the distributions of pixel values, by images `(n, H, W)`.

    Returns:
        `histogram_distance`, the largest distance of the two distribution functions, and `histogram_distance_floor`.
    """
    edges = np.quantile(real, np.linspace(0, 1, 257)[1:-1])
    shares = [np.stack([np.searchsorted(edges, image.ravel(), side="right") for image in x]) for x in (made, real, held)]
    counts = [np.stack([np.bincount(row, minlength=256) for row in share]) for share in shares]

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        a, b = (np.cumsum(x.sum(0) / x.sum()) for x in (a, b))
        return float(np.abs(a - b).max())

    names = ("histogram_distance", "histogram_distance_floor")
    return {name: _by_halves(distance, x, counts[1], seed)[0] for name, x in zip(names, (counts[0], counts[2]), strict=True)}


def nearest(images: np.ndarray, training: np.ndarray, *, chunk: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of the training image nearest to each image `(n, H, W)`, and their root-mean-square difference, `(n,)`.

    A training image counts in all eight orientations of the square, since a network is taught with all of them.
    """
    flat = images.reshape(len(images), -1).astype(np.float64)
    own, best, where = (flat**2).sum(1), np.full(len(flat), np.inf), np.zeros(len(flat), np.int64)
    square = training.shape[-1] == training.shape[-2]
    for first in range(0, len(training), chunk):
        part = training[first : first + chunk].astype(np.float64)
        squares = (part**2).sum((1, 2))
        for turned in (part, part.swapaxes(-1, -2)) if square else (part,):
            for axes in ((), (-1,), (-2,), (-1, -2)):
                distances = own[:, None] + squares - 2 * flat @ np.flip(turned, axes).reshape(len(part), -1).T
                i = distances.argmin(1)
                found = distances[np.arange(len(flat)), i]
                where = np.where(found < best, first + i, where)
                best = np.minimum(best, found)
    return where, np.sqrt(np.maximum(best, 0) / flat.shape[1])


def memorisation(made: np.ndarray, held: np.ndarray) -> dict[str, dict[str, Any]]:
    """Compare distances to the nearest training image, of generated images `(n,)` and of real ones that were not trained on `(m,)`.

    Returns:
        `memorised`: fraction of the generated images that are closer than all but 1% of the real ones are; a generator that copies
        nothing has 1%. `neighbour_ratio`: median distance over that of the real ones.
    """
    rng = np.random.default_rng(0)
    close = made < np.quantile(held, 0.01)
    ratio = np.median(made) / np.median(held)
    again = [np.median(made[_again(rng, made)]) / np.median(held[_again(rng, held)]) for _ in range(500)]
    spread = close[rng.integers(0, len(close), (1000, len(close)))].mean(1)
    return {
        "memorised": number(float(close.mean()), spread, len(made), LEVEL),
        "neighbour_ratio": number(float(ratio), np.array(again), len(made), LEVEL),
    }
