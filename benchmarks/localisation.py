"""Likelihood and network on the same lenses: which clumps each finds, and what each finds where there is none.

    python -m benchmarks.localisation RUN [--n 60] [--draws 200] [--stride 3]

Lenses of the run's preset that no recipe trains on (seed 30000), half of them with one clump, are searched by the likelihood of
`darklens localise likelihood` and by the run. Both have a threshold for 3 false positives in 100 clump-free images, the published
rate (Ostdiek et al. 2022, who reach 10^8.5 M_sun on bright arcs): the likelihood by simulated noise on each lens, the network by
its validation images. Images that were searched already are read from the file beside the run, so a longer study continues a
shorter one.

One JSON line on stdout, `RUN/localisation.json`, `RUN/figures/methods.png`, and `runs/rows/localisation-RUN.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.task_rows import script_row
from darklens.errors import DarklensError, InputError
from darklens.evaluate.detections import detection_metrics, match, mean
from darklens.evaluate.localisation_figures import plot_completeness
from darklens.evaluate.style import FigureSet, new_figure
from darklens.evaluate.wording import format_interval
from darklens.files import read_json, write_json
from darklens.fit.evidence import CHANNELS
from darklens.infer.substructure import Settings, clump_for, search
from darklens.runs import Run
from darklens.simulate import clumps_of, preset
from darklens.train.localiser import Localiser
from darklens.train.localiser_evaluation import arc_distance
from darklens.train.provenance import provenance

ROWS = Path(__file__).parents[1] / "runs" / "rows"
SEED = 30_000
"""Of the lenses: no recipe trains on it."""
RATE = 0.03
FOUND = "localisation.json"
PUBLISHED = {
    "by": "Ostdiek et al. 2022",
    "says": "10^8.5 M_sun on bright arcs at 3 false positives in 100 images",
    "log10_m_50_on_arcs": 8.5,
    "false_positives": RATE,
}
Row = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Measure one run beside the likelihood."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--stride", type=int, default=3)
    options = parser.parse_args(arguments)
    try:
        content = study(Run.open(options.run), options.n, options.draws, options.stride)
    except DarklensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    run = Run.open(options.run)
    write_json(ROWS / f"localisation-{run.path.name}.json", localisation_rows(run, content))
    print(json.dumps({"run": str(options.run), **content["methods"]}))
    return 0


def study(run: Run, n: int, draws: int, stride: int) -> Row:
    """Search n lenses by both methods, and write what was found beside the run.

    Raises:
        InputError: the run is of another task, or lenses were searched with other settings before.
    """
    localiser, path = Localiser(run, "cpu"), run.path / FOUND
    settings = {"preset": run.model["preset"], "draws": draws, "stride": stride, "rate": RATE, "seed": SEED}
    content = read_json(path) if path.is_file() else {"settings": settings, "lenses": []}
    if content["settings"] != settings:
        raise InputError(f"{path} was made with other settings {content['settings']}: give those, or remove it")
    for row in range(len(content["lenses"]), n):
        content["lenses"].append(one(localiser, row, settings))
        write_json(path, content)
    content["methods"] = {name: measured(content["lenses"][:n], name) for name in ("likelihood", "network")}
    made = provenance()
    content |= {key: made[key] for key in ("machine", "commit", "date")}
    write_json(path, content)
    figure(run, content)
    return content


def one(localiser: Localiser, row: int, settings: Row) -> Row:
    """Search one lens by both methods: its clump, its distance to the arcs, and the detections of each."""
    chosen = preset(settings["preset"])
    scene = chosen.draw(1, SEED, row)
    images, _ = chosen.images(scene)
    inputs = localiser.plan.evidence(
        images, localiser.plan.fit(images), crop=localiser.preprocess.crop, bin=localiser.preprocess.bin
    )
    peaks = localiser.peaks(localiser.maps(inputs)).above(localiser.threshold)
    network = sorted(zip(peaks.score, peaks.x, peaks.y, peaks.log10_m, peaks.mass_error, strict=True), reverse=True)
    began = time.process_time()
    plan = Settings(draws=settings["draws"], stride=settings["stride"], false_alarm=RATE)
    try:
        found = search(images[0, 0], localiser.plan, clump_for(chosen), plan).candidates
    except InputError as error:  # a fit that did not converge finds nothing, and counts
        found, why = [], str(error)
    else:
        why = None
    likelihood = [(c.significance, c.x, c.y, c.log10_m, c.errors[2]) for c in found if c.detected]
    clumps = clumps_of(scene)[0]
    away = arc_distance(inputs, localiser.scale)[0]
    where = [(np.array(c[1::-1]) / localiser.scale + 0.5 * (np.array(away.shape) - 1)).round().astype(int) for c in clumps]
    return {
        "row": row,
        "clumps": clumps.tolist(),
        "distance": [float(away[tuple(np.clip(w, 0, np.array(away.shape) - 1))]) for w in where],
        "network": [list(map(float, d)) for d in network],
        "likelihood": [list(map(float, d)) for d in likelihood],
        "likelihood_cpu_s": time.process_time() - began,
        "why": why,
        "arc_pixels": int((inputs[0, CHANNELS.index("model")] > 0.25).sum()),
    }


def measured(lenses: list[Row], method: str) -> Row:
    """Return completeness and false positives of a method."""
    mass, hit, distance, false, errors = [], [], [], [], []
    for lens in lenses:
        found = np.array(lens[method], float).reshape(-1, 5)  # an error that is not known is null in the file
        clumps = np.array(lens["clumps"], float).reshape(-1, 3)
        pairs = match(found[:, 1:3], clumps[:, :2], 0.3)
        false.append(int((pairs < 0).sum()))
        for k, clump in enumerate(clumps):
            mass.append(clump[2])
            hit.append(bool((pairs == k).any()))
            distance.append(lens["distance"][k])
            errors += [found[pairs == k][0, 3] - clump[2]] if hit[-1] else []
    free = np.array([not lens["clumps"] for lens in lenses])
    metrics = detection_metrics(np.array(mass), np.array(hit), np.array(distance), np.array(false)[free], np.array(false))
    seconds = [lens["likelihood_cpu_s"] for lens in lenses] if method == "likelihood" else None
    found = {"n": len(lenses), "clumps": len(hit), "found": mean(np.array(hit)), "mass_bias": mean(np.array(errors))}
    return metrics | found | ({"cpu_s_an_image": float(np.median(seconds))} if seconds else {})


def figure(run: Run, content: Row) -> None:
    """Draw the completeness of both methods in one picture."""
    drawn = new_figure(9.6, 3.9)
    axes = drawn.subplots(1, 2, sharey=True)
    for ax, part in zip(axes, ("all", "on_arcs"), strict=True):
        plot_completeness(ax, {name: found["completeness"][part] for name, found in content["methods"].items()})
        ax.set_title("All clumps" if part == "all" else "Clumps on bright arcs", fontsize=10, loc="left")
    false = {name: format_interval(found["false_positives"], 3) for name, found in content["methods"].items()}
    FigureSet(run.path / "figures").add(
        drawn,
        "methods.png",
        "Likelihood and network on the same lenses",
        f"Fraction of clumps found within 0.3 arcsec, with 95% intervals, of {len(content['lenses'])} lenses. False positives an "
        f"image without clump: likelihood {false['likelihood']}, network {false['network']}. Dotted: the published mass, at 0.03.",
        "Completeness against mass of the likelihood search and of the network",
    )


def localisation_rows(run: Run, content: Row) -> list[Row]:
    """Return the rows of the block "localisation" of `docs/results.json`: likelihood and network on the same lenses."""
    made = {key: content.get(key) for key in ("machine", "commit", "date")}
    rows = []
    for method, found in content["methods"].items():
        made["command"] = f"python -m benchmarks.localisation {run.path} --n {found['n']} --draws {content['settings']['draws']}"
        data = f"{found['n']} lenses of {content['settings']['preset']}, seed {SEED}"
        metrics = {key: found[key] for key in METRICS if found.get(key)}
        own = (
            {} if method == "likelihood" else {"recipe": run.recipe["name"], "parameters": (run.provenance or {}).get("parameters")}
        )
        name = "likelihood" if method == "likelihood" else run.model["name"]
        rows.append(script_row("localisation", name, data, metrics, made, published=PUBLISHED, **own))
    return rows


METRICS = ("log10_m_50", "log10_m_50_on_arcs", "false_positives", "found", "mass_bias")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
