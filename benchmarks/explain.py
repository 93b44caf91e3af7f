"""Which way of explaining tells the truth, for which network?

    python -m benchmarks.explain [--runs RUN ...] [--n 300] [--seed 30008] [--checked 30] [--page]

Images of the runs' preset are simulated anew; of each the simulator knows what the substructure changed, and where its masses are.
Every method is measured beside that truth (darklens.explain.truth), by deletion and insertion, under noise, and against networks
that know nothing: one with fresh weights, and one that was taught shuffled labels until it knew `--labels` images by heart. A run's
figures take the place of its earlier ones in `docs/explain.json`; `docs/explain.md` and `docs/explain.png` show all that are there.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.explain_page import write_page
from benchmarks.robustness import ROOT, machine
from darklens.api.explained import fresh_network, question_of, see, truth_of
from darklens.api.explaining import attributions, figures
from darklens.errors import DarklensError, InputError
from darklens.explain import METHODS, mean_with_interval, rank_correlation
from darklens.explain.maps import maps_of
from darklens.files import plain, read_json, write_json
from darklens.runs import Run
from darklens.simulate import simulate
from darklens.train.predictor import Predictor
from darklens.train.provenance import provenance

RUNS = ("runs/model-iii-arcnet", "runs/model-iii-zoo/resnet18", "runs/model-iii-zoo/vit")
SEED = 30_008
"""Of the images: no recipe trains or tests on it."""
LABELS, EPOCHS, BATCH, RATE = 32, 12, 16, 1e-3
"""Images that are learnt by heart with wrong labels, how often they are seen, and how."""


def measured(run: Run, n: int, seed: int, labels: int, checked: int, device: str) -> dict[str, Any]:
    """Return the figures of every method that a run's network allows.

    Raises:
        InputError: the run was not trained on a preset, or its images have no truth.
    """
    start, preset = time.perf_counter(), (run.data or {}).get("preset")
    if preset is None:
        raise InputError(f"{run.path} was not trained on a preset: its images cannot be drawn again")
    predictor = Predictor(run, device, symmetries=False)
    table = simulate(preset, n, seed=seed)
    seen = see(predictor, list(table.records()), predictor.checked(table.images()))
    truth = truth_of(predictor, seen)
    if isinstance(truth, str):
        raise InputError(f"{run.path}: {truth}")
    rows = np.flatnonzero(truth.disturbed)  # an image without substructure has nothing that a map could point at
    seen, truth = seen.take(rows), truth.take(rows)
    question = question_of(predictor, seen, seen.answers.called, seed)
    maps, left_out = attributions(question, METHODS, asked=False, log=say)
    found = figures(predictor, seen, question, maps, truth, checked=checked, log=say)
    taught, known = taught_wrongly(predictor, labels, seed + 1)
    for name, own in maps.items():
        other = maps_of(METHODS[name], question.take(slice(checked)).with_network(taught))
        found["methods"][name]["randomised_labels"] = mean_with_interval(rank_correlation(own[:checked], other), seed)
    correct = np.array([record.label for record in seen.records]) == np.array(predictor.classes)[seen.answers.called]
    made = provenance()
    return found | {
        "run": str(run.path),
        "model": run.model["name"],
        "input": predictor.preprocess.input,
        "preset": preset,
        "seed": seed,
        "n": len(rows),
        "checked": min(checked, len(rows)),
        "accuracy": float(correct.mean()),
        "wrong_labels": {"images": labels, "learnt": known},
        "left_out": left_out,
        "seconds": round(time.perf_counter() - start, 1),
        "commit": made.get("commit"),
        "machine": machine(made.get("machine") or {}),
        "date": made.get("date"),
    }


def taught_wrongly(predictor: Predictor, n: int, seed: int) -> tuple[torch.nn.Module, float]:
    """Return a network of the same form that was taught shuffled labels of n images, and what part of them it knows by heart."""
    table = simulate((predictor.run.data or {})["preset"], n, seed=seed)
    seen = see(predictor, list(table.records()), predictor.checked(table.images()))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.from_numpy(predictor.task.encode(table.labels))[torch.randperm(n, generator=generator)].to(predictor.device)
    network = fresh_network(predictor, 1).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(n, generator=generator).split(BATCH):
            optimiser.zero_grad()
            functional.cross_entropy(predictor.task.predict(network, seen.inputs[batch]), labels[batch]).backward()
            optimiser.step()
    network.eval()
    with torch.inference_mode():
        learnt = predictor.task.predict(network, seen.inputs).argmax(1) == labels
    say(f"taught wrongly: {float(learnt.double().mean()):.2f} of {n} shuffled labels are known by heart")
    return network, float(learnt.double().mean())


def say(sentence: str) -> None:
    """Print a sentence where progress belongs."""
    print(sentence, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, keep the rows, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", default=list(RUNS))
    parser.add_argument("--n", type=int, default=300, help="images, a third of them without substructure")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--checked", type=int, default=30, help="images under noise, and of networks that know nothing")
    parser.add_argument("--labels", type=int, default=LABELS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--page", action="store_true", help="only write the page from what is there")
    asked = parser.parse_args()
    runs = " ".join(asked.runs)
    numbers = f"--n {asked.n} --seed {asked.seed} --checked {asked.checked} --labels {asked.labels}"
    command = f"python -m benchmarks.explain {numbers} --runs {runs}"
    place = ROOT / "docs" / "explain.json"
    rows = {row["run"]: row for row in (read_json(place)["rows"] if place.is_file() else [])}
    try:
        for path in [] if asked.page else asked.runs:
            say(path)
            found = measured(Run.open(path), asked.n, asked.seed, asked.labels, asked.checked, asked.device)
            rows[path] = plain(found | {"run": path, "command": command})
            write_json(place, {"rows": list(rows.values())})
    except DarklensError as error:
        sys.exit(f"error: {error}")
    write_page(list(rows.values()), ROOT / "docs")


if __name__ == "__main__":
    main()
