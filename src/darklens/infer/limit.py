"""How well anybody could classify the images of a preset: the Bayes bound, from both sides.

For simulated images with known truth, ln p(image | class) is estimated by annealing on the exact renderer (`annealing`):

- `achieved`: the class of the largest estimate. It looks at the image alone, so no more than this is needed to reach its score: a
  lower bound, however badly a chain mixed.
- `optimistic`: the same with the upper estimate for the true class, from chains that start at the truth. Evidence of the true class
  is too high, that of the others too low, in the mean: an upper bound.

The limit is between them, and above what a trained `reference` reaches; half the distance is `estimate_error`, and where that is
more than `RELIABLE` no value is stated, only the bracket. `oracle` is a bound of another kind: it is told smooth lens and
source, and for each class what its substructure would be, and has only to choose. Nobody can do better, for what it is told
depends on no class.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darklens.errors import InputError
from darklens.evaluate import classification_metrics
from darklens.evaluate.proportion import proportion
from darklens.files import read_json, write_json
from darklens.infer.annealing import anneal
from darklens.infer.latent import Hypothesis, hypotheses
from darklens.infer.likelihood import Likelihood, likelihood_of, noise_free
from darklens.infer.smooth_optimum import find_optimum
from darklens.simulate import CommonTest, DeepLenseSim, Preset, Scene
from darklens.simulate import preset as find_preset
from darklens.simulate.rng import row_generator

Pick = Callable[[dict[str, Any]], dict[str, Any]]
"""Says which number of a block of metrics is meant."""
BATCH = 6
"""Images worked on together, and kept together."""
FIELD = 5.5
"""Side in arcsec of the central square of `common-test` that is used: images and substructure lie within."""
RELIABLE = 0.02
"""Half the bracket in accuracy up to which its middle is called an estimate."""
METRICS = ("accuracy", "auc_macro", "loss", "ece")
Progress = Callable[[str, int, int], None]
Reference = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Effort:
    """How hard to try; a chain's error falls with the steps.

    Args:
        steps: between prior and posterior.
        chains: of each image and class.
    """

    steps: int = 150
    chains: int = 8


def bayes_limit(
    preset: str | Preset,
    *,
    n: int = 600,
    seed: int = 0,
    effort: Effort = Effort(),
    budget: float | None = None,
    partial: Path | None = None,
    reference: Reference | None = None,
    progress: Progress = lambda phase, done, total: None,
) -> dict[str, Any]:
    """Estimate how well anybody could classify the images of a preset.

    Args:
        preset: one band.
        n: images, equally many of each class.
        seed: of images and chains; row r is the same whatever n.
        effort: how hard to try.
        budget: seconds after which no new batch is begun.
        partial: JSON file that keeps what is done, for the next call; of another preset, seed or effort it is refused.
        reference: `(n, 1, H, W)` images to `(n, classes)` probabilities of a classifier to compare with.
        progress: called with (phase, done, total).

    Returns:
        `accuracy` and `auc_macro` `{value, low, high, n}`, `auc` per class, with the interval from the lower end of `achieved` to
        the upper end of `optimistic`; these two, `oracle` and `reference` as blocks of metrics; `estimate_error`,
        `effective_samples` (median effective number of chains of each class), `method`, `seed`. A value is None where only the
        bracket is known.

    Raises:
        InputError: unknown preset, fewer images than classes, noise without a likelihood in closed form, or a `partial` of other
            settings.
    """
    chosen = find_preset(preset) if isinstance(preset, str) else preset
    classes = chosen.classes
    if n < len(classes):
        raise InputError(f"{n} images for {len(classes)} classes: give --n {len(classes)} or more")
    if noise_free(chosen):
        return _without_noise(chosen, n, seed)
    sampled = isinstance(chosen.population, CommonTest | DeepLenseSim)
    rows = _Rows(partial, {"preset": chosen.name, "seed": seed, "sampled": sampled, **vars(effort)})
    first = time.monotonic()
    for start in range(0, n, BATCH):
        wanted = range(start, min(start + BATCH, n))
        if not rows.have(wanted, reference is not None):
            if budget is not None and start and time.monotonic() - first > budget:
                break
            work = _annealed if sampled else _oracle_only
            rows.keep(wanted, work(chosen, wanted, seed, effort, reference))
        progress("images", min(start + BATCH, n), n)
    return _summary(chosen, rows.first(n), sampled, seed, effort)


def _without_noise(preset: Preset, n: int, seed: int) -> dict[str, Any]:
    certain = {"value": 1.0, "low": 1.0, "high": 1.0, "n": n}
    return {
        "preset": preset.name, "accuracy": certain, "auc_macro": certain, "auc": dict.fromkeys(preset.classes, certain),
        "method": "none needed: images without noise set no limit, and differ wherever scenes differ", "seed": seed,
        "estimate_error": {"accuracy": 0.0, "auc_macro": 0.0}, "effective_samples": None, "oracle": None, "reference": None,
    }  # fmt: skip


class _Rows:
    """What is known of each image, by row, kept in a file if one is given."""

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path, self.about = path, about
        self.known: dict[int, dict[str, Any]] = {}
        if path is not None and path.is_file():
            content = read_json(path)
            before, images = content.get("about", {}), content.get("rows", {})
            other = [f"{key} {before.get(key)} in place of {value}" for key, value in about.items() if before.get(key) != value]
            if other:
                raise InputError(
                    f"{path} keeps {len(images)} images of {', '.join(other)}: choose another --out, or forget them with --force"
                )
            self.known = {int(row): values for row, values in images.items()}

    def have(self, rows: range, reference: bool) -> bool:
        return all(row in self.known and (not reference or "reference" in self.known[row]) for row in rows)

    def keep(self, rows: range, values: list[dict[str, Any]]) -> None:
        self.known |= dict(zip(rows, values, strict=True))
        if self.path is not None:
            write_json(self.path, {"about": self.about, "rows": {str(r): v for r, v in sorted(self.known.items())}})

    def first(self, n: int) -> list[dict[str, Any]]:
        done = next((row for row in range(n) if row not in self.known), n)
        return [self.known[row] for row in range(done)]


def _annealed(preset: Preset, rows: range, seed: int, effort: Effort, reference: Reference | None) -> list[dict[str, Any]]:
    """Estimate the evidence of every class for some images."""
    known = hypotheses(preset.population)
    labels = np.array([row % len(known) for row in rows])
    coordinates = _coordinates(known, seed, rows)
    scenes = [replace(h.scene(u), seed=seed, rows=tuple(rows)) for h, u in zip(known, coordinates, strict=True)]
    likelihood, images = _recorded(preset, scenes, labels, reference is not None)
    everything = torch.arange(len(rows))
    oracle = torch.stack([likelihood(scene, everything) for scene in scenes], 1)
    macro = known[0].macro
    optimum = find_optimum(likelihood, known[0], coordinates[0][:, :macro])
    lower, upper, effective = torch.empty_like(oracle), torch.empty(len(rows), dtype=torch.float64), torch.empty_like(oracle)
    annealed = partial(anneal, chains=effort.chains, steps=effort.steps)
    for k, hypothesis in enumerate(known):
        own = _seed(seed, rows[0], k)
        lower[:, k], effective[:, k] = annealed(optimum.problem(hypothesis, everything, own), seed=own)
        mine = torch.from_numpy(np.flatnonzero(labels == k))
        if len(mine):
            truth = optimum.local(coordinates[k])[mine]
            upper[mine], _ = annealed(optimum.problem(hypothesis, mine, own), seed=own + 1, truth=truth)
    rest = {} if reference is None else {"reference": reference(images)}
    return _as_rows(labels, oracle, rest, lower=lower, upper=upper, effective=effective)


def _oracle_only(preset: Preset, rows: range, seed: int, effort: Effort, reference: Reference | None) -> list[dict[str, Any]]:
    """Say what the oracle knows of some images of a population that cannot be sampled."""
    classes = preset.classes
    labels = np.array([row % len(classes) for row in rows])
    scenes = [preset.population.draw(len(rows), seed, rows[0], labels=(label,) * len(rows)) for label in classes]
    likelihood, images = _recorded(preset, scenes, labels, reference is not None)
    oracle = torch.stack([likelihood(scene, torch.arange(len(rows))) for scene in scenes], 1)
    return _as_rows(labels, oracle, {} if reference is None else {"reference": reference(images)})


def _coordinates(known: list[Hypothesis], seed: int, rows: range) -> list[Tensor]:
    """Return the coordinates of every row under each class, `(B, size)`; smooth lens and source are the same for all."""
    drawn: list[list[np.ndarray]] = [[] for _ in known]
    for row in rows:
        rng = row_generator(seed, row, "limit")
        macro = rng.random(known[0].macro)
        for of_class, h in zip(drawn, known, strict=True):
            of_class.append(np.concatenate([macro, rng.random(h.size - h.macro)]))
    return [torch.from_numpy(np.stack(of_class)) for of_class in drawn]


def _recorded(preset: Preset, scenes: list[Scene], labels: np.ndarray, with_images: bool) -> tuple[Likelihood, np.ndarray]:
    """Return the likelihood of each row's image, recorded from the scene of its class, and the images as files hold them."""
    side = round(FIELD / preset.instrument.pixel_scale / 2) * 2 if isinstance(preset.population, CommonTest) else None
    found: Likelihood | None = None
    images = np.zeros((len(labels), *preset.image_shape), np.float32)
    for k, scene in enumerate(scenes):
        mine = np.flatnonzero(labels == k)
        if not len(mine):
            continue
        own = scene.select(mine)
        part = likelihood_of(preset, own, side)
        if found is None:
            found = replace(part, counts=torch.zeros(len(labels), *part.shape))
        found.counts[torch.from_numpy(mine)] = part.counts
        if with_images:
            images[mine] = preset.images(own)[0]
    assert found is not None, "there is a row, and its class has a scene"
    return found, images


def _seed(seed: int, row: int, k: int) -> int:
    return int(row_generator(seed, row, f"limit chains {k}").integers(2**62))


def _as_rows(labels: np.ndarray, oracle: Tensor, rest: dict[str, np.ndarray], **more: Tensor) -> list[dict[str, Any]]:
    columns = {"label": labels, "oracle": oracle.numpy()} | rest | {name: value.numpy() for name, value in more.items()}
    return [{name: values[i].tolist() for name, values in columns.items()} for i in range(len(labels))]


def _evidence(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    """Return a column of ln Z; minus infinity where no chain began inside the prior, which a file of rows holds as null."""
    found = np.array([row[name] for row in rows], float)
    return np.nan_to_num(found, nan=-np.inf, neginf=-np.inf)


def _posterior(log_evidence: np.ndarray) -> np.ndarray:
    """Return class probabilities for equally frequent classes; where no class has any evidence, all are as probable."""
    highest = log_evidence.max(1, keepdims=True)
    p = np.where(np.isneginf(highest), 1.0, np.exp(log_evidence - np.where(np.isneginf(highest), 0.0, highest)))
    return p / p.sum(1, keepdims=True)


def _summary(preset: Preset, rows: list[dict[str, Any]], sampled: bool, seed: int, effort: Effort) -> dict[str, Any]:
    labels = np.array([row["label"] for row in rows])

    def measured(probabilities: np.ndarray) -> dict[str, Any]:
        found = classification_metrics(probabilities, labels, preset.classes)
        right = int((probabilities.argmax(1) == labels).sum())
        found["accuracy"] = proportion(right, len(labels))  # unlike a bootstrap's, its interval has a width without mistakes
        return {name: found[name] for name in (*METRICS, "auc")}

    content: dict[str, Any] = {"preset": preset.name, "seed": seed}
    content["oracle"] = measured(_posterior(np.array([row["oracle"] for row in rows])))
    with_reference = all("reference" in row for row in rows)
    content["reference"] = measured(np.array([row["reference"] for row in rows])) if with_reference else None
    if not sampled:
        below = [content["reference"]] if with_reference else []
        method = "bracket only: trained run below, oracle above (the number of haloes varies, so that classes cannot be sampled)"
        return content | _between(below, content["oracle"]) | {"method": method, "estimate_error": None, "effective_samples": None}
    lower, upper = _evidence(rows, "lower"), _evidence(rows, "upper")
    index = np.arange(len(rows)), labels
    best = lower.copy()
    best[index] = np.maximum(lower[index], upper)
    content["achieved"], content["optimistic"] = measured(_posterior(lower)), measured(_posterior(best))
    content |= _between([content["achieved"], *([content["reference"]] if with_reference else [])], content["optimistic"])
    gaps = upper - lower[index]
    content["estimate_error"] |= {
        "log_evidence": {name: float(np.median(gaps[labels == k])) for k, name in enumerate(preset.classes) if (labels == k).any()}
    }
    effective = np.nanmedian(np.array([row["effective"] for row in rows], float), 0)
    content["effective_samples"] = dict(zip(preset.classes, effective.tolist(), strict=True))
    how = "annealed sequential Monte Carlo on the exact renderer, bounded from both sides"
    middle = "" if content["accuracy"]["value"] is not None else "; too far apart for more than a bracket: give more --steps"
    content["method"] = f"{how}; {effort.chains} chains of {effort.steps} steps{middle}"
    return content


def _between(below: list[dict[str, Any]], above: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers between the best lower bound and the upper one, with the outer ends of their intervals.

    The middle is the value where half the distance in accuracy is at most `RELIABLE`.
    """

    def best(pick: Pick) -> dict[str, Any] | None:
        return max((pick(block) for block in below), key=lambda number: number["value"], default=None)

    def half(pick: Pick) -> float | None:
        low = best(pick)
        return None if low is None else max(0.0, pick(above)["value"] - low["value"]) / 2

    distance = half(itemgetter("accuracy"))
    known = distance is not None and distance <= RELIABLE

    def number(pick: Pick) -> dict[str, Any]:
        low, high, gap = best(pick), pick(above), half(pick)
        value = max(high["value"], low["value"]) - gap if known and low and gap is not None else None
        return {"value": value, "low": low["low"] if low else None, "high": high["high"], "n": high["n"]}

    def auc_of(name: str) -> Pick:
        return lambda block: block["auc"][name]

    content = {name: number(itemgetter(name)) for name in ("accuracy", "auc_macro")}
    content["auc"] = {name: number(auc_of(name)) for name in above["auc"]}
    return content | {"estimate_error": {name: half(itemgetter(name)) for name in ("accuracy", "auc_macro")}}
