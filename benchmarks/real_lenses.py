"""What networks trained on injected arcs find in real images: `docs/real-lenses.json` and `docs/real-lenses.md`.

    python -m benchmarks.real_lenses [--data ../shared/data] [--only des,panstarrs,euclid-vis] [--tiny]

The whole way for three instruments: real galaxies, arcs painted on them (`darklens inject`), a network each (`darklens train`), and
its answers on real systems. The galaxies are the 46 of DES; for Pan-STARRS they are these, blurred, resampled and made as noisy as
Pan-STARRS' images are. No galaxy of Euclid VIS is at hand, so its network learns from the simulated sky of `lens-finding` recorded
by VIS. Galaxies are divided into folds: every non-lens is scored by the one network that never saw it, with arcs or without; a real
system, which none has seen, by all of them. What is finished is kept in runs/real-lenses/ and not computed again.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import darklens
from benchmarks.active_learning import quiet
from benchmarks.real_images import (
    BANDS,
    PS_FWHM,
    PS_SCALE,
    VIS_SCALE,
    ZERO_POINT,
    Scored,
    as_pan_starrs,
    cropped,
    des_galaxies,
    euclid_lens,
    others,
    pan_starrs_systems,
    vis_preset,
)
from benchmarks.real_lenses_page import page
from benchmarks.results import ROOT
from darklens.data import Table, TableWriter
from darklens.errors import DarklensError, InputError, unknown
from darklens.files import read_json, write_atomic, write_json
from darklens.simulate import simulate
from darklens.simulate.instruments import INSTRUMENTS
from darklens.train.provenance import commit, machine

DATA, PAGE = ROOT / "docs" / "real-lenses.json", ROOT / "docs" / "real-lenses.md"
KEPT = ROOT / "runs" / "real-lenses"
SHARED = ROOT.parent / "shared" / "data"
CLASSES = ("nonlens", "lens")
FOUND = 0.1
"""A system counts as found where at most this part of the non-lenses scores as high."""
RESAMPLED = 500
"""Draws of the bootstrap."""


@dataclass(frozen=True)
class Effort:
    """How much is done.

    Args:
        folds: networks of an instrument, each without a part of the galaxies.
        lenses: arcs painted, for each galaxy.
        epochs: of each network on real galaxies.
        simulated: images of the simulated sky for VIS.
        simulated_epochs: of its networks.
    """

    folds: int = 4
    lenses: int = 10
    epochs: int = 30
    simulated: int = 2500
    simulated_epochs: int = 8


TINY = Effort(2, 1, 1, 90, 1)


# ---- training ----


def folds_of(groups: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold of each row: rows of one galaxy have the same."""
    _, number = np.unique(groups, return_inverse=True)
    return number % folds


def splits_of(groups: np.ndarray, fold: int, folds: int) -> list[str]:
    """Return the split of each row in a fold: its own galaxies are the test, one in five of the others validates."""
    _, number = np.unique(groups, return_inverse=True)
    mine = number % folds == fold
    held = ~mine & (number // folds % 5 == 0)
    return np.where(mine, "test", np.where(held, "val", "train")).tolist()


def fold_table(out: Path, table: Table, side: int, splits: list[str]) -> Path:
    """Write the middle of a table's images with other splits."""
    about = {k: table.manifest.get(k) for k in ("pixel_scale", "band_names", "source", "notes")} | {"rows": len(table)}
    shape = (table.shape[0], side, side)
    with TableWriter(out, shape=shape, classes=list(CLASSES), manifest=about, force=True) as writer:
        groups = {"group": table.column("group")} if "group" in table.columns else {}
        writer.write_columns(table.ids, cropped(table.images(), side), table.labels, groups, splits)
    return out


def recipe(path: Path, seed: int, epochs: int, binned: int) -> dict[str, Any]:
    """Return how a network is trained on a table with splits."""
    return {
        "name": "real-lenses",
        "data": {"path": str(path), "seed": seed, "classes": list(CLASSES)},
        "model": {"name": "p4m-resnet"},
        "preprocess": {"bin": binned, "normalise": "min-max"},
        "train": {
            "task": "binary", "imbalance": "balanced-sampling", "epochs": epochs, "batch_size": 16, "lr": 4e-3,
            "schedule": "onecycle", "ema": None, "augment": ["dihedral", "shift"], "precision": "float32", "seed": seed,
        },
    }  # fmt: skip


def trained(folder: Path, content: dict[str, Any]) -> darklens.TrainedRun:
    """Train, or go on with that."""
    return darklens.train(content, out=folder, device="cpu", log=quiet, progress=quiet)


def on_galaxies(name: str, galaxies: Table, camera: dict[str, Any], side: int, effort: Effort) -> tuple[list, np.ndarray, Table]:
    """Inject into galaxies and train a network a fold; returns them, the fold of each row, and the injected table."""
    place = KEPT / _word(effort) / name
    n = len(galaxies) * (1 + effort.lenses)
    fraction = effort.lenses / (1 + effort.lenses)
    table = darklens.inject(
        galaxies, out=place / "injected", n=n, fraction=fraction, split=None, theta_E=(0.8, 3.0), seed=1, **camera
    )
    groups, runs = table.column("group"), []
    for fold in range(effort.folds):
        tables = fold_table(place / f"table-{fold}", table, side, splits_of(groups, fold, effort.folds))
        runs.append(trained(place / f"fold-{fold}", recipe(tables, fold, effort.epochs, 1)))
        print(f"{name}: fold {fold + 1} of {effort.folds} trained", flush=True)
    return runs, folds_of(groups, effort.folds), table


def on_simulation(effort: Effort) -> tuple[list, Table]:
    """Train networks on the simulated sky of VIS; returns them and the table, the last fifth of which is the test."""
    place = KEPT / _word(effort) / "euclid-vis"
    table = simulate(vis_preset(), effort.simulated, seed=1, out=place / "simulated")
    share = np.arange(len(table)) / len(table)
    splits = np.where(share < 0.7, "train", np.where(share < 0.8, "val", "test")).tolist()
    path = fold_table(place / "table", table, table.shape[1], splits)
    seeds = range(min(3, effort.folds))
    return [trained(place / f"seed-{s}", recipe(path, s, effort.simulated_epochs, 2)) for s in seeds], Table.open(path)


def _word(effort: Effort) -> str:
    return "-".join(map(str, asdict(effort).values()))


# ---- verdicts ----


def lens_probability(runs: list, images: np.ndarray) -> np.ndarray:
    """Return the probability of a lens by each network, `(networks, n)`, where lenses were as many as others.

    Painted lenses outnumber galaxies in the training, and a probability that held there would call nearly everything a lens.
    """
    judges = [darklens.ensemble([run], device="cpu", prevalence=0.5) for run in runs]
    return np.stack([judge.probabilities(images)[:, 1] for judge in judges])


def ranked(scored: Scored, probability: np.ndarray, non_lenses: np.ndarray, by: np.ndarray) -> list[dict[str, Any]]:
    """Return a row for each system: mean, least and largest probability of the networks, and how many non-lenses score as high.

    A non-lens is compared with what its own network says of the system: networks differ in how high they score.

    Args:
        scored: the systems.
        probability: `(networks, n)`.
        non_lenses: `(m,)` probabilities of what is no lens.
        by: `(m,)` number of the network that gave each.
    """
    rows = []
    for name, one in zip(scored.names, probability.T, strict=True):
        above = int((non_lenses >= one[by]).sum())
        row = {"name": name, "probability": float(one.mean()), "low": float(one.min()), "high": float(one.max())}
        rows.append(row | {"rank": above + 1, "non_lenses": len(non_lenses), "found": above <= FOUND * len(non_lenses)})
    return rows


def held_out(labels: np.ndarray, lens: np.ndarray, groups: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    """Return what the networks reach on galaxies that they have not seen, and how many arcs score above most non-lenses.

    Args:
        labels: of the rows.
        lens: probability of each, by a network that has not seen its galaxy.
        groups: galaxy of each; the interval is a bootstrap over galaxies.
        folds: number of the network of each; only what one network scored is compared.
    """
    is_lens = labels == "lens"
    limits = {k: np.quantile(lens[~is_lens & (folds == k)], 1 - FOUND) for k in np.unique(folds)}
    above = lens > np.array([limits[k] for k in folds])
    return {
        "auc": auc_over_galaxies(is_lens, lens, groups, folds),
        "arcs_found": float(above[is_lens].mean()),
        "arcs": int(is_lens.sum()),
        "non_lenses_above_half": int((lens[~is_lens] > 0.5).sum()),
        "non_lenses": int((~is_lens).sum()),
    }


def auc_over_galaxies(is_lens: np.ndarray, lens: np.ndarray, groups: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    """Return the mean AUC of the folds with a 95% interval: galaxies are drawn again, with all that was painted on them."""
    names, number = np.unique(groups, return_inverse=True)
    rows, rng, drawn = [np.flatnonzero(number == k) for k in range(len(names))], np.random.default_rng(0), []
    for _ in range(RESAMPLED):
        some = np.concatenate([rows[k] for k in rng.integers(len(names), size=len(names))])
        drawn.append(_mean_auc(is_lens[some], lens[some], folds[some]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return {"value": _mean_auc(is_lens, lens, folds), "low": float(low), "high": float(high), "n": len(names)}


def _mean_auc(is_lens: np.ndarray, lens: np.ndarray, folds: np.ndarray) -> float:
    """Return the mean over folds that hold both classes; NaN where none does."""
    parts = [(lens[is_lens & (folds == k)], lens[~is_lens & (folds == k)]) for k in np.unique(folds)]
    each = [_auc(*part) for part in parts if all(map(len, part))]
    return float(np.mean(each)) if each else float("nan")


def _auc(lenses: np.ndarray, others: np.ndarray) -> float:
    """Return how often a lens scores above a non-lens (Mann & Whitney 1947), ties half: fast enough for a bootstrap."""
    others = np.sort(others)
    return float(np.mean([np.searchsorted(others, lenses, side) for side in ("left", "right")]) / len(others))


def own_scores(runs: list, table: Table, folds: np.ndarray, side: int) -> np.ndarray:
    """Return the probability of each row by the network that has not seen its galaxy."""
    images, out = cropped(table.images(), side), np.empty(len(table))
    for k, run in enumerate(runs):
        out[folds == k] = lens_probability([run], images[folds == k])[0]
    return out


def des(data: Path, effort: Effort) -> dict[str, Any]:
    """Score the galaxies of DES, and the Euclid lens in the bands of DES."""
    side = 36  # 9.5 arcsec: as much as the file of the Euclid lens shows
    camera = {"instrument": "des-g,des-r,des-i", "zero_point": ZERO_POINT}
    runs, folds, table = on_galaxies("des", des_galaxies(data), camera, side, effort)
    lens = own_scores(runs, table, folds, side)
    other = table.labels != "lens"
    system = euclid_lens(data, ",".join(f"DES_{b.upper()}_BGSUB" for b in BANDS), side, INSTRUMENTS["des-g"].pixel_scale)
    about = {"galaxies": len(np.unique(table.column("group"))), "rows": len(table), "pixels": side}
    return about | {
        "held_out": held_out(table.labels, lens, table.column("group"), folds),
        "systems": ranked(system, lens_probability(runs, system.images), lens[other], folds[other]),
    }


def pan_starrs(data: Path, effort: Effort) -> dict[str, Any]:
    """Score the 13 systems of Pan-STARRS, and other objects in their images."""
    side = 40
    systems, noise = pan_starrs_systems(data)
    galaxies = as_pan_starrs(des_galaxies(data), noise, 1)
    camera = {"bands": ",".join(BANDS), "psf": list(PS_FWHM), "zero_point": ZERO_POINT, "pixel_scale": PS_SCALE, "gain": PS_GAIN}
    runs, folds, table = on_galaxies("panstarrs", galaxies, camera, side, effort)
    lens = own_scores(runs, table, folds, side)
    other = table.labels != "lens"
    near = np.concatenate([others(image, side, 16) for image in systems.images])
    about = {"galaxies": len(np.unique(table.column("group"))), "rows": len(table), "pixels": side}
    middle = Scored(systems.names, cropped(systems.images, side))
    return about | {
        "held_out": held_out(table.labels, lens, table.column("group"), folds),
        "systems": ranked(middle, lens_probability(runs, middle.images), lens[other], folds[other]),
        "others": sorted(lens_probability(runs, near).mean(0).tolist(), reverse=True) if len(near) else [],
    }


PS_GAIN = 9.0
"""Electrons per unit of `ZERO_POINT`: one a count, at the median exposure of about 900 s (zero point 32.4)."""


def euclid_vis(data: Path, effort: Effort) -> dict[str, Any]:
    """Score the Euclid lens in VIS with networks of the simulated sky."""
    runs, table = on_simulation(effort)
    test = table.select(split="test")
    lens = lens_probability(runs, test.images())
    other = test.labels != "lens"
    system = euclid_lens(data, "VIS_BGSUB", table.shape[1], VIS_SCALE)
    alone = np.zeros(len(test), int)  # all networks score every image: their mean is one judge
    return {
        "galaxies": 0,
        "rows": len(table),
        "pixels": table.shape[1],
        "held_out": held_out(test.labels, lens.mean(0), np.arange(len(test)), alone),
        "systems": ranked(
            system, lens_probability(runs, system.images), lens[:, other].ravel(), np.arange(len(runs)).repeat(other.sum())
        ),
    }


INSTRUMENT = {"des": des, "panstarrs": pan_starrs, "euclid-vis": euclid_vis}


def main(arguments: list[str]) -> int:
    """Compute what is missing, then write the figures and their page; after every instrument."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_lenses", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of galaxies/des, lenses/panstarrs and lenses/euclid-q1")
    parser.add_argument("--only", default=",".join(INSTRUMENT), help="some of the instruments")
    parser.add_argument("--tiny", action="store_true", help="hardly any training, to see that everything works; writes into runs/")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        compute(asked.data, asked.only.split(","), TINY if asked.tiny else Effort(), tiny=asked.tiny)
    except DarklensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def compute(data: Path, names: list[str], effort: Effort, *, tiny: bool) -> None:
    """Compute what is missing, and write all that is there.

    Raises:
        InputError: an instrument that is not known, or no folder of real images.
    """
    if wrong := [name for name in names if name not in INSTRUMENT]:
        raise unknown("instrument", wrong[0], INSTRUMENT)
    if not data.is_dir():
        raise InputError(f"{data} is no folder: give --data, with galaxies/des, lenses/panstarrs and lenses/euclid-q1 below it")
    figures, text = (KEPT / "tiny.json", KEPT / "tiny.md") if tiny else (DATA, PAGE)
    files = {name: KEPT / _word(effort) / f"{name}.json" for name in INSTRUMENT}
    for name in names:
        if not files[name].is_file():
            write_json(files[name], INSTRUMENT[name](data, effort))
        found = {n: read_json(file) for n, file in files.items() if file.is_file()}
        about = {"about": __doc__.split("\n\n")[2].replace("\n", " "), "effort": asdict(effort), "found": FOUND}
        write_json(figures, about | {"instruments": found, "machine": machine(), "commit": commit()})
        write_atomic(text, page(read_json(figures)))
        print(f"{figures} and {text}: {', '.join(found)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
