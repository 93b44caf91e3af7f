"""Compare simulated `lens-finding` images with the official samples, band by band.

    python -m benchmarks.lens_finding_statistics [--samples FOLDER] [--n 1000] [--difficulty D] [--out docs] [--gallery FILE.png]

Writes `lens-finding-statistics.json` and `.md`: for each statistic the median and the 16th and 84th percentiles over images, of
the official samples (10 lenses, 10 others: a small number, hence the spread) and of the preset, and the p-value of a two-sample
Kolmogorov-Smirnov test. How well these statistics alone tell the classes apart stands below: morphology should, and they should
not. No official image is copied; the gallery, which shows some, is written only where one asks for it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneOut, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.common_test_statistics import power_spectrum, radial_profile
from darklens.simulate import configured

BANDS = "gri"
CLASSES = {"lens": "lenses", "nonlens": "nonlenses"}
CORNER = 8
BULK = {"mean", "standard deviation", "noise sigma"}
"""Statistics that know nothing of shapes."""


def official(folder: Path) -> dict[str, np.ndarray]:
    """Return the samples by class, `(n, 3, 64, 64)`."""
    return {
        c: np.stack([np.load(f, allow_pickle=False) for f in sorted(folder.glob(f"*_{name}/*.npy"))]) for c, name in CLASSES.items()
    }


def simulated(n: int, seed: int, difficulty: float | None) -> dict[str, np.ndarray]:
    """Return n images of the preset by class, one half each."""
    preset = configured("lens-finding", difficulty=difficulty)
    parts = [preset.images(preset.draw(min(250, n - first), seed, first))[0] for first in range(0, n, 250)]
    labels = np.array(preset.labels(n))
    return {c: np.concatenate(parts)[labels == c] for c in CLASSES}


def noise_sigma(image: np.ndarray) -> float:
    """Return the noise of a band, from the median absolute difference of neighbours in the corners."""
    corners = [image[a, b] for a in (slice(CORNER), slice(-CORNER, None)) for b in (slice(CORNER), slice(-CORNER, None))]
    steps = np.concatenate([np.diff(c, axis=1).ravel() for c in corners])
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / 2**0.5)


def measured(image: np.ndarray) -> dict[str, float]:
    """Return the statistics of one band `(H, W)`."""
    above = image.astype(np.float64) - np.median(image)
    profile, sigma = radial_profile(above), noise_sigma(image)
    power = power_spectrum(image[None])
    return {
        "mean": float(image.mean()),
        "standard deviation": float(image.std()),
        "noise sigma": sigma,
        "skewness": float(stats.skew(image, axis=None)),
        "flux within 12 px, in sigma": float(above[20:44, 20:44].sum() / sigma),
        "concentration (mean within 3 px / 10 px)": float(_within(above, 3) / max(_within(above, 10), 0.1 * sigma)),
        "profile at 6 px, share of the middle": float(profile[6] / max(profile[0], sigma)),
        "log10 power, k 2 to 6 / 20 to 30": float(np.log10(power[2:7].mean() / power[20:31].mean())),
    }


def _within(image: np.ndarray, radius: float) -> float:
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in image.shape)
    return float(image[np.hypot(rows[:, None], columns) < radius].mean())


def compare(theirs: dict[str, np.ndarray], ours: dict[str, np.ndarray]) -> list[dict]:
    """Return one row for each class, band and statistic."""
    rows = []
    for name in CLASSES:
        for band, letter in enumerate(BANDS):
            found = [[measured(image[band]) for image in images[name]] for images in (theirs, ours)]
            for statistic in found[0][0]:
                columns = [np.array([m[statistic] for m in side]) for side in found]
                spread = [np.round(np.percentile(c, [16, 50, 84]), 4).tolist() for c in columns]
                p = float(stats.ks_2samp(*columns).pvalue)
                rows.append(
                    {
                        "class": name,
                        "band": letter,
                        "statistic": statistic,
                        "official": spread[0],
                        "preset": spread[1],
                        "p": round(p, 4),
                    }
                )
    return rows


def separation(images: dict[str, np.ndarray], leave_one_out: bool) -> dict[str, float]:
    """Return the AUC of logistic regressions that see no shapes: on bulk statistics, on flux in sigma, on the border's pixels."""
    both = np.concatenate([images["nonlens"], images["lens"]])
    labels = np.repeat([0, 1], [len(images["nonlens"]), len(images["lens"])])
    table = [[measured(band) for band in image] for image in both]
    bulk = np.log([[m[k] for m in bands for k in m if k in BULK] for bands in table])
    flux = np.log(np.maximum([[m["flux within 12 px, in sigma"] for m in bands] for bands in table], 30))
    border = np.concatenate([both[:, :, 0], both[:, :, -1], both[:, :, 1:-1, 0], both[:, :, 1:-1, -1]], 2).reshape(len(both), -1)
    folds = LeaveOneOut() if leave_one_out else StratifiedKFold(5, shuffle=True, random_state=0)
    found = {}
    for name, columns, strength in (("bulk", bulk, 0.1), ("flux in sigma", flux, 0.1), ("border pixels", border, 1e-3)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        scores = cross_val_predict(model, columns, labels, cv=folds, method="predict_proba")[:, 1]
        found[name] = round(float(roc_auc_score(labels, scores)), 3)
    return found


def page(rows: list[dict], apart: dict[str, dict[str, float]], about: str) -> str:
    """Return the Markdown table."""
    lines = [
        "# `lens-finding` beside the official samples",
        "",
        f"{about} Median [16th, 84th percentile] over images. p: two-sample",
    ]
    lines += ["Kolmogorov-Smirnov.", "", "| class | band | statistic | official | preset | p |", "|---|---|---|---|---|---|"]
    for row in rows:
        theirs, ours = (f"{s[1]:.4g} [{s[0]:.4g}, {s[2]:.4g}]" for s in (row["official"], row["preset"]))
        lines.append(f"| {row['class']} | {row['band']} | {row['statistic']} | {theirs} | {ours} | {row['p']:.3f} |")
    lines += ["", "AUC of logistic regressions that see no shapes (cross-validated; of 20 official images each counts 0.01):", ""]
    lines += ["| sees | official | preset |", "|---|---|---|"]
    lines += [f"| {name} | {apart['official'][name]:.3f} | {value:.3f} |" for name, value in apart["preset"].items()]
    return "\n".join([*lines, ""])


def gallery(theirs: dict[str, np.ndarray], ours: dict[str, np.ndarray], path: Path) -> None:
    """Draw official and simulated images side by side, colour composites of the bands, ten a row."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(6, 10, figsize=(15, 9.4))
    named = [(name, side, part) for name in CLASSES for side, part in (("official", 0), ("preset", 0), ("preset", 1))]
    for line, (name, side, part) in zip(axes, named, strict=True):
        images = (theirs if side == "official" else ours)[name][10 * part : 10 * part + 10]
        for axis, image in zip(line, images, strict=False):
            above = image - np.median(image, (1, 2), keepdims=True)
            scaled = np.clip(above / np.percentile(above, 99.5, (1, 2), keepdims=True), 0, 1) ** 0.6
            axis.imshow(scaled[::-1].transpose(1, 2, 0), origin="lower")
        line[0].set_title(f"{name}, {side}", loc="left", fontsize=9)
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=80)


def main() -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parents[2] / "shared" / "data" / "deeplense-samples" / "lens-finding"
    parser.add_argument("--samples", type=Path, default=default)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--difficulty", type=float)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--gallery", type=Path)
    arguments = parser.parse_args()
    if not arguments.samples.is_dir():
        print(f"no official samples at {arguments.samples}: give --samples FOLDER", file=sys.stderr)
        return 2
    theirs, ours = official(arguments.samples), simulated(arguments.n, arguments.seed, arguments.difficulty)
    rows = compare(theirs, ours)
    apart = {"official": separation(theirs, leave_one_out=True), "preset": separation(ours, leave_one_out=False)}
    level = configured("lens-finding", difficulty=arguments.difficulty).options()["difficulty"]
    counts = {side: {k: len(v) for k, v in images.items()} for side, images in (("official", theirs), ("preset", ours))}
    content = {"n": counts, "seed": arguments.seed, "difficulty": level, "rows": rows, "separation": apart}
    number = counts["official"]
    about = f"{number['lens']} lenses and {number['nonlens']} others, official; {arguments.n} simulated at difficulty {level:g}."
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "lens-finding-statistics.json").write_text(json.dumps(content, indent=1) + "\n")
    (arguments.out / "lens-finding-statistics.md").write_text(page(rows, apart, about))
    if arguments.gallery:
        gallery(theirs, ours, arguments.gallery)
    print(json.dumps({"benchmark": "lens-finding statistics", "median p": float(np.median([r["p"] for r in rows])), **apart}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
