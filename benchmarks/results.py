"""The results of the project as data: `docs/results.json` from run folders, and `docs/results.md` from that.

    python -m benchmarks.results [RUN ...]                            (make results: every finished run below runs/)
    python -m benchmarks.results --run [--budget 5m] [BLOCK ...]      train first what the blocks lack, in order, then collect
    python -m benchmarks.results --list [BLOCK ...]                   the commands that --run would carry out

A run gives one row for its own test split and one for each evaluation on other data. Besides runs, rows that scripts left in
runs/rows/ and the bounds of `darklens limit` in runs/limits/ are collected. Everything is resumable: a finished run is not trained
again, and a half-finished one is continued.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result_page import page
from benchmarks.result_rows import (
    OWN,
    Row,
    found_runs,
    limit_rows,
    merge,
    paired,
    rows_of,
    script_rows,
    seeds_first,
    with_seeds,
)
from darklens.files import write_atomic, write_json
from darklens.recipes import load
from darklens.runs import RECIPE, Run, shipped

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs"
DATA, PAGE = ROOT / "docs" / "results.json", ROOT / "docs" / "results.md"


@dataclass(frozen=True)
class Step:
    """A training that the table wants: a recipe with changed settings, into `runs/NAME`."""

    recipe: str
    settings: tuple[str, ...] = ()
    name: str = ""

    @property
    def out(self) -> Path:
        """The run's folder."""
        return RUNS / (self.name or self.recipe)

    def command(self, budget: str | None) -> list[str]:
        """Return the arguments of `darklens`."""
        changed = [part for setting in self.settings for part in ("--set", setting)]
        limit = ["--budget", budget] if budget else []
        return ["train", self.recipe, *changed, "--out", str(self.out.relative_to(ROOT)), *limit]

    @property
    def finished(self) -> bool:
        """Whether all networks of the recipe have a finished run, or all its seeds have."""
        networks = load(self.recipe, list(self.settings)).single()
        folders = [self.out] if len(networks) == 1 else [self.out / one.model.name for one in networks]
        if (self.out / "seed-0").is_dir():
            folders = [place.parent for place in self.out.glob(f"seed-*/**/{RECIPE}")]
        return all((folder / RECIPE).is_file() and Run.open(folder).complete for folder in folders)


def _published(recipe: str) -> Step:
    return Step(recipe, ("as_published=true",), f"{recipe}-as-published")


PLAN: dict[str, tuple[Step, ...]] = {
    "model-iii": (Step("model-iii-arcnet"), Step("model-iii-zoo")),
    "model-iii-noisy": (Step("model-iii-noisy-arcnet"), Step("model-iii-noisy-zoo")),
    "model-ii-noisy": (Step("model-ii-noisy-arcnet"), Step("model-ii-noisy-zoo")),
    "common-test": (Step("common-test-arcnet"), Step("common-test-zoo")),
    "model-i": (Step("model-i-resnet18"),),
    "model-ii": (Step("model-ii-resnet18"),),
    "binary": (Step("binary-leak"), Step("binary-leak", ("data.leak=false",), "binary-leak-off")),
    "lessons": (Step("dropout-cnn-3class"), _published("dropout-cnn-3class")),
    "published-lengths": (
        *(Step(f"model-iii-{name}") for name in ("cnn", "resnet18-published", "efficientnet-b0", "vit", "cvt", "lensformer")),
        *(_published(f"model-iii-{name}") for name in ("cnn", "resnet18-published", "efficientnet-b0", "vit", "cvt", "lensformer")),
        *(Step(f"model-iii-lenspinn-{size}") for size in ("small", "large")),
        Step("common-test-resnet18"),
        *(Step(f"common-test-pi-resnet18{kind}") for kind in ("", "-published", "-gradient")),
        Step("common-test-resnet18-finetuned"),
        Step("binary-substructure"),
        Step("binary-substructure", ("data.leak=true",), "binary-substructure-leaked"),
    ),
}
"""What `--run` trains; `published-lengths` needs a GPU and is left out unless it is named."""


def steps_of(blocks: list[str]) -> list[Step]:
    """Return the trainings of blocks, of all but the published lengths by default."""
    return [step for block in blocks or [b for b in PLAN if b != "published-lengths"] for step in PLAN[block]]


def run_missing(steps: list[Step], budget: str | None) -> bool:
    """Train what is not finished, one after the other; returns False if one failed, and the others are trained all the same."""
    good = True
    for step in steps:
        if step.finished:
            print(f"{step.out.relative_to(ROOT)} is finished", flush=True)
            continue
        arguments = step.command(budget)
        print(f"darklens {shlex.join(arguments)}", flush=True)
        good &= subprocess.run([sys.executable, "-m", "darklens", *arguments], cwd=ROOT).returncode == 0
    return good


def collect(runs: list[Run], old: list[Row]) -> list[Row]:
    """Return all rows: of these runs, of the shipped ones, of other scripts, of bounds, and the old ones whose runs are gone."""
    differences = paired(runs, old)
    new = []
    for run in seeds_first(runs):
        rows = with_seeds(run, rows_of(run))
        new += [row | ({"paired": differences.get(str(run.path))} if row["data"] == OWN else {}) for row in rows]
    new += [row for name in shipped("classification") for row in rows_of(Run.open(name), "shipped")]
    return merge(old, [*new, *script_rows(RUNS / "rows"), *limit_rows(RUNS / "limits")])


def main(arguments: list[str]) -> int:
    """Train what is missing where that is asked for, collect the rows and write both files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="run folders; with --run or --list, blocks")
    parser.add_argument("--run", action="store_true", help="train what is missing first")
    parser.add_argument("--list", action="store_true", help="print the commands of --run and stop")
    parser.add_argument("--budget", help="time of each training, for example 5m")
    asked = parser.parse_args(arguments)
    if (asked.run or asked.list) and (strange := set(asked.names) - set(PLAN)):
        parser.error(f"unknown block {', '.join(sorted(strange))}: choose from {', '.join(PLAN)}")
    if asked.list:
        print(
            "\n".join(f"darklens {shlex.join(step.command(asked.budget))}" for step in steps_of(asked.names) if not step.finished)
        )
        return 0
    good = not asked.run or run_missing(steps_of(asked.names), asked.budget)
    runs = found_runs(RUNS) if asked.run or not asked.names else [Run.open(name) for name in asked.names]
    rows = collect(runs, json.loads(DATA.read_text()) if DATA.is_file() else [])
    write_json(DATA, rows)
    write_atomic(PAGE, page(rows))
    print(f"{len(rows)} rows in {DATA.relative_to(ROOT)}, {len(runs)} runs collected")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
