"""What do sets of lenses say about the population that they come from? Bias and coverage, and a second opinion.

    python -m benchmarks.population [RUN] [--sets 100] [--lenses 50] [--out runs/population]
    python -m benchmarks.population runs/subhalo-population --parameter f_sub --name population-subhalos

RUN is a run of inference on a preset (by default the one that comes with darklens). Every set is a population of its own, with a
mean and a scatter of the parameter drawn anew and lenses that no other set has, simulated, fitted and asked for as `darklens infer
--population` does it. The second opinion is a ratio of likelihoods (`darklens.infer.population_ratio`), learnt from the run's own
validation and test lenses, which follow the uniform prior and which its network was not taught with. Leaves rows in
`runs/rows/NAME.json`, the page `docs/NAME.md` and its pictures; `--page` writes these of what there is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.population_page import PAGES, calibration_of, write_page
from benchmarks.task_rows import Row, script_row
from darklens.errors import DarklensError, InputError
from darklens.evaluate.proportion import proportion
from darklens.evaluate.resampling import difference, number
from darklens.files import read_json, write_json
from darklens.infer.population import infer_population
from darklens.infer.population_ratio import draw_truncated, learn_ratio
from darklens.recipes import load
from darklens.recipes.experiments.inference import prepare
from darklens.runs import Run
from darklens.simulate import preset
from darklens.simulate.priors import Fixed
from darklens.train.inference import Estimator
from darklens.train.provenance import provenance

ROOT = Path(__file__).parents[1]
ROWS, OUT = ROOT / "runs" / "rows", ROOT / "runs"
SHIPPED = "axion-posterior"
MIDDLE, SCATTER = (0.2, 0.8), (0.1, 0.3)
"""Of the prior's range: where the means of the populations lie, and their scatters."""
SEED = 910_000
"""Of the table of the first set."""
DRAWS, BATCH, N_BOOT = 400, 250, 2000
METHODS = ("posterior", "ratio")


@dataclass(frozen=True)
class Lenses:
    """Simulated lenses as the network sees them.

    Args:
        values: `(n,)` the parameter.
        summaries: `(n, S)` what the network says of each.
        samples: `(n, D)` draws of the posterior of the parameter.
        unusual: `(n,)` which are unlike the training images.
    """

    values: np.ndarray
    summaries: np.ndarray
    samples: np.ndarray
    unusual: np.ndarray


def main(arguments: list[str]) -> int:
    """Measure what is not there yet, and write rows and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default=SHIPPED)
    parser.add_argument("--parameter", action="append", help="Repeatable; log10_m_axion.")
    parser.add_argument("--name", choices=list(PAGES), default="population", help="Of the page.")
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--lenses", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT / "runs" / "data", help="tables of the run, made where they are not")
    parser.add_argument("--out", type=Path, help="runs/NAME")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page of what there is")
    options = parser.parse_args(arguments)
    try:
        run, out = Run.open(options.run), options.out or OUT / options.name
        names = options.parameter or ["log10_m_axion"]
        contents = [read_json(out / f"{name}.json") if options.page else measured(run, name, options, out) for name in names]
        write_json(ROWS / f"{options.name}.json", [row for content in contents for row in content["rows"]])
        figure = run.path / "figures" / "calibration.png"
        if figure.is_file():
            shutil.copyfile(figure, ROOT / "docs" / calibration_of(options.name))
        write_page(contents, run, ROOT / "docs", options.name)
        print(json.dumps([content["methods"] | {"agreement": content["agreement"]} for content in contents]))
    except DarklensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def measured(run: Run, name: str, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Simulate sets and reference, infer every population of a parameter by both methods, and judge them."""
    began, estimator = time.process_time(), Estimator(run, "cpu")
    place = estimator.places([name])[0]
    if estimator.preset is None or name not in estimator.described["prior"]:
        raise InputError(f"{run.path} has learnt no {name!r} of a preset under a uniform prior: give a run that has")
    low, high = prior = tuple(estimator.described["prior"][name])
    rng = np.random.default_rng(options.seed)
    summaries, values = reference(run, estimator, place, options.data, out / f"{name}-reference.npz")
    _say(f"{len(values)} lenses of the reference after {time.process_time() - began:.0f} s")
    known, ratio = len(values), learn_ratio(summaries, values, prior, seed=options.seed)
    _say(f"ratio learnt after {time.process_time() - began:.0f} s")
    sets = []
    for k in range(options.sets):
        mu, sigma = low + (high - low) * rng.uniform(*MIDDLE), (high - low) * rng.uniform(*SCATTER)
        values = draw_truncated(np.full(options.lenses, mu), np.full(options.lenses, sigma), prior, rng.random(options.lenses))
        found = lenses(estimator, place, values, SEED + k, out / f"{name}-{k}-{options.lenses}.npz")
        like = ~found.unusual
        said = {"posterior": infer_population(found.samples[like], prior), "ratio": ratio.infer(found.summaries[like])}
        _say(f"set {k + 1} of {options.sets} after {time.process_time() - began:.0f} s")
        sets.append({"mu": mu, "sigma": sigma, "left_out": int(found.unusual.sum())} | {m: p.summary() for m, p in said.items()})
    content = judged(sets, prior, name, options.seed) | {"lenses": options.lenses, "reference": known}
    content |= {"cpu_s": time.process_time() - began, "run": run.name, "preset": estimator.preset}
    content |= {"rows": rows(content, run), "commit": provenance()["commit"]}
    write_json(out / f"{name}.json", content)
    return content


def reference(run: Run, estimator: Estimator, place: int, data: Path, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return summaries `(n, S)` and the parameter `(n,)` of the validation and test lenses of a run; made once, they are read."""
    if cache.is_file():
        with np.load(cache) as kept:
            return kept["summaries"], kept["values"]
    splits = prepare(load(run.recipe).effective(), data, _say, lambda *done: None)
    parts = [(estimator.look(part)[0], part.theta[:, place]) for part in (splits.validation, splits.test)]
    summaries, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(cache, summaries=summaries, values=values)
    return summaries, values


def lenses(estimator: Estimator, place: int, values: np.ndarray, seed: int, cache: Path) -> Lenses:
    """Return lenses with these values of a parameter, the rest as the preset draws it; what was made once is read."""
    if cache.is_file():
        with np.load(cache) as kept:
            found = Lenses(**kept)
        if np.array_equal(found.values, values):
            return found
    preset_, name, parts = preset(estimator.preset), estimator.names[place], []
    kind = estimator.described["kinds"][0]
    for start in range(0, len(values), BATCH):
        images = []
        for row in range(start, min(start + BATCH, len(values))):
            population = replace(preset_.population, **{name: Fixed(float(values[row]))})
            images.append(preset_.images(population.draw(1, seed, row, labels=(kind,)))[0])
        inputs, chi2 = estimator.see(estimator.checked(np.concatenate(images)))
        told = estimator.look(inputs)
        draws = estimator.draws_from(*told, chi2, DRAWS, seed + start)
        unusual = np.zeros(len(images), bool) if draws.unusual is None else draws.unusual.flags
        parts.append((told[0], draws.samples[:, :, place].astype(np.float32), unusual))
    summaries, samples, unusual = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = Lenses(values, summaries, samples, unusual)
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(cache, **vars(found))
    return found


def judged(sets: list[dict[str, Any]], prior: tuple[float, float], name: str, seed: int) -> dict[str, Any]:
    """Return bias, coverage and width of each method for mean and scatter, and how far the two methods are apart."""
    rng, n = np.random.default_rng(seed + 1), len(sets)
    resampled = rng.integers(0, n, (N_BOOT, n))
    methods = {m: {what: _judge(sets, m, what, resampled) for what in ("mu", "sigma")} for m in METHODS}
    value, width = ({m: _of(sets, m, "mu", f) for m in METHODS} for f in (_value, _width))
    apart, truth = value["ratio"] - value["posterior"], np.array([one["mu"] for one in sets])
    worse = np.abs(value["ratio"] - truth) - np.abs(value["posterior"] - truth)
    agreement = {
        "difference": number(apart.mean(), apart[resampled].mean(1), n, 0.95),
        "apart_in_widths": number(*_mean_and_spread(np.abs(apart) / width["posterior"], resampled), n, 0.95),
        "within_width": proportion(int((np.abs(apart) <= width["posterior"]).sum()), n),
        "rank_correlation": float(spearmanr(value["ratio"], value["posterior"])[0]) if n > 2 else None,
        "error_ratio_less_posterior": difference(worse.mean(), worse[resampled].mean(1), n, 0.95),
    }
    about = {"parameter": name, "prior": list(prior), "seed": seed, "n": n}
    return about | {"methods": methods, "agreement": agreement, "sets": sets}


def _judge(sets: list[dict[str, Any]], method: str, what: str, resampled: np.ndarray) -> dict[str, Any]:
    n, error = len(sets), _of(sets, method, what, _value) - np.array([one[what] for one in sets])
    inside = {
        level: sum(one[method][what][low] <= one[what] <= one[method][what][high] for one in sets)
        for level, (low, high) in {"68": ("low", "high"), "95": ("low_95", "high_95")}.items()
    }
    return {
        "mae": number(*_mean_and_spread(np.abs(error), resampled), n, 0.95),
        "bias": number(*_mean_and_spread(error, resampled), n, 0.95),
        "width": number(*_mean_and_spread(_of(sets, method, what, _width), resampled), n, 0.95),
        "coverage_68": proportion(int(inside["68"]), n),
        "coverage_95": proportion(int(inside["95"]), n),
    }


def _mean_and_spread(values: np.ndarray, resampled: np.ndarray) -> tuple[float, np.ndarray]:
    return float(values.mean()), values[resampled].mean(1)


def _of(sets: list[dict[str, Any]], method: str, what: str, of: Any) -> np.ndarray:
    return np.array([of(one[method][what]) for one in sets])


def _value(found: dict[str, float]) -> float:
    return found["value"]


def _width(found: dict[str, float]) -> float:
    return (found["high"] - found["low"]) / 2


def rows(content: dict[str, Any], run: Run) -> list[Row]:
    """Return rows for the block "inference" of docs/results.md: mean and scatter of populations, by both methods."""
    made, found = provenance(), []
    about = {"seeds": 1, "seed": content["seed"], "recipe": run.recipe["name"]}
    called = {"posterior": run.metrics["posterior"], "ratio": "likelihood ratio"}
    for method, of in content["methods"].items():
        for what, title in (("mu", "mean"), ("sigma", "scatter")):
            data = f"{title} over {content['lenses']} lenses, {content['n']} populations"
            model = f"{run.model['name']}, {called[method]}"
            found.append(script_row("inference", model, data, of[what], made, variant=content["parameter"], **about))
    return found


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
