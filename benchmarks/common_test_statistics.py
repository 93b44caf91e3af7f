"""Compare simulated `common-test` images of class `no` with statistics of 9,995 official ones.

    python -m benchmarks.common_test_statistics [--aggregates FILE.npz] [--n 2000] [--seed 0]

Prints a table and one JSON line; the exit code is 1 if a row does not pass. The aggregates file holds no image: the mean image,
the histogram, the radial profile and the power spectrum of the official images.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from darklens.simulate import PRESETS

PERCENTILES = (1, 5, 25, 50, 75, 90, 95, 99, 99.9)
SLOPES = ((5, 20), (15, 40))


def images_of_class_no(n: int, seed: int) -> np.ndarray:
    """Return n simulated images (n, 150, 150) of class `no`."""
    preset = PRESETS["common-test"]
    step = len(preset.classes)
    parts = []
    for start in range(0, n, 100):
        scene = preset.population.draw(min(100, n - start) * step, seed, start * step)
        members = np.flatnonzero(np.array(scene.labels) == "no")
        parts.append(preset.images(scene.select(members))[0][:, 0])
    return np.concatenate(parts)


def radial_profile(image: np.ndarray) -> np.ndarray:
    """Return the mean in rings one pixel wide around the field's centre."""
    half = (np.array(image.shape) - 1) / 2
    r = np.hypot(*np.meshgrid(*(np.arange(n) - h for n, h in zip(image.shape, half, strict=True)), indexing="ij")).astype(int)
    return np.bincount(r.ravel(), image.ravel()) / np.bincount(r.ravel())


def power_spectrum(images: np.ndarray) -> np.ndarray:
    """Return the azimuthal mean of the mean power spectrum, by whole cycles a frame."""
    n = images.shape[-1]
    power = np.zeros((n, n))
    for batch in np.array_split(images.astype(np.float64), max(1, len(images) // 100)):
        power += (np.abs(np.fft.fft2(batch - batch.mean((1, 2), keepdims=True))) ** 2).sum(0)
    k = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n, 1 / n)] * 2)).astype(int)
    return np.bincount(k.ravel(), power.ravel() / len(images)) / np.bincount(k.ravel())


def slope(spectrum: np.ndarray, low: int, high: int) -> float:
    """Return the logarithmic slope of a spectrum between two wave numbers."""
    k = np.arange(low, high + 1)
    return float(np.polyfit(np.log(k), np.log(spectrum[k]), 1)[0])


def percentiles_of_histogram(counts: np.ndarray) -> np.ndarray:
    """Return the pooled percentiles from a histogram over 0 to 1."""
    cumulative = np.append(0.0, np.cumsum(counts)) / counts.sum()
    return np.interp(np.array(PERCENTILES) / 100, cumulative, np.linspace(0, 1, len(counts) + 1))


def compare(aggregates: Path, n: int = 2000, seed: int = 0) -> list[dict]:
    """Return one row a statistic: ours, theirs, the deviation and its limit, and whether it passes."""
    theirs, ours = np.load(aggregates, allow_pickle=False), images_of_class_no(n, seed)
    mean = ours.mean(0, dtype=np.float64)
    rows = [
        _row(
            "mean image correlation",
            np.corrcoef(mean.ravel(), theirs["mean"].ravel())[0, 1],
            1.0,
            0.001,
            relative=False,
        )
    ]
    profile, reference = radial_profile(mean), radial_profile(theirs["mean"])
    for r in range(0, 54, 6):
        rows.append(_row(f"radial profile at {r} px", profile[r], reference[r], 0.05))
    spectrum = power_spectrum(ours)
    for low, high in SLOPES:
        rows.append(
            _row(
                f"power spectrum slope, k {low} to {high}",
                slope(spectrum, low, high),
                slope(theirs["ps"], low, high),
                0.1,
                relative=False,
            )
        )
    histogram = np.histogram(ours, bins=len(theirs["hist"]), range=(0, 1))[0]
    pairs = zip(PERCENTILES, percentiles_of_histogram(histogram), percentiles_of_histogram(theirs["hist"]), strict=True)
    rows += [_row(f"pooled percentile {p}", a, b, 0.05) for p, a, b in pairs]
    return rows


def _row(name: str, ours: float, theirs: float, limit: float, relative: bool = True) -> dict:
    deviation = abs(ours - theirs) / (abs(theirs) if relative else 1.0)
    return {
        "statistic": name,
        "ours": round(float(ours), 5),
        "official": round(float(theirs), 5),
        "deviation": round(float(deviation), 5),
        "limit": limit,
        "relative": relative,
        "passes": bool(deviation <= limit),
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("DARKLENS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    parser.add_argument("--aggregates", type=Path, default=default / "deeplense-samples" / "common-test-no-9995-aggregates.npz")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not arguments.aggregates.is_file():
        print(f"no aggregates at {arguments.aggregates}: give --aggregates FILE.npz", file=sys.stderr)
        return 2
    rows = compare(arguments.aggregates, arguments.n, arguments.seed)
    for row in rows:
        verdict = "ok" if row["passes"] else "FAILS"
        numbers = f"{row['ours']:10.5f} {row['official']:10.5f}  {row['deviation']:.5f} of {row['limit']}"
        print(f"{row['statistic']:32s} {numbers}  {verdict}")
    print(json.dumps({"benchmark": "common-test statistics", "n": arguments.n, "seed": arguments.seed, "rows": rows}))
    return 0 if all(row["passes"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
