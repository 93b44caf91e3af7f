"""SIGKILL in the midst of simulate, import, train and predict: rows lost, doubled, and other than those that nobody disturbed.

python -m benchmarks.reliability --kills 100 --seed 1
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROWS, FILES, CUTOUTS = 3000, 300, 400
TRAINING = ["tiny=true", "model.name=cnn", "train.epochs=3", "train.precision=float32", "data.validation=12", "data.test=12"]


def simulate(place: Path, out: Path) -> None:
    """Simulate a table."""
    from darklens.api import simulate

    simulate("model-iii-noisy", ROWS, seed=1, out=out)


def gather(place: Path, out: Path) -> None:
    """Import a folder of files into a table."""
    from darklens.data.importing import import_path

    import_path(place / "files", out, split=(0.8, 0.1, 0.1))


def train(place: Path, out: Path) -> None:
    """Train a small network."""
    from darklens.api import train

    train("model-iii-resnet18", data=place / "images", set=TRAINING, out=out, log=lambda sentence: None)


def predict(place: Path, out: Path) -> None:
    """Score cutouts in parts."""
    from darklens.api import score

    score(place / "run", place / "cutouts", out, device="cpu", images_per_part=20)


def table_differs(out: Path, undisturbed: Path) -> dict[str, int]:
    """Count rows of a table that are lost, doubled, or others than in the undisturbed one."""
    from darklens.data import Table

    found, right = Table.open(out), Table.open(undisturbed)
    lost, doubled = _counted(found.ids, right.ids)
    same = len(found) == len(right) and np.array_equal(found.images(), right.images()) and list(found.labels) == list(right.labels)
    return {"lost": lost, "doubled": doubled, "differ": 0 if same else 1}


def scores_differ(out: Path, undisturbed: Path) -> dict[str, int]:
    """Count scores that are lost, doubled, or others than the undisturbed ones."""
    from darklens.data.scores import read_scores

    found, right = read_scores(out), read_scores(undisturbed)
    lost, doubled = _counted(found["id"].to_pylist(), right["id"].to_pylist())
    return {"lost": lost, "doubled": doubled, "differ": 0 if found.equals(right) else 1}


def run_differs(out: Path, undisturbed: Path) -> dict[str, int]:
    """Count epochs that are lost or doubled, and compare weights and metrics bit by bit."""
    from darklens.runs import Run

    epochs = [[row["epoch"] for row in Run.open(path).history] for path in (out, undisturbed)]
    lost, doubled = _counted(*epochs)
    same = all(
        (out / name).read_bytes() == (undisturbed / name).read_bytes() for name in ("weights.safetensors", "last.safetensors")
    )
    same = same and Run.open(out).metrics == Run.open(undisturbed).metrics
    return {"lost": lost, "doubled": doubled, "differ": 0 if same else 1}


def _counted(found, right) -> tuple[int, int]:
    return len(set(right) - set(found)), len(found) - len(set(found))


@dataclass(frozen=True)
class Job:
    """Something to disturb.

    Args:
        work: does it, or goes on with it, in a folder of its own.
        differs: compares what came out.
    """

    work: Callable[[Path, Path], None]
    differs: Callable[[Path, Path], dict[str, int]]


JOBS = {
    "simulate": Job(simulate, table_differs),
    "import": Job(gather, table_differs),
    "train": Job(train, run_differs),
    "predict": Job(predict, scores_differ),
}


def prepare(place: Path) -> None:
    """Write what the jobs read: a folder of files, a table of images, a run and a table of cutouts."""
    from benchmarks.score_table import begin_run, write_table
    from darklens.api import simulate

    images = simulate("model-iii", 72, seed=2, out=place / "images").images()
    rng = np.random.default_rng(3)
    for k in range(FILES):
        folder = place / "files" / ("a", "b")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{k:04d}.npy", (images[k % 72, 0] + rng.normal(size=images.shape[2:])).astype(np.float32))
    begin_run(place / "run", "cnn", 32)
    write_table(place / "cutouts", CUTOUTS, 32)


def _quietly(work: Callable[[Path, Path], None], place: Path, out: Path) -> None:
    logging.disable()
    sys.stdout = sys.stderr = io.StringIO()
    work(place, out)


def disturb(job: Job, place: Path, kills: int, rng: random.Random, context: multiprocessing.context.BaseContext) -> dict:
    """Kill a job so many times, at random within what it takes, begin it again each time, and compare whenever it ends."""

    def begin(out: Path) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=_quietly, args=(job.work, place, out))
        process.start()
        return process

    begin(place / "undisturbed").join()
    begun = time.monotonic()  # only now: the first one had everything to import
    process = begin(place / "disturbed")
    process.join()
    seconds = time.monotonic() - begun
    found = {"kills": 0, "finished": 0, "lost": 0, "doubled": 0, "differ": 0, "failed": 0, "seconds": round(seconds, 2)}
    while True:
        if process.exitcode == 0:
            found["finished"] += 1
            for key, n in job.differs(place / "disturbed", place / "undisturbed").items():
                found[key] += n
            shutil.rmtree(place / "disturbed")
            if found["kills"] >= kills:
                return found
        elif process.exitcode != -9:
            found["failed"] += 1
            shutil.rmtree(place / "disturbed", ignore_errors=True)
        process = begin(place / "disturbed")
        process.join(rng.uniform(0, seconds) if found["kills"] < kills else None)
        if process.is_alive():
            process.kill()
            process.join()
            found["kills"] += 1
            print(found, file=sys.stderr, flush=True)


def main() -> None:
    """Print what was lost, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=list(JOBS))
    asked = parser.parse_args()
    context = multiprocessing.get_context(
        "forkserver"
    )  # born with everything imported, so that a kill comes in the midst of the work
    context.set_forkserver_preload(["darklens.recipes", "darklens.api.scoring", "darklens.train.survey", "darklens.data.importing"])
    rng = random.Random(asked.seed)
    for k, name in enumerate(asked.jobs):
        share = asked.kills // len(asked.jobs) + (k < asked.kills % len(asked.jobs))
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder))
            print(json.dumps({"job": name} | disturb(JOBS[name], Path(folder), share, rng, context)), flush=True)


if __name__ == "__main__":
    main()
