"""Have images changed? Two samples of them compared in what can be measured of each, and what the change is called.

The rate of false alarms is shared out beforehand: half of it to the statistics one by one, half to what looks at all of them, so
that two samples of one kind are called different no more often than that rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from darklens.errors import InputError
from darklens.evaluate.image_statistics import image_statistics
from darklens.evaluate.proportion import proportion
from darklens.evaluate.two_samples import classifier_test, compare_numbers, frechet_test, holm

RATE = 0.01
"""False alarms wanted where nothing has changed."""
CHUNK = 64
"""Images that are measured at once."""
LEAST = 10
"""Images of each sample that a comparison needs."""
SURE = 3.0
"""Standard errors at which an explanation of a change is given up."""
SHARPNESS = 0.02
"""Relative change of the light's width below which it is not called one of the PSF: other changes leave that much."""
POSITIVE = ("mean", "std", "light", "flux", "noise", "width", "peak")
"""Statistics whose ratio says something."""
BRIGHTNESS = ("mean", "std", "flux", "peak", "light")


@dataclass(frozen=True)
class Sample:
    """Images of one kind, and what a network says of them.

    Args:
        name: what to call it.
        images: n of `(bands, H, W)`; sizes may differ, bands not.
        shapes: how many images have which `(bands, H, W)`.
        features: `(n, d)` what the last layer sees, if a network was asked.
        probabilities: `(n, k)` calibrated, likewise.
        unusual: `(n,)` bool, whether it finds them unlike its training images, if it knows.
    """

    name: str
    images: Sequence[np.ndarray]
    features: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    unusual: np.ndarray | None = None

    @property
    def shapes(self) -> dict[tuple[int, int, int], int]:
        """How many images have which shape."""
        found: dict[tuple[int, int, int], int] = {}
        for image in self.images:
            found[image.shape] = found.get(image.shape, 0) + 1
        return found

    def statistics(self) -> dict[str, np.ndarray]:
        """Return statistic -> `(n, bands)`; see `image_statistics`."""
        found: dict[str, np.ndarray] = {}
        for shape in self.shapes:
            rows = np.flatnonzero([image.shape == shape for image in self.images])
            for chosen in np.split(rows, range(CHUNK, len(rows), CHUNK)):
                for name, values in image_statistics(np.stack([self.images[i] for i in chosen])).items():
                    found.setdefault(name, np.empty((len(self.images), shape[0])))[chosen] = values
        return found


@dataclass(frozen=True)
class Drift:
    """What has changed between two samples.

    Args:
        rows: of the statistics, a band each: what `compare_numbers` says, with `statistic`, `band`, `ratio` of the medians, and the
            corrected `p_holm`.
        together: test -> p-value, of those that look at all numbers at once, with `p_holm` corrected among them.
        classifier: what `classifier_test` says.
        network: of the features (`frechet_test`) and of the unusual images (fractions with intervals), None without a network.
        changes: what has changed, in words; empty where nothing has.
        rate: of false alarms.
    """

    rows: list[dict[str, Any]]
    together: dict[str, dict[str, float]]
    classifier: dict[str, Any]
    network: dict[str, Any] | None
    changes: list[str]
    rate: float

    @property
    def found(self) -> bool:
        """Whether there is a drift."""
        alone = any(row["p_holm"] < self.rate / 2 for row in self.rows)
        return bool(self.changes) or alone or any(test["p_holm"] < self.rate / 2 for test in self.together.values())

    @property
    def verdict(self) -> str:
        """Return the verdict in words."""
        auc = self.classifier["auc"]
        told = f"a classifier tells the two apart with an AUC of {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]"
        if not self.found:
            return f"no drift seen ({told}, p = {self.classifier['p']:.2g})"
        return f"drift: {'; '.join(self.changes) or 'of no single statistic'} ({told})"


def compare_samples(
    a: Sample,
    b: Sample,
    *,
    bands: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    rate: float = RATE,
    permutations: int = 999,
    seed: int = 0,
) -> Drift:
    """Compare two samples of images.

    Args:
        a: what is known.
        b: what is to be judged.
        bands: names of the bands.
        classes: names of the network's answers, should there be any.
        rate: of false alarms.
        permutations: shuffles of the classifier's test.
        seed: of the shuffles.

    Raises:
        InputError: different bands, too few images, or a rate outside 0 to 1.
    """
    _check(a, b, rate)
    statistics = a.statistics(), b.statistics()
    names = list(bands or [f"band {i}" for i in range(a.images[0].shape[0])])
    rows: list[dict[str, Any]] = [
        {"statistic": key, "band": name} | compare_numbers(statistics[0][key][:, i], statistics[1][key][:, i])
        for key in statistics[0]
        for i, name in enumerate(names)
    ]
    if a.probabilities is not None:
        assert b.probabilities is not None  # one network was asked about both
        pairs = zip(classes, a.probabilities.T, b.probabilities.T, strict=True)
        answers = [{"statistic": f"answer {name}", "band": ""} | compare_numbers(first, second) for name, first, second in pairs]
        rows += answers[1:] if len(answers) == 2 else answers  # of two classes, one says it all
    for row, corrected in zip(rows, holm(np.array([row["p"] for row in rows])), strict=True):
        row["p_holm"] = float(corrected)
        positive = row["statistic"] in POSITIVE and row["median_a"] * row["median_b"] > 0
        row["ratio"] = row["median_b"] / row["median_a"] if positive else None
    together, classifier, network = _together(a, b, statistics, permutations, seed)
    changes = _shapes(a, b) + _changes(rows, statistics, names, rate)
    changes += _network_changes(network, together, rate)
    return Drift(rows, together, classifier, network, changes, rate)


def _check(a: Sample, b: Sample, rate: float) -> None:
    if not 0 < rate < 1:
        raise InputError(f"--rate {rate:g} is no rate of false alarms: give one between 0 and 1, for example {RATE:g}")
    for sample in (a, b):
        if len(sample.images) < LEAST:
            raise InputError(f"{sample.name} has {len(sample.images)} images and a comparison needs {LEAST}: give more")
    counts = [{shape[0] for shape in sample.shapes} for sample in (a, b)]
    if len(counts[0] | counts[1]) > 1:
        said = " and ".join(f"{s.name} has {'/'.join(map(str, sorted(c)))}" for s, c in zip((a, b), counts, strict=True))
        raise InputError(f"the images have different bands, {said}: choose common ones with --bands")


def _together(
    a: Sample, b: Sample, statistics: tuple[dict, dict], permutations: int, seed: int
) -> tuple[dict[str, dict[str, float]], dict[str, Any], dict[str, Any] | None]:
    """Return the tests that look at all numbers at once, with the answers of each."""
    first, second = (np.concatenate(list(s.values()), axis=1) for s in statistics)
    classifier = classifier_test(first, second, seed=seed, permutations=permutations)
    p = {"classifier": classifier["p"]}
    network: dict[str, Any] = {}
    if a.features is not None:
        assert b.features is not None  # one network was asked about both
        network = {"features": frechet_test(a.features, b.features, seed=seed, permutations=permutations)}
        p["features"] = network["features"]["p"]
    if a.unusual is not None:
        assert b.unusual is not None
        counts = [(int(unusual.sum()), len(unusual)) for unusual in (a.unusual, b.unusual)]
        network["unusual"] = {key: proportion(*count) for key, count in zip("ab", counts, strict=True)}
        p["unusual"] = float(fisher_exact([[hits, n - hits] for hits, n in counts])[1])
    corrected = holm(np.array(list(p.values())))
    return {name: {"p": p[name], "p_holm": float(q)} for name, q in zip(p, corrected, strict=True)}, classifier, network or None


def _shapes(a: Sample, b: Sample) -> list[str]:
    """Say whether the images are of another size."""
    sizes = [{shape[1:] for shape in sample.shapes} for sample in (a, b)]
    if sizes[0] == sizes[1]:
        return []
    words = [", ".join(f"{h}x{w}" for h, w in sorted(size)) for size in sizes]
    return [f"images of {words[1]} pixels instead of {words[0]}"]


def _changes(rows: list[dict[str, Any]], statistics: tuple[dict, dict], bands: list[str], rate: float) -> list[str]:
    """Say what has changed, band by band: the scale, the noise, the PSF, the background, broken pixels, the objects."""
    seen = {(row["statistic"], row["band"]): row for row in rows if row["p_holm"] < rate / 2}
    changes = []
    for i, band in enumerate(bands):
        where = "" if len(bands) == 1 else f" in {band}"
        own = {name: row for (name, there), row in seen.items() if there == band}
        found = []
        if "noise" in own:
            found.append(_noise_or_scale(own["noise"], [s["light"][:, i] / s["noise"][:, i] for s in statistics]))
        if "width" in own and abs(np.log(own["width"]["ratio"] or np.inf)) > SHARPNESS:
            kind = "PSF or shapes broader" if own["width"]["in_se"] > 0 else "PSF or shapes sharper"
            found.append(f"{kind}, width x{own['width']['ratio']:.3g}")
        if "sky_sigma" in own:
            found.append(f"background {own['sky_sigma']['difference']:+.2g} sigma")
        found += [f"{name} pixels {own[name]['difference']:+.2%}" for name in ("saturated", "zero") if name in own]
        if not found and (bright := [name for name in BRIGHTNESS if name in own]):
            ratio = own[bright[-1]]["ratio"]
            found.append(f"brightness of the objects, {bright[-1]} x{ratio:.3g}" if ratio else "brightness of the objects")
        changes += [text + where for text in found]
    answers = [row for (name, _), row in seen.items() if name.startswith("answer ")]
    changes += [
        f"{row['statistic'].replace('answer', 'answers')}: {row['mean_a']:.3f} becomes {row['mean_b']:.3f}" for row in answers
    ]
    return changes


def _noise_or_scale(row: dict[str, Any], contrast: list[np.ndarray]) -> str:
    """Tell a change of the noise from one of the flux scale, in which light and noise change alike.

    With the noise times f, the logarithm of light / noise falls by log f if the light is as it was, and stays if both are times f.
    """
    logs = [np.log(v[np.isfinite(v) & (v > 0)]) for v in contrast]
    factor = row["ratio"] or np.inf
    shift = logs[1].mean() - logs[0].mean()
    error = np.sqrt(sum(v.var(ddof=1) / len(v) for v in logs))
    scale, noise = abs(shift) < SURE * error, abs(shift + np.log(factor)) < SURE * error
    if scale and not noise:
        return f"flux scale (zero point, gain or unit) x{factor:.3g}"
    return f"noise or flux scale x{factor:.3g}" if scale and noise else f"noise x{factor:.3g}"


def _network_changes(network: dict[str, Any] | None, together: dict[str, dict[str, float]], rate: float) -> list[str]:
    """Say what the network sees of the change."""
    found = []
    if network and together["features"]["p_holm"] < rate / 2:
        times = network["features"]["distance"] / network["features"]["floor"]
        found.append(f"features of the network, {times:.3g} times as far apart as halves of one sample")
    if network and "unusual" in network and together["unusual"]["p_holm"] < rate / 2:
        values = [network["unusual"][key]["value"] for key in "ab"]
        found.append(f"images unlike the training: {values[0]:.1%} becomes {values[1]:.1%}")
    return found
